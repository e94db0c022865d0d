"""What a base model says of itself, read by transformers' own classes: its code is never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetuning.errors import InputError, wrong

CODE = "auto_map"  # in config.json and tokenizer_config.json: classes in the model's own files


def open_config(folder: Path) -> Any:
    """The config.json of a base model as transformers' class for its architecture.

    A model may bring code of its own beside a known architecture's name; then transformers' own
    code is taken, and that code is not run either.

    Raises:
        InputError: transformers has no such architecture, whether or not code came with the model,
            or the config names attention that would be fetched from the hub.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise refuse_code(folder, "config.json", error) from None
    attention = getattr(config, "_attn_implementation", None)
    if "/" in str(attention):
        remedy = "That is code from the hub, and is never run: take it out of config.json."
        raise wrong("model.base", f"{folder.name}: attn_implementation {attention!r}", remedy)
    return config


def refuse_code(folder: Path, name: str, error: Exception) -> InputError:
    """That a base model cannot be opened by transformers' own code alone."""
    try:
        said = json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        said = {}
    if isinstance(said, dict) and CODE in said:
        remedy = (
            "Code that comes with a model is never run. Choose a model of an architecture that "
            "transformers has itself."
        )
        return wrong("model.base", f"{folder.name}: {name} names code of its own ({CODE})", remedy)
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    remedy = "Choose a model that this version of transformers can open."
    return wrong("model.base", f"{folder.name}: {reason}", remedy)
