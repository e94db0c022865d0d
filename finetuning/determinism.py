"""What it costs on a device that the same seed gives the same bytes, measured there.

Kernels that add in any order give way to slower ones (PyTorch, "Reproducibility"); how much slower
depends on the device, so that no number from another one would be worth much.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from finetuning.devices import Device, choose_determinism, computing

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 5  # of training in each round
ROUNDS = 7  # in turns, with and without; the medians count, and the first of each warms up
_TOKENS, _WIDTH, _ROWS, _SIDE = 128, 384, 32, 32


def measure_determinism(device: Device, rounds: int = ROUNDS) -> dict[str, float]:
    """How many times as long a training step takes: kind of model -> ratio.

    A transformer of two blocks of MiniLM's width, on 32 rows of 128 tokens, and a small
    convolutional network on 32 images of 32 pixels. Afterwards the process is as it was before.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with torch.random.fork_rng():
            models = {
                "texts": (_build_text_model(), torch.randint(1000, (_ROWS, _TOKENS))),
                "images": (_build_image_model(), torch.rand(_ROWS, 3, _SIDE, _SIDE)),
            }
            return {
                name: _compare(model.to(device.kind), batch.to(device.kind), device, rounds)
                for name, (model, batch) in models.items()
            }
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=warned)
        torch.backends.cudnn.benchmark = before[1]


def _build_text_model() -> nn.Module:
    block = nn.TransformerEncoderLayer(_WIDTH, 12, 4 * _WIDTH, batch_first=True)
    return nn.Sequential(nn.Embedding(1000, _WIDTH), nn.TransformerEncoder(block, 2))


def _build_image_model() -> nn.Module:
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
              nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1)]  # fmt: skip
    return nn.Sequential(*layers)


def _compare(model: nn.Module, batch: Tensor, device: Device, rounds: int) -> float:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for wanted, taken in seconds.items():
            choose_determinism(device, wanted)
            started = time.perf_counter()
            for _ in range(STEPS):
                model.zero_grad()
                with computing(device):
                    loss = model(batch).float().square().mean()
                loss.backward()
            if device.kind == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - started)
    return statistics.median(seconds[True][1:]) / statistics.median(seconds[False][1:])
