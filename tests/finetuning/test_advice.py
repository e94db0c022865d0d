"""Advice for each problem, held against the trials that it rests on."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from finetuning.advice import (
    FEW_IMAGES,
    FEWEST_A_CLASS,
    LARGE_RATE,
    SMALL_RATE,
    Size,
    advise,
    read_size,
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TEXTS, IMAGES = "text-classification", "image-classification"
# The trials of each problem, and the size of their base model.
RECORDS = {
    TEXTS: ("learning_rates.json", Size(384, 22_700_000)),
    IMAGES: ("image_rates.json", Size(None, 270_000)),
    "question-answering": ("question_rates.json", Size(384, 22_700_000)),
    "causal-lm": ("language_rates.json", Size(64, 260_000)),
}
CLOSE = 0.015  # of accuracy on a thousand validation rows: about what two seeds differ by
CLOSE_LOSS = 0.02  # of a language model's loss: 2% of its perplexity


def read_groups():
    """The trials by problem, data and size."""
    groups = defaultdict(list)
    for problem, (file, _) in RECORDS.items():
        for trial in json.loads((BENCHMARKS / file).read_text("utf-8")):
            groups[problem, trial["data"], trial["rows"]].append(trial)
    return groups


def tells_of_adapters(trials):
    """Whether lora was tried, too; of language it is scored by its loss."""
    return any(trial["strategy"] == "lora" and trial["classes"] for trial in trials)


@pytest.mark.parametrize("group", sorted(read_groups()), ids=str)
def test_what_is_advised_was_close_to_the_best(group):
    """Of all strategies and rates that were tried on that many rows."""
    problem, _, rows = group
    trials = read_groups()[group]
    advised = advise(problem, rows, trials[0]["classes"], RECORDS[problem][1])
    strategy, _, rate = (one.value for one in advised)
    found = next(
        trial
        for trial in trials
        if trial["strategy"] == strategy and (strategy == "head" or trial["learning_rate"] == rate)
    )
    if problem == "causal-lm":
        assert found["best_loss"] <= min(trial["best_loss"] for trial in trials) + CLOSE_LOSS
    else:
        assert found["best"] >= max(trial["best"] for trial in trials) - CLOSE


ADAPTED = [group for group, trials in read_groups().items() if tells_of_adapters(trials)]


@pytest.mark.parametrize("group", sorted(ADAPTED), ids=str)
def test_adapters_are_advised_the_rate_that_was_best_for_them(group):
    """Of four; the other suggestions are the same as without them."""
    problem, _, rows = group
    trials = read_groups()[group]
    size = RECORDS[problem][1]
    plain = advise(problem, rows, trials[0]["classes"], size)
    advised = advise(problem, rows, trials[0]["classes"], size, "lora")
    own = [trial for trial in trials if trial["strategy"] == "lora"]
    best = max(own, key=lambda trial: trial["best"])
    assert advised[:2] == plain[:2]
    assert advised[2].key == plain[2].key
    (found,) = (trial for trial in own if trial["learning_rate"] == advised[2].value)
    assert found["best"] >= best["best"] - CLOSE


def test_few_rows_a_label_get_a_head():
    """One row more than the bound changes the strategy; the reason holds the number."""
    few = advise(TEXTS, FEWEST_A_CLASS * 10 - 1, 10, Size())[0]
    assert (few.key, few.value) == ("strategy.kind", "head")
    assert "rows a label" in few.reason
    assert advise(TEXTS, FEWEST_A_CLASS * 10, 10, Size())[0].value == "probe-then-tune"


@pytest.mark.parametrize(("rows", "epochs"), [(5000, 3), (5001, 2), (20_000, 2), (20_001, 1)])
def test_epochs_fall_with_the_rows(rows, epochs):
    """A rule of thumb, and said to be one."""
    advised = advise(TEXTS, rows, 2, Size())[1]
    assert (advised.key, advised.value) == ("training.epochs", epochs)
    assert "rule of thumb" in advised.reason


def test_rate_follows_the_models_width():
    """MiniLM's 384 features are few, BERT's 768 are not."""
    small, large = (advise(TEXTS, 1000, 2, Size(width))[2] for width in (384, 768))
    assert (small.value, large.value) == (SMALL_RATE, LARGE_RATE)
    assert "arXiv 1810.04805" in large.reason


def test_images_are_advised_on_by_the_network():
    """Only what was tried is said to have been: small networks; others have rules of thumb."""
    few, more = (advise(IMAGES, rows, 2, Size(None, 270_000)) for rows in (FEW_IMAGES, 501))
    assert [one.value for one in few] == ["full", 8, 1e-2]
    assert more[2].value == 3e-3
    large, patches = (advise(IMAGES, 900, 2, Size(width, 86_000_000)) for width in (None, 768))
    assert [one.value for one in large] == ["probe-then-tune", 8, 1e-3]
    assert patches[2].value == LARGE_RATE
    assert all("not compared" in one[2].reason for one in (large, patches))


@pytest.mark.parametrize(
    ("content", "width"), [({"hidden_size": 384}, 384), ({"n_embd": 768}, 768), ({}, None)]
)
def test_a_models_size_is_read(tmp_path, content, width):
    """By the names that architectures have for it, and from the shapes of the weights."""
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_size(tmp_path) == Size(width, None)
    arrays = {"one": np.zeros((2, 3)), "other": np.zeros(4)}
    save_file(arrays, tmp_path / "model.safetensors")
    assert read_size(tmp_path) == Size(width, 10)
