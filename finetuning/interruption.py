"""Signals that end a process: put off while something must not be broken off in the middle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def put_off_signals() -> Iterator[list[int]]:
    """Note signals that end the process, and let them act when the context is left.

    They then do what they would have done; a second one does it at once. Signals are the main
    thread's: in another one nothing is put off.

    Yields:
        What has come so far.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    former = {number: signal.getsignal(number) for number in ENDING}
    # None is a handler that Python did not set and cannot set again.
    former = {
        number: handler
        for number, handler in former.items()
        if handler not in (None, signal.SIG_IGN)
    }

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def note(number: int, _frame: object) -> None:
        received.append(number)
        restore()

    for number in former:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()
        if received:
            signal.raise_signal(received[0])
