"""The sentence about overfitting: which epoch was kept, and when the gap opened."""

import math
from dataclasses import replace

import pytest

from finetuning.reports import best_epoch, describe_overfitting
from tests.finetuning.test_reports import GOOD, PROBE, RISING, epoch


def test_best_epoch_is_the_most_accurate_then_the_lowest_loss():
    """Ties in accuracy go to the lower loss; epochs without validation are passed over."""
    tie = [epoch("tune", i, (0.1, 0.9), (loss, 0.9)) for i, loss in enumerate((0.3, 0.2, 0.2), 1)]
    nothing = epoch("tune", 4, (0.1, 0.9), (math.nan, math.nan))
    assert best_epoch([*tie, nothing]) == 1
    assert best_epoch([nothing]) is None
    assert best_epoch([]) is None


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        ([], "No history was kept, so nothing can be said about overfitting."),
        (
            GOOD,
            "No sign of overfitting: at epoch 2 of 3 the training accuracy was 0.912 and the "
            "validation accuracy 0.905.",
        ),
        (
            RISING,
            "Overfitting opened at epoch 3: since epoch 2 the validation loss rose from 0.300 to "
            "0.400 while the training loss fell from 0.300 to 0.200; the weights of epoch 2, the "
            "best on validation, were kept, where the training accuracy was 0.912 and the "
            "validation accuracy 0.905.",
        ),
        (
            GOOD[:1],
            "No sign of overfitting: at epoch 1 of 1 the training accuracy was 0.870 and the "
            "validation accuracy 0.880, though a single epoch shows no trend.",
        ),
        (
            PROBE,
            "No sign of overfitting: at probe epoch 2 of 2 the training accuracy was 0.810 and "
            "the validation accuracy 0.800.",
        ),
        (
            [epoch("tune", 1, (0.1, 0.97), (0.3, 0.90))],
            "Overfitting opened at epoch 1: the training accuracy was 0.070 above validation; the "
            "weights of epoch 1, the best on validation, were kept, where the training accuracy "
            "was 0.970 and the validation accuracy 0.900.",
        ),
        (
            [replace(GOOD[0], validation_loss=math.nan, validation_accuracy=math.nan)],
            "Nothing was measured on validation rows, so nothing can be said about overfitting.",
        ),
    ],
)
def test_overfitting_is_described_as_worked_out_by_hand(history, sentence):
    """The sentence names the kept epoch, its two accuracies, and when the gap opened."""
    assert describe_overfitting(history) == sentence


def test_a_bump_that_later_epochs_undo_is_not_overfitting():
    """A validation loss that rises once and then falls lower has not turned."""
    bump = [RISING[0], epoch("tune", 2, (0.3, 0.9), (0.37, 0.88)), replace(GOOD[1], epoch=3)]
    assert describe_overfitting(bump).startswith("No sign of overfitting: at epoch 3 of 3")


def test_the_probe_can_be_what_was_kept():
    """Where tuning only hurt, the sentence says that the probe's weights were kept."""
    tuned = epoch("tune", 1, (0.3, 0.99), (0.9, 0.70))
    said = describe_overfitting([*PROBE, tuned])
    assert "opened at epoch 1: the training accuracy was 0.290 above validation" in said
    assert "the weights of probe epoch 2, the best on validation, were kept" in said
    assert "the weights of epoch 1," in describe_overfitting([*PROBE, tuned], restored=2)
