"""The git repository that the project stands in, if it stands in one."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from finetuning.errors import TunesmithError
from finetuning.lineage import Commit


def read_commit(root: Path) -> Commit:
    """The commit, and the digest of what is not committed; no commit outside a repository."""
    sha = _ask(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if sha is None:
        return Commit(None, dirty=False, difference=None)
    status = _ask(root, "status", "--porcelain", "--untracked-files=normal") or b""
    if not status.strip():
        return Commit(sha.decode().strip(), dirty=False, difference=None)
    difference = status + (_ask(root, "diff", "--binary", "HEAD") or b"")
    digest = hashlib.sha256(difference).hexdigest()
    return Commit(sha.decode().strip(), dirty=True, difference=digest)


def read_at(root: Path, sha: str, name: str) -> bytes | None:
    """A file of the project as a commit has it; None where the commit or the file is not there."""
    return _ask(root, "show", f"{sha}:./{name}")


def has_commit(root: Path, sha: str) -> bool:
    """Whether the repository holds a commit."""
    return _ask(root, "cat-file", "-e", f"{sha}^{{commit}}") is not None


def check_out(root: Path, sha: str, place: Path) -> Path:
    """Check a commit out into a git worktree of its own; the project's own tree is not touched.

    Returns:
        The project's folder in there: the worktree, or the folder below it that the project is of
        its repository.

    Raises:
        TunesmithError: Git refuses; in its own words.
    """
    drop_checkout(root, place)
    place.parent.mkdir(parents=True, exist_ok=True)
    words = ["git", "worktree", "add", "--detach", str(place), sha]
    made = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if made.returncode:
        raise TunesmithError(f"`{' '.join(words)}` failed: {made.stderr.strip()}")
    inside = (_ask(root, "rev-parse", "--show-prefix") or b"").decode().strip()
    return place / inside


def drop_checkout(root: Path, place: Path) -> None:
    """Remove a worktree that `check_out` made, whole or cut off, and git's knowledge of it."""
    _ask(root, "worktree", "remove", "--force", str(place))
    shutil.rmtree(place, ignore_errors=True)
    _ask(root, "worktree", "prune")


def _ask(root: Path, *words: str) -> bytes | None:
    try:
        answer = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    except OSError:
        return None  # git is not installed
    return answer.stdout if answer.returncode == 0 else None
