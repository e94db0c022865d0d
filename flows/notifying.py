"""`tunesmith notify`: say that data may have changed, so that `watch` looks at once.

For git hooks and CI: it imports nothing heavy, and where nobody listens it says so and ends well,
because `watch` looks by itself every minute.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from finetuning.digests import write_atomically
from finetuning.errors import TunesmithError, wrong
from tasks.planning import STATE
from tasks.repository import find_hooks
from tasks.wakes import wake

WATCH = "watch/watch"
PATIENCE = 10.0  # seconds
PAUSE = 0.2  # seconds before a server that is busy is asked again
BUSY = 500  # from this status on it is the server's trouble: with SQLite often a short one
RUNNING = "up.json"  # where `tunesmith up` says how it is reached
HOOKS = ("post-commit", "post-merge")
HOOK = "#!/bin/sh\n# Has tunesmith look at once whether data changed.\ntunesmith notify || true\n"


def notify(root: Path) -> dict[str, Any]:
    """Create a run of `watch`, which begins at once.

    Not by an event and an automation: Prefect's server takes up to two seconds over these.

    Returns:
        `status` is `sent`, or `unheard` where no server is known, or it does not answer, or nobody
        serves `watch` there.

    Raises:
        TunesmithError: The server that is set refuses.
    """
    url = find_api(root)
    if url is None:
        said = "no server is running here: the next `tunesmith up` finds what changed"
        return {"status": "unheard", "message": said}
    try:
        deployment = ask(url, f"/deployments/name/{WATCH}")["id"]
        ask(url, f"/deployments/{deployment}/create_flow_run", {})
        wake(root)
    except HTTPError as error:
        if error.code == 404:
            said = f"nobody serves {WATCH} at {url}: tunesmith up"
            return {"status": "unheard", "message": said}
        if error.code >= BUSY:
            said = f"Prefect's server at {url} is busy ({error.code} {error.reason})"
            return {"status": "unheard", "message": f"{said}: watch finds what changed by itself"}
        raise TunesmithError(
            f"Prefect's server at {url} refuses ({error.code} {error.reason}): check "
            "PREFECT_API_URL and PREFECT_API_AUTH_STRING"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = f"Prefect's server at {url} does not answer ({getattr(error, 'reason', error)})"
        return {"status": "unheard", "message": f"{said}: watch finds what changed by itself"}
    return {"status": "sent", "message": f"watch looks now (Prefect at {url})"}


def ask(url: str, place: str, body: dict[str, Any] | None = None) -> Any:
    """What Prefect's API answers; HTTPError where it refuses, OSError where nothing does."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url + place, data, {"Content-Type": "application/json", **authorise()})
    opener = build_opener(ProxyHandler({})) if "127.0.0.1" in url else build_opener()
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code < BUSY or time.monotonic() > until:
                raise
        time.sleep(PAUSE)


def find_api(root: Path) -> str | None:
    """The server that is set, or that of a running `tunesmith up`."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url.rstrip("/")
    try:
        return str(json.loads((root / STATE / RUNNING).read_text("utf-8"))["prefect"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def authorise() -> dict[str, str]:
    """The header that a server behind authentication wants, by what Prefect's own variables say."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def install_hooks(root: Path) -> dict[str, Any]:
    """Let git notify after each commit and merge.

    Raises:
        InputError: This is no git repository, or a hook of that name is there already.
    """
    folder = find_hooks(root)
    if folder is None:
        raise wrong("--install-hook", str(root), "That is no git repository: run `git init`.")
    for name in HOOKS:
        path = folder / name
        if path.exists() and path.read_text("utf-8", "replace") != HOOK:
            remedy = "It stays as it is: add the line `tunesmith notify || true` to it."
            raise wrong("--install-hook", str(path), remedy)
    folder.mkdir(parents=True, exist_ok=True)
    for name in HOOKS:
        write_atomically(folder / name, HOOK)
        (folder / name).chmod(0o755)
    said = f"{' and '.join(HOOKS)} in {folder} notify from now on"
    return {"status": "installed", "message": said}
