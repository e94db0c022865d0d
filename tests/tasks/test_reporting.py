"""What a run shows in Prefect's UI: the data's validation, and which labels were mistaken."""

from __future__ import annotations

import base64
import math
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from tasks import reporting
from tasks.reporting import (
    find_yardstick,
    publish_confusion,
    publish_validation,
    publish_verdict,
)
from tasks.validation_report import write_report
from tests.validation_rows import validated


@pytest.fixture
def shown(monkeypatch):
    """The artifacts that were made, by key."""
    made = {}
    for kind in ("table", "markdown"):
        monkeypatch.setattr(
            reporting,
            f"create_{kind}_artifact",
            lambda key, description, **content: made.update({key: (description, content)}),
        )
    return made


def test_validation_is_shown_with_what_failed_first(shown, tmp_path, monkeypatch):
    """A critical expectation that failed stands above those that hold, with its rows counted."""
    report = validated(("train", "one", None))
    write_report(report, tmp_path)
    monkeypatch.setattr(reporting, "fetch", lambda *_: SimpleNamespace(folder=tmp_path))
    work = SimpleNamespace(pipeline=SimpleNamespace(name="my_toy"))
    publish_validation(work)
    said, content = shown["my-toy-validation"]
    assert said.startswith(f"Validation: 1 critical, {report.warnings} warnings. Rows: train 21")
    rows = content["table"]
    assert len(rows) == len(report.outcomes)
    failed = [row for row in rows if row["passed"] != "yes"]
    assert failed == rows[: 1 + report.warnings]
    critical = next(row for row in failed if row["passed"] == "critical")
    assert critical["rows"] == "1"


def test_confusion_is_a_picture_that_needs_no_server(shown):
    """The picture lies in the artifact itself and has labels and counts; 57 of 60 are right."""
    publish_confusion("toy", {"labels": ["no", "yes"], "confusion": [[28, 2], [1, 29]]})
    content = shown["toy-confusion"][1]
    assert content["markdown"].startswith("57 of 60 test rows are right")
    data = content["markdown"].partition("base64,")[2].rstrip(")")
    drawing = ElementTree.fromstring(base64.b64decode(data))
    texts = {element.text for element in drawing.iter() if element.text}
    assert {"no", "yes", "28", "29"} <= texts


def test_what_has_no_labels_has_no_confusion(shown):
    """A problem without labels shows none; hundreds of labels are left to the report."""
    publish_confusion("toy", {})
    assert shown == {}
    labels = [f"label {number}" for number in range(60)]
    publish_confusion("toy", {"labels": labels, "confusion": [[1] * 60] * 60})
    assert shown["toy-confusion"][1]["markdown"].endswith("see report.html.")


def test_the_history_is_held_against_rows_labels_and_better_baselines(monkeypatch):
    """Guessing among two labels alike is ln 2; a baseline that may be level is no yardstick."""
    monkeypatch.setattr(
        reporting, "fetch",
        lambda *_: SimpleNamespace(facts={"rows": {"train": 200, "validation": 34, "test": 60}}),
    )  # fmt: skip
    settings = SimpleNamespace(label_smoothing=0.0, class_weights="none")
    work = SimpleNamespace(
        pipeline=SimpleNamespace(problem="text-classification", training=settings)
    )
    leads = [
        {"description": name, "scores": {"accuracy": score}, "difference": score, "interval": ends}
        for name, score, ends in (("level", 0.5, [-0.1, 0.1]), ("TF-IDF", 0.9, [-0.4, -0.2]))
    ]
    details = {"confusion": [[28, 2], [1, 29]], "baselines": leads}
    found = find_yardstick(work, details)
    assert (found.rows, found.beaten_by) == ((200, 34), ("TF-IDF", 0.9))
    assert found.guessing == pytest.approx(math.log(2))
    work.pipeline.problem = "causal-lm"
    found = find_yardstick(work, {"baselines": leads})
    assert (found.guessing, found.beaten_by, found.share) == (None, None, "token accuracy")


def test_a_defeat_stands_above_the_reasons_of_the_verdict(shown):
    """Prefect's artifact of the gate says it where it says that the model passed."""
    verdict = {
        "promote": True, "champion": None, "metric": "accuracy", "value": 0.4, "rows": 60,
        "difference": None, "reasons": ["above the floor"], "apart": [], "slices": [],
        "behaviour": [],
    }  # fmt: skip
    publish_verdict("toy", verdict, "a baseline is better")
    said = "The gate: passed\n- warning: a baseline is better\n- above the floor"
    assert shown["toy-gate"][0] == said
