"""What determinism costs here: measured in turns, and nothing of it stays."""

import pytest
import torch

from finetuning import determinism
from finetuning.determinism import STEPS, measure_determinism
from finetuning.devices import Device


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Models that take no time: what is tested is what is compared, and how."""
    for name, value in {"_ROWS": 2, "_TOKENS": 4, "_WIDTH": 24, "_SIDE": 4}.items():
        monkeypatch.setattr(determinism, name, value)


def test_both_kinds_of_model_are_trained_both_ways(monkeypatch):
    """By hand: a clock by which a step with the slower kernels takes three times as long."""
    now, modes = [0.0], []

    def tick():
        modes.append(torch.are_deterministic_algorithms_enabled())
        now[0] += 3.0 if modes[-1] else 1.0
        return now[0]

    monkeypatch.setattr(determinism.time, "perf_counter", tick)
    assert measure_determinism(Device("cpu", "CPU", "fp32"), 3) == {"texts": 3.0, "images": 3.0}
    # Two looks at the clock a turn, three rounds of two turns, two models.
    assert modes == [True, True, False, False] * 3 * 2


def test_every_round_trains(monkeypatch):
    """As many backward passes as steps, rounds, turns and models."""
    passes, backward = [], torch.Tensor.backward

    def count(loss):
        passes.append(loss)
        backward(loss)

    monkeypatch.setattr(torch.Tensor, "backward", count)
    measure_determinism(Device("cpu", "CPU", "fp32"), 2)
    assert len(passes) == STEPS * 2 * 2 * 2


@pytest.mark.parametrize("was", [False, True])
def test_the_process_is_as_before(was):
    """Neither the algorithms' setting nor what is drawn next changes."""
    kept = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(was)
        torch.manual_seed(3)
        expected = torch.rand(2)
        torch.manual_seed(3)
        measure_determinism(Device("cpu", "CPU", "fp32"), 2)
        assert torch.equal(torch.rand(2), expected)
        assert torch.are_deterministic_algorithms_enabled() is was
    finally:
        torch.use_deterministic_algorithms(kept, warn_only=warned)
