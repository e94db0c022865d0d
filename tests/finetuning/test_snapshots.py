"""Snapshots: all tables in one, every row numbered, split and traceable."""

import pandas
import pytest

from finetuning import snapshots
from finetuning.config import Data
from finetuning.digests import digest_value
from finetuning.errors import InputError
from finetuning.snapshots import digest_reading, digest_rows, spell_out, take_snapshot
from finetuning.splits import digest_text

ROWS = "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(20))


def take(folder, files, **settings):
    """A snapshot of these files with these settings of `data`."""
    for name, content in files.items():
        (folder / name).write_text(content)
    return take_snapshot(folder, Data.model_validate({"path": "data/x", **settings}))


def faults_of(folder, files, **settings):
    """What is wrong: (key, found), in order."""
    with pytest.raises(InputError) as caught:
        take(folder, files, **settings)
    return [(fault.key, fault.found) for fault in caught.value.faults]


def test_rows_are_numbered_within_their_file(tmp_path):
    """Data rows count from one, in the file's order, whatever split they get."""
    files = {"train.csv": f"text,label\n{ROWS}", "test.csv": "label,text\na,x\n\nb,y\n"}
    rows = take(tmp_path, files, test="test.csv")
    assert list(rows.columns) == ["file", "row", "split", "key", "text", "label"]
    train, test = rows[rows["file"] == "train.csv"], rows[rows["file"] == "test.csv"]
    assert train["row"].tolist() == list(range(1, 21))
    assert train["text"].tolist() == [f"text {number}" for number in range(20)]
    assert test[["row", "split", "text", "label"]].to_numpy().tolist() == [
        [1, "test", "x", "a"], [2, "test", "y", "b"],
    ]  # fmt: skip
    assert rows["key"].tolist() == [digest_text(text) for text in rows["text"]]
    assert train["split"].value_counts().to_dict() == {"train": 18, "validation": 2}


def test_missing_columns_of_all_files_are_listed_at_once(tmp_path):
    """Three files, five faults, each with the columns that its file has."""
    files = {
        "train.csv": "txt,label\na,b\n",
        "dev.tsv": "text\tlbl\na\tb\n",
        "test.jsonl": '{"txt": "a", "lbl": "b"}\n',
    }
    with pytest.raises(InputError) as caught:
        take(tmp_path, files, validation="dev.tsv", test="test.jsonl", slices=["source"])
    assert [str(fault) for fault in caught.value.faults] == [
        "data.columns.text: found 'text'. train.csv has the columns txt, label.",
        "data.columns.label: found 'label'. dev.tsv has the columns text, lbl.",
        "data.columns.text: found 'text'. test.jsonl has the columns txt, lbl.",
        "data.columns.label: found 'label'. test.jsonl has the columns txt, lbl.",
        "data.slices[0]: found 'source'. test.jsonl has the columns txt, lbl.",
    ]


def test_unreadable_and_missing_files_are_listed_together(tmp_path):
    """A missing file does not hide that another is empty and a third lacks a column."""
    files = {"train.csv": "", "test.csv": "text\na\n"}
    faults = faults_of(tmp_path, files, validation="dev.csv", test="test.csv")
    assert [key for key, _ in faults] == ["data.train", "data.validation", "data.columns.label"]


@pytest.mark.parametrize("name", ["file", "row", "split", "key"])
def test_reserved_names_cannot_be_used(tmp_path, name):
    """A column that the snapshot adds itself cannot be text, label or slice."""
    files = {"train.csv": f"text,label,{name}\na,b,c\n"}
    assert faults_of(tmp_path, files, columns={"label": name}) == [
        ("data.columns.label", f"'{name}'")
    ]
    assert faults_of(tmp_path, files, slices=[name]) == [("data.slices[0]", f"'{name}'")]


def test_unused_columns_with_reserved_names_are_dropped(tmp_path):
    """The user's own `row` and `split` do not stand in the way."""
    lines = "".join(f"9,x,{line}\n" for line in ROWS.splitlines())
    rows = take(tmp_path, {"train.csv": f"row,split,text,label\n{lines}"})
    assert rows["row"].tolist() == list(range(1, 21))
    assert set(rows["split"]) == {"train", "validation", "test"}


def test_a_user_column_may_be_called_label(tmp_path):
    """Even where another column is the label."""
    lines = "".join(f"{line},mine\n" for line in ROWS.splitlines())
    files = {"train.csv": f"text,mood,label\n{lines}"}
    rows = take(tmp_path, files, columns={"label": "mood"})
    assert set(rows["label"]) == {"mine"}
    assert set(rows["mood"]) == {"a", "b"}


def test_a_column_that_one_file_lacks_is_none_there(tmp_path):
    """Missing there, and None once the texts are spelled out, never NaN."""
    files = {"train.csv": f"text,label\n{ROWS}", "test.csv": "text,label,source\nx,a,web\n"}
    rows = take(tmp_path, files, test="test.csv", slices=["source"])
    assert rows["source"].isna().tolist() == [True] * 20 + [False]
    assert spell_out(rows)["source"].tolist() == [None] * 20 + ["web"]


def test_pairs_are_keyed_by_both_texts(tmp_path):
    """The same first text with another second one is another group."""
    content = "a,b,label\nx,1,p\nx,2,p\nX,1,q\n"
    rows = take(tmp_path, {"train.csv": content}, columns={"text": "a", "text_pair": "b"})
    assert rows["key"].tolist() == [digest_text("x", "1"), digest_text("x", "2"), rows["key"][0]]


@pytest.mark.parametrize("name", ["../other.csv", "sub/../../other.csv", "/other.csv"])
def test_files_outside_the_folder_are_refused(tmp_path, name):
    """They are in no data version: a change in them would not be seen."""
    (tmp_path / "data").mkdir()
    (tmp_path / "other.csv").write_text(f"text,label\n{ROWS}")
    assert faults_of(tmp_path / "data", {}, train=name) == [("data.train", repr(name))]


def test_digests_are_of_each_split_s_texts_and_labels(tmp_path):
    """A changed test label changes the test digest only; an unused column changes none."""
    train, test = f"text,label\n{ROWS}", "text,label,note\nx,a,n\ny,b,n\n"
    data = Data.model_validate({"path": "data/x", "test": "test.csv"})
    before, noted, labelled = (
        digest_rows(take(tmp_path, {"train.csv": train, "test.csv": each}, test="test.csv"), data)
        for each in (test, test.replace("n\n", "m\n"), test.replace("y,b", "y,a"))
    )
    assert noted == before
    assert [name for name in before if before[name] != labelled[name]] == ["test"]


TABLE = [("a", "x", "web", "1"), ("b", "y", "web", "2"), ("", "x", "mail", "None")]


def test_each_stage_has_a_digest_of_what_it_reads():
    """Validation reads everything, encoding texts, labels, splits and their order."""
    data = Data.model_validate({"path": "data/x", "slices": ["source"]})

    def read(table=TABLE, file="train.csv", **changed):
        rows = pandas.DataFrame(table, columns=["text", "label", "source", "other"], dtype=object)
        rows = rows.assign(file=file, row=range(1, len(rows) + 1), split="train", key="k")
        return digest_reading(rows.assign(**changed), data)

    def differing(**changed):
        before, after = read(), read(**changed)
        return {stage for stage in before if before[stage] != after[stage]}

    assert differing() == set()
    assert set(read()) == {"validate", "encode", "evaluate"}
    assert len(set(read().values())) == 3
    assert differing(other="x") == differing(more="x") == {"validate"}
    assert differing(source="x") == differing(file="x") == {"validate", "evaluate"}
    for change in ({"text": "x"}, {"label": "x"}, {"split": "test"}, {"key": "l"}):
        assert differing(**change) == {"validate", "encode", "evaluate"}
    assert differing(table=TABLE[::-1]) == {"validate", "encode", "evaluate"}
    # An empty cell is not the word for it, and cells do not run into one another.
    assert differing(text=["a", "b", None]) == differing(text=["a", "b", "null"])
    assert read(text=["a", "b", None])["encode"] != read(text=["a", "b", "null"])["encode"]
    assert read(text=["ab", "", ""])["encode"] != read(text=["a", "b", ""])["encode"]


def test_what_was_measured_of_images_is_read_where_they_are_encoded():
    """An image that cannot be read any more is encoded no more, under the same path."""
    data = Data.model_validate({"path": "data/x"})
    rows = pandas.DataFrame(
        {"image": ["a.png"], "label": ["x"], "split": ["train"], "key": ["k"], "file": ["f"],
         "row": [1], "image.fault": [None]}
    )  # fmt: skip
    before = digest_reading(rows, data, "image-classification")
    after = digest_reading(rows.assign(**{"image.fault": "no"}), data, "image-classification")
    assert before["encode"] != after["encode"]


def test_long_columns_are_digested_in_parts(monkeypatch):
    """A change in any part is seen."""
    monkeypatch.setattr(snapshots, "_BLOCK", 2)
    data = Data.model_validate({"path": "data/x"})
    rows = pandas.DataFrame({"text": list("abcde"), "label": "x", "split": "train", "key": "k",
                             "file": "f", "row": range(5)})  # fmt: skip
    seen = [digest_reading(rows, data)["encode"]]
    for place in range(5):
        changed = rows.copy()
        changed.loc[place, "text"] = "z"
        seen.append(digest_reading(changed, data)["encode"])
    assert len(set(seen)) == 6


def test_rows_read_in_parts_are_those_read_at_once(tmp_path, monkeypatch):
    """Numbers, splits and digests go on over the parts' ends; the digest is that of one list."""
    files = {"train.csv": f"text,label\n{ROWS}", "test.csv": "text,label,more\nx,a,\ny,b,z\n"}
    whole = take(tmp_path, files, test="test.csv")
    data = Data.model_validate({"path": "data/x", "test": "test.csv"})
    digests = digest_rows(whole, data)
    monkeypatch.setattr(snapshots, "ROWS_A_CHUNK", 3)
    parts = take(tmp_path, files, test="test.csv")
    assert spell_out(parts).to_dict("list") == spell_out(whole).to_dict("list")
    assert digest_rows(parts, data) == digests
    train = spell_out(whole)[whole["split"] == "train"][["key", "text", "label"]]
    assert digests["train"] == digest_value(train.to_numpy().tolist())
