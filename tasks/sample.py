"""The sample: data sets that are fetched and never kept in the repository.

``python -m tasks.sample`` builds data/digits/ from scikit-learn and data/reviews/ from an archive
of the package index, or only the one that is named. Every byte is decided by where they come from,
so that data.dvc can prove that everyone has the same data, each folder by itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from finetuning.digests import write_atomically
from finetuning.errors import InputError, TunesmithError
from tasks import digits, reviews
from tasks.data_state import find_cache, folder_version, render_listing
from tasks.versioning import initialise, list_tracked, prove, read_pointer

POINTER = "0e3a2b02d1c007cb5c027d68963c198a.dir"  # what data.dvc says where data/ is the sample
REMEDY = "It is the sample, not fetched yet. Run: make data, or: python -m tasks.sample"
# The one that needs no network first.
FOLDERS: Mapping[str, str] = {"digits": digits.FOLDER, "reviews": reviews.FOLDER}


def is_missing(root: Path, folder: str) -> bool:
    """Whether a data set's folder is the sample's and not fetched, while data.dvc holds it.

    A folder that is there, but cannot be proved while another is missing, counts too.
    """
    if folder not in FOLDERS.values() or not _is_held(root, folder):
        return False
    if not (root / folder).exists():
        return True
    some = any(not (root / other).exists() for other in FOLDERS.values())
    return some and list_tracked(root, folder) is None


def _is_held(root: Path, folder: str) -> bool:
    """Whether data.dvc holds the sample's version of a folder, alone or beside other data."""
    pointer = read_pointer(root)
    if pointer is None or pointer == POINTER:
        return pointer is not None
    versions = {digits.FOLDER: digits.VERSION, reviews.FOLDER: folder_version(reviews.LISTING)}
    tracked = list_tracked(root, folder)
    return tracked is not None and folder_version(tracked) == versions[folder]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: progress and reasons go to standard error, the exit code is returned."""
    parser = argparse.ArgumentParser(prog="python -m tasks.sample", description="Fetch the sample.")
    parser.add_argument("name", nargs="?", choices=FOLDERS, help="only this data set")
    parser.add_argument("--all", action="store_true", help="add tweets and editorials: later data")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    fetch: Mapping[str, Callable[[], str]] = {
        "digits": lambda: digits.fetch(root),
        "reviews": lambda: reviews.fetch(root, later=options.all),
    }
    try:
        _say(initialise(root))
        for name in [options.name] if options.name else FOLDERS:
            _say(fetch[name]())
            keep_listing(root)
            _say(_prove(root, FOLDERS[name]))
    except TunesmithError as error:
        _say(str(error))
        return error.exit_code
    return 0


def _say(line: str | None) -> None:
    if line is not None:
        print(f"sample: {line}", file=sys.stderr)


def keep_listing(root: Path) -> None:
    """Put the listing that data.dvc names into DVC's cache, before all of the sample is here."""
    place = find_cache(root) / POINTER[:2] / POINTER[2:]
    if read_pointer(root) != POINTER or place.exists():
        return
    parts = {"digits": digits.list_files(root), "reviews": reviews.LISTING}
    listing = {f"{name}/{file}": md5 for name, part in parts.items() for file, md5 in part.items()}
    write_atomically(place, render_listing(listing))


def _prove(root: Path, folder: str) -> str:
    try:
        return prove(root, folder)
    except InputError as error:
        # The sample's own bytes were checked above. What else lies in data/, or was recorded in
        # data.dvc since, is the user's: that is said here and refused where it is used.
        return f"not proved by DVC. {error}"


if __name__ == "__main__":
    sys.exit(main())
