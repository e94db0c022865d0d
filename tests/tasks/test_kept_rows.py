"""Stages on changed data: only new rows are worked on, and the outcome is a full rebuild's."""

import multiprocessing
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from prefect.logging import disable_run_logger

from finetuning import images, pieces, pixels
from finetuning.config import Pipeline
from finetuning.digests import digest_folder
from finetuning.sources import BaseModel
from tasks.data_files import hash_folder
from tasks.data_state import DataVersion, folder_version
from tasks.encoding import encode
from tasks.kept_rows import ENCODED, MEASURED, keep_pool, recall_pool
from tasks.planning import plan
from tasks.snapshot import snapshot
from tests.support import make_rows, write_table

TEXTS = {
    "name": "toys",
    "problem": "text-classification",
    "data": {"path": "data/toys", "train": "train.csv"},
    "model": {"base": "base"},
    "training": {"max_length": 16},
}
IMAGES = {
    "name": "signs",
    "problem": "image-classification",
    "data": {"path": "data/signs", "train": "train"},
    "model": {"base": "base"},
    "training": {"image_size": 8},
}


@pytest.fixture(autouse=True)
def _no_flow():
    """Outside a flow there is no run to log to."""
    with disable_run_logger():
        yield


def make_work(root, content, base, **training):
    """The work of a run on the data as it lies there."""
    changed = content | {"training": content["training"] | training}
    pipeline = Pipeline.model_validate(changed)
    files = hash_folder(root, pipeline.data.path)
    data = DataVersion(folder_version(files), "p.dir", files, True)
    return plan(root, pipeline, data, BaseModel("base", base, None, "b" * 64))


def run(work):
    """Snapshot and encode: what each says, and the digest of all that they made."""
    said = [snapshot.fn(work).why, encode.fn(work).why]
    made = [work.store.find(name, work.plans[name].key).folder for name in ("snapshot", "encode")]
    return said, [digest_folder(folder) for folder in made]


def rebuild(work):
    """The same, made whole."""
    shutil.rmtree(work.store.root)
    return run(work)


def test_only_new_texts_are_encoded(tmp_path, bert_folder):
    """Two rows edited, three added, one removed, others reordered; labels count for nothing."""
    rows = make_rows(60, seed=1)
    write_table(tmp_path / "data" / "toys" / "train.csv", rows)
    said, _ = run(make_work(tmp_path, TEXTS, bert_folder))
    assert said == ["first run", "first run"]
    edited = [(f"{rows[0][0]} edited", *rows[0][1:]), ("another one", *rows[1][1:]), *rows[2:59]]
    relabelled = ("and a third label", "neutral", "web")  # every label's number changes
    changed = [*reversed(edited), *make_rows(2, seed=9), relabelled]
    write_table(tmp_path / "data" / "toys" / "train.csv", changed)
    work = make_work(tmp_path, TEXTS, bert_folder)
    said, made = run(work)
    assert said[1].endswith("; encoded 5 new rows, 57 kept")
    assert rebuild(work)[1] == made


def test_what_shapes_an_encoding_is_asked_for(tmp_path, bert_folder):
    """Another length, another base: nothing that was kept is used."""
    write_table(tmp_path / "data" / "toys" / "train.csv", make_rows(20, seed=1))
    run(make_work(tmp_path, TEXTS, bert_folder))
    write_table(tmp_path / "data" / "toys" / "train.csv", make_rows(21, seed=1))
    assert "kept" not in run(make_work(tmp_path, TEXTS, bert_folder, max_length=8))[0][1]
    assert "kept" in run(make_work(tmp_path, TEXTS, bert_folder))[0][1]


def damage(file):
    """Another byte in the middle, the size as it was."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("spoil", [damage, lambda file: file.unlink()], ids=["byte", "gone"])
def test_a_damaged_pool_is_a_miss(tmp_path, bert_folder, spoil):
    """All rows are encoded again, and kept for the next time."""
    write_table(tmp_path / "data" / "toys" / "train.csv", make_rows(20, seed=1))
    work = make_work(tmp_path, TEXTS, bert_folder)
    run(work)
    (file,) = work.store.root.glob(f"{ENCODED}/*/tokens.npy")
    spoil(file)
    assert recall_pool(work).sources == ()
    write_table(tmp_path / "data" / "toys" / "train.csv", make_rows(21, seed=1))
    assert "kept" not in run(make_work(tmp_path, TEXTS, bert_folder))[0][1]
    write_table(tmp_path / "data" / "toys" / "train.csv", make_rows(22, seed=1))
    assert run(make_work(tmp_path, TEXTS, bert_folder))[0][1].endswith("1 new rows, 21 kept")


def test_texts_encoded_in_parts_are_those_encoded_at_once(tmp_path, bert_folder, monkeypatch):
    """Seven rows at a time, texts twice and labels missing among them: the same files."""
    rows = [*make_rows(40, seed=1), *make_rows(5, seed=1), ("alone", "", "web")]
    write_table(tmp_path / "data" / "toys" / "train.csv", rows)
    work = make_work(tmp_path, TEXTS, bert_folder)
    _, whole = run(work)
    monkeypatch.setattr(pieces, "ROWS_AT_ONCE", 7)
    assert rebuild(work)[1] == whole
    assert len(recall_pool(work).digests) == 40


def keep_often(work, pool):
    """Another run's part: keep and recall, again and again."""
    with disable_run_logger():
        for _ in range(10):
            keep_pool(work, pool)
            if not recall_pool(work).sources:
                raise SystemExit("a pool that was being replaced was seen as none")


def test_two_processes_at_once_are_safe(tmp_path, bert_folder):
    """Both replace what is kept and read it: neither fails, and what is left is whole."""
    write_table(tmp_path / "data" / "toys" / "train.csv", make_rows(20, seed=1))
    work = make_work(tmp_path, TEXTS, bert_folder)
    run(work)
    pool = recall_pool(work)
    fresh = replace(pool, made=1)
    # Not forked: what the other tests' libraries do in threads is not this test's business.
    begin = multiprocessing.get_context("spawn").Process
    both = [begin(target=keep_often, args=(work, fresh)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    assert len(recall_pool(work).places) == 20


def write_image(root, label, number):
    """An image of its own."""
    file = root / "data" / "signs" / "train" / label / f"{number}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng([ord(label), number])
    Image.fromarray(draw.integers(0, 255, (12, 9), np.uint8)).save(file)


def test_only_new_images_are_decoded(tmp_path, monkeypatch):
    """Forty are known: of one that is replaced, one added and one moved, two are decoded."""
    base = images.Path(images.__file__).parent / "architectures" / "resnet20"
    for number in range(20):
        write_image(tmp_path, "a", number)
        write_image(tmp_path, "b", number)
    run(make_work(tmp_path, IMAGES, base))
    folder = tmp_path / "data" / "signs" / "train"
    write_image(tmp_path, "a", 100)
    (folder / "b" / "100.png").write_bytes((folder / "a" / "100.png").read_bytes())
    write_image(tmp_path, "a", 101)
    (folder / "b" / "0.png").write_bytes((folder / "a" / "101.png").read_bytes())
    (folder / "a" / "1.png").rename(folder / "a" / "moved.png")
    (folder / "b" / "broken.png").write_bytes(b"no image")
    opened = []

    def count(content):
        opened.append(content)
        return open_image(content)

    open_image = images.open_image
    for module in (images, pixels):
        monkeypatch.setattr(module, "open_image", count)
    work = make_work(tmp_path, IMAGES, base)
    said, made = run(work)
    assert said[0].endswith("; read 2 new images, 39 kept")
    assert "encoded" in said[1]
    assert len(set(opened)) == 3  # two new ones, and the one that cannot be read
    assert list(work.store.root.glob(f"{MEASURED}/*/found.json"))
    assert rebuild(work)[1] == made
