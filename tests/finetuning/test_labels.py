"""Class weights against scikit-learn and torch."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from finetuning.config import Training
from finetuning.labels import balance, weigh_targets
from finetuning.probing import fit_probe
from finetuning.tokenization import encode, load_tokenizer, vary

LABELS = np.array([0, 0, 0, 2, 2, 1])


def test_weights_are_scikit_learns():
    """Rare classes weigh more, all classes alike in total, and an absent one nothing."""
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(balance(LABELS), expected, rtol=1e-6)
    assert balance(LABELS)[LABELS].mean() == pytest.approx(1.0)
    assert list(balance(np.array([0, 0, 2]), 4)) == pytest.approx([0.75, 0, 1.5, 0])


def test_weighted_targets_give_the_weighted_loss():
    """Torch's own weighted cross-entropy, as a sum, is what weighted targets give."""
    logits, labels = torch.randn(6, 3), torch.from_numpy(LABELS)
    targets = weigh_targets(labels, balance(LABELS), 3)
    weights = torch.from_numpy(balance(LABELS))
    expected = functional.cross_entropy(logits, labels, weight=weights, reduction="sum")
    found = functional.cross_entropy(logits, targets, reduction="sum")
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    mixed = weigh_targets(torch.tensor([[0.5, 0.5, 0.0]]), np.array([2.0, 1.0, 1.0]), 3)
    assert mixed.tolist() == [[1.0, 0.5, 0.0]]


def test_training_rows_are_weighted_where_it_is_asked_for(bert_folder):
    """`balanced` gives weighted targets, and the default class numbers."""
    texts = ["a good film"] * 6
    rows = encode(load_tokenizer(bert_folder), texts, None, LABELS, 16)
    plain = vary(rows, Training.model_validate({}))
    assert plain.draw([0, 3], 3)[1].tolist() == [0, 2]
    weighted = vary(rows, Training.model_validate({"class_weights": "balanced"}))
    assert weighted.draw([0, 5], 3)[1].tolist() == [
        pytest.approx([2 / 3, 0, 0]),
        pytest.approx([0, 2, 0]),
    ]


def test_a_weighted_probe_finds_the_rare_class():
    """Of 95 rows against 5 that overlap, the weighted head calls more rows the rare class."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 2, generator=generator)
    labels = (torch.arange(200) % 20 == 0).long()
    features[labels == 1] += 1.0
    plain = fit_probe(features, labels, features, labels, 2)
    weights = torch.from_numpy(balance(labels.numpy()))
    weighted = fit_probe(features, labels, features, labels, 2, weights=weights)
    called = [int(one.logits(features).argmax(dim=1).sum()) for one in (plain, weighted)]
    assert called[0] < 5
    assert called[1] > 20
