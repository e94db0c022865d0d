"""Labelled images as a table: class folders or a table of paths, each image decoded and measured.

Pillow alone reads them. Nothing that a file holds stops the reading: what is wrong with an image
stands in its row, where validation finds it.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import wrong
from finetuning.known_contents import Memory
from finetuning.places import locate
from finetuning.progress import track
from finetuning.tables import read_cells

if TYPE_CHECKING:
    import pandas
    from PIL.Image import Image as Picture

    from finetuning.config import Columns

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # those whose decoders run no code
LARGEST_IMAGE = 50_000_000  # pixels; a small file can unpack to gigabytes
LARGEST_FILE = 500_000_000  # bytes, ten a pixel of the largest image
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")  # sixteen bits a pixel
UNREAD_MODES = ("I", "F", "LAB", "HSV")  # no scale from black to white is known for these
TRACES = ("thumbs.db", "desktop.ini")  # what file managers leave behind
MEASURES = ("width", "height", "mode", "contrast", "fault")


@dataclass(frozen=True)
class Measured:
    """What is known of one image; all but fault and key is None where it cannot be read."""

    key: str
    width: int | None = None
    height: int | None = None
    mode: str | None = None  # grey or colour
    contrast: int | None = None  # lightest minus darkest value, 0 to 255
    fault: str | None = None


def read(
    folder: Path, name: str, key: str, columns: Columns
) -> tuple[list[str], list[list[str | None]]]:
    """The images of class folders, or the table in a file; paths are relative to the data folder.

    Raises:
        InputError: There is no such file or folder, or the folder holds no folder with images.
    """
    place = folder / name
    if not place.is_dir():
        return read_cells(place, key)
    rows: list[list[str | None]] = [
        [path.relative_to(folder).as_posix(), label.name]
        for label in sorted(place.iterdir())
        if label.is_dir() and not label.name.startswith(".")
        for path in sorted(label.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name.lower() not in TRACES
    ]
    if not rows:
        raise wrong(key, name, "The folder holds no images: give it one folder a label.")
    return [columns.image, columns.label], rows


def measure(
    folder: Path, rows: pandas.DataFrame, columns: Columns, memory: Memory | None = None
) -> pandas.DataFrame:
    """Each image's `key`, the digest of its pixels, and what there is to be expected of it.

    The other columns are image.width and image.height in pixels, image.mode (grey or colour),
    image.contrast (lightest minus darkest value) and image.fault (why it cannot be read), as text.
    An image that the memory knows is not decoded.
    """
    import pandas

    paths, known = rows[columns.image], memory or Memory()
    cells = track(paths, "reading images", len(paths))
    found = [measure_image(folder, path, known) for path in cells]
    values = {
        f"image.{name}": [
            None if (value := getattr(one, name)) is None else str(value) for one in found
        ]
        for name in MEASURES
    }
    return pandas.DataFrame({"key": [one.key for one in found], **values}, index=rows.index)


def measure_image(folder: Path, path: str | None, memory: Memory | None = None) -> Measured:
    """Decode one image and measure it; what cannot be read is known by its path alone."""
    if path is None:
        return Measured(_digest(b""), fault=None)
    try:
        content = find_image(folder, path)
        known = (memory or Memory()).recall(content, lambda: _measure(content))
    except UnreadableImageError as error:
        return Measured(_digest(path.encode("utf-8", "surrogatepass")), fault=str(error))
    return Measured(*known)


def _measure(content: bytes) -> list[str | int]:
    """Key, width, height, mode and contrast of an image that can be read."""
    import numpy as np

    image = open_image(content)
    pixels = np.asarray(image)
    mode = "grey" if image.mode == "L" else "colour"
    contrast = int(pixels.max()) - int(pixels.min())
    return [digest_image(image), image.width, image.height, mode, contrast]


def digest_image(image: Picture) -> str:
    """The digest of an image's pixels, as `open_image` gives them: its row's key."""
    return _digest(repr((image.size, image.mode)).encode() + image.tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


class UnreadableImageError(Exception):
    """An image that cannot be taken; the message says why, in a few words."""


def find_image(folder: Path, path: str) -> bytes:
    """The bytes of an image in the data set's folder.

    Raises:
        UnreadableImageError: It is missing, no file, too large, or does not lie in the folder.
    """
    place = locate(folder, path)
    if place is None:
        raise UnreadableImageError("not a path inside the data folder")
    try:
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise UnreadableImageError("not a file")
        if status.st_size > LARGEST_FILE:
            raise UnreadableImageError(f"more than {LARGEST_FILE:,} bytes")
        return place.read_bytes()
    except FileNotFoundError:
        raise UnreadableImageError("no such file") from None
    except OSError as error:
        raise UnreadableImageError(error.strerror or "cannot be read") from None


def open_image(content: bytes) -> Picture:
    """An image's pixels, upright, of mode L (grey) or RGB; transparency is laid over white.

    Of an animation it is the first frame; of sixteen bits a pixel the upper eight are kept.

    Raises:
        UnreadableImageError: It is no image of the known formats, too large, damaged or cut off, or
            its values have no known scale.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # The size is checked here before anything is unpacked.
            warnings.simplefilter("ignore")
            image: Any = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > LARGEST_IMAGE:
                raise UnreadableImageError(f"more than {LARGEST_IMAGE:,} pixels")
            image.load()
            if image.mode in UNREAD_MODES:
                raise UnreadableImageError(f"values of mode {image.mode}, whose scale is unknown")
            upright: Picture = _simplify(ImageOps.exif_transpose(image))
            return upright
    except (UnreadableImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more than {LARGEST_IMAGE:,} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image of a known format") from None
    except Exception:  # a decoder may raise anything on a damaged file
        raise UnreadableImageError("damaged or cut off") from None


def _simplify(image: Any) -> Any:
    import numpy as np
    from PIL import Image

    if image.mode in DEEP_MODES:
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "1" or image.mode == "L":
        return image.convert("L")
    image = image.convert("RGB")
    # Grey that was saved as colour is grey: what is the same to the eye has one key.
    pixels = np.asarray(image)
    grey = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    return image.getchannel(0) if grey else image
