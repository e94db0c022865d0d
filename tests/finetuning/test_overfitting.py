"""The sentences about what a training learned: too little, too much, or not yet all."""

import math
from dataclasses import replace

import pytest

from finetuning.overfitting import Yardstick, describe_overfitting, find_guessing_loss
from tests.finetuning.test_reports import GOOD, PROBE, RISING, epoch


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


BARELY = [
    epoch("tune", 1, (1.610, 0.240), (1.612, 0.235)),
    epoch("tune", 2, (1.590, 0.300), (1.592, 0.265)),
    epoch("tune", 3, (1.580, 0.347), (1.581, 0.265)),
]


def test_a_gap_that_chance_explains_is_not_overfitting():
    """On 34 rows the standard error of 0.265 is 0.076: a gap of 0.082 is next to nothing."""
    assert "opened at epoch 3" in describe_overfitting(BARELY)
    said = describe_overfitting(BARELY, against=Yardstick(rows=(170, 34)))
    assert said == (
        "No sign of overfitting: at epoch 3 of 3 the training accuracy was 0.347 and the "
        "validation accuracy 0.265, a gap that chance explains on 34 validation rows."
    )
    assert "opened at epoch 3" in describe_overfitting(BARELY, against=Yardstick((17000, 3400)))


def test_a_model_that_learned_hardly_anything_underfits():
    """A loss of 1.580 where guessing among five labels has 1.609; at 1.300 it has learned."""
    against = Yardstick((170, 34), guessing=find_guessing_loss([7, 7, 7, 7, 7], 0.0, False))
    assert describe_overfitting(BARELY, against=against) == (
        "Underfitting: at epoch 3 of 3 the training accuracy was 0.347 and the validation accuracy "
        "0.265, and the training loss of 1.580 is hardly below the 1.609 of guessing by how "
        "frequent each label is. More epochs or a higher training.learning_rate may help."
    )
    learned = [*BARELY[:2], epoch("tune", 3, (1.3, 0.36), (1.4, 0.36))]
    assert describe_overfitting(learned, against=against).startswith("No sign of overfitting")


def test_a_training_score_below_that_of_a_baseline_on_other_rows_is_underfitting():
    """Where TF-IDF is surely better, and better than the model on the rows that it learned."""
    against = Yardstick((170, 34), beaten_by=("TF-IDF", 0.964))
    assert "where TF-IDF reaches 0.964 on test rows" in describe_overfitting(GOOD, against=against)
    against = Yardstick((170, 34), beaten_by=("TF-IDF", 0.9))
    assert describe_overfitting(GOOD, against=against).startswith("No sign of overfitting")


@pytest.mark.parametrize(
    ("history", "advice"),
    [
        (GOOD, "More epochs or a higher"),
        (PROBE, "A strategy that trains more than the head"),
        ([*PROBE, epoch("tune", 1, (2.0, 0.3), (2.0, 0.3))], "a lower training.learning_rate"),
    ],
)
def test_the_advice_depends_on_what_was_kept(history, advice):
    """A head that was fitted has no epochs, and tuning that did harm was too fast."""
    assert advice in describe_overfitting(history, against=Yardstick(beaten_by=("TF-IDF", 0.99)))


def test_a_training_that_still_improved_says_so():
    """The last of two epochs took a seventh off the validation loss; less than 2 % is none."""
    said = "It was still improving when it ended: more epochs or a higher training.learning_rate"
    assert said in describe_overfitting(GOOD[:2])
    flat = [GOOD[1], epoch("tune", 3, (0.29, 0.915), (0.295, 0.906))]
    assert said not in describe_overfitting(flat)
    assert said not in describe_overfitting(PROBE)


@pytest.mark.parametrize(
    ("counts", "smoothing", "balanced", "loss"),
    [
        ([50, 50], 0.0, False, math.log(2)),
        ([90, 10], 0.0, False, -0.9 * math.log(0.9) - 0.1 * math.log(0.1)),
        ([90, 10], 0.2, False, -0.82 * math.log(0.82) - 0.18 * math.log(0.18)),
        ([90, 10], 0.0, True, math.log(2)),
        ([10, 0], 0.0, False, 0.0),
        ([], 0.0, False, None),
    ],
)
def test_the_loss_of_guessing_is_the_entropy_of_the_labels(counts, smoothing, balanced, loss):
    """Of their smoothed shares; where all labels weigh alike, of as many equal ones."""
    found = find_guessing_loss(counts, smoothing, balanced)
    assert found == (None if loss is None else pytest.approx(loss))
