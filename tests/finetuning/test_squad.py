"""SQuAD's json and flat tables of questions as rows."""

import json

import pytest

from finetuning.answers import Answers, read_answers
from finetuning.config import Columns
from finetuning.errors import InputError
from finetuning.squad import measure, read
from finetuning.tables import read_table

COLUMNS = Columns()
ANSWER = {"text": "blue", "answer_start": 8}
DOCUMENT = {
    "version": "v2.0",
    "data": [
        {
            "title": "Sky",
            "paragraphs": [
                {
                    "context": "Sky is blue.",
                    "qas": [
                        {"id": "a", "question": "What is it?", "answers": [ANSWER]},
                        {
                            "id": "b",
                            "question": "Who?",
                            "answers": [],
                            "is_impossible": True,
                            "plausible_answers": [ANSWER],
                        },
                        {
                            "id": "c",
                            "question": "Which?",
                            "is_impossible": True,
                            "answers": [ANSWER],
                        },
                    ],
                },
                {"context": "Sea.", "qas": [{"id": "d", "question": "No list?"}]},
            ],
        }
    ],
}


def read_file(folder, name, content, columns=COLUMNS):
    """Write a file and read it: rows as mappings."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, "utf-8")
    names, rows = read(folder, name, "data.train", columns)
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_squad_json_becomes_rows(tmp_path):
    """One row a question, in order; an impossible question has no answers."""
    rows = read_file(tmp_path, "train.json", DOCUMENT)
    assert [row["question"] for row in rows] == ["What is it?", "Who?", "Which?", "No list?"]
    assert [row["context"] for row in rows] == ["Sky is blue."] * 3 + ["Sea."]
    assert [row["title"] for row in rows] == ["Sky"] * 4
    assert [row["question_id"] for row in rows] == list("abcd")
    assert [read_answers(row["answers"]) for row in rows] == [
        Answers(("blue",), (8,)), Answers(), Answers(), Answers(),
    ]  # fmt: skip
    assert [row["answers"] for row in rows[1:]] == ["[]", "[]", None]


def test_columns_are_named_as_the_pipeline_file_says(tmp_path):
    """Other names in data.columns are the names of what is read."""
    columns = Columns(question="frage", context="text", answers="antworten")
    rows = read_file(tmp_path, "train.json", DOCUMENT, columns)
    assert rows[0]["frage"] == "What is it?"
    assert rows[0]["text"] == "Sky is blue."
    assert read_answers(rows[0]["antworten"]).texts == ("blue",)


@pytest.mark.parametrize("nested", [True, False])
def test_flat_json_is_read_too(tmp_path, nested):
    """A list of flat rows, with or without `data` above it."""
    flat = [{"question": "What?", "context": "Sky is blue.", "answers": {"text": ["blue"]}}]
    rows = read_file(tmp_path, "train.json", {"data": flat} if nested else flat)
    assert read_answers(rows[0].pop("answers")) == Answers(("blue",), (None,))
    assert rows == [{"question": "What?", "context": "Sky is blue."}]


def test_flat_tables_keep_structured_answers(tmp_path):
    """Jsonl's mapping, a csv's JSON and parquet's struct are read alike."""
    import pandas

    answers = {"text": ["blue"], "answer_start": [8]}
    row = {"question": "What?", "context": "Sky is blue.", "answers": answers}
    lines = read_file(tmp_path, "train.jsonl", json.dumps(row))
    pandas.DataFrame([row]).to_parquet(tmp_path / "train.parquet")
    pandas.DataFrame([{**row, "answers": json.dumps(answers)}]).to_csv(
        tmp_path / "train.csv", index=False
    )
    cells = [lines[0]["answers"]] + [
        read_table(tmp_path / f"train.{ending}")["answers"][0] for ending in ("parquet", "csv")
    ]
    assert [read_answers(cell) for cell in cells] == [Answers(("blue",), (8,))] * 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ('"text"', "SQuAD's shape"),
        ({"data": {"a": 1}}, "SQuAD's shape"),
        ({"data": [1]}, "SQuAD's shape"),
        ({"data": [{"paragraphs": [{"qas": [{"question": "x"}]}]}]}, "SQuAD's shape"),
        ({"data": [{"paragraphs": None}]}, "SQuAD's shape"),
        ({"data": []}, "no question"),
        ('[{"question": "\\ud800"}]', "not JSON"),
    ],
)
def test_other_shapes_are_said(tmp_path, content, said):
    """Each with the pipeline file's key and the remedy, never a traceback."""
    with pytest.raises(InputError, match=said) as raised:
        read_file(tmp_path, "train.json", content)
    assert raised.value.faults[0].key == "data.train"


def test_missing_file_is_said(tmp_path):
    """With what the folder holds."""
    (tmp_path / "dev.jsonl").write_text("{}", "utf-8")
    with pytest.raises(InputError, match=r"dev\.jsonl"):
        read(tmp_path, "train.json", "data.train", COLUMNS)


def test_key_is_the_contexts(tmp_path):
    """Rows with the same context, but for case and white space, have the same key."""
    import pandas

    rows = pandas.DataFrame(
        {"question": list("abcd"), "context": ["Sky  blue", "sky blue", "Sea", None]}, dtype=object
    )
    keys = list(measure(tmp_path, rows, COLUMNS)["key"])
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
