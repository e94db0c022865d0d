"""Small files that would become huge, and texts made to be slow: bounded like all others.

The bounds hold for files of up to 12 MB.
"""

import io
import json
import zlib

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import settings
from PIL import Image

from finetuning import cells
from finetuning.config import Data
from finetuning.errors import InputError
from finetuning.images import measure_image
from finetuning.pipelines import LARGEST_FILE, load_pipeline
from finetuning.snapshots import spell_out, take_snapshot
from finetuning.streams import find_source
from flows.beginning import look
from flows.judging import judge_tables
from flows.webhooks import read_delivery
from tasks.validation import validate_rows
from tests.finetuning.test_images import make_bomb
from tests.fuzzing.survival import survive
from tests.pipeline_files import write

TABLE_MEMORY = 2**30  # bytes that a table of up to 12 MB may add
IMAGE_MEMORY = 2**30  # bytes that an image may add, of up to 50 million pixels
SMALL_MEMORY = 2**28  # what a pipeline file or a delivery of the largest size may add
LONG = cells.LONGEST_CELL


def deliver(count, text):
    """A csv file of this text often."""
    return b"text,label\n" + f"{text},pro\n".encode() * count


TABLES = {
    "unclosed.csv": b'text,label\n"' + b"a,b\n" * 2_500_000,
    "cell.csv": b"text,label\n" + b"a" * LONG + b",pro\nbad film,con\n",
    "cell-too-long.csv": b"text,label\n" + b"a" * (LONG + 1) + b",pro\nbad film,con\n",
    "wide-cell.csv": "text,label\n{},pro\nbad film,con\n".format("\U0001f600" * 2_500_000).encode(),
    "header.csv": ",".join(map(str, range(500_000))).encode() + b"\n",
    "commas.csv": b"," * 3_000_000 + b"\n",
    "columns.csv": b"text,label," + ",".join(map(str, range(20_000))).encode() + b"\na,b\n" * 3,
    "one-letter.csv": b"text\n" + b"a\n" * 100_000,
    "nulls.tsv": b"text\tlabel\n" + b"\0" * 5_000_000,
    "line.jsonl": b'{"text": "' + b"a" * 10_000_000,
    "deep.jsonl": b"[" * 5_000_000,
    "deep-object.jsonl": b'{"a":' * 2_000_000,
    "number.jsonl": b'{"text": ' + b"9" * 5_000_000 + b"}\n",
    "sparse.jsonl": b"".join(b'{"c%d": 1}\n' % number for number in range(30_000)),
    "spaces.csv": b"text,label\n" + b"1" + b" " * 1_000_000 + b"x,pro\n2,con\n",
    "lines.csv": b"text,label\n" + b'"' + b"\n" * 1_000_000 + b'",pro\n2,con\n',
    "ligatures.csv": b"text,label\n" + "\ufdfa".encode() * 500_000 + b",pro\nb,con\n",
    "accents.csv": b"text,label\na" + "\u0301\u0316".encode() * 500_000 + b",pro\nb,con\n",
    "answers.jsonl": json.dumps(
        {"question": "a", "context": "a" * 3_000_000, "answers": "a" * 1_500_000}
    ).encode(),
    "printed.jsonl": json.dumps(
        {"question": "a", "context": "a", "answers": "[" + "1," * 3_000_000 + "]"}
    ).encode(),
    "deep.json": b'{"data":' + b"[" * 5_000_000,
    "wide.json": b'{"data":[' + b"{}," * 1_000_000 + b"{}]}",
    "text.txt": b"a" * 5_000_000,
    "blank.txt": b"\n \t" * 1_000_000,
}  # fmt: skip


def read_table(folder, name):
    """Read a table as `validate`, `init` and `predict` do, whichever of them takes it."""
    if name.endswith((".csv", ".tsv", ".jsonl", ".parquet")):
        for part in find_source(folder / name, "--input").cut(1000):
            assert part
    look("x", folder / name)


def validate_table(folder, name, problem):
    """Snapshot and validation."""
    data = Data(path="data/x", train=name)
    validate_rows(spell_out(take_snapshot(folder, data, problem)), data, problem)


# Those that once took too long, or too much; `make fuzz` has the time for all.
QUICK = (
    *("columns.csv", "cell-too-long.csv", "sparse.jsonl", "spaces.csv", "printed.jsonl"),
    *("unclosed.csv", "accents.csv"),
)
ALL = settings.get_current_profile_name() == "fuzz"


@pytest.mark.parametrize("name", TABLES if ALL else QUICK)
def test_a_table_is_read_in_bounded_memory(tmp_path, name):
    """By every command, and judged by Great Expectations where it is sound."""
    (tmp_path / name).write_bytes(TABLES[name])
    survive(read_table, tmp_path, name, memory=TABLE_MEMORY)
    for problem in ("text-classification", "question-answering", "causal-lm"):
        survive(validate_table, tmp_path, name, problem, memory=TABLE_MEMORY)
    survive(judge_tables, *[tmp_path / name] * 2, "accuracy", False, 0, {}, memory=TABLE_MEMORY)


def write_parquet(path, count, **columns):
    """A parquet file in which each column holds one value `count` times, written once."""
    same = pyarrow.array([0] * count, pyarrow.int32())
    table = {
        name: pyarrow.DictionaryArray.from_arrays(same, pyarrow.array([value]))
        for name, value in columns.items()
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path, compression="zstd")
    assert path.stat().st_size < 500_000


def test_a_parquet_file_that_repeats_a_text_is_not_unpacked(tmp_path):
    """60 kB that say 20 GB: some rows at a time they are read, at once they are refused."""
    write_parquet(tmp_path / "a.parquet", 20_000, text="a" * 1_000_000, label="pro")

    def count():
        return sum(len(part) for part in find_source(tmp_path / "a.parquet", "--input").cut(1000))

    assert survive(count, memory=TABLE_MEMORY) == 20_000
    assert survive(validate_table, tmp_path, "a.parquet", "text-classification") is None
    with pytest.raises(InputError, match="unpacks to more than"):
        take_snapshot(tmp_path, Data(path="data/x", train="a.parquet"))


def test_a_parquet_cell_that_is_too_long_is_refused(tmp_path):
    """As in csv; compressed it is nothing."""
    write_parquet(tmp_path / "a.parquet", 10, text="a" * (LONG + 1))
    with pytest.raises(InputError, match="more than 10,000,000 characters"):
        survive_source(tmp_path / "a.parquet")


def survive_source(path):
    """Read all of a source."""
    return [row for part in find_source(path, "--input").cut(1000) for row in part]


def test_nested_cells_are_counted_before_they_are_unpacked(tmp_path, monkeypatch):
    """One row of a list, a map and a structure: by the file's own numbers, or by their weight."""
    nested = pyarrow.array([list(range(400_000))])
    pyarrow.parquet.write_table(pyarrow.table({"text": nested}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="more than 10,000,000 characters"):
        survive_source(tmp_path / "a.parquet")
    kind = pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.struct({"n": pyarrow.int8()})))
    mapping = pyarrow.array([[("k", [{"n": 1}] * 400_000)]], kind)
    pyarrow.parquet.write_table(pyarrow.table({"text": mapping}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="more than 10,000,000 characters"):
        survive_source(tmp_path / "a.parquet")
    monkeypatch.setattr(cells, "MOST_CELLS", 399_999)
    with pytest.raises(InputError, match=r"400,00\d cells"):
        survive_source(tmp_path / "a.parquet")


PIPELINES = {
    "deep list": b"name: " + b"[" * 900_000,
    "deep map": b"a: {" * 200_000,
    "deep indent": b"".join(b" " * depth + b"a:\n" for depth in range(1_300)),
    "long scalar": b"name: " + b"a" * 900_000,
    "long number": b"name: " + b"9" * 900_000,
    "digits": b"training: {epochs: " + b"1_" * 400_000 + b"}",
    "sixties": b"name: " + b"1:" * 400_000 + b"1",
    "sixties with a point": b"name: " + b"1:" * 400_000 + b"1.0",
    "many keys": b"".join(b"k%d: 1\n" % number for number in range(70_000)),
    "many labels": b"data: {labels: [" + b"a," * 400_000 + b"b]}",
    "aliases": b"a: &a [x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 9)) for i in range(9)
    ),
    "merge": b"<<: &a {<<: *a}\n",
    "tags": b"!!python/object/apply:os.system " * 20_000,
    "comment": b"#" * 990_000,
    "dates": b"a: 2020-01-01 " + b"0" * 900_000,
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_file_is_read_in_bounded_memory(tmp_path, name):
    """Depth, length, aliases and numbers without end."""
    path = write(tmp_path, PIPELINES[name][:LARGEST_FILE])
    assert survive(load_pipeline, path, memory=SMALL_MEMORY) is None


def draw_huge(kind, mode, side=7000, **options):
    """An image of 49 million pixels, all of them the same."""
    file = io.BytesIO()
    Image.new(mode, (side, side), 1).save(file, kind, **options)
    return file.getvalue()


IMAGES = {
    "pixels.png": lambda: draw_huge("PNG", "RGBA"),
    "palette.gif": lambda: draw_huge("GIF", "P"),
    "rows.tif": lambda: draw_huge("TIFF", "RGB", compression="tiff_deflate"),
    "photo.jpg": lambda: draw_huge("JPEG", "RGB", progressive=True),
    "header.png": lambda: make_bomb(60_000, 60_000),
    "note.png": lambda: note(200_000_000),
}


def note(size):
    """A sound PNG with a compressed comment of a size."""
    file = io.BytesIO()
    Image.new("L", (9, 9)).save(file, "PNG")
    content = file.getvalue()
    body = b"zTXt" + b"Comment\0\0" + zlib.compress(b"a" * size, 1)
    chunk = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return content[:33] + chunk + content[33:]


@pytest.mark.parametrize("name", IMAGES if ALL else ("header.png", "note.png", "palette.gif"))
def test_an_image_is_decoded_in_bounded_memory(tmp_path, name):
    """The largest that is taken, in every format that compresses, and larger ones."""
    (tmp_path / name).write_bytes(IMAGES[name]())
    assert survive(measure_image, tmp_path, name, memory=IMAGE_MEMORY) is not None


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"data":' * 120_000, b"9" * 1_000_000])
def test_a_delivery_is_read_in_bounded_memory(body):
    """Of the size that is taken at most."""
    assert survive(read_delivery, body, memory=SMALL_MEMORY) is None
