"""Hashing the working files: each once, and nothing that could change unseen or lead away."""

import os

import pytest

from finetuning.errors import InputError
from tasks import data_files

FOLDER = "data/reviews"
LATER = 60 * 10**9


@pytest.fixture
def plain(tmp_path):
    """A folder with two data sets, without git and DVC."""
    for name in ("reviews/train.csv", "reviews/test.csv", "tickets/rows.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text,label\ngood {name},positive\n")
    return tmp_path


@pytest.fixture
def time_passed(monkeypatch):
    """The clock a minute later, so that hashes of files just written are remembered."""
    now = data_files.time.time_ns
    monkeypatch.setattr(data_files.time, "time_ns", lambda: now() + LATER)


def refusal(root, folder):
    """What the user is told when the folder is refused."""
    with pytest.raises(InputError) as caught:
        data_files.hash_folder(root, folder)
    return str(caught.value)


@pytest.mark.usefixtures("time_passed")
def test_set_back_clock_hides_nothing(plain):
    """A change of the same length under the old modification time is found all the same."""
    before = data_files.hash_folder(plain, FOLDER)
    path = plain / FOLDER / "train.csv"
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"good", b"goog"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert data_files.hash_folder(plain, FOLDER)["train.csv"] != before["train.csv"]


def test_fresh_files_are_not_remembered(plain, monkeypatch):
    """A hash taken in the moment of writing is not trusted later: the file could change unseen."""
    memory = plain / ".tunesmith/hashes/data%2Freviews.json"
    data_files.hash_folder(plain, FOLDER)
    assert not memory.exists()
    now = data_files.time.time_ns
    monkeypatch.setattr(data_files.time, "time_ns", lambda: now() + LATER)
    expected = data_files.hash_folder(plain, FOLDER)
    assert memory.exists()
    monkeypatch.setattr(data_files, "hash_file", lambda _path: pytest.fail("read again"))
    assert data_files.hash_folder(plain, FOLDER) == expected


@pytest.mark.parametrize("content", ["{", "[]", '{"train.csv": 3, "test.csv": ["x"]}'])
def test_damaged_memory_is_ignored(plain, content):
    """A damaged file of remembered hashes costs time, nothing else."""
    expected = data_files.hash_folder(plain, FOLDER)
    memory = plain / ".tunesmith/hashes/data%2Freviews.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(content)
    assert data_files.hash_folder(plain, FOLDER) == expected


def test_links_out_are_refused(plain, tmp_path_factory):
    """Links that leave data/, and links to folders, which DVC would miss, are refused by name."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.csv").write_text("secret\n")
    (plain / "data/linked").symlink_to(outside)
    assert "symbolic link" in refusal(plain, "data/linked")
    (plain / FOLDER / "secret.csv").symlink_to(outside / "secret.csv")
    (plain / FOLDER / "folder").symlink_to(plain / "data/tickets")
    (plain / FOLDER / "broken.csv").symlink_to("nowhere")
    said = refusal(plain, FOLDER)
    assert all(name in said for name in ("secret.csv", "folder", "broken.csv"))


@pytest.mark.parametrize(
    "folder",
    ["data", "data/../secrets", "/etc", "reviews", "data/..", "", "data/reviews/train.csv"],
)
def test_folder_outside_is_refused(plain, folder):
    """Only folders inside data/ are data sets, whatever path leads elsewhere."""
    assert "data.path" in refusal(plain, folder)
