"""Optimization: the schedule, each group's rate, weight decay, and gradients that are clipped."""

import numpy as np
import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from finetuning import class_scoring, training
from finetuning.models import build, layer_groups
from finetuning.optimization import make_optimizer, schedule, set_rates
from finetuning.training import train
from tests.finetuning.test_training import CPU, make_rows, settings, table


@pytest.fixture(scope="module")
def rows(bert_folder):
    """Training rows of a separable task."""
    return make_rows(bert_folder)


@pytest.fixture(scope="module")
def checked(bert_folder):
    """Validation rows of the same task."""
    return make_rows(bert_folder, 32, seed=1)


@pytest.mark.parametrize(("total", "warmup"), [(100, 0.1), (100, 0.0), (37, 0.06), (10, 1.0)])
def test_schedule(total, warmup):
    """After the warm-up it is transformers' linear schedule; in it, it stands above by a part.

    transformers begins the warm-up of w steps at 0, so that the first step is lost; here step k
    has (k + 1) / (w + 1) where it has k / w: less than 1 / w more, never 0 and never above 1.
    """
    rising = int(total * warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = get_linear_schedule_with_warmup(optimizer, rising, total)
    for step in range(total):
        (expected,) = reference.get_last_lr()
        got = schedule(step, total, warmup)
        if step < rising:
            assert got == pytest.approx((step + 1) / (rising + 1))
            assert expected < got < expected + 1 / rising
        else:
            assert got == pytest.approx(expected)
        assert 0 < got <= 1
        optimizer.step()
        reference.step()
    rates = [schedule(step, total, warmup) for step in range(total)]
    top = int(np.argmax(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_discriminative_rates(bert_folder):
    """Each group's rate is the peak times its multiplier."""
    model = build(bert_folder, 2, seed=0)
    optimizer = make_optimizer(model, layer_groups(model), 0.01)
    (multipliers,) = table("discriminative", 1, decay=0.5)
    set_rates(optimizer, multipliers, 8e-3)
    rates = {group["group"]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({0: 1e-3, 1: 2e-3, 2: 4e-3, 3: 8e-3})


def test_no_weight_decay_on_norms_and_biases(bert_folder):
    """Exactly the vectors (norms and biases) are exempt, and every parameter is in one group."""
    model = build(bert_folder, 2, seed=0)
    optimizer = make_optimizer(model, layer_groups(model), 0.1)
    decay = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(decay) == sum(len(group["params"]) for group in optimizer.param_groups)
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        exempt = name.endswith("bias") or "LayerNorm" in name
        assert decay[id(parameter)] == (0.0 if exempt else 0.1), name


def test_gradients_are_clipped(bert_folder, rows, checked, monkeypatch):
    """No step sees a gradient whose norm is above the limit."""
    norms = []
    step = torch.optim.AdamW.step

    def record(self, *arguments, **named):
        grads = [
            p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        norms.append(torch.stack([grad.norm() for grad in grads]).norm().item())
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    monkeypatch.setattr(training, "LARGEST_GRADIENT", 0.01)
    train(
        build(bert_folder, 2, seed=0),
        table("full", 1),
        rows,
        checked,
        class_scoring,
        settings(),
        CPU,
    )
    assert len(norms) == 4
    assert norms == pytest.approx([0.01] * 4, rel=1e-3)
