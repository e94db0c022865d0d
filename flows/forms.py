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
    for fields in (properties, *(one.get("properties", {}) for one in definitions.values())):
        for name, field in fields.items():
            _make_plain(name, field)
    if pipeline is None:
        return form
    values = pipeline.model_dump(mode="json")
    for key in SECTIONS:
        reference = _find_reference(properties[key])
        properties[key] = {
            **{name: properties[key][name] for name in ("title", "description", "position")},
            "allOf": [{"$ref": reference}],
            "default": _leave_out_null(values[key]),
        }
        _fill(definitions, reference, values[key])
    properties["pipeline"] |= {"enum": [pipeline.name], "default": pipeline.name}
    return form


def _make_plain(name: str, field: dict[str, Any]) -> None:
    """Offer one kind of value instead of a choice between it and null.

    Of a choice Prefect's UI sends null although nobody touched it, with every schedule that is set
    there, and null would go before the file's value. What is left empty is not sent. Null itself
    can be said by `overrides`.
    """
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        del field["anyOf"]
        field.update(kinds[0])
    if "default" in field and field["default"] is None:
        del field["default"]
    if reference := field.pop("$ref", None):
        # Beside a reference a title is not read: the section would be called as its type is.
        field |= {"allOf": [{"$ref": reference}], "title": name.replace("_", " ").title()}


def _find_reference(field: Mapping[str, Any]) -> str:
    places = [field, *field.get("anyOf", ()), *field.get("allOf", ())]
    return next(str(place["$ref"]) for place in places if "$ref" in place)


def _leave_out_null(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without the keys that are null, in the inner sections too."""
    return {
        name: _leave_out_null(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


def _fill(definitions: dict[str, Any], reference: str, values: Mapping[str, Any]) -> None:
    """Make a section's values its fields' defaults, in the inner sections too."""
    section = definitions[reference.rpartition("/")[2]]
    section.pop("required", None)
    for name, value in values.items():
        field = section["properties"][name]
        field["default"] = value
        if value is None:
            del field["default"]  # the type's own is not what the file says
        if isinstance(value, Mapping):
            _fill(definitions, _find_reference(field), value)
