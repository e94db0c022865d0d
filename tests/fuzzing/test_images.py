"""Images of any content, at any path: measured, or a fault of their row."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from finetuning.config import Data
from finetuning.images import Measured, measure_image
from finetuning.snapshots import spell_out, take_snapshot
from tests.fuzzing.survival import survive
from tests.fuzzing.values import CELLS, splice

KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def draw_image(kind, side=9):
    """A small sound image of a format."""
    noise = np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


SOUND = [draw_image(kind) for kind in KINDS]


def measure(folder, path):
    """What is known of an image: its size, or what is wrong with it."""
    measured = measure_image(folder, path)
    assert isinstance(measured, Measured)
    assert (measured.width is None) == (measured.fault is not None)
    return measured


@given(
    data=st.data(),
    name=st.sampled_from(["a.png", "a.jpg", "a.svg", "a.eps", "a.txt", "a"]),
)
def test_any_bytes_are_an_image_or_a_fault(tmp_path, data, name):
    """Damaged files of every format, and bytes of none, whatever they are called."""
    content = data.draw(splice(SOUND) | st.binary(max_size=100))
    (tmp_path / name).write_bytes(content)
    assert survive(measure, tmp_path, name) is not None


PATHS = st.one_of(
    CELLS,
    st.lists(
        st.sampled_from(["..", ".", "", "a.png", "/", "b", "~", "CON", "\x00", "a" * 300]),
        min_size=1,
        max_size=5,
    ).map("/".join),
)


@given(path=PATHS)
def test_any_path_leads_to_an_image_of_the_folder_or_to_a_fault(tmp_path, path):
    """What is measured is the one image that the folder holds, never the one beside it."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(SOUND[0])
    (tmp_path / "a.png").write_bytes(draw_image("PNG", 5))
    measured = survive(measure, folder, path)
    assert measured.width in (None, 9)


@given(cells=st.lists(st.tuples(PATHS, CELLS), min_size=1, max_size=5))
def test_any_table_of_paths_is_rows_or_a_fault(tmp_path, cells):
    """A row that leads nowhere is a row with a fault, and stops no other."""
    import csv

    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8", errors="ignore") as file:
        csv.writer(file).writerows([("image", "label"), *cells])
    data = Data(path="data/x", train="a.csv")
    rows = survive(take_snapshot, tmp_path, data, "image-classification")
    assert rows is None or set(spell_out(rows)["image.width"]) <= {None, "9"}
