"""One label a row: loss and answers against torch and values worked by hand."""

import math

import numpy as np
import pandas
import pytest
import torch

from finetuning import class_scoring
from finetuning.config import Columns
from finetuning.devices import Device
from finetuning.models import build
from finetuning.tokenization import encode, load_tokenizer

COLUMNS = Columns.model_validate({"label": "mood"})
TEXTS = ["a good film", "a dull plot", "the cast was great"]
CPU = Device("cpu", "CPU", "fp32")
LABELS = ("bad", "good")


@pytest.fixture
def asked(bert_folder):
    """A tiny model, its description, and three encoded rows."""
    rows = encode(load_tokenizer(bert_folder), TEXTS, None, np.array([1, 0, 1]), 16)
    return build(bert_folder, 2, seed=0).eval(), {"labels": LABELS}, rows


def test_loss_of_two_rows():
    """Mean of -log of the label's share, by hand: log(1 + e^-2) and log(1 + e)."""
    logits = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2
    loss = class_scoring.compute_loss(logits, torch.tensor([1, 1]), 0.0)
    assert loss.item() == pytest.approx(expected)
    assert class_scoring.count_right(logits, torch.tensor([1, 1])) == 1
    assert class_scoring.weigh(torch.tensor([1, 1])) == 2


def test_mixed_rows_count_for_their_larger_share():
    """Targets that are shares: the loss is their cross-entropy, right is the larger share's."""
    logits, shares = torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.3, 0.7], [0.6, 0.4]])
    second = 0.6 * math.log(1 + math.exp(-3)) + 0.4 * (3 + math.log(1 + math.exp(-3)))
    loss = class_scoring.compute_loss(logits, shares, 0.0)
    assert loss.item() == pytest.approx((math.log(2) + second) / 2)
    assert class_scoring.count_right(logits, shares) == 1


def test_answers_are_softmax(asked):
    """Label and score are the largest of torch's softmax over the model's logits."""
    model, description, rows = asked
    found = class_scoring.answer(model, description, rows, pandas.DataFrame({"t": TEXTS}), COLUMNS)
    with torch.inference_mode():
        shares = model(**rows.collate([0, 1, 2])).softmax(dim=1)
    assert list(found["score"]) == pytest.approx(shares.max(dim=1).values.tolist(), abs=1e-6)
    assert list(found["label"]) == [LABELS[index] for index in shares.argmax(dim=1).tolist()]


def test_validation_and_test_agree(asked):
    """Accuracy and loss of the same rows, as validation and as evaluation find them."""
    model, description, rows = asked
    tested = pandas.DataFrame({"text": TEXTS, "mood": ["good", "bad", "good"]})
    checked = class_scoring.check(model, rows, CPU, "validation")
    examined = class_scoring.examine(model, description, rows, tested, COLUMNS)
    marked = class_scoring.mark(examined.answers, tested, COLUMNS)
    assert checked.merit == checked.accuracy
    assert (marked["label"] == marked["prediction"]).mean() == pytest.approx(checked.accuracy)
    assert examined.metrics["loss"] == pytest.approx(checked.loss)
    assert np.sum(examined.details["confusion"]) == 3
    assert [sum(row) for row in examined.details["confusion"]] == [1, 2]


def test_marks_without_a_score():
    """A baseline that only names labels has no score to calibrate."""
    tested = pandas.DataFrame({"mood": ["good", "bad"]}, index=[5, 7])
    marked = class_scoring.mark(pandas.DataFrame({"label": ["bad", "bad"]}), tested, COLUMNS)
    assert marked.to_dict("list") == {"label": ["good", "bad"], "prediction": ["bad", "bad"]}
    assert list(marked.index) == [5, 7]


def test_the_worst_are_wrong_and_sure():
    """Wrong rows alone, the surest first, with where they stand."""
    table = pandas.DataFrame(
        {
            "file": "a.csv",
            "row": [1, 2, 3],
            "text": TEXTS,
            "label": ["good", "bad", "good"],
            "prediction": ["bad", "bad", "bad"],
            "score": [0.6, 0.9, 0.8],
        }
    )
    worst = class_scoring.find_worst(table, "text")
    assert [one["row"] for one in worst] == [3, 1]
    assert worst[0]["text"] == "the cast was great"
