"""A base model with a head that says where in a context an answer begins and ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from finetuning.errors import wrong
from finetuning.models import HEAD_CONFIG, HEAD_WEIGHTS, is_decoder, open_base
from finetuning.spans import CERTAIN

KIND = "spans"  # in the description of a head: what it gives
ENDS = 2  # numbers a token: how likely it is an answer's first, and its last
NEVER = -1e4  # logit of a token where no answer may begin or end; fp16 holds it too
FOREIGN_HEAD = "qa_outputs"  # name of the same head in transformers' own models


class SpanFinder(nn.Module):
    """Base model, dropout, and a linear head on every token.

    threshold: by how much no answer must lead over the best span to be given, in nats; it is chosen
    on validation with the best epoch, and out of reach where every question there has an answer.
    """

    threshold: Tensor

    def __init__(self, base: nn.Module, dropout: float) -> None:
        super().__init__()
        self.base = base
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(cast(Any, base).config.hidden_size, ENDS)
        self.register_buffer("threshold", torch.tensor(CERTAIN))
        self.resumed: Tensor | None = None

    def features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        states: Tensor | None = None,
        allowed: Tensor | None = None,  # noqa: ARG002 - a batch is handed over whole
    ) -> Tensor:
        """One vector a token: (batch, length) token ids -> (batch, length, hidden), 0 in padding.

        See `models.Classifier.features` for states.
        """
        self.resumed = states
        extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.base(input_ids=input_ids, attention_mask=attention_mask, **extra)
        hidden: Tensor = output.last_hidden_state
        return hidden.masked_fill(attention_mask.unsqueeze(-1) == 0, 0.0)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        states: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """Logits: (batch, length) token ids -> (batch, length, 2), `NEVER` where not allowed."""
        hidden = self.features(input_ids, attention_mask, token_type_ids, states)
        logits = self.head(self.dropout(hidden))
        kept = attention_mask if allowed is None else allowed
        return cast(Tensor, logits.masked_fill(kept.unsqueeze(-1) == 0, NEVER))


def build(
    folder: Path,
    classes: int,  # noqa: ARG001 - every problem's part is called alike
    seed: int,
    dropout: float | None = None,
    scratch: bool = False,
    longest: int | None = None,
) -> SpanFinder:
    """A span finder over a base model's weights, or over fresh ones of the same shape.

    Where the folder holds a head for spans, of this project or of transformers, it is kept.

    Args:
        folder: The base model's files.
        classes: Not read.
        seed: Seed of the fresh weights (the head's; all of them from scratch).
        dropout: Dropout probability wherever the architecture has it; None keeps the model's own.
        scratch: Start from freshly initialised weights.
        longest: The longest row in tokens, where it is known.

    Raises:
        InputError: The base model is a decoder: its first token sees none of the others, and could
            not say whether there is an answer.
    """
    base, own_dropout = open_base(folder, seed, dropout, scratch, longest)
    config = cast(Any, base).config
    if is_decoder(config):
        raise wrong(
            "model.base",
            f"{config.model_type}, a decoder",
            "Give an encoder such as BERT, RoBERTa or MiniLM for question-answering.",
        )
    torch.manual_seed(seed)
    model = SpanFinder(base, own_dropout)
    nn.init.normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    known = None if scratch else _find_head(folder)
    if known is not None:
        model.head.load_state_dict(known)
    return model


def _find_head(folder: Path) -> dict[str, Tensor] | None:
    """Weight and bias of a head for spans that the folder holds, or None."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    if (folder / HEAD_CONFIG).is_file():
        kind = json.loads((folder / HEAD_CONFIG).read_text("utf-8")).get("kind")
        return load_file(folder / HEAD_WEIGHTS) if kind == KIND else None
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None
    with safe_open(weights, "pt") as file:
        names = {name: f"{FOREIGN_HEAD}.{name}" for name in ("weight", "bias")}
        if not set(names.values()) <= set(file.keys()):
            return None
        return {name: file.get_tensor(there).float() for name, there in names.items()}


def save(model: SpanFinder, folder: Path, labels: tuple[str, ...], max_length: int) -> None:
    """Write the model: transformers' own files for the base, safetensors and json for the head."""
    from safetensors.torch import save_file

    cast(Any, model.base).save_pretrained(folder, safe_serialization=True)
    head = {
        name: value.detach().contiguous().cpu() for name, value in model.head.state_dict().items()
    }
    save_file(head, folder / HEAD_WEIGHTS)
    description = {
        "kind": KIND,
        "labels": list(labels),
        "dropout": model.dropout.p,
        "max_length": max_length,
        "threshold": model.threshold.item(),
    }
    (folder / HEAD_CONFIG).write_text(json.dumps(description, indent=1), "utf-8")


def load(folder: Path) -> tuple[SpanFinder, dict[str, Any]]:
    """Read what `save` wrote; the model is in evaluation mode.

    Returns:
        The model, and its description: kind, labels, dropout, max_length, threshold.
    """
    from safetensors.torch import load_file

    description: dict[str, Any] = json.loads((folder / HEAD_CONFIG).read_text("utf-8"))
    base, _ = open_base(folder, seed=0)
    model = SpanFinder(base, description["dropout"])
    model.head.load_state_dict(load_file(folder / HEAD_WEIGHTS))
    model.threshold.fill_(description["threshold"])
    return model.eval(), description
