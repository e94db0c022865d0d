"""What is dropped, how often, by whose draws, and in whose place."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from finetuning.dropout import LANES, drop, quick_dropout

COUNT = 40_000


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9, 1e-3])
def test_shares(probability):
    """As many elements are dropped as asked for, in every lane of a draw, and the mean stays."""
    torch.manual_seed(0)
    found = drop(torch.ones(COUNT), probability)
    deviation = math.sqrt(probability * (1 - probability) / (COUNT / LANES))
    for lane in range(LANES):
        share = (found[lane::LANES] == 0).float().mean().item()
        assert abs(share - probability) < 4 * deviation
    scale = 1 / (1 - probability)
    assert found[found != 0].unique().tolist() == pytest.approx([scale], rel=1e-4)
    assert found.mean().item() == pytest.approx(1, abs=4 * scale * deviation / math.sqrt(LANES))


def test_independence():
    """Elements that one draw decides are dropped independently: both of a pair a quarter of times.

    The deviation of such a share over 10,000 draws is 0.0043.
    """
    torch.manual_seed(0)
    dropped = (drop(torch.ones(COUNT), 0.5) == 0).view(-1, LANES)
    for one in range(LANES):
        for other in range(one):
            both = (dropped[:, one] & dropped[:, other]).float().mean().item()
            assert both == pytest.approx(0.25, abs=4 * 0.0043)


def test_seed():
    """Torch's seed decides what is dropped, and the next draw is another one."""
    states = torch.ones(64)
    torch.manual_seed(1)
    first, second = drop(states), drop(states)
    torch.manual_seed(1)
    assert torch.equal(drop(states), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0,), (3,), (5, 7), (2, 3, 4)])
def test_shape(shape, kind):
    """Any shape and type comes out as it went in, also where draws are left over."""
    found = drop(torch.ones(shape, dtype=kind), 0.25)
    assert found.shape == shape
    assert found.dtype == kind
    assert set(found.flatten().tolist()) <= {0.0, torch.tensor(4 / 3, dtype=kind).item()}


def test_extremes():
    """What is certain to be dropped is 0, and what is never dropped stays as it is."""
    states = torch.arange(1.0, 9.0)
    assert drop(states, 1.0).tolist() == [0.0] * 8
    assert torch.equal(drop(states, 0.0), states)


def test_gradient():
    """The gradient passes where the element did, scaled alike."""
    states = torch.full((1000,), 3.0, requires_grad=True)
    found = drop(states, 0.2)
    found.sum().backward()
    assert torch.equal(states.grad, found.detach() / 3)


def test_it_takes_the_place_of_torch():
    """Modules and functions drop by it while it is open on a CPU, and only while they train."""
    layer, states = nn.Dropout(0.3), torch.ones(100)
    with quick_dropout("cpu"):
        for called in (layer, lambda states: functional.dropout(states, p=0.3)):
            torch.manual_seed(2)
            found = called(states)
            torch.manual_seed(2)
            assert torch.equal(found, drop(states, 0.3))
        assert torch.equal(layer.eval()(states), states)
        assert torch.equal(functional.dropout(states, 0.3, training=False), states)
        changed = states.clone()
        assert functional.dropout(changed, 0.3, inplace=True) is changed
    for kind, is_open in (("cuda", True), ("cpu", False)):
        torch.manual_seed(2)
        expected = torch.nn.functional.dropout(states, 0.3)
        torch.manual_seed(2)
        with quick_dropout(kind) if is_open else torch.enable_grad():
            assert torch.equal(functional.dropout(states, 0.3), expected)
