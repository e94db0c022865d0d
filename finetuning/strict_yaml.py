"""YAML that people write, read strictly: no code, no alias, no key twice, no endless number."""

from __future__ import annotations

import re
from typing import Any

import yaml

from finetuning.errors import wrong

LARGEST_INTEGER = 1_000  # bits
MOST_SIXTIES = 3  # colons in a number: days, hours, minutes, seconds
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def parse(data: bytes, name: str) -> Any:
    """Read YAML, as UTF-8.

    Args:
        data: The text.
        name: What errors call it.

    Raises:
        InputError: It is none, with the place of the fault.
    """
    try:
        return yaml.load(data.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError:
        raise wrong(name, "bytes that are not UTF-8", "Save the file as UTF-8.") from None
    except (
        # PyYAML lets the errors of its own conversions through: !!bool x is a KeyError.
        yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError,
    ) as error:  # fmt: skip
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise wrong(f"{name}{place}", str(reason), "The file is not YAML there.") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, with 5e-5 a number (YAML 1.2) and no key twice, no alias."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # its stub lacks it
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key must be a single word"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            if key.value in seen:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if _NO_TEXT.search(text):
            problem = "a null or half a character (\\0, \\ud800) is no text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return text


def _check_sixties(node: yaml.ScalarNode) -> None:
    # YAML 1.1 reads 1:30 as 90, and PyYAML takes the square of the length for it.
    if node.value.count(":") > MOST_SIXTIES:
        problem = "a number with colons without end"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    _check_sixties(node)
    return float(loader.construct_yaml_float(node))


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    _check_sixties(node)
    value = int(loader.construct_yaml_int(node))
    if value.bit_length() > LARGEST_INTEGER:
        problem = f"a whole number of {value.bit_length()} bits"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return value


def _refuse(loader: _Loader, node: yaml.ScalarNode) -> None:
    loader.construct_undefined(node)


# Bytes and numbers of thousands of digits have no place in JSON, where every value ends up.
_Loader.add_constructor("tag:yaml.org,2002:binary", _refuse)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
