"""What this machine computes on, and in which precision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Device:
    """A device and the precision that matrix products run in."""

    kind: str
    name: str
    precision: Precision


def choose_device(precision: Literal["auto", "fp32", "bf16"] = "auto") -> Device:
    """The best device at hand; `auto` takes bf16 where the device computes it natively."""
    if torch.cuda.is_available():
        kind, name = "cuda", torch.cuda.get_device_name()
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif torch.backends.mps.is_available():
        kind, name, native = "mps", "Apple GPU", False
    else:
        capabilities = torch.cpu.get_capabilities()
        kind, name = "cpu", str(capabilities.get("cpu_name", "CPU")).strip()
        # Where the processor only emulates bf16 it is slower than fp32.
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    chosen: Precision = ("bf16" if native else "fp32") if precision == "auto" else precision
    return Device(kind, name, chosen)


def computing(device: Device) -> torch.autocast:
    """The context in which a model computes in the device's precision."""
    return torch.autocast(device.kind, torch.bfloat16, enabled=device.precision == "bf16")


def choose_determinism(device: Device, wanted: bool | None) -> bool:
    """Whether the same seed gives the same bytes: where it is asked for, and on a CPU unasked.

    On a GPU it has its price: kernels that add in any order give way to slower ones, and what has
    no other kernel fails (PyTorch, "Reproducibility").

    Args:
        device: What is computed on.
        wanted: The pipeline file's `training.deterministic`.
    """
    chosen = device.kind == "cpu" if wanted is None else wanted
    if chosen and device.kind == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(chosen, warn_only=device.kind == "cpu")
    # Debugging aid that would cost a tenth of the time: all memory is written before it is read.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return chosen
