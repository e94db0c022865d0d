"""The words for what a stage was made from then and is made from now."""

import json

import pytest

from finetuning.digests import digest_code, digest_definitions
from tasks import explanations
from tasks.explanations import explain, remember_code

BEFORE = {
    "data": {"a.csv": "1", "b.csv": "1"},
    "config": {"training": {"epochs": 3, "seed": 0}, "data.labels": None},
    "base model": {"content": "1"},
    "libraries": {"torch": "2.12.0"},
    "code": {"finetuning.training": "1", "finetuning.batching": "1"},
    "upstream": {"encode": "1", "snapshot": "1"},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "its kept output was missing or damaged"),
        ({"data": {"a.csv": "2", "c.csv": "1"}}, "data: a.csv changed, b.csv removed, c.csv added"),
        (
            {"data": {**BEFORE["data"], **{f"n{number}": "1" for number in range(7)}}},
            "data: n0 added, n1 added, n2 added, n3 added, n4 added and 2 more",
        ),
        (
            {"config": {"training": {"epochs": 1, "seed": 0}, "data.labels": ["a", "ü"]}},
            'data.labels changed null -> ["a", "ü"]; training.epochs changed 3 -> 1',
        ),
        ({"base model": {"content": "2"}}, "the base model's files changed"),
        ({"libraries": {"torch": "2.13.0"}}, "torch changed 2.12.0 -> 2.13.0"),
        (
            {"code": {"finetuning.training": "2", "finetuning.models": "1"}},
            "code: finetuning/batching.py removed, finetuning/models.py added, "
            "finetuning/training.py changed",
        ),
        ({"upstream": {"encode": "2", "snapshot": "2"}}, "encode and snapshot changed"),
        (
            {"upstream": {"encode": "2", "snapshot": "1"}, "libraries": {"torch": "3"}},
            "torch changed 2.12.0 -> 3; encode changed",
        ),
    ],
)
def test_what_differs_is_said_in_words(change, words):
    """Data, config, base model, libraries, code and upstream, in that order."""
    assert explain(BEFORE | change, BEFORE) == words


def test_long_values_are_cut():
    """A list of a hundred labels does not fill the screen."""
    said = explain({"config": {"data.labels": ["label"] * 100}}, {"config": {"data.labels": "x"}})
    assert said.startswith("data.labels changed x -> [")
    assert said.endswith("...")
    assert len(said) == len("data.labels changed x -> ") + 60


MODULE = (
    "def pad(rows):\n    return rows\n\n\nclass Encoder:\n    def cut(self):\n        return 1\n"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one module, whose code is what is explained."""
    file = tmp_path / "finetuning" / "texts.py"
    file.parent.mkdir()
    file.write_text(MODULE)
    monkeypatch.setattr(
        explanations, "_find_definitions", lambda name: digest_definitions(name, tmp_path)
    )
    return file


def read(file):
    """The project's code, as a stage's component."""
    return {"code": digest_code("finetuning.texts", project=file.parent.parent)}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("return rows", "return 2", "function pad changed"),
        ("return 1", "return 2", "method Encoder.cut changed"),
        ("class Encoder:", "class Encoder(int):", "class Encoder changed"),
        ("def pad", "def fill", "function fill added, function pad removed"),
        ("class", "PAD = 1\nSIZE: int = 2\n\nclass", "constant PAD added, constant SIZE added"),
        ("class", "import os\n\nclass", "imports added"),
    ],
)
def test_what_changed_in_a_module_is_named(project, tmp_path, old, new, words):
    """By the function, method, class or constant; where that is not known, by the file alone."""
    before, memory = read(project), tmp_path / "definitions.json"
    remember_code(memory, before["code"])
    project.write_text(MODULE.replace(old, new))
    now = read(project)
    assert explain(now, before, memory) == f"code: finetuning/texts.py: {words}"
    assert explain(now, before) == "code: finetuning/texts.py changed"
    memory.write_text("damaged")
    assert explain(now, before, memory) == "code: finetuning/texts.py changed"


def test_code_is_remembered_beside_what_was_known(project, tmp_path):
    """Each state of a module stands under its digest, and nothing is written twice."""
    memory, first = tmp_path / "definitions.json", read(project)["code"]
    remember_code(memory, first)
    project.write_text(MODULE.replace("return 1", "return 2"))
    second = read(project)["code"]
    remember_code(memory, second)
    assert json.loads(memory.read_text()).keys() == {*first.values(), *second.values()}
    written = memory.stat().st_mtime_ns
    remember_code(memory, first)
    assert memory.stat().st_mtime_ns == written


def test_many_modules_are_counted():
    """Five are named."""
    now = {"code": {f"finetuning.m{number}": "1" for number in range(7)}}
    assert explain(now, {}).endswith("finetuning/m4.py added, 2 more modules changed")
