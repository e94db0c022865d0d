"""Locks between processes, and folders that are being filled."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finetuning.locks import fill, hold, sweep

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = time.time() - 3600
HOLDER = """
import sys, time
from pathlib import Path
from finetuning.locks import fill, hold
with {what} as held:
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def begin():
    """Begin a process that enters a context and stays there."""
    processes = []

    def _begin(what):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER.format(what=what)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield _begin
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_lock_is_waited_for_and_ends_with_its_process(tmp_path, begin):
    """Who waits is asked to say so once; the lock of a killed process is free."""
    path = tmp_path / "locks" / "one"
    holder, said = begin(f"hold(Path({str(path)!r}))"), []

    def say():
        said.append("waiting")
        holder.kill()

    with hold(path, say):
        assert said == ["waiting"]


def test_a_lock_can_be_held_twice_by_its_process(tmp_path):
    """The command holds it around the flow, which holds it too; nobody waits."""
    with hold(tmp_path / "one", lambda: pytest.fail("waits")), hold(tmp_path / "one"):
        pass


def age(folder):
    """Make a folder look as if it had been made an hour ago."""
    os.utime(folder, (OLD, OLD))


def test_what_is_filled_is_kept_by_renaming(tmp_path):
    """The folder is empty and hidden, and nothing is left beside what was kept."""
    with fill(tmp_path / "stage", "abc") as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").write_text("x")
        folder.rename(tmp_path / "stage" / "abc")
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["abc"]
    assert (tmp_path / "stage" / "abc" / "file").read_text() == "x"


def test_what_a_killed_process_left_is_removed(tmp_path, begin):
    """Its folder is left alone while it lives, however old, and removed once it is dead."""
    holder = begin(f"fill(Path({str(tmp_path)!r}), 'abc')")
    (left,) = tmp_path.iterdir()
    age(left)
    sweep(tmp_path)
    assert left.is_dir()
    holder.kill()
    holder.wait()
    sweep(tmp_path)
    assert not left.exists()


def test_a_folder_that_was_just_made_is_left_alone(tmp_path):
    """Its owner may be about to lock it; a folder without a lock goes once it is old."""
    (tmp_path / ".abc.12345678.tmp" / "content").mkdir(parents=True)
    (tmp_path / "abc").mkdir()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    age(tmp_path / ".abc.12345678.tmp")
    with fill(tmp_path, "other"):
        assert not (tmp_path / ".abc.12345678.tmp").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]
