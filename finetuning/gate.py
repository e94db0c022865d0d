"""The gate: whether a model may be registered as a candidate for promotion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuning.config import Gate


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, with every number it decided on."""

    promote: bool
    metric: str
    value: float | None
    minimum: float
    rows: int
    rows_digest: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def judge(metrics: Mapping[str, float], gate: Gate, rows: int, rows_digest: str) -> Verdict:
    """Hold a model against the absolute floor.

    A missing metric, or one that is not a number, is a refusal.

    Args:
        metrics: Flat, such as test/accuracy.
        gate: The pipeline file's `gate`.
        rows: Number of test rows.
        rows_digest: Digest of the test rows.
    """
    value = metrics.get(f"test/{gate.metric}")
    if value is None or not math.isfinite(value):
        reasons = (f"test/{gate.metric} was not measured: a missing metric is a refusal",)
        return Verdict(False, gate.metric, None, gate.minimum, rows, rows_digest, reasons)
    passed = value >= gate.minimum
    relation = "reaches" if passed else "is below"
    reason = f"{gate.metric} {value:.4f} on {rows} test rows {relation} the floor {gate.minimum:g}"
    return Verdict(passed, gate.metric, value, gate.minimum, rows, rows_digest, (reason,))
