"""Digests of values, files, folders and code: what the skipping of stages rests on."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
PROJECT_PACKAGES = ("finetuning", "tasks", "flows")
_BLOCK = 1 << 20
_TRIES = 5
_SHORT = 12  # hexadecimal digits of a definition's digest
_FILE_NAME = re.compile(r"[\w-]+\.(html|py)")


def digest_value(value: Any) -> str:
    """SHA-256 of a JSON value; the order of keys does not matter, that of lists does."""
    return hashlib.sha256(render_value(value).encode("utf-8", "surrogatepass")).hexdigest()


def render_value(value: Any) -> str:
    """The JSON of which `digest_value` takes the digest."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_folder(
    folder: Path, names: Iterable[str] | None = None, memory: Path | None = None
) -> str:
    """SHA-256 over the names and contents of a folder's files.

    Args:
        folder: The folder; files under it are taken recursively.
        names: Only these relative paths, where given.
        memory: A JSON file that remembers contents by (size, modification time, inode), so that
            a model of gigabytes is not read again at every start.
    """
    remembered = _recall(memory)
    paths = (
        sorted(path for path in folder.rglob("*") if path.is_file())
        if names is None
        else sorted(folder / name for name in names)
    )
    listing = {}
    for path in paths:
        status = path.stat()
        mark = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
        known = remembered.get(str(path.resolve()))
        if known is None or known[0] != mark:
            known = [mark, digest_file(path)]
            remembered[str(path.resolve())] = known
        listing[path.relative_to(folder).as_posix()] = known[1]
    _remember(memory, remembered)
    return digest_value(listing)


def _recall(memory: Path | None) -> dict[str, list[str]]:
    if memory is None:
        return {}
    try:
        value = json.loads(memory.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _remember(memory: Path | None, remembered: Mapping[str, list[str]]) -> None:
    if memory is None or _recall(memory) == remembered:
        return
    try:
        write_atomically(memory, json.dumps(remembered))
    except OSError:
        # A read-only disk costs time at the next start, never a wrong answer.
        return


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest_code(*modules: str, project: Path = PROJECT) -> dict[str, str]:
    """Digest of each project module that the given ones import, transitively.

    Comments, docstrings, blank lines and formatting do not count; imports under
    `if TYPE_CHECKING:` are not followed, because nothing of them runs. A file beside a module that
    the module names (a template) counts with it.

    Returns:
        Module name -> digest of its syntax tree, sorted by name.
    """
    digests: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in digests:
            continue
        path = find_module(module, project)
        if path is None:
            continue
        tree, names, imports = _read_module(path, path.stat().st_mtime_ns)
        beside = {name: path.parent / name for name in names}
        named = {name: digest_file(file) for name, file in beside.items() if file.is_file()}
        digests[module] = digest_value([tree, named])
        waiting.extend(imports)
    return dict(sorted(digests.items()))


def find_module(module: str, project: Path = PROJECT) -> Path | None:
    """The file of a project module, or None where there is no such module."""
    stem = project.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def digest_definitions(module: str, project: Path = PROJECT) -> dict[str, str]:
    """What a module holds, each with a short digest: to say what of it changed, never for a key.

    Returns:
        Such as "function pad", "method Encoder.cut", "class Encoder" (without its methods),
        "constant PAD", "imports" and "other statements"; empty where there is no such module.
    """
    path = find_module(module, project)
    if path is None:
        return {}
    tree = _parse(path.read_bytes())
    _drop_docstrings(tree)
    dumped: dict[str, list[str]] = {}
    for name, node in _name_definitions(tree.body):
        dumped.setdefault(name, []).append(ast.dump(node))
    return {name: digest_value(nodes)[:_SHORT] for name, nodes in sorted(dumped.items())}


def _name_definitions(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"function {node.name}", node
        elif isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            yield from ((f"method {node.name}.{one.name}", one) for one in methods)
            node.body = [one for one in node.body if one not in methods]
            yield f"class {node.name}", node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield "imports", node
        else:
            names = [one.id for one in _find_targets(node) if isinstance(one, ast.Name)]
            yield f"constant {names[0]}" if names else "other statements", node


def _find_targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


@cache
def _read_module(path: Path, _modified: int) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """A module's syntax tree, the names in it that may be files beside it, and its imports."""
    tree = _parse(path.read_bytes())
    imports = tuple(sorted(_find_imports(tree)))
    _drop_docstrings(tree)
    names = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _FILE_NAME.fullmatch(node.value)
    }
    return ast.dump(tree), tuple(sorted(names)), imports


def _parse(source: bytes) -> ast.Module:
    # Python 3.11 counts the depth of a tree for all threads in one place, so that two that parse
    # at once may find it wrong (python/cpython issue 106905).
    for _ in range(_TRIES):
        with suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)


def _find_imports(tree: ast.AST) -> set[str]:
    """Names of project modules that a module imports, at its top or inside functions."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))
    return {name for name in found if name.split(".")[0] in PROJECT_PACKAGES}


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            del body[0]
