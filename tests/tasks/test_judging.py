"""The gate's glue: answers against the log, rows that changed, and how often rows have judged."""

from types import SimpleNamespace

import pandas
import pytest

from finetuning.config import Data, Gate
from tasks import judging
from tasks.answering import Answers, ask_model
from tasks.evaluation import tabulate_predictions
from tasks.judging import (
    TEST,
    compare_served,
    count_judged,
    find_slices,
    judge_candidate,
    tell_apart,
)

LOGGED = pandas.DataFrame(
    {
        "id": ["a.csv:1", "a.csv:2", "a.csv:3"],
        "file": ["a.csv"] * 3,
        "row": [1, 2, 3],
        "key": ["1", "2", "3"],
        "text": ["good film", "bad film", "odd film"],
        "source": ["web", "web", "mail"],
        "label": ["pos", "neg", "pos"],
        "prediction": ["pos", "neg", "neg"],
        "score": [0.9, 0.8, 0.6],
    }
)


def work(**data):
    """As much of a run's work as is read."""
    fields = Data.model_validate({"path": "data/x", **data})
    pipeline = SimpleNamespace(data=fields, problem="text-classification")
    return SimpleNamespace(pipeline=pipeline)


def answers(labels=("pos", "neg", "neg"), scores=(0.9, 0.8, 0.6)):
    """What a loaded model answered."""
    return Answers({TEST: pandas.DataFrame({"label": labels, "score": scores})}, 3.0)


def compare(given):
    """Answers against what was logged."""
    return compare_served(work(), LOGGED, LOGGED, given)


def test_below_the_floor_nothing_is_loaded_and_that_is_said(tmp_path, monkeypatch):
    """Two of three right are below 0.9: no champion is asked, and a whole sentence says why."""
    LOGGED.to_parquet(tmp_path / "predictions.parquet")
    monkeypatch.setattr(judging, "fetch", lambda *_: SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(judging, "describe_subject", lambda *_: {})
    for name in ("find_champion", "find_registered"):
        monkeypatch.setattr(judging, name, lambda *_: None)
    for name in ("keep_model", "ask_model", "count_judged"):
        monkeypatch.setattr(judging, name, lambda *_: pytest.fail("it is refused already"))
    candidate = work()
    candidate.pipeline.name, candidate.pipeline.gate = "toy", Gate(minimum=0.9)
    candidate.plans = {"register": SimpleNamespace(key="d")}
    verdict = judge_candidate(None, candidate, "run")
    assert verdict.reasons == (
        "accuracy 0.6667 on 3 test rows is below the floor 0.9",
        "what is refused already is neither loaded nor compared with a champion",
    )


def test_answers_take_the_place_of_predictions():
    """The label answered is the prediction; true labels and the rest stay."""
    given = answers(labels=("neg", "neg", "pos")).tables[TEST]
    table = tabulate_predictions(work(slices=["source"]), LOGGED, given)
    assert set(table.columns) == set(LOGGED.columns)
    assert list(table["id"]) == list(LOGGED["id"])
    assert list(table["prediction"]) == ["neg", "neg", "pos"]
    assert list(table["label"]) == list(LOGGED["label"])
    assert list(LOGGED["prediction"]) == ["pos", "neg", "neg"]


def test_answers_are_compared_with_the_log():
    """Labels that differ are counted, the largest distance of scores is found, errors are kept."""
    same = compare(answers())
    assert (same.rows, same.different, same.apart, same.latency_ms) == (3, 0, 0.0, 3.0)
    other = compare(answers(("pos", "pos", "neg"), (0.9, 0.8, 0.7)))
    assert (other.different, other.apart) == (1, pytest.approx(0.1))
    assert compare(answers(scores=(0.9, float("nan"), 0.6))).error
    assert compare(Answers({}, None, "OSError: gone")).error == "OSError: gone"


def test_one_score_that_is_missing_is_not_overlooked():
    """A NaN beside scores that agree is an error, not a maximum over the others."""
    served = compare(answers(scores=(float("nan"), 0.8, 0.6)))
    assert served.error is not None


def test_rows_are_told_apart():
    """As the champion was tested, relabelled since, and new since."""
    logged = LOGGED.drop(columns="key")
    today = logged.assign(text=["good film", "bad film", "new film"], label=["pos", "pos", "pos"])
    apart = {name: list(rows) for name, rows in tell_apart(work(), today, logged).items()}
    assert apart == {
        "as the champion was tested": [True, False, False],
        "relabelled since": [False, True, False],
        "new since": [False, False, True],
    }
    assert tell_apart(work(), today, logged.drop(columns="text")) == {}


def test_rows_are_told_apart_by_all_that_is_asked():
    """The same first text in another pair is a new row; rows without labels are not relabelled."""
    logged = LOGGED
    today = logged.assign(text=["good film"] * 3, key=["1", "4", "3"])
    apart = tell_apart(work(), today, logged)
    assert list(apart["new since"]) == [False, True, False]
    bare = tell_apart(work(), today.drop(columns="label"), logged.drop(columns="label"))
    assert list(bare["as the champion was tested"]) == [True, False, True]
    assert not bare["relabelled since"].any()


def test_slices_that_are_gone_are_missing():
    """A declared column that was not scored, and a value of 30 rows or more that is no more."""
    many = pandas.concat([LOGGED] * 30)
    slices = find_slices(work(slices=["source", "year"]), LOGGED[:2], many)
    assert slices.columns == ("source",)
    assert slices.missing == ("year", "source = mail")
    assert find_slices(work(slices=["source"]), LOGGED[:2], LOGGED).missing == ()
    assert find_slices(work(slices=["source"]), LOGGED, None).missing == ()


def test_judged_rows_are_counted_over_runs(tmp_path):
    """Every run once, deleted ones too; other rows start again; a second look is the same run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("toy", artifact_location=tmp_path.as_uri())
    runs = [client.create_run(experiment).info.run_id for _ in range(4)]
    assert [count_judged(client, run, "rows") for run in runs[:3]] == [0, 1, 2]
    assert count_judged(client, runs[2], "rows") == 2
    client.delete_run(runs[0])
    assert count_judged(client, runs[3], "rows") == 3
    assert count_judged(client, runs[3], "other rows") == 0


def test_model_that_does_not_load_is_an_answer(tmp_path):
    """The error comes back in words from the fresh process, without a traceback."""
    found = ask_model(
        f"file://{tmp_path}/nothing", f"sqlite:///{tmp_path}/mlflow.db", {TEST: LOGGED[["text"]]}
    )
    assert found.tables == {}
    assert found.error
    assert "Traceback" not in found.error
