"""The git repository that the project stands in, if it stands in one."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
    difference = hashlib.sha256(status + (_ask(root, "diff", "--binary", "HEAD") or b""))
    for name, content in _read_untracked(root):
        difference.update(name + b"\0" + hashlib.sha256(content).digest())
    return Commit(sha.decode().strip(), dirty=True, difference=difference.hexdigest())


def _read_untracked(root: Path) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each file that is neither committed nor ignored."""
    top = (_ask(root, "rev-parse", "--show-toplevel") or b"").rstrip(b"\n")
    words = ("ls-files", "--others", "--exclude-standard", "--full-name", "-z", ":/")
    for name in filter(None, (_ask(root, *words) or b"").split(b"\0")):
        place = Path(os.fsdecode(top), os.fsdecode(name))
        with suppress(OSError):  # a link that leads nowhere, a folder that is a repository itself
            yield name, place.read_bytes()


def read_at(root: Path, sha: str, name: str) -> bytes | None:
    """A file of the project as a commit has it; None where the commit or the file is not there."""
    return _ask(root, "show", f"{sha}:./{name}")


def keeps(root: Path, folder: Path) -> bool:
    """Whether the commit holds a folder as it is here: each of its files, and none changed."""
    words = ("status", "--porcelain", "--ignored", "--untracked-files=all", "--", str(folder))
    return bool(_ask(root, "ls-files", "--", str(folder))) and _ask(root, *words) == b""


def find_asker(root: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Who asks for a run or a change: TUNESMITH_USER, else git's user.name, else the login name."""
    if told := environment.get("TUNESMITH_USER"):
        return told
    if name := (_ask(root, "config", "user.name") or b"").decode("utf-8", "replace").strip():
        return name
    if login := environment.get("USER"):
        return login
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


def find_hooks(root: Path) -> Path | None:
    """The folder of git's hooks; None outside a repository."""
    found = _ask(root, "rev-parse", "--git-path", "hooks")
    return None if found is None else root / os.fsdecode(found.rstrip(b"\n"))


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
