"""Python's garbage is collected in a thread of its own: in an event loop it could stand still.

Prefect's server keeps its database's connections in threads. One that waits for SQLite's lock holds
its connection's mutex for up to a minute. The collector runs in whichever thread allocates; if it
meets a cursor of that connection it waits for the mutex, and in the event loop's thread that keeps
whoever has the lock from giving it back. A thread of its own may wait.
"""

from __future__ import annotations

import gc
import threading
import time

LOOKING = 0.1  # seconds between two looks at how much was allocated
FULLY = 60.0  # seconds between two collections of everything


def collect_apart() -> None:
    """Have another thread collect garbage from now on, when as much was allocated as before."""
    gc.disable()
    gc.collect()
    gc.freeze()  # what is imported stays, and need not be looked at again
    threading.Thread(target=_collect, name="garbage", daemon=True).start()


def _collect() -> None:
    full = time.monotonic() + FULLY
    while True:
        time.sleep(LOOKING)
        if time.monotonic() > full:
            gc.collect()
            full = time.monotonic() + FULLY
            continue
        young, middle, _ = (
            count > most for count, most in zip(gc.get_count(), gc.get_threshold(), strict=True)
        )
        if young or middle:
            gc.collect(1 if middle else 0)
