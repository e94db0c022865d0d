"""The form of a deployment in Prefect's UI: the typed config, begun with the pipeline's values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel

from finetuning.config import Pipeline

HIDDEN = ("root",)  # the serving process knows it
SECTIONS = ("model", "strategy", "training", "gate")


def list_changes(**sections: BaseModel | None) -> list[str]:
    """Typed sections of the pipeline file as KEY=VALUE items: of each, what was set and no more.

    Args:
        sections: Section's key -> its values; None changes nothing.
    """
    items = []
    for key, section in sections.items():
        for name, value in _list_set(section).items():
            items.append(f"{key}.{name}={json.dumps(value, ensure_ascii=False)}")
    return items


def _list_set(section: BaseModel | None) -> dict[str, Any]:
    if section is None:
        return {}
    flat: dict[str, Any] = {}
    for name in section.model_fields_set:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            flat |= {f"{name}.{inner}": one for inner, one in _list_set(value).items()}
        else:
            flat[name] = section.model_dump(mode="json", include={name})[name]
    return dict(sorted(flat.items()))


def make_form(schema: Mapping[str, Any], pipeline: Pipeline | None) -> dict[str, Any]:
    """A deployment's parameter schema whose fields begin with the pipeline file's values.

    Args:
        schema: The flow's own, as Prefect derives it from the signature.
        pipeline: The pipeline that the deployment runs; None for a flow that is not one's.
    """
    form = deepcopy(dict(schema))
    properties, definitions = form.get("properties", {}), form.get("definitions", {})
    for name in HIDDEN:
        properties.pop(name, None)
    if pipeline is None:
        return form
    values = pipeline.model_dump(mode="json")
    for key in SECTIONS:
        reference = _find_reference(properties[key])
        properties[key] = {
            **{name: properties[key][name] for name in ("title", "description", "position")},
            "allOf": [{"$ref": reference}],
            "default": values[key],
        }
        _fill(definitions, reference, values[key])
    properties["pipeline"] |= {"enum": [pipeline.name], "default": pipeline.name}
    return form


def _find_reference(field: Mapping[str, Any]) -> str:
    places = [field, *field.get("anyOf", ()), *field.get("allOf", ())]
    return next(str(place["$ref"]) for place in places if "$ref" in place)


def _fill(definitions: dict[str, Any], reference: str, values: Mapping[str, Any]) -> None:
    """Make a section's values its fields' defaults, in the inner sections too."""
    section = definitions[reference.rpartition("/")[2]]
    section.pop("required", None)
    for name, value in values.items():
        field = section["properties"][name]
        field["default"] = value
        if isinstance(value, Mapping):
            _fill(definitions, _find_reference(field), value)
