"""The gate: a floor that is reached passes, and what was not measured is refused."""

import json
import math

import numpy as np
import pytest

from finetuning.config import Gate
from finetuning.gate import judge


def gate(**fields):
    """A gate as the pipeline file would give it."""
    return Gate.model_validate({"minimum": 0.9, **fields})


@pytest.mark.parametrize(
    ("value", "promote"),
    [(0.9, True), (0.95, True), (1.0, True), (math.nextafter(0.9, 0), False), (0.0, False)],
)
def test_floor(value, promote):
    """Exactly at the floor passes; the next smaller number does not."""
    verdict = judge({"test/accuracy": value}, gate(), 100, "abc")
    assert verdict.promote is promote
    assert (verdict.value, verdict.minimum) == (value, 0.9)
    assert (verdict.metric, verdict.rows, verdict.rows_digest) == ("accuracy", 100, "abc")
    (reason,) = verdict.reasons
    assert ("reaches" if promote else "is below") in reason


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"accuracy": 1.0, "validation/accuracy": 1.0, "test/macro_f1": 1.0},
        {"test/accuracy": math.nan},
        {"test/accuracy": np.float32("nan")},
        {"test/accuracy": math.inf},
    ],
    ids=["none", "others", "nan", "numpy nan", "inf"],
)
def test_not_measured(metrics):
    """A metric that is missing or not a finite number is a refusal, even at the floor 0."""
    verdict = judge(metrics, gate(minimum=0.0), 100, "abc")
    assert not verdict.promote
    assert verdict.value is None
    assert "test/accuracy was not measured" in verdict.reasons[0]


def test_metric_of_choice():
    """The gate reads the metric that the pipeline file names."""
    metrics = {"test/accuracy": 0.5, "test/macro_f1": 0.95}
    assert judge(metrics, gate(metric="macro_f1"), 10, "abc").promote
    assert not judge(metrics, gate(), 10, "abc").promote


def test_verdict_as_json():
    """A verdict is written as strict JSON, with every number it decided on."""
    verdict = judge({"test/accuracy": math.nan}, gate(), 100, "abc")
    read = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert read["promote"] is False
    assert read["value"] is None
    assert read["minimum"] == 0.9
