"""What became of a data set's rows, from tables made by hand."""

import json

import numpy as np
import pandas

from finetuning.data_changes import compare_data, tabulate
from finetuning.shifts import CHANCE, REAL, SLIGHT

LENGTH = "text length in characters"


def table(texts, label="a", split="train", start=0):
    """Rows with these texts; every fifth one is held out."""
    frame = pandas.DataFrame({"text": list(texts)}, dtype=object)
    frame["key"], frame["words"], frame["label"] = frame["text"], frame["text"], label
    frame["split"] = ["test" if n % 5 == 0 else split for n in range(len(frame))]
    frame["labels"], frame[LENGTH] = frame["label"], frame["text"].str.len().astype(float)
    return frame


BEFORE = pandas.concat(
    table([f"{name} film {n}" for n in range(500)], label)
    for name, label in (("good", "a"), ("bad", "b"))
)


def verdicts(found):
    """Trait -> verdict."""
    return {shift["trait"]: shift["verdict"] for shift in found["shifts"]}


def test_the_same_rows_are_the_same():
    """Nothing is tested, and there is no verdict."""
    found = compare_data(BEFORE, BEFORE.iloc[::-1])
    assert found["words"] == ["the same 1,000 rows"]
    assert (found["shifts"], found["verdict"]) == ([], None)


def test_a_few_strange_rows_are_a_shift_of_the_rows_added_alone():
    """Forty among a thousand: the whole hardly moves, what was added is all of another kind."""
    added = table([f"zzz {'very ' * 20} long {n}" for n in range(40)], "c")
    found = compare_data(BEFORE, pandas.concat([BEFORE, added]))
    assert found["rows"]["added"] == 40
    said = verdicts(found)
    assert said["labels"] == SLIGHT
    assert said["labels of the rows added"] == REAL
    assert said[f"{LENGTH} of the rows added"] == REAL
    assert found["verdict"].startswith("a real shift: labels of the rows added, ")
    assert [word for word, _ in found["vocabulary"]["frequent"][:3]] == ["long", "very", "zzz"]
    assert found["words"][1] == found["verdict"]
    json.dumps(found)


def test_more_of_the_same_is_chance():
    """Rows of the same kinds: nothing beyond chance, and it is said so."""
    more = [table([f"good film {n} again" for n in range(20)]),
            table([f"bad film {n} again" for n in range(20)], "b")]  # fmt: skip
    found = compare_data(BEFORE.assign(**{LENGTH: 9.0}),
                         pandas.concat([BEFORE, *more]).assign(**{LENGTH: 9.0}))  # fmt: skip
    assert verdicts(found)["labels"] == verdicts(found)["labels of the rows added"] == CHANCE


def test_rows_that_repeat_are_no_shift():
    """Half of the rows against all: what repeats is short, and counts as added."""
    texts = [*(["short"] * 400), *(f"{'long ' * 9}{n:03}" for n in range(400))]
    rows = table(np.random.default_rng(0).permutation(texts))
    found = compare_data(rows[:400], rows)
    assert found["rows"]["added"] == 400
    assert verdicts(found)[f"{LENGTH} of the rows added"] == CHANCE


def test_all_p_values_are_corrected_together():
    """Of all rows, of the rows added, and of their words: one family."""
    added = table([f"new {n}" for n in range(30)], "b")
    found = compare_data(BEFORE, pandas.concat([BEFORE, added]))
    tested = sorted(one["p_value"] for one in found["shifts"])
    assert len(tested) == 5
    least = min(found["shifts"], key=lambda one: one["p_value"])
    assert least["adjusted"] == min(1, 5 * least["p_value"])
    rows = tabulate(found)
    assert [row["what"] for row in rows] == [one["trait"] for one in found["shifts"]]
    assert rows[0]["rows"] == "1,000 -> 1,030"


def test_all_new_rows_are_compared_once():
    """Where no row stayed, the rows added are all rows."""
    found = compare_data(BEFORE, table([f"other {n}" for n in range(50)]))
    assert [one["trait"] for one in found["shifts"]] == [
        *("labels", LENGTH, "unknown words of the new texts, share a row"),
    ]


def test_relabelled_rows_alone_are_compared_as_a_whole():
    """No text is new, so nothing is said of rows added, nor of words."""
    after = BEFORE.assign(label="b", labels="b")
    found = compare_data(BEFORE, after)
    assert (found["rows"]["relabelled"], found["vocabulary"]) == (500, None)
    assert verdicts(found) == {"labels": REAL, LENGTH: CHANCE}
