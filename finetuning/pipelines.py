"""Reading a pipeline file: found by name, overridden by key, all faults listed at once."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from finetuning.config import Pipeline
from finetuning.errors import Fault, InputError, wrong
from finetuning.strict_yaml import parse

FOLDER = "pipelines"
ENDINGS = (".yaml", ".yml")
LARGEST_FILE = 200_000  # bytes; of a million, reading the YAML takes more than ten seconds
_KINDS = {type(None): "a file without any key", list: "a list", str: "a text without any key"}


def find_root(start: Path) -> Path:
    """The project's folder: the nearest one at or above `start` that has pipelines/ or data.dvc."""
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir() or (folder / "data.dvc").is_file():
            return folder
    return start


def list_pipelines(root: Path) -> list[str]:
    """Names of the pipeline files, in order."""
    try:
        # The serving process looks every two seconds, and each file is found by the listing again.
        with os.scandir(root / FOLDER) as entries:
            files = [entry.name.rpartition(".") for entry in entries if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(stem for stem, _, ending in files if stem and f".{ending}" in ENDINGS)


def find_pipeline(root: Path, name: str) -> Path:
    """The file of a pipeline that is given by name or by path.

    Raises:
        InputError: There is none.
    """
    if name.endswith(ENDINGS):
        path = Path(name)
        if path.is_file():
            return path
        raise wrong("NAME|FILE", name, "There is no such file.")
    if name in list_pipelines(root):
        return next(
            root / FOLDER / f"{name}{ending}"
            for ending in ENDINGS
            if (root / FOLDER / f"{name}{ending}").is_file()
        )
    known = list_pipelines(root)
    remedy = f"The pipelines here are {', '.join(known)}." if known else "There are none here yet."
    raise wrong("NAME|FILE", name, f"{remedy} `tunesmith init NAME --data FILE` makes one.")


def load_pipeline(path: Path, overrides: Iterable[str] = ()) -> Pipeline:
    """Read and check a pipeline file.

    Args:
        path: The YAML file.
        overrides: `KEY=VALUE` items, such as training.epochs=1; values are read as YAML.

    Raises:
        InputError: With every fault of the file and of the overrides.
    """
    content, faults = _read(path, overrides)
    try:
        pipeline = Pipeline.model_validate(content)
    except ValidationError as error:
        raise InputError(faults + describe_faults(error)) from None
    if faults:
        raise InputError(faults)
    return pipeline


def load_sound(path: Path, overrides: Iterable[str] = ()) -> Pipeline | None:
    """What is left of a faulty pipeline file without the keys at fault; None where that is none.

    For looking at what else may be wrong, never for a run: other keys have their defaults.
    """
    try:
        content, _ = _read(path, overrides)
    except InputError:
        return None
    while True:
        try:
            return Pipeline.model_validate(content)
        except ValidationError as error:
            places = [item["loc"] for item in error.errors(include_url=False)]
        if not sum(_take_out(content, place) for place in places):
            return None  # something is missing


def _take_out(holder: Any, place: tuple[int | str, ...]) -> bool:
    """Take out a key, or all of the list that an element is in; whether that was there."""
    for number, part in enumerate(place, 1):
        if not isinstance(holder, dict) or part not in holder:
            return False
        if number == len(place) or not isinstance(holder[part], dict):
            del holder[part]
            return True
        holder = holder[part]
    return False


def _read(path: Path, overrides: Iterable[str]) -> tuple[dict[str, Any], list[Fault]]:
    """A file's keys under the overrides, and what is wrong with these."""
    if path.stat().st_size > LARGEST_FILE:
        raise wrong(path.name, f"{path.stat().st_size} bytes", "That is no pipeline file.")
    content = parse(path.read_bytes(), path.name)
    if not isinstance(content, dict):
        found = _KINDS.get(type(content), f"a {type(content).__name__}")
        if not path.read_bytes().strip():
            found = "an empty file"
        remedy = "A pipeline file has keys: name, problem, data, model, ..."
        raise InputError([Fault(path.name, found, remedy)])
    faults: list[Fault] = []
    for item in overrides:
        faults += _override(content, item)
    return content, faults


def _override(content: dict[str, Any], item: str) -> list[Fault]:
    key, equals, text = item.partition("=")
    if not equals or not key:
        return [Fault("--set", repr(item), "Write KEY=VALUE, such as training.epochs=1.")]
    try:
        # An argument that is not UTF-8 comes with surrogates, and is refused as such a file is.
        value = parse(text.encode("utf-8", "surrogatepass"), key)
    except InputError as error:
        return list(error.faults)
    place = content
    *parents, last = key.split(".")
    for parent in parents:
        inner = place.setdefault(parent, {})
        if inner is None:
            inner = place[parent] = {}
        if not isinstance(inner, dict):
            return [Fault(f"--set {key}", repr(inner), f"{parent} holds no keys.")]
        place = inner
    place[last] = value
    return []


def describe_faults(error: ValidationError) -> list[Fault]:
    """Every fault that pydantic found, by its YAML key."""
    faults = []
    for item in error.errors(include_url=False):
        key = _join_key(item["loc"])
        found = item.get("input")
        if item["type"] == "extra_forbidden":
            faults.append(Fault(key, _show(found), _suggest_key(item["loc"])))
        elif item["type"] == "missing":
            faults.append(Fault(key, "nothing", f"The key is required. {_describe(item['loc'])}"))
        else:
            message = item["msg"].removeprefix("Value error, ")
            # A check of our own says what to do; pydantic's say what is wrong.
            remedy = "" if item["type"] == "value_error" else _describe(item["loc"])
            text = f"{message[0].upper()}{message[1:]}. {remedy}"
            faults.append(Fault(key, _show(found), text))
    return [Fault(fault.key, fault.found, fault.remedy.strip()) for fault in faults]


def _join_key(location: tuple[int | str, ...]) -> str:
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key or "the file"


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except TypeError:  # a date as a key
        text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _section(location: Iterable[int | str]) -> type[BaseModel] | None:
    section: type[BaseModel] | None = Pipeline
    for part in location:
        if isinstance(part, int) or section is None:
            continue
        field = section.model_fields.get(part)
        inner = field.annotation if field else None
        section = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return section


def _suggest_key(location: tuple[int | str, ...]) -> str:
    section = _section(location[:-1])
    known = list(section.model_fields) if section else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"There is no such key. {hint}Known here: {', '.join(known)}."


def _describe(location: tuple[int | str, ...]) -> str:
    section = _section(location[:-1])
    field = section.model_fields.get(str(location[-1])) if section and location else None
    return f"{field.description}" if field and field.description else ""


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots: {'a': {'b': 1}} -> {'a.b': 1}."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping) and inner:
            flat |= flatten(inner, f"{name}.")
        else:
            flat[name] = inner
    return flat
