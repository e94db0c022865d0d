"""What this machine computes on, and in which precision."""

from __future__ import annotations

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
