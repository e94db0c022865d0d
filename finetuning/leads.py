"""Which baselines a model is surely behind, on the same test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetuning.roles import SHARES


def list_better(baselines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The baselines that are surely better than the model, the best of them first.

    A lead is positive where the model is better, also where less of the metric is better; it is
    surely negative where its whole interval is.

    Args:
        baselines: As the evaluation keeps them, with `difference` and `interval` of the lead.
    """
    better = [one for one in baselines if one["interval"][1] < 0]
    return sorted(better, key=lambda one: float(one["difference"]))


def describe_defeat(
    baselines: Sequence[Mapping[str, Any]], metric: str, value: float | None
) -> str:
    """That a simple baseline is surely better, in a sentence; empty where none is.

    Args:
        baselines: As the evaluation keeps them.
        metric: The one that the leads are of.
        value: The model's own.
    """
    better = list_better(baselines)
    if not better or value is None:
        return ""
    best, *others = better
    low, high = best["interval"]
    than = f"{best['description']}, which needs no fine-tuning"
    more = f", and than {' and '.join(one['description'] for one in others)}" if others else ""
    spoken = metric.replace("_", " ") + ("" if metric in SHARES else " (less is better)")
    return (
        f"this model is surely worse than {than}{more}: {spoken} {value:.4f} "
        f"against {best['scores'][metric]:.4f} on the same test rows "
        f"(lead {best['difference']:+.4f}, interval {low:+.4f} to {high:+.4f})"
    )
