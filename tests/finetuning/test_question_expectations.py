"""The built-in expectations of questions, with Great Expectations itself."""

import json

import pandas
import pytest

from finetuning.config import Columns, Data
from finetuning.question_expectations import examine, list_expectations, prepare
from finetuning.snapshots import SPLITS
from finetuning.splits import digest_text
from tasks.validation import validate_rows

DATA = Data.model_validate({"path": "data/x"})
CONTEXT = "the film was red and the plot was dull , the cast was red too"


def answers(text, start=None):
    """A cell of answers."""
    return json.dumps([{"text": text, "answer_start": start}])


def snapshot(*rows):
    """Rows of (split, question, context, answers) as the snapshot hands them on."""
    frame = pandas.DataFrame(
        rows, columns=["split", "question", "context", "answers"], dtype=object
    )
    frame.insert(0, "key", [digest_text(context) for context in frame["context"]])
    frame.insert(0, "row", range(1, len(frame) + 1))
    frame.insert(0, "file", "train.jsonl")
    return frame


def sound():
    """Two rows a split without a fault."""
    return [
        (split, f"what {number} ?", f"{CONTEXT} {split} {number}", answers("dull", 34))
        for split in SPLITS
        for number in range(2)
    ]


def failures(*rows):
    """What fails on the sound rows with others behind: name -> rows, severity."""
    report = validate_rows(snapshot(*sound(), *rows), DATA, "question-answering")
    return {
        item.name: (item.unexpected_count, item.severity)
        for item in report.outcomes
        if not item.success
    }


def test_sound_rows_fail_nothing():
    """Answers at their starts, each question once, every split with rows."""
    assert CONTEXT.index("dull") == 34
    assert failures() == {}


def test_faults_of_answers_are_told_apart():
    """A wrong start, no start where several places fit, a blank cell: each a warning."""
    found = failures(
        ("train", "wrong ?", CONTEXT, answers("dull", 30)),
        ("train", "which ?", CONTEXT, answers("red")),
        ("train", "none ?", CONTEXT, "[]"),
        ("train", "blank ?", CONTEXT, None),
    )
    assert found == {
        "every answer stands at its answer_start": (1, "warning"),
        "no answer without answer_start stands in several places": (1, "warning"),
        "answers is not blank": (1, "warning"),
    }


def test_answers_that_are_not_there_stop_the_run_when_they_are_many():
    """One of seven is more than the share that is let through; the row is shown with its answer."""
    row = ("train", "missing ?", CONTEXT, answers("green", 3))
    assert failures(row) == {
        "every answer stands in its context": (1, "warning"),
        "every answer stands in its context, in at least 95% of the rows": (
            1, "critical",
        ),
    }  # fmt: skip
    many = [("train", f"{number} ?", CONTEXT, answers("dull", 34)) for number in range(20)]
    assert failures(row, *many) == {"every answer stands in its context": (1, "warning")}


def test_unreadable_answers_are_critical():
    """Numpy's print of an array is no list."""
    cell = "{'text': array(['red'], dtype=object), 'answer_start': array([13])}"
    found = failures(("train", "which ?", CONTEXT, cell))
    assert found["answers can be read, in at least 99% of the rows"] == (1, "critical")


def test_blank_questions_and_contexts_are_found():
    """Each column by its own name."""
    found = failures(("train", " ", CONTEXT, "[]"), ("train", "a ?", None, "[]"))
    names = [name for name in found if "blank" in name]
    assert sorted(names) == [
        "context is neither null nor blank",
        "context is neither null nor blank, in at least 99% of the rows",
        "question is neither null nor blank",
        "question is neither null nor blank, in at least 99% of the rows",
    ]


def test_rows_beside_each_other():
    """A repeated question, and a context that is left out because it also stands in test."""
    found = failures(
        ("train", "What  0 ?", f"{CONTEXT} train 0", answers("red", 13)),
        ("left-out", "x ?", f"{CONTEXT} test 0", answers("red", 13)),
    )
    assert found == {
        "no question stands twice with the same context in a split": (1, "warning"),
        "no context of train stands in validation or test too": (1, "warning"),
    }


def test_split_without_rows_is_critical():
    """All questions about one text leave nothing to check on."""
    rows = [row for row in sound() if row[0] != "validation"]
    report = validate_rows(snapshot(*rows), DATA, "question-answering")
    failed = [(item.name, item.severity) for item in report.outcomes if not item.success]
    assert failed == [("train, validation and test have rows", "critical")]


def test_damage_and_length_are_warned_of():
    """Broken encoding, HTML, a question longer than any, an answer longer than any is given."""
    long = " ".join(["word"] * 31)
    found = failures(
        ("train", "cafÃ© ?", "a &amp; b", answers("b", 8)),
        ("train", "long ?", f"{long} end", answers(long, 0)),
    )
    assert found == {
        "question has no broken encoding": (1, "warning"),
        "context has no HTML escapes": (1, "warning"),
        "every answer has at most 30 words": (1, "warning"),
    }
    assert any("question has at most 1,000" in name for name in failures(
        ("train", "why " * 300, CONTEXT, "[]")
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "field", "said"),
    [
        (answers("green", 3), "missing", "[green] the film was red"),
        (answers("dull", 30), "moved", "[dull] said at 30, found at 34"),
        (answers("red"), "ambiguous", "red"),
    ],
)
def test_findings_show_what_is_wrong(cell, field, said):
    """What a person needs to find the row and mend it."""
    assert getattr(examine(cell, "q", CONTEXT), field).startswith(said)


def test_prepare_leaves_rows_alone():
    """Helper columns only, and every one of them is looked at by an expectation."""
    rows = snapshot(*sound())
    before = rows.copy(deep=True)
    prepared = prepare(rows, Columns())
    pandas.testing.assert_frame_equal(rows, before)
    helpers = set(prepared) - set(rows)
    looked = {spec.arguments["column"] for spec in list_expectations(DATA)}
    assert helpers <= looked
