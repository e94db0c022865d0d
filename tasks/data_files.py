"""The files that lie in data/ now, hashed as DVC would hash them, and not twice.

Reads everything that `dvc add data` would take and refuses what it would miss or what leads out
of data/. Hashes are remembered under .tunesmith/hashes/ by inode, size and times.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from finetuning.digests import write_atomically
from finetuning.errors import Fault, InputError
from tasks.data_state import DATA, SHOWN, find_cache, locate

_NEVER_TRACKED = frozenset({".git", ".hg", ".dvc"})
# A file that was written in the same moment as it was hashed can change again without its
# timestamps showing it; git calls such an entry racily clean.
_RACY_NANOSECONDS = 2_000_000_000


def hash_folder(root: Path, folder: str) -> dict[str, str]:
    """The files that lie in a data set's folder now: path inside the folder -> MD5.

    Files whose size, inode and times are those of an earlier call are not read again.

    Raises:
        InputError: The folder is not inside data/, or something in it cannot be versioned.
    """
    return _hash_tree(root, locate(root, folder))


def hash_everything(root: Path) -> dict[str, str]:
    """The files that lie in the whole of data/ now: path inside data/ -> MD5.

    Raises:
        InputError: Something in data/ cannot be versioned.
    """
    return _hash_tree(root, root / DATA)


def _hash_tree(root: Path, top: Path) -> dict[str, str]:
    name = top.relative_to(root).as_posix()
    memory = root / ".tunesmith" / "hashes" / f"{name.replace('%', '%25').replace('/', '%2F')}.json"
    remembered = _recall(memory)
    files: dict[str, str] = {}
    marks: dict[str, list[str]] = {}
    faults: list[Fault] = []
    ignored = _read_ignored(root)
    for path in _walk(root, top, ignored, faults):
        relative = path.relative_to(top).as_posix()
        try:
            mark = _mark(path.stat())
            known = remembered.get(relative)
            if known is None or known[0] != mark:
                known = [mark, hash_file(path)]
            settled = _is_settled(path.stat(), mark)
        except OSError as error:
            found = f"a file that cannot be read ({error.strerror})"
            faults.append(Fault(f"{name}/{relative}", found, "Remove it, or make it readable."))
            continue
        files[relative] = known[1]
        if settled:
            marks[relative] = known
    if faults:
        raise InputError(faults[: 2 * SHOWN])
    _remember(memory, remembered, marks)
    return dict(sorted(files.items()))


def _walk(
    root: Path, top: Path, ignored: Callable[[str], bool], faults: list[Fault]
) -> Iterator[Path]:
    """Every file under a folder that DVC would track; what it could not track becomes a fault."""
    inside = ((root / DATA).resolve(), find_cache(root).resolve())
    pending = [top] if top.is_dir() else []
    while pending:
        folder = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                relative = path.relative_to(root).as_posix()
                if entry.name in _NEVER_TRACKED or ignored(relative):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.is_file() and (not entry.is_symlink() or _leads_into(path, inside)):
                    yield path
                else:
                    found = (
                        f"a symbolic link to {path.readlink()}"
                        if entry.is_symlink()
                        else "neither a file nor a folder"
                    )
                    remedy = (
                        f"Only files inside {DATA}/ can be versioned: copy it in, or remove it."
                    )
                    faults.append(Fault(relative, found, remedy))


def _leads_into(path: Path, folders: tuple[Path, ...]) -> bool:
    # DVC itself may check files out as links into its cache.
    target = path.resolve()
    return any(target.is_relative_to(folder) for folder in folders)


def hash_file(path: Path) -> str:
    """MD5 of a file's bytes, as DVC names it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _mark(status: os.stat_result) -> str:
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _is_settled(status: os.stat_result, mark: str) -> bool:
    """Whether a file stayed as it was while it was read, and had been so for a while before."""
    newest = max(status.st_mtime_ns, status.st_ctime_ns)
    return _mark(status) == mark and time.time_ns() - newest > _RACY_NANOSECONDS


def _recall(memory: Path) -> dict[str, list[str]]:
    try:
        value: Any = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    # A damaged memory costs time, never a wrong answer.
    return {
        name: known
        for name, known in (value if isinstance(value, dict) else {}).items()
        if isinstance(known, list) and len(known) == 2
    }


def _remember(
    memory: Path, before: Mapping[str, list[str]], after: Mapping[str, list[str]]
) -> None:
    if before == after:
        return
    try:
        write_atomically(memory, json.dumps(after))
    except OSError:
        # A read-only disk costs time at the next call, nothing else.
        return


def _read_ignored(root: Path) -> Callable[[str], bool]:
    """Whether .dvcignore excludes a path relative to the repository."""
    try:
        lines = (root / ".dvcignore").read_text("utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if any(mark in pattern for pattern in patterns for mark in "/!\\"):
        # Importing the full grammar costs as much as everything else here; most files are plain.
        import pathspec

        return pathspec.GitIgnoreSpec.from_lines(patterns).match_file
    if not patterns:
        return lambda _path: False
    plain = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
    return lambda path: any(plain.match(part) for part in path.split("/"))
