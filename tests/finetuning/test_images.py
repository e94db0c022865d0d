"""Images read by Pillow: what is found in a folder, and what is wrong with a file."""

import io
import struct
import zlib

import numpy as np
import pandas
import pytest
from PIL import Image

from finetuning import images
from finetuning.config import Columns
from finetuning.errors import InputError
from finetuning.images import UnreadableImageError, measure, open_image, read

COLUMNS = Columns.model_validate({})
GRID = np.arange(120, dtype=np.uint8).reshape(10, 12)


def encode(pixels, kind="PNG", mode=None, **options):
    """A file's bytes."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def measure_one(folder, content, name="a.png"):
    """What is measured of one file, as a dictionary."""
    (folder / name).write_bytes(content)
    rows = pandas.DataFrame({"image": [name], "label": ["x"]}, dtype=object)
    return measure(folder, rows, COLUMNS).iloc[0].to_dict()


def test_class_folders_become_a_table(tmp_path):
    """Sorted paths inside the data folder and the folder's name as label; traces are left."""
    for name in ("train/b/2.png", "train/a/deep/1.png", "train/b/1.png", "train/b/.DS_Store",
                 "train/b/Thumbs.db", "train/loose.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    columns, rows = read(tmp_path, "train", "data.train", COLUMNS)
    assert columns == ["image", "label"]
    assert rows == [["train/a/deep/1.png", "a"], ["train/b/1.png", "b"], ["train/b/2.png", "b"]]


def test_a_table_of_paths_is_read_as_a_table(tmp_path):
    """As text is, with whatever other columns it has."""
    (tmp_path / "train.csv").write_text("image,label,camera\nx/1.png,cat,left\n")
    assert read(tmp_path, "train.csv", "data.train", COLUMNS) == (
        ["image", "label", "camera"], [["x/1.png", "cat", "left"]],
    )  # fmt: skip


def test_a_folder_without_class_folders_is_refused(tmp_path):
    """Images that lie loose have no label."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.png").write_bytes(b"x")
    with pytest.raises(InputError, match="one folder a label"):
        read(tmp_path, "train", "data.train", COLUMNS)


def test_measures_by_hand(tmp_path):
    """Width before height, the spread of the values, and no fault."""
    found = measure_one(tmp_path, encode(GRID))
    assert {name: value for name, value in found.items() if name != "key"} == {
        "image.width": "12", "image.height": "10", "image.mode": "grey",
        "image.contrast": "119", "image.fault": None,
    }  # fmt: skip


def test_the_same_pixels_have_the_same_key(tmp_path):
    """Whatever the format, and grey that was saved as colour; one pixel makes another key."""
    same = [encode(GRID), encode(GRID, "BMP"), encode(GRID, mode="RGB")]
    keys = {measure_one(tmp_path, content)["key"] for content in same}
    other = GRID.copy()
    other[3, 4] ^= 1
    assert len(keys) == 1
    assert measure_one(tmp_path, encode(other))["key"] not in keys
    assert measure_one(tmp_path, encode(GRID.reshape(12, 10)))["key"] not in keys


def make_bomb(width, height):
    """A PNG of a few bytes whose header names a huge image."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [8_000, 60_000])
def test_a_bomb_is_not_unpacked(tmp_path, side):
    """Below and above Pillow's own limit, its size is read from the header alone."""
    assert side**2 > images.LARGEST_IMAGE
    fault = measure_one(tmp_path, make_bomb(side, side))["image.fault"]
    assert fault == "more than 50,000,000 pixels"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_an_image_that_is_cut_off_is_found(tmp_path, kind):
    """In every format; the whole one is read."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = encode(noise, kind)
    assert measure_one(tmp_path, whole)["image.fault"] is None
    assert measure_one(tmp_path, whole[: len(whole) // 2])["image.fault"] in (
        "damaged or cut off", "not an image of a known format",
    )  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_found(tmp_path, content):
    """Nothing, text, and a format whose decoder would start a program."""
    assert measure_one(tmp_path, content)["image.fault"] == "not an image of a known format"


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "x/../../secret.png"])
def test_nothing_outside_the_data_folder_is_read(tmp_path, path):
    """Such a path is a fault of its row."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(encode(GRID))
    rows = pandas.DataFrame({"image": [path], "label": ["x"]}, dtype=object)
    assert measure(folder, rows, COLUMNS)["image.fault"][0] == "not a path inside the data folder"


def test_a_missing_file_is_found(tmp_path):
    """By its row, and rows of missing files are not the same image."""
    rows = pandas.DataFrame({"image": ["a.png", "b.png"], "label": ["x", "y"]}, dtype=object)
    found = measure(tmp_path, rows, COLUMNS)
    assert list(found["image.fault"]) == ["no such file"] * 2
    assert found["key"].nunique() == 2


def test_sixteen_bits_keep_their_upper_eight():
    """Not cut off at 255, as Pillow's own conversion does."""
    deep = (np.arange(16, dtype=np.uint16).reshape(4, 4) << 12) | 0xFFF
    found = np.asarray(open_image(encode(deep)))
    np.testing.assert_array_equal(found, deep >> 8)


def test_transparency_is_laid_over_white():
    """A pixel that cannot be seen is white, whatever colour stands under it; half is half."""
    pixels = np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 255, 128]]], np.uint8)
    found = np.asarray(open_image(encode(pixels))).tolist()
    assert found[0][:2] == [[255, 255, 255], [0, 0, 0]]
    assert found[0][2] == pytest.approx([127, 127, 255], abs=1)


def test_an_image_is_turned_upright():
    """As its EXIF says: 6 is a quarter turn clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    found = np.asarray(open_image(encode(GRID, exif=exif)))
    np.testing.assert_array_equal(found, np.rot90(GRID, -1))


def test_values_without_a_scale_are_refused():
    """Floating-point pixels may lie anywhere."""
    with pytest.raises(UnreadableImageError, match="scale is unknown"):
        open_image(encode(np.ones((4, 4), np.float32), "TIFF"))
