"""The shape of the tree: imports run one way, importing is cheap, and everything is described."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FLOORS = ("finetuning", "tasks", "flows")  # from the lowest up
TOOLS = {"prefect", "mlflow", "great_expectations", "dvc"}
HEAVY = {"torch", "transformers", "prefect", "mlflow", "pandas", "great_expectations", "fsspec"}
LONGEST = 300  # lines

MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for floor in FLOORS
    for path in sorted((REPOSITORY / floor).rglob("*.py"))
}
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))


def parse(path):
    """A file's syntax tree."""
    return ast.parse(path.read_bytes(), str(path))


def is_for_types(node):
    """Whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def list_imports(node, inside_functions, types=True):
    """Absolute names that are imported under a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "digest_code does not follow relative imports"
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif is_for_types(child) and not types:
            continue
        elif inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from list_imports(child, inside_functions, types)


def list_definitions(node):
    """Public functions and classes of a module, and those of its public classes."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield child
            yield from list_definitions(child)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if not child.name.startswith("_"):
                yield child
        elif isinstance(child, ast.If | ast.Try):
            yield from list_definitions(child)


def test_the_tree_was_found():
    """The tests below test something."""
    assert {name.split(".")[0] for name in MODULES} == set(FLOORS)
    assert len(MODULES) > 40


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    """Flows -> tasks -> finetuning, also inside functions; and the library knows no tool."""
    floor = FLOORS.index(module.split(".")[0])
    forbidden = {*FLOORS[floor + 1 :], "tests"} | (TOOLS if floor == 0 else set())
    found = {name.split(".")[0] for name in list_imports(parse(MODULES[module]), True)}
    assert found & forbidden == set()


def test_there_is_no_import_cycle():
    """At the top of modules, where Python would meet it."""
    graph = {
        module: {
            name
            for name in list_imports(parse(path), inside_functions=False, types=False)
            if name in MODULES and name != module
        }
        for module, path in MODULES.items()
    }
    while leaves := [module for module, needed in graph.items() if not needed & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert graph == {}


def test_packages_run_nothing():
    """What stands in an __init__ would run unseen by digest_code."""
    for path in MODULES.values():
        if path.name == "__init__.py":
            body = parse(path).body
            assert all(isinstance(node, ast.Expr) for node in body), path


@pytest.mark.parametrize(
    "module",
    ["flows.cli", "flows.preparation", "flows.promoting", "flows.running", "tasks.planning"],
)
def test_importing_is_cheap(module):
    """In a fresh process: what answers "nothing changed" imports nothing that takes seconds."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert HEAVY & set(json.loads(done.stdout)) == set()


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_is_described_and_typed(module):
    """Every public function and class has a docstring; every function says what it returns."""
    tree = parse(MODULES[module])
    silent = [node.name for node in list_definitions(tree) if not ast.get_docstring(node)]
    assert silent == []
    untyped = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None
    ]
    assert untyped == []
    assert ast.get_docstring(tree) or not tree.body


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_test_says_what_it_holds(path):
    """A docstring each."""
    silent = [
        node.name
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_long(module):
    """At most 300 lines each."""
    length = MODULES[module].read_bytes().count(b"\n")
    assert length <= LONGEST
