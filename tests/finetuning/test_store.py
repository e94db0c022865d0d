"""The store: what was kept is found again exactly, or not at all."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from finetuning.store import MANIFEST, Store

DIGEST = "0123456789abcdef" * 4
FACTS = {"rows": 3, "share": 0.1, "names": ["a", "ü"], "none": None}


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "store")


def fill(folder):
    """What a stage makes: two files, one of them in a folder, and facts."""
    (folder / "rows.txt").write_text("some rows\n")
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(bytes(range(64)))
    return FACTS


def names_in(folder):
    """All that lies under a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_what_is_kept_is_found(store):
    """Files and facts are those that were made, and nothing temporary is left."""
    assert store.find("train", DIGEST) is None
    kept = store.keep("train", DIGEST, fill, {"config": {"a": 1}})
    assert kept.facts == FACTS
    assert store.find("train", DIGEST) == kept
    assert (kept.folder / "rows.txt").read_text() == "some rows\n"
    assert names_in(store.root / "train") == [
        DIGEST,
        *(f"{DIGEST}/{name}" for name in (MANIFEST, "model", "model/weights", "rows.txt")),
    ]  # fmt: skip
    assert json.loads((kept.folder / MANIFEST).read_text())["components"] == {"config": {"a": 1}}


def test_stages_and_digests_are_kept_apart(store):
    """The same digest under another stage, or another digest, is another entry."""
    store.keep("train", DIGEST, fill)
    assert store.find("encode", DIGEST) is None
    assert store.find("train", DIGEST[::-1]) is None


def test_facts_are_the_same_the_first_time_and_later(store):
    """Tuples become lists and keys text at once, not only when read again."""
    kept = store.keep("train", DIGEST, lambda _: {"pair": (1, 2), "map": {10: "a", 9: "b"}})
    assert kept.facts == {"pair": [1, 2], "map": {"10": "a", "9": "b"}}
    assert store.find("train", DIGEST) == kept


@pytest.mark.parametrize("name", ["rows.txt", "model/weights", MANIFEST])
@pytest.mark.parametrize("harm", ["delete", "empty", "truncate", "lengthen", "folder"])
def test_a_damaged_file_is_a_miss(store, name, harm):
    """Deleted, emptied, cut short, lengthened or replaced by a folder: never a wrong answer."""
    path = store.keep("train", DIGEST, fill).folder / name
    data = path.read_bytes()
    path.unlink()
    if harm == "folder":
        path.mkdir()
    elif harm != "delete":
        path.write_bytes({"empty": b"", "truncate": data[:-1], "lengthen": data + b"x"}[harm])
    assert store.find("train", DIGEST) is None
    if name != MANIFEST:
        assert store.find("train", DIGEST, verify=False) is None


@pytest.mark.parametrize("name", ["rows.txt", "model/weights", MANIFEST])
def test_any_flipped_bit_is_a_miss(store, name):
    """A flipped bit in any byte is found, unless nothing that it says changed (white space)."""
    kept = store.keep("train", DIGEST, fill)
    path = kept.folder / name
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in (0, 3, 5):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            found = store.find("train", DIGEST)
            assert found is None or (name == MANIFEST and found == kept), (place, bit)
    path.write_bytes(data)
    assert store.find("train", DIGEST) == kept


def test_facts_are_looked_at_without_the_files(store):
    """They say what was made, also where its files are gone; a changed manifest says nothing."""
    assert store.look("train", DIGEST) is None
    entry = store.keep("train", DIGEST, fill)
    (entry.folder / "rows.txt").unlink()
    assert store.look("train", DIGEST) == FACTS
    manifest = entry.folder / MANIFEST
    manifest.write_text(manifest.read_text().replace("0.1", "0.2"))
    assert store.look("train", DIGEST) is None


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", "1", '{"facts": {}}', '{"facts": {}, "files": {}}',
     '{"facts": 1, "files": 2, "digest": 3}', '{"facts": {}, "files": {"a": []}, "digest": ""}'],
)  # fmt: skip
def test_a_strange_manifest_is_a_miss(store, content):
    """Whatever JSON stands there."""
    kept = store.keep("train", DIGEST, fill)
    (kept.folder / MANIFEST).write_text(content)
    assert store.find("train", DIGEST) is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stage_that_fails_leaves_nothing(store, error):
    """Half of an entry is never found, not even on the disk."""

    def fail(folder):
        fill(folder)
        raise error("half way")

    with pytest.raises(error):
        store.keep("train", DIGEST, fail)
    assert store.find("train", DIGEST) is None
    assert names_in(store.root) == ["train"]


def test_facts_that_are_not_json_leave_nothing(store):
    """A model among the facts is refused, and so is its entry."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        store.keep("train", DIGEST, lambda _: {"model": object()})
    assert names_in(store.root) == ["train"]


@pytest.mark.parametrize("name", ["rows.txt", MANIFEST])
def test_a_damaged_entry_is_replaced(store, name):
    """The next run makes it anew, and the damaged one is gone."""
    kept = store.keep("train", DIGEST, fill)
    (kept.folder / name).write_text("damaged")
    assert store.keep("train", DIGEST, fill) == kept
    assert store.find("train", DIGEST) == kept
    assert names_in(store.root)[:2] == ["train", f"train/{DIGEST}"]
    assert len(names_in(store.root / "train")) == 5


def test_what_cannot_be_moved_says_why(store, monkeypatch):
    """A disk that fails at the very last step leaves the reason, and no half entry."""
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(*_):
        raise full

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        store.keep("train", DIGEST, fill)
    assert caught.value is full
    assert names_in(store.root) == ["train"]


def test_the_first_of_two_equal_entries_stays(store):
    """A second run that made the same finds it there, and leaves it to those who read it."""
    first = store.keep("train", DIGEST, fill)
    mark = (first.folder / "rows.txt").stat().st_ino
    assert store.keep("train", DIGEST, fill) == first
    assert (first.folder / "rows.txt").stat().st_ino == mark
    assert len(os.listdir(store.root / "train")) == 1  # noqa: PTH208


def test_two_runs_may_keep_the_same_at_once(store):
    """Both are inside `make` together; both get the same entry."""
    barrier = threading.Barrier(2, timeout=10)
    kept = []

    def make(folder):
        barrier.wait()
        return fill(folder)

    threads = [
        threading.Thread(target=lambda: kept.append(store.keep("train", DIGEST, make)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == [store.find("train", DIGEST)] * 2
    assert len(names_in(store.root / "train")) == 5
