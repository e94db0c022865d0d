"""A causal language model of transformers: base and head in one, the head brought along.

Most small models write with the matrix that they read with: the head's weight *is* the word
embeddings' (Press and Wolf 2017, arXiv 1608.05859). It is one parameter, and belongs to the lowest
layer group: whatever trains the embeddings trains it. Where a strategy trains the head while the
embeddings stay frozen, `tying.separate` gives the head a copy of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from finetuning.base_configs import open_config
from finetuning.errors import wrong
from finetuning.models import SHORT, is_decoder, set_dropout
from finetuning.quiet import loading_quietly
from finetuning.stacks import note_shared

DESCRIPTION = "language_model.json"


class LanguageModel(nn.Module):
    """A causal language model that computes logits only where they are wanted."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.resumed: Tensor | None = None

    @property
    def head(self) -> nn.Module:
        """The base model's own output layer; its parameters stand among the base's."""
        return cast(nn.Module, cast(Any, self.base).get_output_embeddings())

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        wanted: Tensor,
        states: Tensor | None = None,
    ) -> Tensor:
        """Logits of what follows each wanted token: (batch, length) -> (wanted, vocabulary).

        Only the wanted tokens' states reach the head: its logits are most of what a batch holds.

        Args:
            input_ids: Padded on the right, (batch, length) int64.
            attention_mask: (batch, length) int64.
            wanted: (batch, length) bool.
            states: Where the lower blocks are left out (`finetuning.prefixes`), what would have
                left them: (batch, length, hidden).
        """
        self.resumed = states

        def choose(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (inputs[0][wanted],)

        handle = self.head.register_forward_pre_hook(choose)
        try:
            output = self.base(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        finally:
            handle.remove()
        return cast(Tensor, output.logits)


def build(
    folder: Path,
    classes: int,  # noqa: ARG001 - every problem's part is called alike
    seed: int,
    dropout: float | None = None,
    scratch: bool = False,
    longest: int | None = None,
) -> LanguageModel:
    """A language model with a base model's weights, or with fresh ones of the same shape.

    Args:
        folder: The base model's files.
        classes: Not read.
        seed: Seed of fresh weights.
        dropout: Dropout probability wherever the architecture has it; None keeps the model's own.
        scratch: Start from freshly initialised weights.
        longest: The longest block in tokens, where it is known.

    Raises:
        InputError: The base model does not predict next tokens, or brings no head.
    """
    from transformers import AutoModelForCausalLM

    config = open_config(folder)
    if not is_decoder(config):
        remedy = "It does not write text from left to right: name a model like GPT-2 or Llama."
        raise wrong("model.base", f"{folder.name} ({config.model_type})", remedy)
    if longest is not None and longest <= SHORT and not torch.cuda.is_available():
        config._attn_implementation = "eager"
    set_dropout(config, dropout)
    torch.manual_seed(seed)
    if scratch:
        fresh = AutoModelForCausalLM.from_config(
            config, trust_remote_code=False, dtype=torch.float32
        )
        return _finish(fresh)
    with loading_quietly():
        base, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        remedy = "Its files lack these weights: name a base model that was saved with its head."
        raise wrong("model.base", f"{folder.name} without {', '.join(missing[:3])}", remedy)
    return _finish(base)


def _finish(base: nn.Module) -> LanguageModel:
    note_shared(base, input_ids=torch.zeros(1, 2, dtype=torch.int64))
    return LanguageModel(base)


def save(
    model: LanguageModel,
    folder: Path,
    labels: tuple[str, ...],  # noqa: ARG001 - every problem's part is called alike
    max_length: int,
) -> None:
    """Write the model as transformers does, and beside it what it was trained on at most."""
    cast(Any, model.base).save_pretrained(folder, safe_serialization=True)
    description = {"labels": [], "max_length": max_length}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), "utf-8")


def load(folder: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """Read what `save` wrote; the model is in evaluation mode.

    Returns:
        The model, and its description: labels (none), max_length, and the folder, where the
        tokenizer that completions are written with lies too.
    """
    from transformers import AutoModelForCausalLM

    with loading_quietly():
        base = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype="float32"
        )
    description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    return LanguageModel(base).eval(), description | {"folder": str(folder)}
