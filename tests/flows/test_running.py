"""What `tunesmith run` says in the end: of a run that went well, badly, or out of sight."""

import pytest

from flows.running import describe_result, finish
from tasks.planning import STAGES


@pytest.mark.parametrize(
    ("alias", "passed", "status"),
    [
        ("champion", True, "promoted"),
        ("challenger", True, "registered"),
        (None, True, "registered"),
        (None, False, "refused"),
    ],
)
def test_a_run_that_could_not_be_reported_ends_as_its_verdict_says(capsys, alias, passed, status):
    """A model that the gate refused is not said to be registered."""
    kept = {"status": "unchanged", "alias": alias, "gate": {"promote": passed}, "run_id": "a"}
    result = finish(kept, "Connection refused")
    assert (result["status"], result["run_id"]) == (status, "a")
    assert {stage["status"] for stage in result["stages"].values()} == {"kept"}
    assert tuple(result["stages"]) == STAGES
    assert "could not be told: Connection refused" in capsys.readouterr().err


def make_result(difference, **changes):
    """A run's result, whose only baseline is so far behind."""
    interval = [difference - 0.05, difference + 0.05]
    baseline = {"description": "TF-IDF with logistic regression", "scores": {"accuracy": 0.9639}}
    return {
        "status": "registered", "pipeline": "toy", "model_version": "1", "alias": "challenger",
        "metrics": {"test/accuracy": 0.3855}, "problem": "text-classification", "seconds": 1.0,
        "gate": {"promote": True, "reasons": ["accuracy 0.3855 reaches the floor 0.2"]},
        "baselines": [baseline | {"difference": difference, "interval": interval}],
        "model_uri": "models:/toy/1", "report": "/kept/report.html", **changes,
    }  # fmt: skip


def test_a_model_that_a_baseline_surely_beats_is_registered_with_a_warning():
    """It stands right below the head, before the reasons of the gate, which let it pass."""
    lines = describe_result(make_result(-0.5784)).splitlines()
    assert lines[0] == "toy: version 1 registered, waiting as challenger"
    assert lines[1].startswith("  warning: this model is surely worse than TF-IDF with logistic")
    assert lines[2] == "  accuracy 0.3855 reaches the floor 0.2"
    assert "warning" not in describe_result(make_result(-0.04))


def test_the_end_of_a_run_names_its_report():
    """Where the page lies, as validate and compare say it of theirs."""
    assert "  report:  /kept/report.html" in describe_result(make_result(0.3)).splitlines()


def test_long_names_of_baselines_keep_the_scores_in_line():
    """Each score begins in the same column."""
    result = make_result(0.3)
    result["baselines"][0]["description"] = "the sentence of the context nearest in words to it"
    columns = {line.index(" accuracy 0.") for line in describe_result(result).splitlines()[2:4]}
    assert columns == {len("  the sentence of the context nearest in words to it")}
