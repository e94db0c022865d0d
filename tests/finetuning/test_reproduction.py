"""Same bytes, same answers within the tolerance, or another model."""

import json
from dataclasses import asdict

import pandas
import pytest

from finetuning.reproduction import TOLERANCE, compare_models

WEIGHTS = {"model.safetensors": "a", "head.safetensors": "b"}
METRICS = {"test/accuracy": 0.9, "test/loss": 0.3}


def answer(rows=100, wrong=0, shift=0.0):
    """A prediction table whose first rows are answered otherwise."""
    return pandas.DataFrame(
        {
            "id": [f"t:{number}" for number in range(rows)],
            "label": ["x"] * rows,
            "prediction": ["y"] * wrong + ["x"] * (rows - wrong),
            "score": [0.75 + shift] * rows,
        }
    )


def compare(weights=WEIGHTS, table=None, metrics=METRICS):
    """The comparison of one model with another."""
    tables = (answer(), answer() if table is None else table)
    return compare_models((WEIGHTS, weights), tables, (METRICS, metrics))


def test_the_same_bytes_are_identical():
    """Equal digests of every weights file, and equal answers."""
    found = compare()
    assert found.verdict == "identical"
    assert found.predictions
    assert found.weights == {"head.safetensors": True, "model.safetensors": True}


@pytest.mark.parametrize(
    "weights", [{**WEIGHTS, "head.safetensors": "c"}, {"model.safetensors": "a"}]
)
def test_other_bytes_with_the_same_answers_are_within_tolerance(weights):
    """One file that differs, or is missing, is enough not to be identical; a loss is not judged."""
    found = compare(weights, answer(wrong=2, shift=0.125), METRICS | {"test/loss": 0.9})
    assert found.verdict == "within tolerance"
    assert not found.weights["head.safetensors"]
    assert (found.agreement, found.largest_score_difference) == (0.98, 0.125)


@pytest.mark.parametrize(
    ("table", "metrics"),
    [
        (answer(wrong=3), METRICS),
        (answer(), METRICS | {"test/accuracy": 0.9 + TOLERANCE.metric * 1.01}),
        (answer(), {"test/loss": 0.3}),
        (answer(rows=103), METRICS),
        (answer().assign(id=[f"u:{number}" for number in range(100)]), METRICS),
    ],
    ids=["answers", "metric", "metric missing", "more rows", "other rows"],
)
def test_outside_the_tolerance_it_differs(table, metrics):
    """Too many other answers, too far a metric, or other rows: even with the same weights."""
    found = compare(WEIGHTS, table, metrics)
    assert found.verdict == "differs"
    assert "NaN" not in json.dumps(asdict(found))
