"""Failures that are nobody's mistake in the code: full disks, locked databases, silent servers.

They are known by what the system and the libraries say, whatever type they say it with: a full
disk is an OSError here, an OperationalError of SQLite there, and an I/O error of safetensors.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

from finetuning.errors import TunesmithError

AGAIN = "Then run the same command again: it goes on from what is kept."
LONGEST = 300  # characters of what a library said


@dataclass(frozen=True)
class Failure:
    """A kind of failure.

    Attributes:
        pattern: What is said then, as a regular expression.
        numbers: Error numbers of the operating system that mean it.
        remedy: What to do.
        passing: Whether it may pass by itself within seconds, so that a retry can help.
    """

    pattern: str
    numbers: tuple[int, ...]
    remedy: str
    passing: bool = False


FAILURES = (
    # Before what the system says of files: servers use the same words.
    Failure(
        r"failed with error code 40[13]|401 Unauthorized|403 Forbidden",
        (),
        "A server wants a name and a password, or these may not do that: set "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or PREFECT_API_AUTH_STRING. "
        f"{AGAIN}",
    ),
    Failure(
        r"No space left on device|database or disk is full|Disk quota exceeded|File too large",
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "The disk of .tunesmith/ or mlruns/ is full. Free some space. " + AGAIN,
    ),
    Failure(
        r"Permission denied|Read-only file system|readonly database|unable to open database file",
        (errno.EACCES, errno.EPERM, errno.EROFS),
        f"Make the project's folder, .tunesmith/ and mlruns/ writable for you. {AGAIN}",
    ),
    Failure(
        r"out of memory|can't allocate memory|Cannot allocate memory|Unable to allocate|"
        r"_STATUS_ALLOC_FAILED",
        (errno.ENOMEM,),
        "The memory is full. Lower training.batch_size or training.max_length, or close what else "
        f"needs memory. {AGAIN}",
    ),
    Failure(
        r"database (table )?is locked",
        (),
        f"Another process writes to the same database. Wait until it ends. {AGAIN}",
        passing=True,
    ),
    Failure(
        r"file is not a database|database disk image is malformed",
        (),
        "The database is damaged: restore it, or move it away and it is made anew. " + AGAIN,
    ),
    Failure(
        r"Connection refused|Connection reset|All connection attempts failed|Max retries exceeded|"
        r"Temporary failure in name resolution|Name or service not known|timed out|"
        r"(error|status) code 50[234]|Bad Gateway|Service Unavailable|Gateway Time-?out|"
        r"Connection aborted|Remote end closed|Server disconnected",
        (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ETIMEDOUT),
        "A server does not answer. Check MLFLOW_TRACKING_URI, PREFECT_API_URL and the network, or "
        f"unset them to work without a server. {AGAIN}",
        passing=True,
    ),
)


def recognise(error: BaseException) -> tuple[Failure, BaseException] | None:
    """The kind of a failure, and the error in its chain of causes that shows it.

    Returns:
        None for a TunesmithError, which says itself what it is, and for what is of no known kind.
    """
    for cause in _follow(error):
        if isinstance(cause, TunesmithError):
            return None
        number = cause.errno if isinstance(cause, OSError) else None
        memory = isinstance(cause, MemoryError)
        for failure in FAILURES:
            if number in failure.numbers or (memory and errno.ENOMEM in failure.numbers):
                return failure, cause
            if re.search(failure.pattern, str(cause), re.IGNORECASE):
                return failure, cause
    return None


def explain(error: BaseException) -> TunesmithError | None:
    """A failure of a known kind as one message: what was said, where, and the remedy."""
    found = recognise(error)
    if found is None and isinstance(error, OSError):
        found = Failure("", (), AGAIN.replace("Then", "Mend that, then")), error
    if found is None:
        return None
    failure, cause = found
    place = getattr(cause, "filename", None)
    reason = getattr(cause, "strerror", None) or _shorten(str(cause), failure.pattern)
    said = f"{place}: {reason}" if place else reason or type(cause).__name__
    return TunesmithError(f"{said}. {failure.remedy}")


def find_reason(text: str) -> str | None:
    """The error that a process's output ends with: the line that names the last one."""
    lines = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", text, re.MULTILINE)
    return _shorten(lines[-1]) if lines else None


def _shorten(text: str, pattern: str = "") -> str:
    """The first line of a text in which a pattern stands, at most so long, without its stop."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(pattern, line, re.IGNORECASE)]
    line = next(iter(telling + lines), "")
    return line.rstrip(".") if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _follow(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, the outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
