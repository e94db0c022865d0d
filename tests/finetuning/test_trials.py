"""Trials: which rows they learn from, and what they leave."""

import os
import signal
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from finetuning import trials
from finetuning.batching import save_rows
from finetuning.config import Pipeline
from finetuning.progress import QUIET
from finetuning.trials import PREDICTIONS, carry_out, order_nested
from tests.finetuning.test_training import make_rows

LABELS = np.repeat([0, 1, 2], [600, 300, 100])


@pytest.mark.parametrize("size", [10, 50, 137, 500])
def test_every_beginning_is_stratified(size):
    """Any first part has the labels' shares, to a row a label; the whole has every row once."""
    order = order_nested(LABELS, seed=3)
    assert sorted(order) == list(range(1000))
    counts = np.bincount(LABELS[order[:size]], minlength=3)
    assert np.abs(counts - size * np.array([0.6, 0.3, 0.1])).max() <= 2


def test_order_follows_the_seed():
    """One seed one order, another seed another, and within a label it is drawn."""
    assert np.array_equal(order_nested(LABELS, 1), order_nested(LABELS, 1))
    first, second = (set(order_nested(LABELS, seed)[:100]) for seed in (1, 2))
    assert len(first & second) < 40


@pytest.mark.parametrize("kind", ["head", "lora", "scratch"])
def test_a_trial_leaves_a_prediction_table_and_figures(kind, bert_folder, tmp_path):
    """Predictions of the validation rows, trained parameters, seconds and memory."""
    save_rows(make_rows(bert_folder, 64), tmp_path / "train.safetensors")
    save_rows(make_rows(bert_folder, 40, seed=1), tmp_path / "validation.safetensors")
    pipeline = Pipeline.model_validate(
        {
            "name": "toy",
            "problem": "text-classification",
            "data": {"path": "data/toy"},
            "model": {"base": "toy"},
            "strategy": {"kind": kind},
            "training": {"epochs": 1, "precision": "fp32", "max_length": 32},
        }
    )
    checked = pandas.DataFrame({"text": "x", "label": ["no", "yes"] * 20}, index=range(7, 47))
    inputs = (bert_folder, tmp_path, ("no", "yes"), 32, pipeline, (20, 64), checked, tmp_path)
    facts = carry_out(*inputs)
    table = pandas.read_parquet(tmp_path / PREDICTIONS)
    assert list(table["label"]) == ["no", "yes"] * 20
    assert set(table["prediction"]) <= {"no", "yes"}
    assert not list(tmp_path.glob("tmp*"))
    adapters = 2 * 2 * 2 * 8 * 32
    assert facts["trained"] == 66 + adapters if kind == "lora" else facts["trained"] >= 66
    assert facts["seconds"] > 0
    assert facts["memory"] > 50 * 2**20
    assert len(facts["history"]) == 1


def test_a_trial_draws_no_bars_and_sends_what_it_found(monkeypatch):
    """Each would stand among those of many others: it is told to be quiet before it begins."""
    monkeypatch.delenv(QUIET, raising=False)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(trials, "carry_out", lambda: {"quiet": os.environ.get(QUIET)})
    sent = []
    trials.report(SimpleNamespace(send=sent.append))
    assert sent == [{"quiet": "1"}]
