"""The git repository that the project stands in, if it stands in one."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

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


def _ask(root: Path, *words: str) -> bytes | None:
    try:
        answer = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    except OSError:
        return None  # git is not installed
    return answer.stdout if answer.returncode == 0 else None
