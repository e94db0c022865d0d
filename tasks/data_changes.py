"""The data as the repository has it: committed, followed from a branch, and brought here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from finetuning.errors import TunesmithError, wrong
from tasks.data_files import hash_folder
from tasks.data_state import (
    ADD,
    POINTER,
    find_cache,
    folder_version,
    list_version,
    locate,
    parse_pointer,
    read_pointer,
    refuse,
)
from tasks.repository import read_at
from tasks.versioning import fetch

BRANCH = re.compile(r"(?!-)[\w.-]+/(?!-)[\w./-]+")  # REMOTE/BRANCH


def follow_branch(root: Path, branch: str) -> str | None:
    """Fetch a branch and move the checkout forward to it, where that loses nothing.

    Args:
        root: The repository.
        branch: REMOTE/BRANCH, such as origin/main.

    Returns:
        The commit that the checkout moved to; None where it stood there already.

    Raises:
        InputError: It is not of that form.
        TunesmithError: Git refuses, in its own words: the branches have parted, or a changed file
            is in the way.
    """
    if not BRANCH.fullmatch(branch):
        raise wrong("follow", branch, "Write REMOTE/BRANCH, such as origin/main.")
    remote, _, name = branch.partition("/")
    before = _run_git(root, "rev-parse", "HEAD")
    _run_git(root, "fetch", "--quiet", "--", remote, name)
    _run_git(root, "merge", "--ff-only", "--quiet", "FETCH_HEAD")
    after = _run_git(root, "rev-parse", "HEAD")
    return after if after != before else None


def _run_git(root: Path, *words: str) -> str:
    # Nobody is there who could type a password.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise TunesmithError(f"git cannot be run ({error.strerror}): install it") from None
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"it ended with code {done.returncode}"
        raise TunesmithError(f"`git {' '.join(words)}` failed: {reason}")
    return done.stdout.strip()


def find_committed_version(root: Path, folder: str, pointer: str | None = None) -> str:
    """The version of a data set's folder in the data.dvc that is committed.

    Args:
        root: The repository.
        folder: The data set's folder, such as ``data/reviews``.
        pointer: What `read_committed_pointer` gave, for whoever asks about many folders.

    Raises:
        InputError: There is no data.dvc, it is not committed, or it holds no such folder.
    """
    locate(root, folder)
    pointer = pointer or read_committed_pointer(root)
    listing = list_version(root, pointer, folder)
    if listing is None:
        fetch(root, folder)
        listing = list_version(root, pointer, folder)
    if not listing:
        found = f"{folder!r}, which {POINTER} does not hold or DVC does not find"
        raise refuse("data.path", found, f"Make `dvc pull {folder}` work, or run: {ADD}")
    return folder_version(listing)


def read_committed_pointer(root: Path) -> str:
    """The MD5 of data/ in the data.dvc that is committed; without git, in the one that lies there.

    Raises:
        InputError: There is no data.dvc, or it is not committed.
    """
    pointer = read_pointer(root)
    if pointer is None:
        raise refuse(POINTER, "no such file", f"To record the data, run: {ADD}")
    content = read_at(root, "HEAD", POINTER)
    if content is None:
        if read_at(root, "HEAD", "") is None:
            return pointer  # no repository, or one without a commit
        raise refuse(POINTER, "a file that is not committed", f"Commit it: git add {POINTER}")
    if parse_pointer(content) != pointer:
        found = "a version that is not committed yet"
        raise refuse(POINTER, found, f"Commit it: git commit {POINTER}")
    return pointer


def bring(root: Path, folder: str) -> bool:
    """Make a data set's folder what data.dvc says, where that loses nothing.

    Returns:
        Whether anything had to be done.

    Raises:
        InputError: Files there are in no version: they would be lost.
        TunesmithError: DVC does not find the data; in its own words.
    """
    pointer = read_pointer(root)
    listing = None if pointer is None else list_version(root, pointer, folder)
    location = locate(root, folder)
    files = hash_folder(root, folder) if location.exists() else {}
    if files == listing:
        return False
    cache = find_cache(root)
    unsaved = [name for name, md5 in files.items() if not (cache / md5[:2] / md5[2:]).is_file()]
    if unsaved:
        more = f" and {len(unsaved) - 1} more" if len(unsaved) > 1 else ""
        raise refuse(
            folder,
            f"{unsaved[0]}{more} as no version has it, while {POINTER} names other data",
            f"To record the data as it is now, run: dvc add {folder}. "
            f"To take what {POINTER} holds, run: dvc checkout --force {folder}",
        )
    fetch(root, folder, check_out=True)
    return True
