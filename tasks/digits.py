"""The image sample: handwritten digits that come with scikit-learn, as files of their own.

1,797 scans by 13 people, each reduced to 8 by 8 counts from 0 to 16 (Alpaydin and Kaynak 1998, UCI
Machine Learning Repository, "Optical Recognition of Handwritten Digits", CC BY 4.0), which
`sklearn.datasets.load_digits` reads from the installed package. The files are PGM, a header and
the bare pixels: a PNG's bytes would depend on the compression library of the machine.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from finetuning.errors import TunesmithError
from tasks.data_files import hash_folder
from tasks.data_state import folder_version

FOLDER = "data/digits"
VERSION = "d61bf8037d49a009a8351b5510d0c8f3.dir"  # the folder's MD5, as DVC writes it
SIDE = 8  # pixels
DARKEST = 16  # pixels of the scan that were black, in each of its blocks
_HEADER = f"P5\n{SIDE} {SIDE}\n255\n".encode("ascii")


def fetch(root: Path) -> str:
    """Put the digits into data/digits/, unless something is there that is not theirs.

    Args:
        root: The repository.

    Returns:
        One line that says what was done.

    Raises:
        TunesmithError: The installed scikit-learn has other digits.
    """
    found = hash_folder(root, FOLDER)
    if found and folder_version(found) == VERSION:
        return f"{FOLDER} is there already"
    built = build()
    listing = _hash(built)
    if folder_version(listing) != VERSION:
        raise TunesmithError(f"{FOLDER} was not built as expected; please report this")
    if not found.items() <= listing.items():
        return f"{FOLDER} holds data of your own: nothing was changed there"
    _write(root, {name: content for name, content in built.items() if name not in found})
    return f"{FOLDER} built from scikit-learn's digits"


def build() -> dict[str, bytes]:
    """The digits as images, white on black: path inside the folder -> content."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    # Rounded in whole numbers, so that no machine's floating point decides.
    pixels = (scans.images.astype(int) * 255 + DARKEST // 2) // DARKEST
    return {
        f"images/{label}/{number:04}.pgm": _HEADER + image.astype("uint8").tobytes()
        for number, (image, label) in enumerate(zip(pixels, scans.target, strict=True))
    }


def list_files(root: Path) -> dict[str, str]:
    """What data.dvc's listing has of the digits, wherever they are: path in the folder -> MD5."""
    found = hash_folder(root, FOLDER)
    return found if found and folder_version(found) == VERSION else _hash(build())


def _hash(files: Mapping[str, bytes]) -> dict[str, str]:
    return {
        name: hashlib.md5(content, usedforsecurity=False).hexdigest()
        for name, content in files.items()
    }


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    place = root / ".tunesmith"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        temporary = Path(folder) / "image"
        for name, content in files.items():
            path = root / FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
