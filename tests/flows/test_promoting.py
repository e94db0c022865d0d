"""`tunesmith promote`, `rollback` and `history` as they are typed: words, JSON and exit codes."""

import json
import os
import subprocess
import sys

import pytest

from tests import support
from tests.registered import PASSED, REFUSED, add_version, begin_registry, drop_files

REPOSITORY = __file__.rsplit("/tests/", 1)[0]


@pytest.fixture
def project(tmp_path, monkeypatch, empty_registry):
    """A project with the versions 1 and 2 (passed), 3 (refused) and 4 (files gone) of toys."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("TUNESMITH_USER", "ann")
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    client = begin_registry(tmp_path, empty_registry)
    for verdict in (PASSED, PASSED, REFUSED, PASSED):
        add_version(client, tmp_path, verdict=verdict)
    drop_files(tmp_path, client, "4")
    client.set_registered_model_alias("toys", "challenger", "1")
    return tmp_path


def call(*words, code=0):
    """Run a command; standard output and standard error."""
    result = support.call(".", *words, code=code)
    return result.stdout, result.stderr


def call_json(*words, code=0):
    """The one object of a command with --json."""
    return json.loads(call(*words, "--json", code=code)[0])


def test_a_model_goes_forth_and_back(project):
    """Promote, already, promote, rollback, history: what each says to a program."""
    first = call_json("promote", "toys")
    assert first["status"] == "promoted"
    assert (first["model"], first["model_version"], first["replaced"]) == ("toys", "1", None)
    assert (first["by"], first["verdict"]) == ("ann", PASSED)
    assert call_json("promote", "toys/1")["status"] == "already"
    second = call_json("promote", "toys/2")
    assert (second["champion"], second["previous"], second["replaced"]) == ("2", "1", "1")
    back = call_json("rollback", "toys", "--reason", "slow")
    assert back["status"] == "rolled_back"
    assert (back["champion"], back["previous"], back["reason"]) == ("1", None, "slow")
    told = call_json("history", "toys")
    assert told["champion"] == "1"
    rows = told["history"]
    assert [row["version"] for row in rows] == ["1", "2", "1"]
    assert [row["present"] for row in rows] == [False, False, True]
    assert [row["until"] for row in rows] == [rows[1]["since"], rows[2]["since"], None]
    assert rows[0]["since"] == first["at"]
    assert [row["how"] for row in rows] == ["promoted", "promoted", "rolled back"]


def test_a_model_goes_forth_and_back_in_words(project):
    """The same for people."""
    assert call("history", "toys")[0].endswith("no version was ever champion\n")
    words, _ = call("promote", "toys")
    assert words.startswith("toys: version 1 is champion, the first one\n  accuracy 0.9000")
    assert call("promote", "toys/1")[0] == "toys: version 1 is champion already\n"
    words, _ = call("promote", "toys/3", "--override", "needed today")
    assert "version 3 is champion; before it was version 1" in words
    assert "set aside by ann: needed today" in words
    assert "tunesmith rollback toys" in words
    words, _ = call("rollback", "toys")
    assert words.splitlines() == [
        "toys: version 1 is champion again",
        "  version 3 is marked as rolled back",
        "  there is nothing further to go back to",
    ]
    head, columns, *rows = call("history", "toys")[0].splitlines()
    assert head == "toys: champion is version 1"
    assert columns.split() == ["VERSION", "FROM", "(UTC)", "UNTIL", "(UTC)", "BY", "HOW"]
    assert [row.split()[0] for row in rows] == ["1", "3", "1"]
    assert "promoted: against the gate, because needed today; accuracy 0.5000" in rows[1]
    assert " now " in rows[2]


def test_the_gate_refuses_with_4(project):
    """A refused version: exit code 4, the reasons and the remedies; nothing is changed."""
    result = call_json("promote", "toys/3", code=4)
    assert result["status"] == "refused"
    assert "below the floor" in result["reasons"][0]
    assert "tunesmith run toys" in result["remedy"]
    assert "below the floor" in result["error"]
    words, _ = call("promote", "toys/3", code=4)
    assert words.startswith("toys: version 3 is not promoted\n  its verdict refused it")
    assert call_json("history", "toys")["history"] == []


MISTAKES = [
    (("promote", "toys/9"), "versions 1, 2, 3, 4"),
    (("promote", "toys@champion"), "aliases challenger"),
    (("promote", "toys/4"), "Bring its files back"),
    (("promote", "dolls"), "Registered are toys"),
    (("promote", "toys/3", "--override", " "), "Say why"),
    (("rollback", "toys"), "tunesmith promote toys/VERSION"),
    (("rollback", "toys/1"), "Write the name alone: toys"),
    (("rollback", "dolls"), "Registered are toys"),
    (("history", "toys@champion"), "Write the name alone: toys"),
    (("history", "dolls"), "Registered are toys"),
]


def test_mistakes_end_with_2(project):
    """What the user got wrong: exit code 2, the remedy, nothing changed."""
    before = call_json("history", "toys")
    for words, remedy in MISTAKES:
        (fault,) = call_json(*words, code=2)["faults"]
        assert remedy in fault["remedy"], words
        output, errors = call(*words, code=2)
        assert output == ""
        assert remedy in errors, words
        assert call_json("history", "toys") == before, words


@pytest.mark.parametrize("command", ["promote", "rollback", "history"])
def test_nothing_is_made_where_nothing_is_registered(tmp_path, monkeypatch, command):
    """In a project without a registry: exit code 2, and still no registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "Nothing is registered" in call_json(command, "toys", code=2)["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["pipelines"]


def test_a_server_that_is_down_is_said_in_one_line(project, monkeypatch):
    """No traceback, exit code 1, and the address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for command in ("promote", "rollback", "history"):
        _, errors = call(command, "toys", code=1)
        assert "http://127.0.0.1:9 does not answer" in errors
        assert len(errors.splitlines()) == 1


def test_promoting_loads_neither_prefect_nor_torch(project):
    """In a fresh process; and the answer is all that it prints."""
    code = (
        "import sys\nsys.argv = ['tunesmith', 'promote', 'toys', '--json']\n"
        "from flows.cli import app\n"
        "try:\n    app()\n"
        "except SystemExit:\n    heavy = {'prefect', 'torch', 'great_expectations', 'dvc'}\n"
        "    print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=os.environ | {"PYTHONPATH": REPOSITORY},
        capture_output=True,
        text=True,
        check=True,
    )
    answer, heavy = done.stdout.splitlines()
    assert json.loads(answer)["status"] == "promoted"
    assert heavy == "[]"
    assert done.stderr == ""
