"""A base model with a classification head, and its layers as ordered groups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from finetuning.base_configs import open_config
from finetuning.errors import wrong
from finetuning.imports import shun_broken_torchvision
from finetuning.quiet import loading_quietly
from finetuning.stacks import list_blocks, list_shared, note_shared

# Before transformers is imported, by whatever module that opens a model.
shun_broken_torchvision()

Pooling = Literal["mean", "cls", "max", "last"]
# Up to this many tokens plain matrix products attend faster on a CPU than the fused kernel: it has
# none for dropout, and its one for bf16 is slow. benchmarks/README.md has the times.
SHORT = 512
HEAD = "head"
HEAD_WEIGHTS = "head.safetensors"
HEAD_CONFIG = "head.json"
ADAPTER = ".lora_"  # in the names of PEFT's parameters, and of no other


@dataclass(frozen=True)
class LayerGroup:
    """Parameters that are frozen, thawed and paced together; groups run from bottom to top."""

    name: str
    parameters: tuple[str, ...]


class Classifier(nn.Module):
    """Base model, pooling, dropout, and a linear head."""

    def __init__(self, base: nn.Module, pooling: Pooling, classes: int, dropout: float) -> None:
        super().__init__()
        self.base = base
        self.pooling: Pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(cast(Any, base).config.hidden_size, classes)
        self.resumed: Tensor | None = None

    def features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        states: Tensor | None = None,
    ) -> Tensor:
        """Pooled features: (batch, length) token ids -> (batch, hidden).

        Where the lower blocks are left out (`finetuning.prefixes`), states are what would have left
        them: (batch, length, hidden).
        """
        self.resumed = states
        extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.base(input_ids=input_ids, attention_mask=attention_mask, **extra)
        return pool(output.last_hidden_state, attention_mask, self.pooling)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        states: Tensor | None = None,
    ) -> Tensor:
        """Logits: (batch, length) token ids -> (batch, classes)."""
        features = self.features(input_ids, attention_mask, token_type_ids, states)
        return cast(Tensor, self.head(self.dropout(features)))


def pool(hidden: Tensor, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector a row from one a token: (batch, length, hidden) -> (batch, hidden).

    Padding stands on the right and never counts. As sentence-transformers' `Pooling` does.
    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        last = attention_mask.sum(dim=1) - 1  # (batch,)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    mask = attention_mask.unsqueeze(-1)  # (batch, length, 1)
    if pooling == "max":
        return hidden.masked_fill(mask == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
    # Summed in fp32: in bf16 a long text's mean would lose its low bits.
    return (hidden.float() * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def choose_pooling(folder: Path, config: Any) -> Pooling:
    """The base model's own pooling, as its sentence-transformers files say, or its own head's.

    Without such files it is the last token of a decoder, and the mean of an encoder.
    """
    if (folder / HEAD_CONFIG).is_file():  # a model of ours: a warm start
        description = json.loads((folder / HEAD_CONFIG).read_text("utf-8"))
        if "pooling" in description:
            return cast(Pooling, description["pooling"])
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
        place = next(module["path"] for module in modules if module["type"].endswith("Pooling"))
        declared = json.loads((folder / place / "config.json").read_text("utf-8"))
    except (OSError, ValueError, StopIteration):
        declared = {}
    # One key a mode up to sentence-transformers 5, one key for all of them since.
    modes: dict[str, tuple[str, Pooling]] = {
        "pooling_mode_mean_tokens": ("mean", "mean"),
        "pooling_mode_cls_token": ("cls", "cls"),
        "pooling_mode_max_tokens": ("max", "max"),
        "pooling_mode_lasttoken": ("lasttoken", "last"),
    }
    for key, (name, pooling) in modes.items():
        if declared.get(key) or declared.get("pooling_mode") == name:
            return pooling
    return "last" if is_decoder(config) else "mean"


def is_decoder(config: Any) -> bool:
    """Whether a model only predicts the next token, as GPT-2's does and BERT's does not."""
    from transformers.models.auto import modeling_auto

    decoders = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    encoders = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return config.model_type in decoders and config.model_type not in encoders


def build(
    folder: Path,
    classes: int,
    seed: int,
    dropout: float | None = None,
    scratch: bool = False,
    longest: int | None = None,
) -> Classifier:
    """A classifier over a base model's weights, or over fresh ones of the same shape.

    Args:
        folder: The base model's files.
        classes: Number of labels.
        seed: Seed of the fresh weights (the head's; all of them from scratch).
        dropout: Dropout probability wherever the architecture has it; None keeps the model's own.
        scratch: Start from freshly initialised weights.
        longest: The longest row in tokens, where it is known.
    """
    base, own_dropout = open_base(folder, seed, dropout, scratch, longest)
    torch.manual_seed(seed)
    pooling = choose_pooling(folder, cast(Any, base).config)
    model = Classifier(base, pooling, classes, own_dropout)
    nn.init.normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    return model


def open_base(
    folder: Path,
    seed: int,
    dropout: float | None = None,
    scratch: bool = False,
    longest: int | None = None,
) -> tuple[nn.Module, float]:
    """A base model alone, and the dropout probability of a head above it; see `build`.

    Raises:
        InputError: The base model is an encoder with a decoder.
    """
    from transformers import AutoModel

    torch.manual_seed(seed)
    config = open_config(folder)
    if config.is_encoder_decoder:
        raise wrong(
            "model.base",
            f"{folder.name} ({config.model_type}), an encoder with a decoder",
            "Give an encoder such as BERT, or a decoder such as GPT-2.",
        )
    if longest is not None and longest <= SHORT and not torch.cuda.is_available():
        config._attn_implementation = "eager"
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
    # The pooler is not read by any of the heads; unread weights would be moved by weight decay.
    if getattr(base, "pooler", None) is not None:
        base.pooler = None
    note_shared(base, input_ids=torch.zeros(1, 2, dtype=torch.int64))
    if dropout is None:
        dropout = getattr(config, "hidden_dropout_prob", getattr(config, "resid_pdrop", 0.1))
    return base, float(dropout)


def set_dropout(config: Any, dropout: float | None) -> None:
    """Set the dropout probability wherever an architecture has one; None leaves all as they are."""
    if dropout is None:
        return
    for name, value in config.to_dict().items():
        is_probability = isinstance(value, int | float) and not isinstance(value, bool)
        # hidden_dropout_prob, embd_pdrop, resid_dropout: each architecture has names of its own.
        if is_probability and ("dropout" in name or name.endswith("pdrop")):
            setattr(config, name, dropout)


def is_tied(model: Any) -> bool:
    """Whether a model's head is its base's own, and its weight the word embeddings'."""
    written = getattr(model.base, "get_output_embeddings", lambda: None)()
    return written is not None and written.weight is model.base.get_input_embeddings().weight


def layer_groups(model: Any) -> tuple[LayerGroup, ...]:
    """The ordered groups, from the embeddings (an image model's stem) up to the head.

    What is declared before the first block belongs to the embeddings, and so does a head that is
    tied to them, and what all blocks share; what else is declared after the blocks (a final norm)
    belongs to the last one. As fastai's splitters do it by hand (fastai `vision/learner.py`). Where
    there are adapters, a group of the base has only those.
    """
    blocks = list_blocks(model.base)
    own = () if is_tied(model) else {id(parameter) for parameter in model.head.parameters()}
    members: list[list[str]] = [[] for _ in range(len(blocks) + 2)]  # the head's last
    begun, shared = False, list_shared(model.base)
    for name, parameter in model.named_parameters():
        inner = name.removeprefix("base.")
        place = next((n for n, one in enumerate(blocks, 1) if inner.startswith(one)), None)
        begun = begun or place is not None
        if place is None:
            place = -2 if begun and inner not in shared else 0
            place = -1 if id(parameter) in own else place
        members[place].append(name)
    has_stem = bool(members[0])  # a VGG begins with its first block
    if any(ADAPTER in name for names in members for name in names):
        members = [
            [name for name in names if ADAPTER in name or not name.startswith("base.")]
            for names in members
        ]
    titles = ["embeddings", *(f"block {number}" for number in range(1, len(blocks) + 1)), HEAD]
    groups = [LayerGroup(title, tuple(names)) for title, names in zip(titles, members, strict=True)]
    return tuple(groups if has_stem else groups[1:])


def save(model: Classifier, folder: Path, labels: tuple[str, ...], max_length: int) -> None:
    """Write the model: transformers' own files for the base, safetensors and json for the head."""
    from safetensors.torch import save_file

    cast(Any, model.base).save_pretrained(folder, safe_serialization=True)
    head = {
        name: value.detach().contiguous().cpu() for name, value in model.head.state_dict().items()
    }
    save_file(head, folder / HEAD_WEIGHTS)
    description = {
        "labels": list(labels),
        "pooling": model.pooling,
        "dropout": model.dropout.p,
        "max_length": max_length,
    }
    (folder / HEAD_CONFIG).write_text(json.dumps(description, indent=1), "utf-8")


def load(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Read what `save` wrote; the model is in evaluation mode.

    Returns:
        The model, and its description: labels, pooling, dropout, max_length.
    """
    from safetensors.torch import load_file
    from transformers import AutoModel

    description: dict[str, Any] = json.loads((folder / HEAD_CONFIG).read_text("utf-8"))
    with loading_quietly():
        base = AutoModel.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype="float32"
        )
    if getattr(base, "pooler", None) is not None:
        base.pooler = None
    model = Classifier(
        base, description["pooling"], len(description["labels"]), description["dropout"]
    )
    model.head.load_state_dict(load_file(folder / HEAD_WEIGHTS))
    return model.eval(), description
