"""Garbage is collected where it may wait for a database, and not in whoever must go on."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, sqlite3, sys, threading, time, weakref
from flows.garbage import collect_apart

if sys.argv[2] == "apart":
    collect_apart()

class Cycle:
    pass

def leave(connection):
    cycle = Cycle()
    cycle.itself, cycle.cursor = cycle, connection.execute("select 1 union all select 2")
    next(cycle.cursor)  # so that it is under way; it reads no table, and so holds no lock
    return weakref.ref(cycle)

place = sys.argv[1]
holder = sqlite3.connect(place, isolation_level=None)
holder.execute("create table numbers (number)")
waiting = sqlite3.connect(place, isolation_level=None, check_same_thread=False, timeout=4)
left = leave(waiting)
holder.execute("begin immediate")
said = []

def wait():
    try:
        waiting.execute("begin immediate")
        said.append("went on")
    except sqlite3.OperationalError as error:
        said.append(str(error))

thread = threading.Thread(target=wait)
thread.start()
time.sleep(0.5)
kept = [[] for _ in range(3000)]  # enough that a collection is due
time.sleep(1)
holder.execute("commit")
thread.join()
kept += [[] for _ in range(3000)]
time.sleep(1)
print(said[0], left() is None)
"""


@pytest.mark.parametrize(
    ("how", "said"), [("apart", "went on True"), ("as usual", "database is locked True")]
)
def test_whoever_has_the_lock_can_give_it_back(tmp_path, how, said):
    """A connection waits for the lock, and a cursor of its is garbage; as usual nobody goes on."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "numbers.db"), how],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == said
