"""Pieces of rows: whatever becomes of a table, kept ones give the very bytes that new ones give."""

import io
import json

import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from finetuning import pieces
from finetuning.config import Columns, Training
from finetuning.images import measure
from finetuning.pieces import KIND, Pieces, Pool, digest_cells, gather, load_pool, save_pool
from finetuning.problem import find_problem

WORDS = ("good", "bad", "film", "plot", "the", "superb story", "a b c", "\U0001f3ac", "é", "")
TEXT = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
CELL = st.one_of(st.none(), TEXT)
ANSWERS = st.sampled_from([None, "[]", '["film"]', "plot", json.dumps([{"text": "good"}])])
# Few different rows, so that they meet again; each is a row of every problem's table.
ROW = st.tuples(CELL, CELL, ANSWERS)
TABLES = st.tuples(st.lists(ROW, max_size=12), st.lists(ROW, max_size=6), st.randoms())


def make_table(rows):
    """The table of these rows."""
    table = pandas.DataFrame(rows, columns=["text", "other", "answers"], dtype=object)
    return table.assign(question=table["text"], context=table["other"])


def edit(rows, new, draw):
    """Rows removed, added, doubled, edited and put in another order."""
    kept = [row for row in rows if draw.random() < 0.7] + new
    kept += [row for row in kept if draw.random() < 0.2]
    edits = [(f"{text} edited", other) if draw.random() < 0.1 else (text, f"{other} edited")
             for text, other, _ in kept]  # fmt: skip
    kept = [(*new, row[2]) if draw.random() < 0.2 else row
            for new, row in zip(edits, kept, strict=True)]  # fmt: skip
    draw.shuffle(kept)
    return kept


KINDS = {
    "text": ("text-classification", {}, "bert"),
    "pair": ("text-classification", {"text_pair": "other"}, "bert"),
    "question": ("question-answering", {}, "bert"),
    "language": ("causal-lm", {}, "llama"),
    "completion": ("causal-lm", {"prompt": "text", "completion": "other"}, "llama"),
}


@pytest.fixture(scope="module", params=KINDS)
def part(request, bert_folder, llama_folder):
    """A problem's encoding part and encoder."""
    kind, columns, base = KINDS[request.param]
    training = Training.model_validate({"max_length": 24, "stride": 4})
    encoding = find_problem(kind).encoding
    folder = {"bert": bert_folder, "llama": llama_folder}[base]
    return encoding, encoding.open_encoder(folder, Columns.model_validate(columns), training)


def save(part, rows, folder):
    """The bytes of encoded rows."""
    part.save_rows(rows, folder / "rows.safetensors")
    return (folder / "rows.safetensors").read_bytes()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tables=TABLES, learning=st.booleans())
def test_kept_rows_give_what_a_full_rebuild_gives(part, tables, learning, tmp_path):
    """Rows added, removed, edited, reordered and doubled: the files are equal byte for byte."""
    encoding, encoder = part
    before, new, draw = tables
    first, second = make_table(before), make_table(edit(before, new, draw))
    digests = encoder.digest(first)
    pool = Pool().complete(first, encoder)
    place = tmp_path / "pool"
    place.mkdir(exist_ok=True)
    for left in place.iterdir():
        left.unlink()
    save_pool(pool, place)
    asked = encoder.digest(second)
    found = load_pool(place).complete(second, encoder)
    assert found.made == sum(digest not in digests for digest in asked)
    assert found.made + found.kept == len(second)
    labels = np.arange(len(second))
    kept = encoder.join(found.select(found.asked), labels, learning=learning)
    whole = encoder.encode(second, labels, learning=learning)
    assert save(encoding, kept, tmp_path) == save(encoding, whole, tmp_path)


def test_only_new_rows_are_made(part):
    """Each different one once; a table that is known whole makes nothing."""
    _, encoder = part
    seen = []

    class Counting:
        digest = encoder.digest

        def cut(self, rows, title):
            seen.append(len(rows))
            return encoder.cut(rows, title)

    first = make_table([("a", "b", None), ("a", "b", None), ("good film", "c", None)])
    pool = Pool().complete(first, Counting())
    more = make_table([("bad", "b", None), ("a", "b", None), ("bad", "b", None)])
    pool = pool.complete(more, Counting())
    assert (pool.made, pool.kept) == (2, 1)
    pool = pool.complete(more, Counting())
    assert (pool.made, pool.kept) == (0, 3)
    assert seen == [2, 1]


def test_rows_that_are_made_in_parts_give_what_a_whole_gives(part, tmp_path, monkeypatch):
    """Two rows at a time, some of them known and one twice: the same bytes, and the same pool."""
    encoding, encoder = part
    texts = ["good", "bad film", "the plot", "good", "a b c", "superb story", "film", "the"]
    table = make_table([(text, f"{text} film", None) for text in texts])
    labels = np.arange(len(table))
    whole = encoder.encode(table, labels)
    monkeypatch.setattr(pieces, "ROWS_AT_ONCE", 2)
    pool = Pool().complete(table.iloc[:3], encoder).complete(table, encoder)
    assert (pool.made, pool.kept, len(pool.sources)) == (4, 4, 4)
    parts = encoder.join(pool.select(pool.asked), labels)
    assert save(encoding, parts, tmp_path) == save(encoding, whole, tmp_path)
    save_pool(pool, tmp_path)
    pool = load_pool(tmp_path).complete(table, encoder)
    assert (pool.made, pool.kept, len(pool.sources)) == (0, 8, 1)
    kept = encoder.join(pool.select(pool.asked), labels)
    assert save(encoding, kept, tmp_path) == save(encoding, whole, tmp_path)


def test_cells_cannot_reach_into_one_another():
    """A cell's end counts; a missing cell and a missing column are empty ones."""
    rows = pandas.DataFrame({"a": ["x\x1f", "x", None, ""], "b": ["y", "\x1fy", "z", "z"]})
    one, other, missing, empty = digest_cells(rows, ["a", "b"])
    assert one != other
    assert missing == empty
    assert digest_cells(rows, ["none"]) == digest_cells(rows.assign(none=""), ["none"])
    assert len({len(digest) for digest in (one, other, missing)}) == 1


def test_pieces_are_gathered_from_several_sources():
    """Rows 1 of the second, 0 of the first, 0 of the second; one of them has no items."""
    first = Pieces({"x": np.array([1, 2, 3])}, {"x": np.array([0, 3])})
    second = Pieces({"x": np.array([7, 8])}, {"x": np.array([0, 0, 2])})
    found = gather([first, second], np.array([1, 0, 1]), np.array([1, 0, 0]))
    assert found.values["x"].tolist() == [7, 8, 1, 2, 3]
    assert found.offsets["x"].tolist() == [0, 2, 5, 5]
    assert found.split("x") == [[7, 8], [1, 2, 3], []]


def test_pieces_of_another_kind_are_made_anew(part):
    """A pool whose arrays are not this encoder's is not used."""
    _, encoder = part
    strange = Pieces({"x": np.zeros(1)}, {"x": np.arange(2)})
    other = Pool((strange,), np.array([b"d"], KIND), np.zeros((1, 2), np.int32))
    table = make_table([("good", "film", None)])
    pool = other.complete(table, encoder)
    assert (pool.made, len(pool.sources)) == (1, 1)


@pytest.fixture
def pictures(tmp_path):
    """A folder of images, its table measured, and the encoder."""
    for number in range(4):
        pixels = np.random.default_rng(number % 3).integers(0, 255, (9, 12, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    from finetuning.pixels import ImageEncoder, ImageInput

    encoder = ImageEncoder(ImageInput(8, (0.5,) * 3, (0.5,) * 3), "image", tmp_path)
    table = pandas.DataFrame({"image": [f"{number}.png" for number in range(4)]})
    return tmp_path, table.join(measure(tmp_path, table, Columns())), encoder


def test_images_are_decoded_once(pictures):
    """By their pixels: the fourth has those of the first, and a kept one needs no file."""
    folder, table, encoder = pictures
    pool = Pool().complete(table, encoder)
    assert len(pool.sources[0]) == 3
    whole = encoder.encode(table, np.arange(4)).pixels
    assert np.array_equal(pool.select(pool.asked).values["pixels"], whole)
    (folder / "0.png").unlink()
    assert pool.complete(table, encoder).made == 0


def test_an_image_that_changes_meanwhile_is_never_kept(pictures):
    """Its key is of other pixels than those that are read now."""
    folder, table, encoder = pictures
    content = io.BytesIO()
    Image.new("RGB", (9, 12), "red").save(content, "PNG")
    (folder / "1.png").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match=r"row 2: it was changed since the data was read"):
        Pool().complete(table, encoder)
