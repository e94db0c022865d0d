"""The base model of a pipeline: a folder, a package, a hub id, or a registered model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import InputError, wrong
from finetuning.sources import BaseModel, Parent, find_base
from tasks.planning import STATE
from tasks.registered_models import find_registered_model, is_reference, split_alias
from tasks.registry import CHALLENGER, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from finetuning.config import Pipeline


def resolve_base(root: Path, pipeline: Pipeline, fetch: bool = False) -> BaseModel | None:
    """Find the base model of a pipeline.

    Args:
        root: The project's folder.
        pipeline: The pipeline.
        fetch: Download what is not at hand.

    Returns:
        The base model; None where it is not at hand and fetch is False.

    Raises:
        InputError: It is nowhere, has no safetensors weights, or could never be the same twice.
    """
    base, memory = pipeline.model.base, root / STATE / "digests.json"
    if not is_reference(base):
        weights = pipeline.strategy.reads_weights
        return find_base(base, pipeline.model.revision, root, memory, fetch, weights)
    _refuse_circle(pipeline)
    model = find_registered_model(root, base, fetch)
    if model is None:
        return None
    found = find_base(str(model.folder), None, root, memory)
    if found is None:
        return None
    parent = Parent(model.name, model.version)
    return replace(found, name=base, origin="registry", parent=parent)


def _refuse_circle(pipeline: Pipeline) -> None:
    """A run must not move what it begins with: no run would ever find that nothing changed."""
    name, alias = split_alias(pipeline.model.base)
    automatic = pipeline.gate.promote == "auto"
    moved = {CHALLENGER, CHAMPION, PREVIOUS} if automatic else {CHALLENGER}
    if name == pipeline.name and alias in moved:
        remedy = (
            f"Each run of {name} moves that alias and would begin with its own last model, again "
            f"and again. Name a version: models:/{name}/VERSION."
        )
        raise wrong("model.base", pipeline.model.base, remedy)


def recall_base(root: Path, record: Mapping[str, Any]) -> BaseModel:
    """Find the very base model that a lineage record names.

    Args:
        root: The project's folder, or a checkout of it, which holds a folder that is committed.
        record: The record.

    Raises:
        InputError: It is gone, or its files are others by now.
    """
    config, parent = record["config"]["model"], record.get("parent")
    revision = record.get("base_revision") or config.get("revision")
    base, memory = config["base"], root / STATE / "digests.json"
    if parent:
        base = f"models:/{parent['name']}/{parent['version']}"
        model = find_registered_model(root, base)
        found = None if model is None else find_base(str(model.folder), None, root, memory)
    else:
        try:
            # Whether weights were read is in the digest, which is compared.
            found = find_base(base, revision, root, memory, fetch=True, weights=False)
        except InputError:
            found = None
    if found is None or found.digest != record["base_digest"]:
        other = "Its files are not those of the record."
        fault = "It is gone, or out of reach." if found is None else other
        remedy = f"Bring back the files whose digest is {record['base_digest']}."
        raise wrong("model.base", base, f"{fault} {remedy}")
    return found
