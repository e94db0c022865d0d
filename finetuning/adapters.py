"""Low-rank adapters (LoRA): trained beside the base model's weights, which do not move.

Hu et al. 2021 (arXiv 2106.09685): a linear layer W gets B A beside it, of a small rank, with B zero
at the start; the product is added to W when the training is over. A convolution's A is one of its
own kind with few channels, its B one of a single pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from finetuning.errors import wrong
from finetuning.models import Classifier
from finetuning.quiet import adapting_quietly
from finetuning.stacks import list_blocks

if TYPE_CHECKING:
    from finetuning.config import Strategy

FOLDER = "adapters"
WEIGHTS = "adapter_model.safetensors"  # the name that PEFT looks for


def attach_adapters(model: Classifier, strategy: Strategy, seed: int) -> Any:
    """Put adapters beside the linear layers of the blocks; all weights below the head freeze.

    Where the blocks have none, as in convolutional networks, their convolutions get them.

    Args:
        model: The model; its base is changed in place and computes as before.
        strategy: rank, alpha, dropout and targets of the pipeline file's `strategy`.
        seed: Seed of the adapters' first weights.

    Returns:
        PEFT's model around the base, which `merge_adapters` needs.

    Raises:
        InputError: No layer that can be adapted is there, or bears one of the names.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    layers = _find_layers(model, strategy)
    config = LoraConfig(
        r=strategy.rank,
        lora_alpha=cast(int, strategy.alpha),  # PEFT only divides it by the rank
        lora_dropout=strategy.dropout,
        target_modules=list(layers),
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in layers.values()),
    )
    torch.manual_seed(seed)
    with adapting_quietly():
        adapted = get_peft_model(cast(Any, model.base), config)
    for name, layer in layers.items():
        _show_settings(layer, model.base.get_submodule(name))
    return adapted


def _show_settings(layer: nn.Module, wrapped: nn.Module) -> None:
    """Let a wrapped layer's settings be read: MobileNet pads by its convolutions' strides."""
    for setting in getattr(layer, "__constants__", ()):
        if not hasattr(wrapped, setting) and hasattr(layer, setting):
            setattr(wrapped, setting, getattr(layer, setting))


def describe_adapters(model: Classifier, strategy: Strategy) -> str:
    """Of which rank the adapters are, and beside which layers, in words."""
    names = [
        name.split(".")[-1]
        for name, layer in model.base.named_modules()
        if hasattr(layer, "lora_A")
    ]
    kinds = ", ".join(sorted(set(names)))
    scale = f"alpha {strategy.alpha:g}"
    return f"adapters of rank {strategy.rank} ({scale}) beside {len(names)} layers: {kinds}"


def _find_layers(model: Classifier, strategy: Strategy) -> dict[str, nn.Module]:
    """The layers of the blocks that get adapters, by name: linear ones, else convolutions."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
    from transformers.pytorch_utils import Conv1D

    blocks = tuple(start for block in list_blocks(model.base) for start in block)
    inside = {
        name: layer
        for name, layer in model.base.named_modules()
        if any(
            f"{name}.{own}".startswith(blocks) for own, _ in layer.named_parameters(recurse=False)
        )
    }
    linear = {
        name: layer for name, layer in inside.items() if isinstance(layer, nn.Linear | Conv1D)
    }
    # A convolution of many groups has no product of two thin matrices to stand beside it.
    linear = linear or {
        name: layer
        for name, layer in inside.items()
        if isinstance(layer, nn.Conv2d) and layer.groups == 1
    }
    if not linear:
        remedy = "The blocks of this base model have no layers for it: take another strategy."
        raise wrong("strategy.kind", strategy.kind, remedy)
    known = KNOWN.get(cast(Any, model.base).config.model_type)
    names = strategy.targets or known
    if names is None:
        return linear
    chosen = {name: layer for name, layer in linear.items() if name.split(".")[-1] in names}
    if chosen or strategy.targets is None:
        return chosen or linear
    there = ", ".join(sorted({name.split(".")[-1] for name in linear}))
    remedy = f"No layer of the blocks that can be adapted is named so; they are named {there}."
    raise wrong("strategy.targets", list(strategy.targets), remedy)


def merge_adapters(model: Classifier, adapted: Any, folder: Path, base: str) -> None:
    """Add the adapters to the base model's weights, and keep them by themselves too.

    Args:
        model: The trained model; afterwards its base is a plain transformers model again.
        adapted: What `attach_adapters` returned.
        folder: Where the adapters go: safetensors and PEFT's configuration.
        base: Name of the base model, for whoever puts the adapters on it again.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    kept = {name: value.detach().contiguous().cpu() for name, value in weights.items()}
    save_file(kept, folder / WEIGHTS)
    config = adapted.peft_config["default"]
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.save_pretrained(folder)
    model.base = adapted.merge_and_unload()
