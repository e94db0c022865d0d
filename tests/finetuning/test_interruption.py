"""Signals that are put off: they come later, and do what they would have done."""

import signal
import threading

import pytest

from finetuning.interruption import put_off_signals


class _EndedError(Exception):
    """What the handler of these tests does."""


@pytest.fixture(autouse=True)
def _handler():
    def end(*_):
        raise _EndedError

    former = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, former)


def test_one_signal_waits():
    """It is noted, the work goes on, and it acts at the end."""
    done = []

    def work():
        with put_off_signals() as received:
            signal.raise_signal(signal.SIGTERM)
            done.append(list(received))

    with pytest.raises(_EndedError):
        work()
    assert done == [[signal.SIGTERM]]


def test_a_second_signal_does_not_wait():
    """Whoever asks twice is in a hurry."""
    done = []

    def work():
        with put_off_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            done.append("work")

    with pytest.raises(_EndedError):
        work()
    assert done == []


def test_without_a_signal_nothing_changes():
    """The handlers are as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with put_off_signals() as received:
        pass
    assert received == []
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_signal_that_is_ignored_stays_so():
    """A process that was told to ignore it is not ended by it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with put_off_signals() as received:
        signal.raise_signal(signal.SIGTERM)
    assert received == []


def test_another_thread_puts_nothing_off():
    """Handlers are the main thread's; work elsewhere runs all the same."""
    done = []

    def work():
        with put_off_signals() as received:
            done.append(list(received))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [[]]
