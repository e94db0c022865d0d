"""`tunesmith convert`: a pickled checkpoint becomes a base model's folder; nothing in it is run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from finetuning.errors import wrong


def convert_checkpoint(
    root: Path, checkpoint: Path, target: Path, architecture: str | None
) -> dict[str, Any]:
    """Write a checkpoint's weights as safetensors, with the config.json of their architecture.

    Args:
        root: The project's folder.
        checkpoint: A file that torch.save wrote.
        target: The base model's folder; it must not exist.
        architecture: One of `convolutional.ARCHITECTURES`; None takes the config.json beside the
            checkpoint, or else finds the one that fits.

    Returns:
        What was made, as `tunesmith convert --json` prints it.

    Raises:
        InputError: The checkpoint or the folder is not right; nothing is written.
    """
    checkpoint, target = checkpoint.expanduser().absolute(), target.expanduser().absolute()
    if not checkpoint.is_file():
        raise wrong("CHECKPOINT", str(checkpoint), "There is no such file.")
    if target.exists() or target.is_symlink():
        raise wrong("--to", str(target), "It exists, and is never overwritten: name a new folder.")
    from finetuning.checkpoints import convert

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            folder = Path(temporary) / target.name
            folder.mkdir()
            made = convert(checkpoint, folder, architecture)
            folder.replace(target)
    except OSError as error:
        raise wrong("--to", str(target), f"It cannot be written: {error.strerror}.") from None
    inside = target.is_relative_to(root.resolve())
    return {
        "status": "converted",
        "architecture": made.architecture,
        "folder": str(target),
        "base": f"./{os.path.relpath(target, root)}" if inside else str(target),
        "tensors": made.tensors,
        "parameters": made.parameters,
        "left": list(made.left),
    }


def describe_conversion(result: dict[str, Any]) -> str:
    """What was made, and how a pipeline file names it."""
    left = f"; not read: {', '.join(result['left'])}" if result["left"] else ""
    return "\n".join(
        [
            f"{result['folder']}: {result['architecture']}, {result['tensors']} tensors, "
            f"{result['parameters']:,} numbers{left}",
            f"  use it:  model: {{base: {result['base']}}}",
        ]
    )
