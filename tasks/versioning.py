"""Data versions: only here, in data_state, data_files, recording and restoration is DVC known.

Whether anything changed is answered from the files alone; DVC itself is started, as a process of
its own, only to move or to record data. It keeps global state, so it is not run inside a flow.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetuning.errors import TunesmithError
from finetuning.numerals import count
from tasks.data_files import hash_everything, hash_folder
from tasks.data_state import (
    ADD,
    DATA,
    POINTER,
    DataVersion,
    Difference,
    are_cached,
    compare,
    explain_return,
    find_remote,
    folder_version,
    list_tracked,
    locate,
    read_pointer,
    refuse,
)

if TYPE_CHECKING:
    from subprocess import CompletedProcess

__all__ = [
    "DataVersion",
    "Difference",
    "add",
    "compare",
    "fetch",
    "folder_version",
    "hash_everything",
    "hash_folder",
    "initialise",
    "list_tracked",
    "locate",
    "prove",
    "pull",
    "read_pointer",
    "resolve",
]

# Telemetry off, and no look for newer versions either.
_SETTINGS = "[core]\n    analytics = false\n    check_update = false\n"
_NO_GIT = (
    "This folder is not in a git repository, so DVC works without one (core.no_scm in "
    ".dvc/config.local). What is lost: models record no git commit, data.dvc has no history, and "
    "`tunesmith reproduce` cannot go back to an earlier state."
)


def resolve(root: Path, folder: str) -> DataVersion:
    """The version of a data set's folder, which must be the one that data.dvc holds.

    A folder that is missing is brought back by DVC where it can be. Without a data.dvc, any
    content is taken as it is and the version is not committed.

    Args:
        root: The repository.
        folder: The data set's folder, such as ``data/reviews``.

    Raises:
        InputError: The folder is not inside data/, is missing or empty, holds something that
            cannot be versioned, or differs from data.dvc.
    """
    location = locate(root, folder)
    pointer = read_pointer(root)
    if not location.exists():
        pull(root, folder)
    files = hash_folder(root, folder)
    if not files:
        raise refuse("data.path", f"{folder!r}, which holds no file", "Put the data set there.")
    if pointer is not None:
        _check_committed(root, folder, files, pointer)
    return DataVersion(folder_version(files), pointer, files, committed=pointer is not None)


def _check_committed(root: Path, folder: str, files: dict[str, str], pointer: str) -> None:
    tracked = list_tracked(root, folder)
    if tracked is None:
        if _is_everything(root, folder, files, pointer):
            return
        pulled = f"To get the data that {POINTER} names, run: dvc pull. "
        raise refuse(
            folder,
            f"files that cannot be compared with {POINTER}, whose listing is not in DVC's cache",
            (pulled if find_remote(root) else "") + f"To record the data as it is now, run: {ADD}",
        )
    if difference := compare(tracked, files):
        raise refuse(
            folder,
            f"files that differ from {POINTER} ({difference})",
            f"To record the data as it is now, run: dvc add {folder}. "
            f"{explain_return(root, folder, tracked)}",
        )


def _is_everything(root: Path, folder: str, files: dict[str, str], pointer: str) -> bool:
    """Whether data.dvc holds exactly this folder, or exactly what lies in data/ now.

    Needs no listing, which a fresh clone does not have.
    """
    inside = locate(root, folder).relative_to(root / DATA).as_posix()
    alone = {f"{inside}/{name}": md5 for name, md5 in files.items()}
    return folder_version(alone) == pointer or folder_version(hash_everything(root)) == pointer


def pull(root: Path, folder: str) -> None:
    """Bring a missing data set's folder back: from DVC's cache, else from its default remote.

    Raises:
        InputError: data.dvc does not hold the folder, no remote is configured, or the remote does
            not give it.
    """
    location = locate(root, folder)
    remedy = f"Put the data set there and run: {ADD}"
    if read_pointer(root) is None or (tracked := list_tracked(root, folder)) == {}:
        found = f"{folder!r}, which does not exist and is not in {POINTER}"
        raise refuse("data.path", found, remedy)
    if tracked and are_cached(root, tracked.values()):
        _run_dvc(root, "checkout", folder)
        return
    if not _ask_dvc(root, "config", "core.remote").stdout.strip():
        raise refuse(
            "data.path",
            f"{folder!r}, which does not exist here, and no DVC remote to pull it from",
            f"{remedy}, or name a remote: dvc remote add --default NAME URL",
        )
    result = _ask_dvc(root, "pull", folder)
    if result.returncode or not location.exists():
        found = f"{folder!r}, which does not exist here and cannot be pulled: {explain(result)}"
        raise refuse("data.path", found, f"Make `dvc pull {folder}` work. Or: {remedy}")


def fetch(root: Path, folder: str, check_out: bool = False) -> None:
    """Bring what data.dvc holds of a folder into DVC's cache, from its default remote.

    Args:
        root: The repository.
        folder: The data set's folder, such as ``data/reviews``.
        check_out: Lay it out in the folder, too. DVC refuses to overwrite what it has no copy of.

    Raises:
        TunesmithError: DVC refuses; in its own words.
    """
    tracked = list_tracked(root, folder)
    if tracked is None or not are_cached(root, tracked.values()):
        _run_dvc(root, "fetch", folder)
    if check_out:
        _run_dvc(root, "checkout", folder)


def add(root: Path, place: str = DATA) -> None:
    """Record data/ as it is now, or one place in it, in data.dvc and in DVC's cache.

    Args:
        root: The repository.
        place: A place inside data/: the others stay recorded as they are, be they here or not. For
            that data.dvc's listing must be in DVC's cache.

    Raises:
        TunesmithError: DVC refuses; in its own words.
    """
    _run_dvc(root, "add", place)


def prove(root: Path, folder: str) -> str:
    """Check a folder that was built here against data.dvc, and put it into DVC's cache.

    data.dvc itself is never changed.

    Returns:
        One line that says what was proved.

    Raises:
        InputError: The folder is not what data.dvc holds.
        TunesmithError: DVC refuses; in its own words.
    """
    pointer = read_pointer(root)
    if pointer is None:
        raise refuse(POINTER, "no such file", f"To record the data, run: {ADD}")
    files = hash_folder(root, folder)
    _check_committed(root, folder, files, pointer)
    everything = hash_everything(root)
    cached = are_cached(root, (pointer, *everything.values()))
    if not cached and folder_version(everything) == pointer:
        # Without --force this fails, and writes nothing, where the data changed meanwhile.
        _run_dvc(root, "commit", POINTER)
    return (
        f"DVC: {folder} is exactly what {POINTER} holds "
        f"({count(len(files), 'file')}, version {folder_version(files).removesuffix('.dir')})"
    )


def initialise(root: Path) -> str | None:
    """Make DVC work in this folder, in a git repository or without one.

    Returns:
        What is lost by having no git repository, the first time that is found; else None.

    Raises:
        TunesmithError: DVC refuses; in its own words.
    """
    root = root.resolve()
    repository = next((place for place in (root, *root.parents) if (place / ".git").exists()), None)
    in_git = repository is not None
    if not (root / ".dvc").is_dir():
        _run_dvc(root, "init", *_place(root, repository))
        (root / ".dvc" / "config").write_text(_SETTINGS, encoding="utf-8")
    local = root / ".dvc" / "config.local"
    if in_git or (local.exists() and "no_scm" in local.read_text("utf-8")):
        return None
    _run_dvc(root, "config", "--local", "core.no_scm", "true")
    return _NO_GIT


def _place(root: Path, repository: Path | None) -> list[str]:
    """What `dvc init` has to be told: no git, or a git repository that begins above."""
    if repository is None:
        return ["--no-scm"]
    return [] if repository == root else ["--subdir"]


def _run_dvc(root: Path, *arguments: str) -> None:
    result = _ask_dvc(root, *arguments)
    if result.returncode:
        raise TunesmithError(f"`dvc {' '.join(arguments)}` failed: {explain(result)}")


def _ask_dvc(root: Path, *arguments: str) -> CompletedProcess[str]:
    return run_python(root, "-m", "dvc", "--wait-for-lock", *arguments)


def run_python(root: Path, *arguments: str) -> CompletedProcess[str]:
    """Run this Python in the repository, as a process of its own, and keep what it says."""
    # Imported here to keep the answer "nothing changed" quick.
    import os
    import subprocess
    import sys

    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def explain(result: CompletedProcess[str]) -> str:
    """The reasons that DVC gives, in one line."""
    lines = [line.strip() for line in result.stderr.splitlines()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return "; ".join(errors) or next(filter(None, reversed(lines)), "it gives no reason")
