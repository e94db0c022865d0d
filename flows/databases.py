"""Prefect's database for a project that has none: a copy of an empty one with all its tables.

Prefect makes it by a hundred migrations, which take longer than its server takes to start. So an
empty one of each version is kept beside the person's other caches. What is older than the server
is brought up to date by the server, as any database is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import platformdirs

NAME = "prefect.db"
LOCK = "start.lock"  # held by whoever begins a server on the database
ELSEWHERE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def lay_database(home: Path) -> None:
    """Make Prefect's database whole or not at all; what is there already is left as it is.

    Nobody else may begin a server in this folder meanwhile: the caller holds the lock.

    Args:
        home: Prefect's folder.
    """
    if (home / NAME).exists() or any(map(os.environ.get, ELSEWHERE)):
        return
    home.mkdir(parents=True, exist_ok=True)
    kept = find_kept()
    with tempfile.TemporaryDirectory(dir=home, prefix="new-") as place:
        new = Path(place, NAME)
        try:
            shutil.copyfile(kept, new)
        except OSError:
            make_database(new.parent)
            _keep(new, kept)
        new.replace(home / NAME)


def find_kept() -> Path:
    """Where the empty database of the installed version is kept."""
    folder = Path(platformdirs.user_cache_dir("tunesmith", appauthor=False))
    return folder / f"prefect-{version('prefect')}.db"


def make_database(home: Path) -> None:
    """Have Prefect make its database in a folder, by all its migrations."""
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def _keep(new: Path, kept: Path) -> None:
    # It is only kept to save time: a cache that cannot be written is none.
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as place:
            shutil.copyfile(new, Path(place, NAME)).replace(kept)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as elsewhere:
        lay_database(Path(elsewhere))
