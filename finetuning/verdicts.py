"""What the gate judges on, and what it says: evidence in, verdict out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas

    from finetuning.behaviour import BehaviourResult
    from finetuning.pairing import Paired
    from finetuning.predictions import Slices


@dataclass(frozen=True)
class Serving:
    """What the model did when it was loaded by its URI in a fresh process."""

    rows: int
    different: int  # rows that were answered otherwise than logged
    apart: float  # largest distance of a score from the logged one
    latency_ms: float | None  # median for one row, after warming up
    error: str | None = None  # why it did not load or answer


@dataclass(frozen=True)
class SliceVerdict:
    """One slice: how far the candidate is from the champion there, and whether it fell."""

    column: str
    value: str
    paired: Paired
    judged: bool  # False: too few rows to be evidence
    p_value: float | None = None  # one-sided, of 'fell by no more than the limit'
    adjusted: float | None = None  # the same, Holm
    fell: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields by name, the comparison's among them."""
        paired = write_paired(self.paired)
        return {
            "column": self.column, "value": self.value, **paired, "judged": self.judged,
            "fall_p_value": self.p_value, "fall_p_value_holm": self.adjusted, "fell": self.fell,
        }  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What a candidate is judged on; both tables have the same rows in the same order."""

    candidate: pandas.DataFrame
    champion: pandas.DataFrame | None
    slices: Slices
    judged: int = 0  # challengers that these rows have judged before
    apart: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> rows, to show apart
    behaviour: tuple[BehaviourResult, ...] = ()
    serving: Serving | None = None
    why_alone: str = "there is no champion to compare with"
    about: Mapping[str, Any] = field(default_factory=dict)  # versions and digests, for the record


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, with every number it decided on."""

    promote: bool
    metric: str
    value: float | None
    minimum: float | None
    rows: int
    rows_digest: str | None
    reasons: tuple[str, ...]  # whole sentences; where it refuses, those that refuse stand first
    numbers: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Everything by name; no number in it is NaN."""
        fields = asdict(self)
        numbers: dict[str, Any] = fields.pop("numbers")
        return fields | numbers | {"reasons": list(self.reasons)}


def write_paired(paired: Paired) -> dict[str, Any]:
    """A comparison by name, for the record."""
    return {
        "rows": paired.rows,
        "candidate_value": paired.candidate,
        "champion_value": paired.champion,
        "difference": paired.difference,
        "interval": [paired.low, paired.high],
        "p_value": paired.p_value,
        "test": paired.test,
        "draws": paired.draws,
    }
