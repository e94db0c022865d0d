"""Servers that are away for a while: what is waited for is said in the log, and not for ever."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from finetuning.errors import SilentServerError, wrong
from tasks.registry import find_tracking_uri

VARIABLE = "TUNESMITH_PATIENCE"
LONGEST = 300.0  # seconds that a server may be away, unless the environment says otherwise
ASKING = 10.0  # seconds for one answer
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two looks
AWAY = (429, 502, 503, 504)  # what a proxy says of a server that it does not reach
_OWN = ("127.0.0.1", "localhost", "[::1]")


def find_silence(url: str) -> str | None:
    """Why the server at an address does not answer; None where it does, whatever it answers."""
    # Names and passwords are for the library that uses the address; a local one needs no proxy.
    scheme, place = _split(url)
    opener = build_opener(ProxyHandler({})) if place.startswith(_OWN) else build_opener()
    try:
        opener.open(f"{scheme}://{place}/health", timeout=ASKING).close()
    except HTTPError as error:
        # Anything else it says for itself, and what it holds against us the library says better.
        return f"{error.code} {error.reason}" if error.code in AWAY else None
    except (OSError, HTTPException, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None


def name_place(url: str) -> str:
    """A server's address without the scheme, and without names and passwords."""
    return _split(url)[1]


def _split(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    return scheme, rest.rpartition("@")[2].rstrip("/")


def await_registry(root: Path, say: Callable[[str], object]) -> None:
    """Wait until the MLflow server that is set answers; as `await_server` has it."""
    await_server(find_tracking_uri(root), "MLflow", say)


def await_flow_server(say: Callable[[str], object]) -> None:
    """Wait until the Prefect server that the run reports to answers; as `await_server` has it."""
    from prefect.settings import PREFECT_API_URL

    await_server(PREFECT_API_URL.value() or "", "Prefect", say)


def await_server(url: str, name: str, say: Callable[[str], object]) -> None:
    """Wait until a server answers, with pauses that grow.

    Args:
        url: Its address; anything but http needs no server.
        name: Whose it is.
        say: Told what is waited for, before each pause.

    Raises:
        SilentServerError: It stays away for longer than TUNESMITH_PATIENCE.
        InputError: That is no number of seconds.
    """
    if not url.startswith(("http://", "https://")):
        return
    patience = read_patience()
    until = time.monotonic() + patience
    for pause in _pauses():
        reason = find_silence(url)
        if reason is None:
            return
        place, left = name_place(url), until - time.monotonic()
        if left <= 0:
            raise SilentServerError(
                f"{name}'s server at {place} has not answered for {patience:.0f} s ({reason}); "
                "what was made so far is kept, a trained model with its metrics, too: the same "
                "command goes on from there without training it again"
            )
        say(
            f"{name}'s server at {place} does not answer ({reason}): asked again in "
            f"{min(pause, left):.0f} s, for {left:.0f} s more; what was made so far is kept"
        )
        time.sleep(min(pause, left))


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        # Many runs that wait for one server do not ask it all in the same moment.
        yield pause * random.uniform(0.75, 1.25)
        pause = min(2 * pause, LONGEST_PAUSE)


def read_patience() -> float:
    """Seconds that a server may be away."""
    value = os.environ.get(VARIABLE) or str(LONGEST)
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise wrong(VARIABLE, value, "Give a number of seconds, such as 600.")
    return seconds
