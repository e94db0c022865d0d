"""An image model with a classification head: transformers' (timm's through it), or one of ours."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from finetuning.base_configs import open_config
from finetuning.convolutional import build_own, read_own
from finetuning.models import HEAD_CONFIG, HEAD_WEIGHTS, save, set_dropout
from finetuning.pixels import ImageInput, read_input
from finetuning.quiet import loading_quietly
from finetuning.stacks import note_shared

__all__ = ["ImageClassifier", "build", "load", "save"]

Pooling = Literal["mean", "cls"]
WHITE = 255.0


class ImageClassifier(nn.Module):
    """Base model, pooling, dropout, and a linear head; `models.Classifier` for images."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        base: nn.Module,
        taken: ImageInput,
        pooling: Pooling,
        classes: int,
        dropout: float,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.pooling: Pooling = pooling
        self.dropout = nn.Dropout(dropout)
        for name, values in (("mean", taken.mean), ("deviation", taken.deviation)):
            shaped = torch.tensor(values).view(1, -1, 1, 1)
            self.register_buffer(name, shaped, persistent=False)
        self.resumed: Tensor | None = None
        # A transformer that was made for other sizes stretches its positions where it can.
        self.stretches = "interpolate_pos_encoding" in inspect.signature(base.forward).parameters
        self.head = nn.Linear(width or self._find_width(taken.side), classes)

    def _find_width(self, side: int) -> int:
        """Features of the last layer, as an empty image shows: configurations name them in ways."""
        image = torch.zeros(1, self.mean.shape[1], side, side)
        is_training = self.base.training
        self.base.eval()
        with torch.no_grad():
            width = self.features(image).shape[1]
        self.base.train(is_training)
        return width

    def features(self, pixel_values: Tensor, states: Tensor | None = None) -> Tensor:
        """Pooled features: (batch, channels, side, side), 0 to 255 -> (batch, hidden).

        Where the lower blocks are left out (`finetuning.prefixes`), states are what would have left
        them, and pixel_values have no rows.
        """
        self.resumed = states
        scaled = (pixel_values.float() / WHITE - self.mean) / self.deviation
        extra = {"interpolate_pos_encoding": True} if self.stretches else {}
        hidden = self.base(pixel_values=scaled, **extra).last_hidden_state
        if hidden.ndim == 4:  # (batch, hidden, height, width)
            return cast(Tensor, hidden.float().mean(dim=(2, 3)))
        # (batch, patches, hidden), the class token first where there is one
        return cast(Tensor, hidden[:, 0] if self.pooling == "cls" else hidden.float().mean(dim=1))

    def forward(self, pixel_values: Tensor, states: Tensor | None = None) -> Tensor:
        """Logits: (batch, channels, side, side), 0 to 255 -> (batch, classes)."""
        return cast(Tensor, self.head(self.dropout(self.features(pixel_values, states))))


def choose_pooling(base: nn.Module) -> Pooling:
    """The class token where the base has one, else the mean over the image."""
    tokens = ("cls_token", "class_embedding")
    has_token = any(name.endswith(tokens) for name, _ in base.named_parameters())
    return "cls" if has_token else "mean"


def build(
    folder: Path,
    classes: int,
    seed: int,
    dropout: float | None = None,
    scratch: bool = False,
    longest: int | None = None,  # noqa: ARG001 - every problem's part is called alike
) -> ImageClassifier:
    """A classifier over a base model's weights, or over fresh ones of the same shape.

    Args:
        folder: The base model's files; from scratch, config.json is enough.
        classes: Number of labels.
        seed: Seed of the fresh weights (the head's; all of them from scratch).
        dropout: Dropout probability wherever the architecture has it; None keeps the model's own.
        scratch: Start from freshly initialised weights.
        longest: Not read.

    Raises:
        InputError: The weights do not fit the architecture that the folder names.
    """
    torch.manual_seed(seed)
    base = _open_base(folder, dropout, scratch)
    taken = read_input(folder)
    note_shared(base, pixel_values=torch.zeros(1, len(taken.mean), taken.side, taken.side))
    torch.manual_seed(seed)
    model = ImageClassifier(base, taken, choose_pooling(base), classes, dropout or 0.0)
    nn.init.normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    return model


def load(folder: Path) -> tuple[ImageClassifier, dict[str, Any]]:
    """Read what `save` wrote; the model is in evaluation mode.

    Returns:
        The model, and its description: labels, pooling, dropout.
    """
    from safetensors.torch import load_file

    description: dict[str, Any] = json.loads((folder / HEAD_CONFIG).read_text("utf-8"))
    head = load_file(folder / HEAD_WEIGHTS)
    classes, width = head["weight"].shape
    model = ImageClassifier(
        _open_base(folder, None, scratch=False),
        read_input(folder),
        description["pooling"],
        classes,
        description["dropout"],
        width,
    )
    model.head.load_state_dict(head)
    return model.eval(), description


def _open_base(folder: Path, dropout: float | None, scratch: bool) -> nn.Module:
    from transformers import AutoModel

    own = read_own(folder)
    if own is not None:
        return build_own(folder, own, scratch)
    config = open_config(folder)
    set_dropout(config, dropout)
    if scratch:
        base = AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32)
    else:
        with loading_quietly():
            base = AutoModel.from_pretrained(
                folder,
                config=config,
                trust_remote_code=False,
                use_safetensors=True,
                dtype="float32",
            )
    # Of the poolers none has weights that are read here; unread ones would be decayed.
    if getattr(base, "pooler", None) is not None:
        base.pooler = nn.Identity()
    return cast(nn.Module, base)
