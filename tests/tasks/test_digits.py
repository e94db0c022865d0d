"""The image sample: scikit-learn's digits as files, and never over a user's own data."""

import numpy as np
import pytest

from finetuning.errors import TunesmithError
from finetuning.images import open_image
from tasks import digits
from tasks.data_files import hash_folder


def test_files_are_the_digits():
    """Every one is there, under its label, and Pillow reads the counts that scikit-learn gives."""
    from sklearn.datasets import load_digits

    scans, built = load_digits(), digits.build()
    assert list(built)[:2] == ["images/0/0000.pgm", "images/1/0001.pgm"]
    assert [int(name.split("/")[1]) for name in built] == scans.target.tolist()
    for content, image in zip(list(built.values())[:50], scans.images, strict=False):
        found = open_image(content)
        assert (found.size, found.mode) == ((8, 8), "L")
        np.testing.assert_array_equal(np.rint(np.asarray(found, float) * 16 / 255), image)


def test_fetched_once_and_completed(tmp_path, monkeypatch):
    """The second call does not build; a file that is gone comes back."""
    assert "built" in digits.fetch(tmp_path)
    listing = hash_folder(tmp_path, digits.FOLDER)
    assert len(listing) == 1797
    assert digits.list_files(tmp_path) == listing
    (tmp_path / digits.FOLDER / "images/3/0003.pgm").unlink()
    assert "built" in digits.fetch(tmp_path)
    assert hash_folder(tmp_path, digits.FOLDER) == listing
    monkeypatch.setattr(digits, "build", lambda: pytest.fail("built again"))
    assert "already" in digits.fetch(tmp_path)


@pytest.mark.parametrize("name", ["images/0/0000.pgm", "images/mine.pgm"])
def test_own_data_is_never_overwritten(tmp_path, name):
    """A digit that the user drew anew, or an image of the user's own, is left alone."""
    path = tmp_path / digits.FOLDER / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert "your own" in digits.fetch(tmp_path)
    assert [one for one in (tmp_path / "data").rglob("*") if one.is_file()] == [path]
    assert path.read_bytes() == b"mine"


def test_other_digits_are_refused(tmp_path, monkeypatch):
    """What a changed scikit-learn would give is not passed off as the sample."""
    monkeypatch.setattr(digits, "build", lambda: {"images/0/0000.pgm": b"other"})
    with pytest.raises(TunesmithError, match="not built as expected"):
        digits.fetch(tmp_path)
    assert not (tmp_path / "data").exists()
