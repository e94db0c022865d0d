"""Data that change during a run: it goes on with the version that it began with, or stops."""

import os
import shutil

import pytest
from PIL import Image
from prefect.logging import disable_run_logger

from finetuning.config import Pipeline
from finetuning.digests import PROJECT, digest_folder
from finetuning.errors import InputError
from finetuning.sources import BaseModel
from tasks import snapshot as snapshots
from tasks.data_files import hash_folder
from tasks.data_state import DataVersion, find_cache, folder_version
from tasks.encoding import encode
from tasks.pinned_data import VERSIONS, pin
from tasks.planning import plan, settle
from tasks.snapshot import snapshot
from tests.support import make_rows, write_table

TEXTS = {
    "name": "toys",
    "problem": "text-classification",
    "data": {"path": "data/toys"},
    "model": {"base": "base"},
}
IMAGES = {
    "name": "signs",
    "problem": "image-classification",
    "data": {"path": "data/signs", "train": "train"},
    "model": {"base": "base"},
    "training": {"image_size": 8},
}


TABLE = "data/toys/train.csv"
BASE = PROJECT / "finetuning" / "architectures" / "resnet20"


@pytest.fixture(autouse=True)
def _no_flow():
    """Outside a flow there is no run to log to."""
    with disable_run_logger():
        yield


def begin(root, content, cached=True):
    """The work of a run on the data as they lie there; `dvc add` has put them into its cache."""
    pipeline = Pipeline.model_validate(content)
    files = hash_folder(root, pipeline.data.path)
    for name, md5 in files.items() if cached else ():
        kept = find_cache(root) / md5[:2] / md5[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / pipeline.data.path / name, kept)
    data = DataVersion(folder_version(files), "p.dir", files, True)
    return plan(root, pipeline, data, BaseModel("base", BASE, None, "b" * 64))


@pytest.fixture
def root(tmp_path):
    """A project's folder with a table."""
    write_table(tmp_path / "project" / TABLE, make_rows(40, seed=1))
    return tmp_path / "project"


def see(work, stage):
    """The digest of all that a stage made."""
    return digest_folder(work.store.find(stage, work.plans[stage].key).folder)


def change(table):
    """Other rows take the table's place, as a pull or an editor does it."""
    other = table.with_suffix(".new")
    write_table(other, make_rows(10, seed=2))
    other.replace(table)


@pytest.mark.parametrize("moment", ["before", "while", "gone"])
def test_a_run_reads_the_rows_that_it_began_with(root, monkeypatch, moment):
    """Changed before they are read, while they are, or removed: the snapshot is the planned one."""
    expected = begin(shutil.copytree(root, root.with_name("undisturbed")), TEXTS)
    snapshot.fn(expected)
    work = begin(root, TEXTS)
    real, disturbed = snapshots.take_snapshot, []

    def take(*words):
        if moment == "while" and not disturbed:
            disturbed.append(True)
            change(root / TABLE)
        return real(*words)

    monkeypatch.setattr(snapshots, "take_snapshot", take)
    if moment == "before":
        change(root / TABLE)
    if moment == "gone":
        (root / TABLE).unlink()
    snapshot.fn(work)
    assert see(work, "snapshot") == see(expected, "snapshot")
    assert work.store.look("snapshot", work.plans["snapshot"].key)["rows"]["test"] == 8


def test_what_no_cache_holds_stops_the_run(root):
    """The file is named, and nothing is kept; a damaged copy in the cache is none."""
    work = begin(root, TEXTS, cached=False)
    change(root / TABLE)
    with pytest.raises(InputError) as caught:
        snapshot.fn(work)
    assert "train.csv is not in DVC's cache" in str(caught.value)
    assert work.store.find("snapshot", work.plans["snapshot"].key) is None
    md5 = work.data.files["train.csv"]
    kept = find_cache(root) / md5[:2] / md5[2:]
    kept.parent.mkdir(parents=True)
    kept.write_text("something else")
    with pytest.raises(InputError):
        pin(work)
    assert not (work.state / VERSIONS / work.data.version.removesuffix(".dir")).exists()


def test_an_undisturbed_run_copies_nothing(root):
    """The data's own folder is read, and a file that was only touched is the same."""
    work = begin(root, TEXTS)
    os.utime(root / TABLE, (1, 1))
    assert pin(work) == root / "data" / "toys"
    assert not (work.state / VERSIONS).exists()


def test_images_are_encoded_as_they_were(tmp_path):
    """One is replaced and one removed between the stages; the arrays are an undisturbed run's."""
    folder = tmp_path / "project" / "data" / "signs" / "train"
    for number in range(12):
        path = folder / ("left", "right")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 20 * number).save(path)
    shutil.copytree(tmp_path / "project", tmp_path / "undisturbed")
    made = []
    for name in ("undisturbed", "project"):
        work = begin(tmp_path / name, IMAGES)
        snapshot.fn(work)
        work = settle(work)
        if name == "project":
            (folder / "left" / "0.png").unlink()
            (folder / "right" / "1.png").unlink()
            Image.new("L", (9, 9), 255).save(folder / "right" / "1.png")
        encode.fn(work)
        made.append(see(work, "encode"))
    assert made[0] == made[1]
    assert work.store.look("encode", work.plans["encode"].key)["rows"]["train"] == 8
