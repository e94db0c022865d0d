"""Digests: what counts changes them, what does not count leaves them alone."""

import ast
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from finetuning import digests
from finetuning.digests import (
    digest_code,
    digest_file,
    digest_folder,
    digest_value,
    write_atomically,
)

MAIN = '''\
"""What this module does."""

from typing import TYPE_CHECKING

from finetuning.helper import help_out

if TYPE_CHECKING:
    from finetuning.shapes import Shape


def work(value: "Shape") -> int:
    """Work."""
    import finetuning.late

    return help_out(value) + finetuning.late.ADDEND
'''
FILES = {
    "main.py": MAIN,
    "helper.py": "from finetuning.deep import FACTOR\n\n\ndef help_out(value):\n"
    "    return value * FACTOR\n",
    "deep.py": "FACTOR = 2\n",
    "late.py": "ADDEND = 1\nPAGE = 'page.html'\n",
    "shapes.py": "class Shape: ...\n",
    "other.py": "import finetuning.main\n",
    "page.html": "<p>one</p>\n",
    "else.html": "<p>never named</p>\n",
}
STEP = iter(range(1, 1000))


@pytest.fixture
def project(tmp_path):
    """A project of five modules: main -> helper -> deep, and late inside a function."""
    for name, content in FILES.items():
        edit(tmp_path, name, content)
    return tmp_path


def edit(project, name, content):
    """Write a module, certainly with another modification time than before."""
    path = project / "finetuning" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(next(STEP) * 10**9,) * 2)


def of_main(project):
    """Digests of main and all that it imports."""
    return digest_code("finetuning.main", project=project)


def test_a_value_s_digest_is_the_sha256_of_its_compact_json():
    """Keys are sorted, text stands as it is, and the order of a list counts."""
    expected = hashlib.sha256('{"a":[1,"ü"],"b":null}'.encode()).hexdigest()
    assert digest_value({"b": None, "a": [1, "ü"]}) == expected
    assert digest_value([1, 2]) != digest_value([2, 1])
    assert digest_value(1) != digest_value("1")
    assert len(digest_value("\ud800")) == 64


def test_a_file_s_digest_is_the_sha256_of_its_bytes(tmp_path):
    """The known digest of 'abc', and that of a file of more than one block."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digest_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    data = bytes(range(256)) * 5000
    path.write_bytes(data)
    assert digest_file(path) == hashlib.sha256(data).hexdigest()


def test_imports_are_followed_except_those_for_type_checkers(project):
    """At the top, transitively and inside functions; never under TYPE_CHECKING, never backwards."""
    assert list(of_main(project)) == [
        "finetuning.deep", "finetuning.helper", "finetuning.late", "finetuning.main",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "edited",
    [
        MAIN.replace("What this module does", "Something else"),
        MAIN.replace('    """Work."""\n', '    """Work.\n\n    And more.\n    """\n'),
        MAIN.replace('    """Work."""\n', ""),
        MAIN.replace("    return", "    # a comment\n    return"),
        MAIN.replace("\n\n\n", "\n\n\n\n\n"),
        MAIN.replace("help_out(value) + ", "(\n        help_out(value)\n    ) + "),
    ],
    ids=["module docstring", "longer docstring", "no docstring", "comment", "blank", "format"],
)
def test_edits_that_do_not_run_do_not_count(project, edited):
    """Comments, docstrings, blank lines and formatting leave every digest as it was."""
    before = of_main(project)
    assert edited != MAIN
    edit(project, "main.py", edited)
    assert of_main(project) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("main.py", MAIN.replace("+ f", "- f")),
        ("helper.py", FILES["helper.py"].replace("*", "+")),
        ("deep.py", "FACTOR = 3\n"),
        ("late.py", FILES["late.py"].replace("1", "2")),
    ],
)
def test_an_edit_of_any_helper_counts_there_and_nowhere_else(project, name, content):
    """The digest says which module was edited."""
    before = of_main(project)
    edit(project, name, content)
    after = of_main(project)
    changed = [module for module in after if after[module] != before[module]]
    assert changed == [f"finetuning.{name.removesuffix('.py')}"]


@pytest.mark.parametrize("name", ["shapes.py", "other.py", "else.html"])
def test_an_edit_of_what_is_not_used_does_not_count(project, name):
    """Not of types alone, of a module that imports this one, or of a file that nothing names."""
    before = of_main(project)
    edit(project, name, "NEW = 1\n")
    assert of_main(project) == before


def test_a_named_template_beside_the_module_counts(project):
    """An edited page is seen at once, also by a process that has digested the module before."""
    before = of_main(project)
    edit(project, "page.html", "<p>two</p>\n")
    after = of_main(project)
    assert [name for name in after if after[name] != before[name]] == ["finetuning.late"]
    (project / "finetuning" / "page.html").unlink()
    assert of_main(project)["finetuning.late"] not in (
        before["finetuning.late"], after["finetuning.late"],
    )  # fmt: skip


def test_the_project_s_own_helpers_count():
    """The plan's train stage covers the loop, its batches and its strategies."""
    found = digest_code("tasks.training")
    assert {"finetuning.training", "finetuning.batching", "finetuning.strategies"} <= set(found)
    assert "finetuning.gate" not in found


def test_a_folder_s_digest_is_of_names_and_contents(tmp_path):
    """The listing's JSON, worked out by hand; another name or place is another digest."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_text("{}")
    (tmp_path / "b.txt").write_text("b")
    listing = {
        "b.txt": hashlib.sha256(b"b").hexdigest(),
        "sub/a.json": hashlib.sha256(b"{}").hexdigest(),
    }
    whole = digest_folder(tmp_path)
    assert whole == digest_value(listing)
    assert digest_folder(tmp_path, ["b.txt"]) == digest_value({"b.txt": listing["b.txt"]})
    (tmp_path / "b.txt").rename(tmp_path / "c.txt")
    assert digest_folder(tmp_path) != whole


def test_the_memory_sees_a_changed_file(tmp_path):
    """Same size, and even the same modification time: the digest is the new content's."""
    folder, memory = tmp_path / "model", tmp_path / "memory.json"
    folder.mkdir()
    path = folder / "weights"
    path.write_text("one")
    first = digest_folder(folder, memory=memory)
    assert digest_folder(folder, memory=memory) == first == digest_folder(folder)
    status = path.stat()
    for content in ("two", "six"):
        path.unlink()
        path.write_text(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert digest_folder(folder, memory=memory) == digest_folder(folder) != first


def test_the_memory_saves_reading(tmp_path, monkeypatch):
    """An unchanged file is not read a second time."""
    folder, memory = tmp_path / "model", tmp_path / "memory.json"
    folder.mkdir()
    (folder / "weights").write_text("one")
    first = digest_folder(folder, memory=memory)

    def read(path):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(digests, "digest_file", read)
    assert digest_folder(folder, memory=memory) == first


@pytest.mark.parametrize("content", ["", "[]", "{", "\0", '{"x": 1}'])
def test_a_damaged_memory_is_only_slow(tmp_path, content):
    """Whatever stands in it, the digest is right."""
    folder, memory = tmp_path / "model", tmp_path / "memory.json"
    folder.mkdir()
    (folder / "weights").write_text("one")
    memory.write_text(content)
    assert digest_folder(folder, memory=memory) == digest_folder(folder)


def test_write_atomically_makes_folders_and_replaces(tmp_path):
    """Text and bytes; nothing lies beside the file afterwards."""
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, "ü")
    assert path.read_bytes() == b"\xc3\xbc"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch, fails):
    """A full disk while writing or moving: the old file stands, and no rest lies beside it."""
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(*((os, "fsync") if fails == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_may_write_the_same_file(tmp_path):
    """Tasks of one flow run in threads: each write is whole, none fails."""
    path = tmp_path / "file.json"
    failures = []

    def write(number):
        try:
            for _ in range(20):
                write_atomically(path, json.dumps([number] * 2000))
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(json.loads(path.read_text()))) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_another_thread_that_parses_is_not_our_error(tmp_path, monkeypatch):
    """Python 3.11's spurious error goes with the next try; one that stays is shown."""
    edit(tmp_path, "main.py", "A = 1\n")
    expected = digest_code("finetuning.main", project=tmp_path)
    errors, parse = [SystemError("recursion depth mismatch")] * 3, ast.parse

    def fail(source):
        if errors:
            raise errors.pop()
        return parse(source)

    monkeypatch.setattr(digests.ast, "parse", fail)
    digests._read_module.cache_clear()
    assert digest_code("finetuning.main", project=tmp_path) == expected
    errors += [SystemError("for good")] * 100
    digests._read_module.cache_clear()
    with pytest.raises(SystemError, match="for good"):
        digest_code("finetuning.main", project=tmp_path)
