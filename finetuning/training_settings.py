"""The pipeline file's `training`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from finetuning.sections import Section


class Augmentation(Section):
    """What is changed at random in a training image, anew each time it is seen."""

    flip: bool = Field(False, description="Mirror every second image; never where sides matter.")
    shift: float = Field(0.0, ge=0, le=0.5, description="Farthest shift, as a share of the side.")
    rotation: float = Field(0.0, ge=0, le=180, description="Farthest rotation, in degrees.")
    brightness: float = Field(0.0, ge=0, lt=1, description="Largest change, as a share.")
    mixup: float = Field(
        0.0, ge=0, le=10, description="alpha of the Beta that mixes pairs of images; 0: none."
    )


class Training(Section):
    """The loop's settings."""

    epochs: int = Field(3, ge=1, le=1000, description="Passes over the training split.")
    batch_size: int = Field(32, ge=1, le=65536, description="Rows in one optimizer step.")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Peak learning rate.")
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="AdamW weight decay; never on norms and biases."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Label smoothing.")
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: rows of rare labels count for more, so that all labels weigh alike.",
    )
    warmup: float = Field(0.06, ge=0, le=1, description="Share of the steps that warm up.")
    max_length: int = Field(256, ge=4, le=131072, description="Longest text, in tokens.")
    stride: int = Field(
        128, ge=0, description="Tokens that the windows of a long context have in common."
    )
    image_size: int | None = Field(
        None, ge=8, le=2048, description="Side that images are scaled to; null: the base model's."
    )
    augmentation: Augmentation = Field(
        default_factory=lambda: Augmentation.model_validate({}),
        description="What is changed at random in each training image.",
    )
    early_stopping: int | None = Field(
        2, ge=1, description="Epochs without improvement before stopping; null never stops early."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto takes bf16 where this device is faster with it."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything that is drawn.")
    deterministic: bool | None = Field(
        None,
        description="true: the same seed gives the same bytes, on a GPU by slower kernels "
        "(`tunesmith doctor` measures how much slower); null: so on a CPU, not on a GPU.",
    )
    checkpoint_steps: int | None = Field(
        None,
        ge=1,
        description="Steps from one checkpoint to the next; null: by time, about once a minute. "
        "A killed training goes on from the newest.",
    )
