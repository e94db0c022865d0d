"""`tunesmith gate` as a user runs it: exit codes, one JSON object, faults with their options."""

import json

import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

from flows.cli import app

ROWS = 2000


@pytest.fixture
def tables(tmp_path):
    """A champion right on 80% of the rows, and a candidate 5 points better."""
    point = np.arange(ROWS) / ROWS
    label = np.tile(["no", "yes"], ROWS // 2)
    other = np.where(label == "no", "yes", "no")
    base = {"id": np.arange(ROWS), "label": label, "source": np.repeat(["web", "mail"], ROWS // 2)}
    place = np.random.default_rng(0).permutation(point)

    def write(name, right):
        table = pandas.DataFrame(base | {"prediction": np.where(right, label, other)})
        table.to_csv(tmp_path / name, index=False)
        return str(tmp_path / name)

    better = write("better.csv", place < 0.85)
    return better, write("champion.csv", (place < 0.78) | (place > 0.98))


def gate(*words):
    """Exit code and the JSON object of a call."""
    done = CliRunner().invoke(app, ["gate", *words, "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, json.loads(done.stdout)


def test_better_candidate_passes(tables):
    """Exit 0, with the numbers that decided; a slice for every source."""
    code, verdict = gate(*tables, "--policy", "better")
    assert (code, verdict["promote"], verdict["status"]) == (0, True, "passed")
    assert verdict["difference"] == pytest.approx(0.05, abs=0.002)
    assert 0 < verdict["interval"][0] < verdict["difference"] < verdict["interval"][1]
    assert verdict["p_value"] < 0.05
    assert [one["value"] for one in verdict["slices"]] == ["mail", "web"]
    assert len(verdict["rows_digest"]) == 64


def test_worse_candidate_is_refused(tables):
    """Exit 4, with the same verdict and its reasons, for programs and for people."""
    code, verdict = gate(*reversed(tables))
    assert (code, verdict["promote"], verdict["status"]) == (4, False, "refused")
    assert verdict["difference"] == pytest.approx(-0.05, abs=0.002)
    shown = CliRunner().invoke(app, ["gate", *reversed(tables)])
    assert shown.exit_code == 4
    assert "not shown to be better" in shown.stdout


def test_options_reach_the_gate(tables):
    """Policy, margin, floor, metric, worn rows and the slices' limit each change the verdict."""
    worse = tuple(reversed(tables))
    code, verdict = gate(*worse, "--policy", "not_worse", "--margin", "0.08")
    assert code == 4  # the slices still fall by more than 3 points
    assert (
        gate(*worse, "--policy", "not_worse", "--margin", "0.08", "--max-slice-drop", "0.1")[0] == 0
    )
    code, verdict = gate(*tables, "--minimum", "0.9")
    assert code == 4
    assert "below the floor 0.9" in verdict["reasons"][0]
    code, verdict = gate(*tables, "--metric", "macro_f1", "--judged", "9", "--alpha", "0.01")
    assert code == 0
    assert (verdict["metric"], verdict["judged_before"], verdict["alpha"]) == ("macro_f1", 9, 0.01)


def test_wrong_options_are_listed_together(tables):
    """Exit 2 and each option by its name."""
    code, result = gate(*tables, "--policy", "best", "--alpha", "2", "--max-slice-drop", "3")
    assert code == 2
    assert {fault["key"] for fault in result["faults"]} == {
        "--policy", "--alpha", "--max-slice-drop",
    }  # fmt: skip


def test_unknown_metric_names_what_there_is(tables):
    """A column that neither table has is a wrong option, not a refusal."""
    code, result = gate(*tables, "--metric", "bleu")
    assert code == 2
    assert "the candidate has id, label" in result["faults"][0]["remedy"]


def test_metric_that_only_the_champion_has_is_a_refusal(tables, tmp_path):
    """What the candidate did not measure refuses it."""
    champion = pandas.read_csv(tables[1]).assign(f1=0.5)
    champion.to_csv(tmp_path / "measured.csv", index=False)
    code, verdict = gate(tables[0], str(tmp_path / "measured.csv"), "--metric", "f1")
    assert code == 4
    assert "a missing metric is a refusal" in verdict["reasons"][0]


def test_different_rows_end_with_code_2(tables, tmp_path):
    """Tables that are not of the same rows are never judged."""
    pandas.read_csv(tables[1]).iloc[1:].to_csv(tmp_path / "short.csv", index=False)
    code, result = gate(tables[0], str(tmp_path / "short.csv"))
    assert (code, result["faults"][0]["key"]) == (2, "CHAMPION.id")


def test_perplexity_needs_no_labels(tmp_path):
    """Tables of id, loss and tokens are judged; less is better, and the difference says so."""
    draw = np.random.default_rng(0)
    tokens, loss = draw.integers(50, 200, 400), draw.normal(3.0, 0.5, 400)
    for name, shift in (("champion", 0.0), ("candidate", -0.1)):
        table = pandas.DataFrame({"id": range(400), "loss": loss + shift, "tokens": tokens})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    paths = [str(tmp_path / f"{name}.csv") for name in ("candidate", "champion")]
    code, verdict = gate(*paths, "--metric", "perplexity", "--policy", "better")
    expected = np.exp((loss * tokens).sum() / tokens.sum())
    assert (code, verdict["promote"]) == (0, True)
    assert verdict["champion_value"] == pytest.approx(expected)
    assert verdict["difference"] == pytest.approx(expected * (1 - np.exp(-0.1)))
    assert gate(*reversed(paths), "--metric", "perplexity")[0] == 4
    assert gate(*paths, "--metric", "word_perplexity")[0] == 2  # words are in neither


@pytest.mark.parametrize("margin", ["8e-223", "5e-324"])
def test_a_margin_that_no_rows_can_tell_is_refused_in_words(tables, margin):
    """Not by a number of rows that nothing can hold."""
    better, champion = tables
    words = (champion, better, "--policy", "not_worse", "--margin", margin)
    code, verdict = gate(*words)
    assert code == 4
    assert "more than 1,000,000 times as many test rows" in " ".join(verdict["reasons"])
