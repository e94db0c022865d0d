"""The probe against scikit-learn's logistic regression, and features in the rows' order."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from finetuning import batching, probing
from finetuning.devices import Device
from finetuning.models import build
from finetuning.probing import (
    PENALTIES,
    Probe,
    compute_features,
    compute_logits,
    fit_probe,
)
from finetuning.tokenization import encode, load_tokenizer

CPU = Device("cpu", "CPU", "fp32")


def draw(rows, hidden=8, classes=3, seed=0):
    """Features on very different scales, far from 0, and labels that follow them with noise."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(hidden, classes, generator=torch.Generator().manual_seed(99))
    standard = torch.randn(rows, hidden, generator=generator)
    noise = torch.randn(rows, classes, generator=generator)
    labels = (standard @ truth + 1.5 * noise).argmax(dim=1)
    scales = torch.logspace(-2, 2, hidden)
    return standard * scales + 5 * scales, labels


def penalised_loss(weight, bias, features, labels, penalty):
    """The probe's objective: mean cross-entropy and half the squared weights."""
    loss = functional.cross_entropy(features @ weight.T + bias, labels)
    return (loss + 0.5 * penalty * weight.square().sum()).item()


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1e-1])
@pytest.mark.parametrize("classes", [2, 3])
def test_probe_reaches_scikit_learns_loss(penalty, classes, monkeypatch):
    """On standardised features the objective is scikit-learn's optimum, within 1e-3.

    Its C weighs the sum over rows, so that C = 1 / (penalty * rows). With two classes it fits one
    weight vector w for the softmax's (-w/2, w/2), whose squares sum to half as much: C is doubled.
    """
    monkeypatch.setattr(probing, "PENALTIES", (penalty,))
    features, labels = draw(300, classes=classes)
    probe = fit_probe(features, labels, features, labels, classes)
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    standard = (features - mean) / deviation
    strength = (2 if classes == 2 else 1) / (penalty * len(features))
    reference = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(standard, labels)
    weight, bias = torch.tensor(reference.coef_), torch.tensor(reference.intercept_)
    if classes == 2:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    expected = penalised_loss(weight, bias, standard.double(), labels, penalty)
    own_weight, own_bias = probe.weight * deviation, probe.bias + probe.weight @ mean
    got = penalised_loss(own_weight, own_bias, standard, labels, penalty)
    assert got == pytest.approx(expected, abs=1e-3)
    torch.testing.assert_close(own_weight.double(), weight, rtol=0, atol=0.02)


def test_scaling_is_folded_in():
    """On raw features the probe gives what it was fitted to give on standardised ones."""
    features, labels = draw(300)
    checked, checked_labels = draw(150, seed=1)
    probe = fit_probe(features, labels, checked, checked_labels, 3)
    reference = LogisticRegression(C=1 / (probe.penalty * 300), tol=1e-8, max_iter=5000)
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    reference.fit((features - mean) / deviation, labels)
    expected = reference.predict_proba((checked - mean) / deviation)
    got = probe.logits(checked).softmax(dim=1)
    np.testing.assert_allclose(got, expected, atol=5e-3)
    torch.testing.assert_close(
        probe.logits(checked), functional.linear(checked, probe.weight, probe.bias)
    )


def test_validation_picks_the_penalty():
    """The penalty is the one whose fit is best on validation, by accuracy, then by loss."""
    features, labels = draw(60, hidden=20)
    checked, checked_labels = draw(400, hidden=20, seed=1)
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    merits = {}
    for penalty in PENALTIES:
        model = LogisticRegression(C=1 / (penalty * 60), tol=1e-8, max_iter=5000)
        model.fit((features - mean) / deviation, labels)
        merits[penalty] = model.score((checked - mean) / deviation, checked_labels)
    probe = fit_probe(features, labels, checked, checked_labels, 3)
    assert merits[probe.penalty] == pytest.approx(max(merits.values()), abs=0.006)
    predicted = probe.logits(checked).argmax(dim=1)
    right = (predicted == checked_labels).float().mean().item()
    assert probe.validation_accuracy == pytest.approx(right, abs=1e-6)
    assert probe.penalty in PENALTIES


def test_constant_feature():
    """A feature that never changes does no harm."""
    features, labels = draw(200)
    features[:, 3] = 4.0
    probe = fit_probe(features, labels, features, labels, 3)
    assert torch.isfinite(probe.weight).all()
    assert torch.isfinite(probe.bias).all()
    assert probe.validation_accuracy > 0.6


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite(value):
    """Features that are not numbers are an error that says so, not a probe of them."""
    features, labels = draw(50)
    features[7, 2] = value
    with pytest.raises(FloatingPointError, match="not finite"):
        fit_probe(features, labels, features, labels, 3)


def test_label_smoothing_keeps_the_probe_modest():
    """Smoothed labels on separable rows leave the confidence near 1 - smoothing * (k - 1) / k."""
    features = torch.tensor([[-1.0], [1.0]]).repeat(50, 1)
    labels = torch.tensor([0, 1]).repeat(50)
    validation = -features  # wrong everywhere, so that the least confident fit is chosen
    plain, smooth = (
        fit_probe(features, labels, validation, labels, 2, smoothing)
        .logits(features)
        .softmax(1)
        .max()
        for smoothing in (0.0, 0.4)
    )
    assert smooth < plain
    assert smooth <= 0.8 + 1e-3


def test_probe_logits_by_hand():
    """Logits are features times weight plus bias."""
    probe = Probe(torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([0.5, 0.0]), 1e-3, 1.0)
    assert probe.logits(torch.tensor([[3.0, 1.0]])).tolist() == [[5.5, -1.0]]


@pytest.mark.parametrize("fixture", ["bert_folder", "gpt2_folder"])
def test_features_are_in_the_rows_order(fixture, request, monkeypatch):
    """Whatever the batches, each row's features stand in its own place."""
    folder = request.getfixturevalue(fixture)
    texts = [
        "good film",
        "a",
        "the plot was bad , and the cast was very awful",
        "one two",
        "i",
        "red",
    ]
    rows = encode(load_tokenizer(folder), texts, None, np.zeros(6, np.int64), 32)
    model = build(folder, 2, seed=0)
    got = {}
    for tokens in (1, 12, 10_000):
        monkeypatch.setattr(batching, "TOKENS_A_BATCH", tokens)
        got[tokens] = compute_features(model, rows, CPU)
    assert got[1].shape == (6, 32)
    torch.testing.assert_close(got[12], got[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(got[10_000], got[1], rtol=0, atol=1e-5)
    assert torch.pdist(got[1]).min() > 0.01  # so that a wrong order would show
    logits = functional.linear(got[1], model.head.weight, model.head.bias)
    torch.testing.assert_close(compute_logits(model, rows, CPU), logits, rtol=0, atol=1e-5)


def test_the_model_moves_outside_inference_mode(bert_folder, monkeypatch):
    """Weights moved to a device within inference mode could not be trained afterwards."""
    model = build(bert_folder, 2, seed=0)
    rows = encode(load_tokenizer(bert_folder), ["good"], None, np.zeros(1, np.int64), 8)

    def move(*_):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.data = parameter.data.clone()
        return model

    monkeypatch.setattr(model, "to", move)
    for result in (compute_features(model, rows, CPU), compute_logits(model, rows, CPU)):
        assert not result.requires_grad
    assert not any(parameter.is_inference() for parameter in model.parameters())
    model(torch.tensor([[5, 6]]), torch.tensor([[1, 1]])).sum().backward()
