"""Loss, right windows, answers, merit and marks of a span finder."""

import json
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
from torch import nn
from torch.nn import functional

from finetuning.devices import Device
from finetuning.question_models import NEVER
from finetuning.span_scoring import (
    answer,
    check,
    compute_loss,
    count_right,
    examine,
    find_worst,
    mark,
    weigh,
)
from finetuning.spans import CERTAIN
from tests.finetuning.question_rows import COLUMNS, open_questions

CPU = Device("cpu", "CPU", "fp32")
LONG = "the film is red , the plot is green , the cast is blue , the music is red and fine ."


class Told(nn.Module):
    """A stand-in model that is told each window's logits, by the token ids it is shown."""

    def __init__(self, tell):
        super().__init__()
        self.tell = tell
        self.register_buffer("threshold", torch.tensor(CERTAIN))

    def forward(self, input_ids, allowed, **_):
        """Logits, (batch, length, 2)."""
        logits = torch.stack([self.tell(ids) for ids in input_ids])
        return logits.masked_fill(~allowed.unsqueeze(-1), NEVER)


@pytest.fixture(scope="module")
def encoder(bert_folder):
    """The tiny tokenizer, in windows that cut `LONG` in several."""
    return open_questions(bert_folder, 18, 6)


def point_at(encoder, words, strength, silence=0.0):
    """A teller that finds certain words, each as sure as its strength, and else the first token."""
    numbers = {encoder.tokenizer.convert_tokens_to_ids(word): word for word in words}

    def tell(ids):
        logits = torch.zeros(len(ids), 2)
        for place, token in enumerate(ids.tolist()):
            if token in numbers:
                logits[place] = strength[numbers[token]]
        logits[0] = silence
        return logits

    return Told(tell)


def table(*rows):
    """Rows of question, context and answers."""
    return pandas.DataFrame(rows, columns=["question", "context", "answers"], dtype=object)


def test_loss_is_the_mean_of_both_ends():
    """Against torch's cross-entropy of either end, over allowed tokens only."""
    torch.manual_seed(0)
    outputs = torch.randn(3, 5, 2)
    outputs[:, 1:3] = NEVER
    targets = torch.tensor([[0, 0], [3, 4], [4, 4]])
    kept = [0, 3, 4]
    renamed = torch.tensor([[0, 0], [1, 2], [2, 2]])
    for smoothing in (0.0, 0.2):
        ends = [
            functional.cross_entropy(
                outputs[:, kept, end], renamed[:, end], label_smoothing=smoothing
            )
            for end in (0, 1)
        ]
        loss = compute_loss(outputs, targets, smoothing)
        torch.testing.assert_close(loss, (ends[0] + ends[1]) / 2)
    assert weigh(targets) == 3


def test_window_is_right_when_both_ends_are():
    """One end alone does not count."""
    outputs = torch.zeros(3, 4, 2)
    outputs[0, 2] = outputs[1, 2, 0] = outputs[1, 3, 1] = outputs[2, 1] = 5.0
    assert count_right(outputs, torch.tensor([[2, 2], [2, 2], [1, 1]])) == 2


def test_answer_comes_from_the_surest_window(encoder):
    """The context's own letters, with the probability that the model gives the span."""
    inputs = table(("the cast ?", LONG, "[]"), ("it ?", "A  Green film .", "[]"))[
        ["question", "context"]
    ]
    inputs.index = [7, 3]
    rows = encoder.encode(inputs, None)
    assert len(rows) > 2
    model = point_at(encoder, ["blue", "green"], {"blue": 6.0, "green": 4.0})
    answers = answer(model, {}, rows, inputs, COLUMNS)
    assert list(answers["answer"]) == ["blue", "Green"]
    assert list(answers.index) == [7, 3]
    # [CLS] and the other three tokens of the context have logit 0.
    share = np.exp(4) / (np.exp(4) + 4)
    assert answers["score"].iloc[1] == pytest.approx(share**2)


def test_no_answer_beyond_the_threshold(encoder):
    """Nothing is said where no answer leads by more than the threshold, nor without a context."""
    inputs = table(("it ?", "a green film .", "[]"), ("it ?", "", "[]"))
    rows = encoder.encode(inputs, None)
    model = point_at(encoder, ["green"], {"green": 4.0}, silence=5.0)  # leads by 2
    for threshold, expected in ((1.9, ""), (2.1, "green"), (CERTAIN, "green")):
        model.threshold.fill_(threshold)
        answers = answer(model, {}, rows, inputs, COLUMNS)
        assert list(answers["answer"]) == [expected, ""]
    assert answers["score"].iloc[1] == pytest.approx(1.0)


def test_check_sets_the_threshold(encoder):
    """Silence is learned from validation rows without an answer, and merit tells it."""
    asked = [
        ("it ?", "a green film .", '{"text": ["green"], "answer_start": [2]}'),
        ("it ?", "a blue film .", "[]"),
        ("it ?", "a red film .", '{"text": ["red film"], "answer_start": [2]}'),
    ]
    rows = encoder.encode(table(*asked), None)
    strength = {"green": 6.0, "blue": 1.0, "red": 4.0}
    model = point_at(encoder, list(strength), strength, silence=3.0)
    checked = check(model, rows, CPU, "validation")
    # "red" is 3 of the 8 letters of "red film": F1 2 * 3 / (3 + 8).
    assert checked.merit == pytest.approx((1 + 1 + 6 / 11) / 3)
    assert checked.accuracy == pytest.approx(2 / 3)
    assert -2.0 < model.threshold.item() < 4.0
    batch, targets = rows.draw(np.arange(3), 0)
    assert checked.loss == pytest.approx(compute_loss(model(**batch), targets, 0.0).item())


def test_check_always_answers_where_there_are_answers(encoder):
    """Without unanswerable validation rows no threshold keeps an answer back."""
    asked = [("it ?", "a green film .", '{"text": ["green"], "answer_start": [2]}')]
    model = point_at(encoder, ["green"], {"green": 1.0}, silence=9.0)
    model.threshold.fill_(0.0)
    assert check(model, encoder.encode(table(*asked), None), CPU, "x").merit == 1.0
    assert model.threshold.item() == pytest.approx(CERTAIN)


def test_marks_are_the_official_scores():
    """Label, prediction, F1 and exact match; the score goes along where there is one."""
    tested = table(
        ("q", "c", json.dumps({"text": ["the cast", "cast of film"], "answer_start": [0, 0]})),
        ("q", "c", "[]"),
        ("q", "c", "plot"),
    )
    answers = pandas.DataFrame({"answer": ["film cast", "", None], "score": [0.5, 0.25, 1.0]})
    marked = mark(answers, tested, COLUMNS)
    assert list(marked["label"]) == ["the cast", "", "plot"]
    assert list(marked["prediction"]) == ["film cast", "", ""]
    assert list(marked["f1"]) == [pytest.approx(0.8), 1.0, 0.0]
    assert list(marked["exact_match"]) == [0.0, 1.0, 0.0]
    assert list(marked["score"]) == [0.5, 0.25, 1.0]
    assert "score" not in mark(answers[["answer"]], tested, COLUMNS)


def test_both_kinds_of_questions_are_scored_apart(encoder):
    """Where some test rows have no answer; else the table's own metrics say all."""
    asked = [
        ("it ?", "a green film .", "green"),
        ("it ?", "a blue film .", "[]"),
        ("it ?", "a film .", "film"),
    ]
    model = point_at(encoder, ["green", "blue"], {"green": 6.0, "blue": 6.0})
    model.threshold.fill_(0.0)
    tested = table(*asked)
    examined = examine(model, {}, encoder.encode(tested, None), tested, COLUMNS)
    assert list(examined.answers["answer"])[:2] == ["green", "blue"]
    assert examined.metrics == {
        "answerable_f1": 0.5, "answerable_exact_match": 0.5,
        "unanswerable_f1": 0.0, "unanswerable_exact_match": 0.0,
    }  # fmt: skip
    whole = tested.iloc[[0]]
    assert examine(model, {}, encoder.encode(whole, None), whole, COLUMNS).metrics == {}


def test_worst_answers_come_first():
    """Wrong ones only: the lowest F1, and of equals the surest."""
    found = pandas.DataFrame(
        {
            "file": "test.csv", "row": [1, 2, 3, 4], "question": list("abcd"), "label": "x",
            "prediction": "y", "f1": [0.5, 0.0, 0.0, 1.0], "exact_match": [0.0, 0.0, 0.0, 1.0],
            "score": [0.9, 0.2, 0.7, 0.9],
        }
    )  # fmt: skip
    worst = [SimpleNamespace(**row) for row in find_worst(found, "question")]
    assert [(row.row, row.text, row.score) for row in worst] == [
        (3, "c", 0.7), (2, "b", 0.2), (1, "a", 0.9),
    ]  # fmt: skip
