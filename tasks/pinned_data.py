"""The data's files as they were when the run began, whatever happens to data/ meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from finetuning.errors import InputError
from finetuning.locks import fill, hold
from tasks.data_files import hash_file, hash_folder
from tasks.data_state import ADD, find_cache, refuse

if TYPE_CHECKING:
    from tasks.planning import Work

VERSIONS = "versions"


def pin(work: Work) -> Path:
    """A folder that holds the data version of the run.

    It is the data set's own, or, where that has changed since the run began, one that is laid out
    from DVC's cache.

    Raises:
        InputError: The data changed, and the cache does not hold what they were.
    """
    if is_unchanged(work):
        return work.root / work.pipeline.data.path
    version = work.data.version.removesuffix(".dir")
    place = work.state / VERSIONS / version
    with hold(work.state / "locks" / f"{version}.version"):
        if not place.exists():
            with fill(place.parent, version[:16]) as temporary:
                _lay_out(work, temporary)
                temporary.rename(place)
    return place


def is_unchanged(work: Work) -> bool:
    """Whether the data set's folder holds what it did when the run began."""
    try:
        return hash_folder(work.root, work.pipeline.data.path) == work.data.files
    except (InputError, OSError):  # a folder that somebody changes just now
        return False


def _lay_out(work: Work, folder: Path) -> None:
    cache = find_cache(work.root)
    for name, md5 in work.data.files.items():
        kept, target = cache / md5[:2] / md5[2:], folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            whole = hash_file(kept) == md5
        except OSError:
            whole = False
        if not whole:
            raise refuse(
                work.pipeline.data.path,
                f"other files than the run began with, whose {name} is not in DVC's cache",
                f"Run again: it takes the data as they are now. What `{ADD}` has recorded once, a "
                "run can go on with.",
            )
        try:
            os.link(kept, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(kept, target)
