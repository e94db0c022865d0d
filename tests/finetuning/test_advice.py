"""Advice for texts, held against the trials that it rests on."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from finetuning.advice import (
    FEWEST_A_CLASS,
    LARGE_RATE,
    SMALL_RATE,
    advise_on_texts,
    read_width,
)

RECORD = Path(__file__).parents[2] / "benchmarks" / "learning_rates.json"
CLOSE = 0.015  # of accuracy on a thousand validation rows: about what two seeds differ by


def read_groups():
    """The trials by data and size."""
    groups = defaultdict(list)
    for trial in json.loads(RECORD.read_text("utf-8")):
        groups[trial["data"], trial["rows"]].append(trial)
    return groups


@pytest.mark.parametrize(("name", "rows"), sorted(read_groups()))
def test_what_is_advised_was_close_to_the_best(name, rows):
    """Of all strategies and rates that were tried on that many rows."""
    trials = read_groups()[name, rows]
    strategy, _, rate = (
        one.value for one in advise_on_texts(rows, trials[0]["classes"], width=384)
    )
    advised = next(
        trial["best"]
        for trial in trials
        if trial["strategy"] == strategy and (strategy == "head" or trial["learning_rate"] == rate)
    )
    assert advised >= max(trial["best"] for trial in trials) - CLOSE


def test_few_rows_a_label_get_a_head():
    """One row more than the bound changes the strategy; the reason holds the number."""
    few = advise_on_texts(FEWEST_A_CLASS * 10 - 1, 10, None)[0]
    assert (few.key, few.value) == ("strategy.kind", "head")
    assert "rows a label" in few.reason
    assert advise_on_texts(FEWEST_A_CLASS * 10, 10, None)[0].value == "probe-then-tune"


@pytest.mark.parametrize(("rows", "epochs"), [(5000, 3), (5001, 2), (20_000, 2), (20_001, 1)])
def test_epochs_fall_with_the_rows(rows, epochs):
    """A rule of thumb, and said to be one."""
    advised = advise_on_texts(rows, 2, None)[1]
    assert (advised.key, advised.value) == ("training.epochs", epochs)
    assert "rule of thumb" in advised.reason


def test_rate_follows_the_models_width():
    """MiniLM's 384 features are few, BERT's 768 are not."""
    small, large = (advise_on_texts(1000, 2, width)[2] for width in (384, 768))
    assert (small.value, large.value) == (SMALL_RATE, LARGE_RATE)
    assert "arXiv 1810.04805" in large.reason


@pytest.mark.parametrize(
    ("content", "width"), [({"hidden_size": 384}, 384), ({"n_embd": 768}, 768), ({}, None)]
)
def test_width_is_read(tmp_path, content, width):
    """By the names that architectures have for it."""
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_width(tmp_path) == width
