"""Why a stage runs again, in words: what differs between what it is and what it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from finetuning.digests import PROJECT, digest_definitions, find_module, write_atomically

SHOWN = 5
MISSING = "its kept output was missing or damaged"
_find_definitions = cache(digest_definitions)  # within a process no code can change


def explain(
    now: Mapping[str, Any], before: Mapping[str, Any] | None, memory: Path | None = None
) -> str:
    """What differs between a stage's components now and when it last ran, in words.

    Args:
        now: The stage's components.
        before: As they were; None where it never ran.
        memory: The file in which `remember_code` keeps what modules held.
    """
    if before is None:
        return "first run"
    changes = [
        change
        for kind in ("data", "config", "base model", "libraries", "code", "upstream")
        for change in _compare(kind, now.get(kind, {}), before.get(kind, {}), memory)
    ]
    return "; ".join(changes) if changes else MISSING


def _compare(
    kind: str, now: Mapping[str, Any], before: Mapping[str, Any], memory: Path | None
) -> list[str]:
    changed = sorted(key for key in {*now, *before} if now.get(key) != before.get(key))
    if not changed:
        return []
    if kind == "upstream":
        return [f"{' and '.join(changed)} changed"]
    if kind == "code":
        return [_describe_code(now, before, changed, _recall(memory))]
    if kind == "base model":
        return ["the base model's files changed"]
    if kind == "data":
        return [f"data: {_list_first(_name_changes(now, before, changed))}"]
    return [
        change for key in changed for change in _describe_value(key, now.get(key), before.get(key))
    ]


def _name_changes(
    now: Mapping[str, Any], before: Mapping[str, Any], changed: Iterable[str]
) -> list[str]:
    return [
        f"{name} {'added' if name not in before else 'removed' if name not in now else 'changed'}"
        for name in changed
    ]


def _list_first(items: list[str]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return f"{', '.join(items[:SHOWN])}{more}"


def _describe_code(
    now: Mapping[str, str],
    before: Mapping[str, str],
    changed: list[str],
    known: Mapping[str, Mapping[str, str]],
) -> str:
    said = []
    for module in changed[:SHOWN]:
        then, file = known.get(before.get(module, "")), _name_file(module)
        if module in now and then is not None:
            here = _find_definitions(module)
            inner = sorted(name for name in {*here, *then} if here.get(name) != then.get(name))
            # A template beside the module counts with it and is no definition.
            words = _list_first(_name_changes(here, then, inner)) or "a file beside it changed"
            said.append(f"{file}: {words}")
        else:
            (change,) = _name_changes(now, before, [module])
            said.append(f"{file} {change.rpartition(' ')[2]}")
    more = [f"{len(changed) - SHOWN} more modules changed"] if len(changed) > SHOWN else []
    return f"code: {', '.join(said + more)}"


def _name_file(module: str) -> str:
    path = find_module(module)
    return f"{module.replace('.', '/')}.py" if path is None else str(path.relative_to(PROJECT))


def _describe_value(key: str, now: Any, before: Any) -> list[str]:
    if isinstance(now, dict) and isinstance(before, dict):
        return [
            change
            for inner in sorted({*now, *before})
            if now.get(inner) != before.get(inner)
            for change in _describe_value(f"{key}.{inner}", now.get(inner), before.get(inner))
        ]
    return [f"{key} changed {_show(before)} -> {_show(now)}"]


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def remember_code(memory: Path, code: Mapping[str, str]) -> None:
    """Keep what each module holds, under its digest, so that a later run can name what changed.

    Args:
        memory: A JSON file.
        code: Module -> digest, as `digest_code` gives it, of the code that runs.
    """
    known = _recall(memory)
    fresh = {
        digest: _find_definitions(name) for name, digest in code.items() if digest not in known
    }
    if fresh:
        write_atomically(memory, json.dumps(known | fresh))


def _recall(memory: Path | None) -> dict[str, dict[str, str]]:
    try:
        value = json.loads(memory.read_text("utf-8")) if memory is not None else {}
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
