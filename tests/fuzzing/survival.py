"""What every hostile input has to come to: a result or a fault, soon, in little memory."""

import contextlib
import json
import re
import resource
import signal
from pathlib import Path

from finetuning.errors import RefusedError, TunesmithError

LONGEST = 10  # seconds of the processor that one input may take
PATIENCE = 60  # seconds by the clock, for what waits and does not compute
MOST_MEMORY = 256 * 2**20  # bytes that one small input (up to 64 KiB) may add to the process
SLACK = 2**31  # bytes of address space beyond that
LONGEST_MESSAGE = 20_000  # characters; a person has to read it

_counted = {"inputs": 0}


def count_inputs():
    """How many inputs have been judged in this process."""
    return _counted["inputs"]


def survive(act, *arguments, memory=MOST_MEMORY):
    """What an action on a hostile input returns; None where it ended with a fault that is said.

    Any other exception, one second too many or one byte too many fails the test.
    """
    _counted["inputs"] += 1
    with bounded(memory):
        try:
            return act(*arguments)
        except TunesmithError as error:
            check_error(error)
            return None


def check_error(error):
    """That an error can be shown to a person, and each of its faults helps."""
    said = str(error)
    assert said.strip()
    assert len(said) <= LONGEST_MESSAGE, said[:500]
    if isinstance(error, RefusedError):
        json.dumps(error.result, allow_nan=False)  # what --json prints is read by programs
    for fault in getattr(error, "faults", ()):
        assert fault.key
        assert fault.found
        assert fault.remedy, fault


@contextlib.contextmanager
def bounded(memory):
    """Fail where what is done takes too long, or adds more bytes to this process than allowed."""
    former = {one: signal.signal(one, _too_long) for one in (signal.SIGALRM, signal.SIGPROF)}
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = forget_peak()
    # Far above what may be held: so a machine survives what fails the test.
    most = read_memory("VmSize") + memory + SLACK
    resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for one, handler in former.items():
            signal.signal(one, handler)
    grown = read_memory("VmHWM") - before
    assert grown <= memory, f"{grown:,} bytes were added, {memory:,} are allowed"


class TooLongError(BaseException):
    """One input took too many seconds; no library may catch it as one of its own."""


def _too_long(*_):
    raise TooLongError(f"more than {LONGEST} seconds of the processor, or {PATIENCE} by the clock")


def forget_peak():
    """Let the kernel measure this process's peak anew; its present size in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_memory("VmRSS")


def read_memory(name):
    """A size that the kernel knows of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status).group(1)) * 1024
