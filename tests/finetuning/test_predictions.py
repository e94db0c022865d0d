"""Prediction tables: what is wrong with them is said all at once; what a slice is."""

import numpy as np
import pandas
import pytest

from finetuning.errors import InputError
from finetuning.measures import find_measure
from finetuning.predictions import choose_slices, read_pair

ACCURACY = find_measure("accuracy")
ROWS = 40


def make(**changes):
    """A good table of 40 rows with some columns changed."""
    label = np.tile(["a", "b"], ROWS // 2)
    columns = {
        "id": [f"r{number}" for number in range(ROWS)],
        "label": label,
        "prediction": label,
        "score": 0.9,
        "source": np.repeat(["web", "mail"], ROWS // 2),
    }
    return pandas.DataFrame(columns | changes)


def read(folder, candidate, champion, measure=ACCURACY, ending="csv"):
    """Both tables written and read."""
    paths = []
    for name, table in (("candidate", candidate), ("champion", champion)):
        path = folder / f"{name}.{ending}"
        if ending == "parquet":
            table.to_parquet(path)
        elif ending == "jsonl":
            table.to_json(path, orient="records", lines=True)
        else:
            table.to_csv(path, index=False)
        paths.append(path)
    return read_pair(*paths, measure)


def faults(folder, candidate, champion, measure=ACCURACY, ending="csv"):
    """Key and whole text of every fault."""
    with pytest.raises(InputError) as caught:
        read(folder, candidate, champion, measure, ending)
    return {fault.key: str(fault) for fault in caught.value.faults}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_rows_are_brought_into_one_order(tmp_path, ending):
    """Whatever the order and the format, row by row the ids are the same; scores are numbers."""
    champion = make(prediction=["a"] * ROWS).sample(frac=1, random_state=0)
    first, second = read(tmp_path, make(), champion, ending=ending)
    assert list(first["id"]) == list(second["id"]) == [f"r{number}" for number in range(ROWS)]
    assert (first["label"] == second["label"]).all()
    assert set(second["prediction"]) == {"a"}
    assert first["score"].dtype == float


def test_number_ids_of_two_formats_are_the_same(tmp_path):
    """1 in parquet and "1" in csv are one id."""
    make(id=range(ROWS)).to_parquet(tmp_path / "one.parquet")
    make(id=range(ROWS)).to_csv(tmp_path / "two.csv", index=False)
    first, _ = read_pair(tmp_path / "one.parquet", tmp_path / "two.csv", ACCURACY)
    assert len(first) == ROWS


def test_columns_that_a_table_must_have(tmp_path):
    """Each that is missing is named, for both tables at once, with the columns that there are."""
    found = faults(
        tmp_path, make().drop(columns=["id", "label"]), make().drop(columns="prediction")
    )
    assert set(found) == {"CANDIDATE.id", "CANDIDATE.label", "CHAMPION.prediction"}
    assert "this one has prediction, score, source" in found["CANDIDATE.id"]


def test_bad_cells_are_listed_together(tmp_path):
    """Empty ids and predictions, repeated ids and scores that are no number."""
    ids = [None, "r1", "r1", *[f"r{number}" for number in range(3, ROWS)]]
    predictions = ["a", None, *["b"] * (ROWS - 2)]
    scores = [0.5, np.nan, 0.5, np.inf, *[0.5] * (ROWS - 4)]
    candidate = make(id=ids, prediction=predictions, score=scores)
    found = faults(tmp_path, candidate, make(), ending="parquet")
    assert set(found) == {"CANDIDATE.id", "CANDIDATE.prediction", "CANDIDATE.score"}
    assert (
        "2 cells in candidate.parquet that are no finite number, rows 2, 4"
        in (found["CANDIDATE.score"])
    )
    twice = faults(tmp_path, make(id=["r0", "r0", *range(2, ROWS)]), make())
    assert "1 ids more than once" in twice["CANDIDATE.id"]


def test_score_that_is_a_word(tmp_path):
    """A score must be a number in every row."""
    assert "row 1" in faults(tmp_path, make(), make(score=["high", *[0.1] * 39]))["CHAMPION.score"]


def test_different_rows(tmp_path):
    """Rows that only one table has are named for the table that lacks them."""
    found = faults(tmp_path, make().iloc[2:], make().iloc[:-1])
    assert "2 rows of the other table missing: 'r0', 'r1'" in found["CANDIDATE.id"]
    assert "1 rows of the other table missing: 'r39'" in found["CHAMPION.id"]


def test_other_labels(tmp_path):
    """The same row with another label, and answers in names that no label has."""
    label = ["b", *np.tile(["a", "b"], 20)[1:]]
    found = faults(tmp_path, make(), make(label=label))
    assert "1 rows with another label, ids 'r0'" in found["CHAMPION.label"]
    found = faults(tmp_path, make(prediction="LABEL_0"), make())
    assert "only 'LABEL_0', where the labels are 'a', 'b'" in found["CANDIDATE.prediction"]


def test_labels_spelled_otherwise(tmp_path):
    """B is no answer where the label is b; one that resembles no label may be a rare one."""
    found = faults(tmp_path, make(), make(prediction=np.tile(["a", "B"], ROWS // 2)))
    assert "found 'B', where the labels are 'a', 'b'" in found["CHAMPION.prediction"]
    first, _ = read(tmp_path, make(prediction=["rare", *["a"] * (ROWS - 1)]), make())
    assert first["prediction"][0] == "rare"


def test_scores_that_are_no_probability(tmp_path):
    """What is read for calibration lies between 0 and 1, and its answers are labels."""
    calibration = find_measure("expected_calibration_error")
    logits = [3.5, -0.1, *[0.9] * (ROWS - 2)]
    found = faults(tmp_path, make(score=logits), make(), calibration)
    assert "2 cells in candidate.csv that are no probability, rows 1, 2" in found["CANDIDATE.score"]
    assert read(tmp_path, make(score=logits), make())[0]["score"][0] == 3.5
    found = faults(tmp_path, make(prediction="LABEL_0"), make(), calibration)
    assert set(found) == {"CANDIDATE.prediction"}


def test_other_slices(tmp_path):
    """A row cannot be from the web in one table and from mail in the other."""
    other = make(source=["mail", *make()["source"][1:]])
    assert "1 rows with another source" in faults(tmp_path, make(), other)["CHAMPION.source"]


def test_metric_column_must_be_numbers(tmp_path):
    """The column that the metric reads is checked as a score is."""
    found = faults(tmp_path, make(f1="x"), make(f1=0.5), find_measure("f1"))
    assert set(found) == {"CANDIDATE.f1"}


def test_file_that_is_not_there(tmp_path):
    """Both files are named."""
    with pytest.raises(InputError) as caught:
        read_pair(tmp_path / "a.csv", tmp_path / "b.csv", ACCURACY)
    assert {fault.key for fault in caught.value.faults} == {"CANDIDATE", "CHAMPION"}


def test_what_is_a_slice():
    """Few values with many rows each; the rest is passed over, and it is said why."""
    generator = np.random.default_rng(0)
    table = make(
        year=np.repeat([2023, 2024], 20),
        length=generator.random(ROWS).round(1),
        text=np.repeat(["x" * 200, "y" * 200], 20),
        number=range(ROWS),
        user=np.repeat(np.arange(8), 5),
        file="test.csv",
    ).astype(str)
    slices = choose_slices(table, table, ACCURACY)
    assert slices.columns == ("source", "year")
    assert slices.passed_over == {
        "length": "fractions",
        "text": "free text",
        "number": "fewer than 10 rows a value",
        "user": "fewer than 10 rows a value",
        "file": "one value only",
    }


def test_slice_that_only_the_champion_has_is_missing():
    """It was measured once and is not any more; one that only the candidate has is a slice."""
    with_year = make(year=np.repeat(["2023", "2024"], 20))
    assert choose_slices(make(), with_year, ACCURACY).missing == ("year",)
    assert choose_slices(with_year, make(), ACCURACY).columns == ("source", "year")


def test_measure_that_knows_of_no_labels(tmp_path):
    """An id and what the measure reads are enough; labels that both tables have must agree."""
    bare = make(loss=0.5, tokens=3).drop(columns=["label", "prediction", "score"])
    first, _ = read(tmp_path, bare, bare, find_measure("perplexity"))
    assert list(first.columns) == ["id", "source", "loss", "tokens"]
    assert first["tokens"].dtype == float
    assert choose_slices(first, first, find_measure("perplexity")).columns == ("source",)
    other = make(loss=0.5, label=["b", *np.tile(["a", "b"], 20)[1:]])
    found = faults(tmp_path, make(loss=0.5), other, find_measure("perplexity"))
    assert set(found) == {"CHAMPION.label"}
    found = faults(tmp_path, bare.drop(columns="id"), bare, find_measure("perplexity"))
    assert "has an id; this one has source, loss, tokens" in found["CANDIDATE.id"]
