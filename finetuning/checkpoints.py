"""Pickled checkpoints of torch, read without running anything in them, and written as safetensors.

`torch.load(weights_only=True)` takes tensors and plain containers and refuses all else. What comes
out is a base model's folder: config.json and model.safetensors.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.convolutional import ARCHITECTURES, UNREAD, WEIGHTS, WRAPPED, build_own, read_own
from finetuning.errors import InputError, wrong

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
BESIDE = (".json", ".txt", ".model")  # configuration, vocabularies
NESTED = ("state_dict", "model_state_dict", "model", "net", "weights")  # where trainers put weights
SIDES = {"cifar-resnet": 32, "vgg": 224}  # pixels that the published weights were trained on


@dataclass(frozen=True)
class Converted:
    """What was made of a checkpoint. left: names of tensors that the architecture does not read."""

    architecture: str
    tensors: int
    parameters: int
    left: tuple[str, ...]


def convert(checkpoint: Path, folder: Path, architecture: str | None = None) -> Converted:
    """Write a checkpoint as a base model's folder.

    Args:
        checkpoint: A file that torch.save wrote.
        folder: Where the base model goes; it exists and is empty.
        architecture: Name of one of our own; None takes the config.json beside the checkpoint, or
            else finds the one that the weights fit.

    Raises:
        InputError: The file is no checkpoint, holds more than weights, or fits no architecture.
    """
    from safetensors.torch import save_file

    weights = read_checkpoint(checkpoint)
    if architecture is None and is_foreign(checkpoint.parent):
        found, kept = _copy_files(checkpoint.parent, folder), weights
    else:
        weights = {name.removeprefix(WRAPPED): value for name, value in weights.items()}
        kept = {name: value for name, value in weights.items() if not name.startswith(UNREAD)}
        found = _write_config(kept, folder, architecture)
    # Cloned, because safetensors takes no two tensors of the same memory.
    save_file({name: value.clone() for name, value in kept.items()}, folder / WEIGHTS, _MADE_BY)
    _check_fit(folder, found)
    size = sum(value.numel() for value in kept.values())
    return Converted(found, len(kept), size, tuple(sorted(weights.keys() - kept.keys())))


def _check_fit(folder: Path, architecture: str) -> None:
    if (own := read_own(folder)) is None:
        return
    try:
        build_own(folder, own)
    except InputError as error:
        raise wrong("--architecture", architecture, error.faults[0].remedy) from None


_MADE_BY = {"format": "pt"}  # without it transformers does not take the file


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds the config.json of a model that is none of our own."""
    return (folder / CONFIG).is_file() and read_own(folder) is None


def _copy_files(source: Path, folder: Path) -> str:
    """Copy what lies beside the weights of transformers' models; its loader knows their names."""
    for path in source.iterdir():
        if path.is_file() and path.suffix in BESIDE and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)
    content = json.loads((source / CONFIG).read_text("utf-8"))
    return str(content.get("model_type", "unknown"))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; nothing that a pickle might ask for is run.

    Raises:
        InputError: It cannot be read, holds more than tensors and plain containers, or no weights.
    """
    import torch

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise wrong("CHECKPOINT", str(path), f"{error.strerror or error}.") from None
    except Exception as error:  # a damaged file may raise anything
        remedy = "It is no checkpoint that torch.save wrote, or it is damaged."
        if "GLOBAL" in str(error):  # the pickle names a class or a function
            remedy = (
                "It holds more than weights, and loading it could run anything. Save the weights "
                "alone where it was made: torch.save(model.state_dict(), FILE)."
            )
        raise wrong("CHECKPOINT", path.name, remedy) from None
    weights = _find_weights(content)
    if not weights:
        raise wrong("CHECKPOINT", path.name, "It holds no weights: names with tensors.")
    return weights


def _find_weights(content: Any) -> dict[str, Tensor]:
    """The mapping of names to tensors in a checkpoint, where trainers put it."""
    import torch

    if not isinstance(content, Mapping):
        return {}
    for key in NESTED:
        if found := _find_weights(content.get(key)):
            return found
    tensors = {
        name: value.detach().contiguous()
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    return tensors if len(tensors) == len(content) else {}


def _write_config(weights: Mapping[str, Tensor], folder: Path, architecture: str | None) -> str:
    """Write the config.json of the architecture named, or of the one that the weights fit."""
    fitting = [architecture] if architecture else _list_fitting(weights)
    if not fitting or fitting[0] not in ARCHITECTURES:
        known = f"Give --architecture, one of {', '.join(ARCHITECTURES)}."
        said = "The weights fit none of our own architectures, and no config.json lies beside it."
        raise wrong("--architecture", architecture or "none", known if architecture else said)
    name = fitting[0]
    kind = ARCHITECTURES[name]
    channels = next((one.shape[1] for one in weights.values() if one.ndim == 4), 3)
    content = {
        "model_type": kind,
        "architecture": name,
        "num_channels": int(channels),
        "image_size": SIDES[kind],
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=1), "utf-8")
    return name


def _list_fitting(weights: Mapping[str, Tensor]) -> list[str]:
    """Our own architectures whose names and shapes, the first layer's channels aside, are these."""
    import torch

    found = {name: tuple(one.shape) for name, one in weights.items() if one.ndim == 4}
    channels = next((shape[1] for shape in found.values()), 3)
    fitting = []
    for name, kind in ARCHITECTURES.items():
        content = {"model_type": kind, "architecture": name, "num_channels": channels}
        with torch.device("meta"):
            network = build_own(Path(), content, scratch=True)
        names = {
            one: tuple(value.shape) for one, value in network.state_dict().items() if value.ndim
        }
        held = {one: tuple(value.shape) for one, value in weights.items() if value.ndim}
        if names == held:
            fitting.append(name)
    return fitting
