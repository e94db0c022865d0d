"""What is said of epochs: the best of them, the figures of one, and how the training ended."""

import math
from dataclasses import replace

import pytest

from finetuning.history import describe_end, describe_epoch, find_best
from finetuning.roles import METRICS
from tests.finetuning.test_reports import GOOD, PROBE, epoch


def test_the_best_epoch_is_the_most_accurate_then_the_lowest_loss():
    """Ties in accuracy go to the lower loss; epochs without validation are passed over."""
    tie = [epoch("tune", i, (0.1, 0.9), (loss, 0.9)) for i, loss in enumerate((0.3, 0.2, 0.2), 1)]
    nothing = epoch("tune", 4, (0.1, 0.9), (math.nan, math.nan))
    assert find_best([*tie, nothing]) == 1
    assert find_best([nothing]) is None
    assert find_best([]) is None


@pytest.mark.parametrize(
    ("problem", "train", "validation"),
    [
        ("text-classification", "accuracy 0.1000", "accuracy 0.2000"),
        ("image-classification", "accuracy 0.1000", "accuracy 0.2000"),
        (
            "question-answering",
            "span accuracy 0.1000",
            "span accuracy 0.2000 f1 over characters 0.6000",
        ),
        ("causal-lm", "token accuracy 0.1000", "token accuracy 0.2000 perplexity 7.39"),
    ],
)
def test_an_epochs_figures_are_called_what_they_are(problem, train, validation):
    """Spans and tokens are no rows; beside them stands what the gate's metric is nearest to."""
    one = replace(epoch("tune", 3, (1.5, 0.1), (2.0, 0.2)), rank=0.6)
    assert describe_epoch(one, problem) == (
        f"tune 3: train loss 1.5000 {train}, validation loss 2.0000 {validation}, 1.0 s"
    )


@pytest.mark.parametrize("problem", METRICS)
def test_an_epoch_that_went_wild_is_told_all_the_same(problem):
    """A loss whose exponential is no number that a computer holds."""
    wild = replace(epoch("tune", 1, (1e5, 0.0), (1e5, 0.0)), rank=-1e5)
    assert describe_epoch(wild, problem).startswith("tune 1: train loss 100000.0000")


@pytest.mark.parametrize(
    ("history", "best", "epochs", "said"),
    [
        (GOOD, 1, 3, "kept the weights of epoch 2, the best on validation; 3 of 3 epochs were run"),
        (
            GOOD[:2], 0, 3,
            "kept the weights of epoch 1, the best on validation; 2 of 3 epochs were run: it "
            "stopped early, see training.early_stopping",
        ),
        (
            [PROBE[0], GOOD[0]], 0, 1,
            "kept the weights of the probe, the best on validation; 1 of 1 epochs were run",
        ),
        (PROBE[:1], 0, 0, "kept the head that was fitted; nothing else was to be trained"),
    ],
)  # fmt: skip
def test_the_end_of_a_training_says_what_was_kept(history, best, epochs, said):
    """Which epoch, and how many of those that were asked for were run."""
    assert describe_end(history, best, epochs) == said
