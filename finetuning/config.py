"""The pipeline file as frozen, described, typed models."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from finetuning.behaviour import Behaviour
from finetuning.data_settings import Columns as Columns
from finetuning.data_settings import Data as Data
from finetuning.data_settings import Expectation as Expectation
from finetuning.data_settings import Severity as Severity
from finetuning.roles import ROLES, SHARES, Metric, Problem, list_metrics
from finetuning.schedules import Schedule
from finetuning.sections import Section
from finetuning.training_settings import Augmentation as Augmentation
from finetuning.training_settings import Training as Training

Policy = Literal["not_worse", "better"]
StrategyKind = Literal[
    "probe-then-tune",
    "full",
    "head",
    "freeze",
    "gradual",
    "discriminative",
    "gradual+discriminative",
    "probe-then-tune+gradual",
    "probe-then-tune+discriminative",
    "probe-then-tune+gradual+discriminative",
    "lora",
    "scratch",
]
# Not what Windows keeps for devices, whatever the ending: nobody there could check the file out.
NAME_PATTERN = re.compile(
    r"(?!(con|prn|aux|nul|(com|lpt)[0-9])(\.|$))[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9_-])?"
)
REVISION_PATTERN = re.compile(r"(?!/)(?!(.*/)?\.\.?(/|$))[\w./-]+")


class Model(Section):
    """The pre-trained model that is adapted."""

    base: str = Field(
        min_length=1,
        description="Hub id, local folder, package:NAME/FOLDER of an installed package, or "
        "models:/NAME@ALIAS or models:/NAME/VERSION of a registered model (a warm start).",
    )
    revision: str | None = Field(None, description="Hub revision: a commit, tag or branch.")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout probability; null keeps the base model's own."
    )

    @field_validator("revision")
    @classmethod
    def _check_revision(cls, value: str | None) -> str | None:
        if value is not None and not REVISION_PATTERN.fullmatch(value):
            raise ValueError("a revision is a commit, tag or branch: letters, digits, . _ - and /")
        return value


class Strategy(Section):
    """Which layers are trained, when, and how fast."""

    kind: StrategyKind = Field(
        "probe-then-tune", description="How the model is adapted; + multiplies strategies."
    )
    groups: int | None = Field(
        None, ge=0, description="How many layer groups, from the bottom, stay frozen."
    )
    decay: float = Field(
        0.95, gt=0, le=1, description="discriminative: factor on the rate per group downwards."
    )
    rank: int = Field(8, ge=1, le=4096, description="lora: rank of the adapters.")
    alpha: float = Field(
        16, gt=0, le=65536, description="lora: what adapters add is scaled by alpha / rank."
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="lora: dropout probability on the adapters' input."
    )
    targets: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="lora: names of the linear layers that get adapters, such as query; null takes "
        "those that PEFT knows for the architecture, or else all of the blocks.",
    )

    @property
    def reads_weights(self) -> bool:
        """Whether the base model's weights are read, and not its architecture alone."""
        return self.kind != "scratch"

    @model_validator(mode="after")
    def _check_groups(self) -> Strategy:
        if self.kind == "freeze" and self.groups is None:
            raise ValueError("strategy freeze needs groups: how many stay frozen")
        if self.kind in ("head", "scratch") and self.groups is not None:
            raise ValueError(f"strategy {self.kind} takes no groups: leave them out")
        return self


class SliceLimit(Section):
    """What holds for every slice, however good the total is."""

    max_drop: float = Field(
        0.03, ge=0, le=1, description="How far a slice may fall below the champion's."
    )


class Gate(Section):
    """What a model must show before it is registered as a candidate for promotion."""

    metric: Metric = Field(
        "accuracy",
        description="Metric that the gate decides on; accuracy, f1 or perplexity unless told, as "
        "the problem has it.",
    )
    minimum: float | None = Field(
        None,
        ge=0,
        description="Absolute floor of the metric, also for the first model (a ceiling, where "
        "less is better); null: none.",
    )
    against_champion: Policy = Field(
        "not_worse",
        description="better: the difference to the champion must be shown to be above 0; "
        "not_worse: above -margin.",
    )
    margin: float = Field(
        0.005, ge=0, description="not_worse: a loss of this size would not matter."
    )
    alpha: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="Chance that, of all challengers judged on the same test rows, any is let "
        "through that is not what the policy asks for (one-sided). The first spends half of it: "
        "0.05 gives it a 95% interval.",
    )
    slices: SliceLimit = Field(
        default_factory=lambda: SliceLimit.model_validate({}), description="What holds for slices."
    )
    latency_ms: float | None = Field(
        None, gt=0, description="Most milliseconds for one row (median); null: measured only."
    )
    behaviour: tuple[Behaviour, ...] = Field(
        (), description="Examples that the model must get right, whatever its metrics."
    )
    promote: Literal["manual", "auto"] = Field(
        "manual",
        description="auto makes a model that passes the champion at once; "
        "manual leaves it waiting as challenger.",
    )

    @field_validator("minimum")
    @classmethod
    def _check_minimum(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and value > 1 and info.data.get("metric") in SHARES:
            raise ValueError("a share is at most 1: write 0.9 for 90 %")
        return value


class Pipeline(Section):
    """One pipeline file: one model that is kept in production."""

    name: str = Field(description="MLflow registered model and Prefect deployment.")
    problem: Problem = Field(description="What the model learns to do.")
    data: Data = Field(description="Where the labelled rows are.")
    model: Model = Field(description="The pre-trained model.")
    strategy: Strategy = Field(
        default_factory=lambda: Strategy.model_validate({}), description="What is trained."
    )
    training: Training = Field(
        default_factory=lambda: Training.model_validate({}), description="The loop's settings."
    )
    gate: Gate = Field(
        default_factory=lambda: Gate.model_validate({}),
        validate_default=True,
        description="What the model must show.",
    )
    schedule: Schedule | None = Field(
        None,
        description="When it runs by itself: a cron expression (UTC) such as '0 6 * * mon', or "
        "{every: SECONDS}. The deployment's first schedule; what is set in the Prefect UI stays.",
    )
    on_release: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Program and arguments that run, without a shell, once a new champion has been "
        "verified; TUNESMITH_MODEL_URI is in its environment.",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not NAME_PATTERN.fullmatch(value):
            raise ValueError(
                "use lower-case letters, digits, '.', '_' and '-', at most 63, "
                "beginning with a letter or digit, ending without '.', and none of Windows' own "
                "such as con and nul"
            )
        return value

    @field_validator("gate", mode="before")
    @classmethod
    def _choose_metric(cls, value: Any, info: ValidationInfo) -> Any:
        known = list_metrics(info.data.get("problem", ""))
        if known and isinstance(value, Gate):
            return value if value.metric in known else value.model_copy(update={"metric": known[0]})
        return {"metric": known[0], **value} if known and isinstance(value, dict) else value

    @field_validator("gate")
    @classmethod
    def _check_metric(cls, value: Gate, info: ValidationInfo) -> Gate:
        known = list_metrics(info.data.get("problem", "")) or (value.metric,)
        if value.metric not in known:
            raise ValueError(
                f"gate.metric {value.metric} is none of this problem: name {' or '.join(known)}"
            )
        return value

    @field_validator("gate")
    @classmethod
    def _check_behaviour(cls, value: Gate, info: ValidationInfo) -> Gate:
        roles = ROLES.get(info.data.get("problem", ""), ("text", "label"))
        if value.behaviour and not {"text", "label"} <= set(roles):
            raise ValueError(
                "behaviour tests are labelled texts: this problem reads none, so leave them out"
            )
        labels = info.data["data"].labels if "data" in info.data else None
        for test in value.behaviour:
            unknown = test.named_labels - set(labels or test.named_labels)
            if unknown:
                raise ValueError(
                    f"behaviour test {test.name!r} speaks of {min(unknown)!r}, "
                    f"and data.labels has {', '.join(labels or ())}"
                )
        return value

    @field_validator("data")
    @classmethod
    def _check_columns(cls, value: Data, info: ValidationInfo) -> Data:
        roles = ROLES.get(info.data.get("problem", ""), ())
        fields = Columns.model_fields
        # A resolved file names every key with its default: it must be readable again.
        named = {name for name in fields if getattr(value.columns, name) != fields[name].default}
        if roles and (strange := sorted(named - set(roles))):
            raise ValueError(
                f"{info.data['problem']} reads the columns {', '.join(roles)}, and not "
                f"{', '.join(strange)}: take that out of data.columns"
            )
        if "image" in roles and value.columns.image == value.columns.label:
            raise ValueError("data.columns: image and label must be different columns")
        return value
