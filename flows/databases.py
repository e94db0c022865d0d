"""Prefect's database for a project that has none: a copy of an empty one with all its tables.

Prefect makes it by a hundred migrations, which take longer than its server takes to start. So an
empty one of each version is kept beside the person's other caches. What is older than the server
is brought up to date by the server, as any database is.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

import platformdirs

from finetuning.errors import TunesmithError
from flows.processes import explain_log

NAME = "prefect.db"
UNFINISHED = "new-"
LOCK = "start.lock"  # held by whoever begins a server on the database
ELSEWHERE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def lay_database(home: Path) -> None:
    """Make Prefect's database whole or not at all; what is there already is left as it is.

    Nobody else may begin a server in this folder meanwhile: the caller holds the lock.

    Args:
        home: Prefect's folder.

    Raises:
        TunesmithError: Prefect cannot make it, with its reason.
    """
    if (home / NAME).exists() or any(map(os.environ.get, ELSEWHERE)):
        return
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob(f"{UNFINISHED}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    kept = find_kept()
    with tempfile.TemporaryDirectory(dir=home, prefix=UNFINISHED) as place:
        new = Path(place, NAME)
        if is_whole(kept):
            shutil.copyfile(kept, new)
        else:
            make_database(new.parent)
            _keep(new, kept)
        new.replace(home / NAME)


def find_kept() -> Path:
    """Where the empty database of the installed version is kept."""
    folder = Path(platformdirs.user_cache_dir("tunesmith", appauthor=False))
    return folder / f"prefect-{version('prefect')}.db"


def is_whole(path: Path) -> bool:
    """Whether a database is there and undamaged."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
            return bool(tables) and connection.execute("pragma quick_check").fetchone() == ("ok",)
    except sqlite3.Error:
        return False


def make_database(home: Path) -> None:
    """Have Prefect make its database in a folder, by all its migrations.

    Raises:
        TunesmithError: It cannot, with its reason.
    """
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        said = explain_log(done.stdout + done.stderr)
        raise TunesmithError(f"Prefect's database cannot be made. {said}")


def _keep(new: Path, kept: Path) -> None:
    # It is only kept to save time: a cache that cannot be written is none.
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as place:
            shutil.copyfile(new, Path(place, NAME)).replace(kept)


if __name__ == "__main__":
    # At set-up, for the first run's sake; where it cannot be made, that run says why.
    with suppress(TunesmithError, OSError), tempfile.TemporaryDirectory() as elsewhere:
        lay_database(Path(elsewhere))
