"""What `reproduce` refuses before anything runs, and what it says of what it found."""

import shutil
import subprocess

import pandas
import pytest

from finetuning.errors import InputError, TunesmithError
from finetuning.reproduction import compare_models
from finetuning.sources import find_base
from flows import reproducing
from flows.reproducing import (
    Making,
    check_record,
    conclude,
    describe_reproduction,
    find_recorded_base,
    make_again,
)
from tasks.registered_models import Evidence
from tasks.repository import read_commit
from tests.support import begin_repository, shell

POINTER = "0123456789abcdef" * 2 + ".dir"
DATA_DVC = f"outs:\n- md5: {POINTER}\n  hash: md5\n  path: data\n"


@pytest.fixture
def project(tmp_path):
    """A repository whose commit names a data version that is in no cache."""
    root = begin_repository(tmp_path / "project")
    (root / "data.dvc").write_text(DATA_DVC)
    (root / ".gitignore").write_text("/.tunesmith/\n")
    shell(root, "git", "add", "-A")
    shell(root, "git", "commit", "-qm", "Begin")
    return root


def make_record(project, **changes):
    """The part of a record that is checked."""
    record = {
        "commit": {"sha": read_commit(project).sha, "dirty": False},
        "data_pointer": POINTER,
        "config": {"data": {"path": "data/toys"}, "model": {"base": "x"}},
    }
    return record | changes


def test_a_whole_record_passes(project):
    """A clean commit that names the recorded data."""
    check_record(project, make_record(project), "toys/1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"commit": {"sha": "a" * 40, "dirty": True}}, ["working tree"]),
        ({"commit": {"sha": None, "dirty": False}, "data_pointer": None}, ["git", "dvc add"]),
        ({"commit": {"sha": "a" * 40, "dirty": False}}, ["git fetch --all"]),
        ({"data_pointer": "f" * 32 + ".dir"}, ["does not name"]),
    ],
    ids=["dirty", "no versions", "commit gone", "other data"],
)
def test_what_cannot_be_had_is_said_all_at_once(project, changes, words):
    """The user's fault each, with what could have been done."""
    with pytest.raises(InputError) as caught:
        check_record(project, make_record(project, **changes), "toys/1")
    for fault, word in zip(caught.value.faults, words, strict=True):
        assert word in str(fault)


def test_a_base_model_that_only_the_commit_has_is_left_to_the_checkout(project):
    """A folder that was committed and is gone since; one that no commit has is refused."""
    folder = project / "bases" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"0")
    shell(project, "git", "add", "-A")
    shell(project, "git", "commit", "-qm", "Base")
    found = find_base("bases/small", None, project)
    config = {"model": {"base": "bases/small", "revision": None}}
    record = make_record(project, config=config, base_digest=found.digest)
    assert find_recorded_base(project, record) == folder
    (folder / "model.safetensors").write_bytes(b"1")
    assert find_recorded_base(project, record) is None
    shutil.rmtree(folder)
    assert find_recorded_base(project, record) is None
    config["model"]["base"] = "bases/other"
    with pytest.raises(InputError, match="gone, or out of reach"):
        find_recorded_base(project, record)


def test_data_that_is_gone_leaves_nothing_behind(project, tmp_path):
    """The checkout is removed again, and git knows of none."""
    place = project / ".tunesmith" / "reproduce" / "toys-1"
    with pytest.raises(InputError, match="dvc remote add"):
        make_again(project, make_record(project), tmp_path, place, keep=True)
    assert not place.exists()
    words = ["git", "worktree", "list"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1


def test_a_failed_run_is_said_in_its_own_words(project):
    """Its error, and no traceback of ours."""
    file = project / reproducing.FILE
    file.parent.mkdir()
    file.write_text("name: toys\nproblem: juggling\n")
    with pytest.raises(TunesmithError, match=r"the run in the checkout failed: .*juggling"):
        reproducing.run_there(project, reproducing.PROJECT, {"device": {"threads": 1}})


SHARED = {"python": "3.11", "libraries": {"torch": "2"}, "code": {"tasks.training": "a"}}


def describe(again, weights):
    """What is said of a second making with that record and those weights."""
    table = pandas.DataFrame({"id": ["a"], "label": ["x"], "prediction": ["x"], "score": [0.5]})
    metrics = {"test/accuracy": 1.0}
    found = compare_models(({"model": "w"}, {"model": weights}), (table, table), (metrics, metrics))
    making = Making("installed", again, Evidence({}, table, metrics))
    result = conclude({"commit": {"sha": "f00"}} | SHARED, making, found)
    return result, describe_reproduction(result | {"model": "toys/1", "place": "/there"})


def test_equal_circumstances_promise_equal_bytes():
    """Where they hold it is said so, and where they do not, that nothing known explains it."""
    result, words = describe(SHARED, "w")
    assert result["status"] == result["expected"] == "identical"
    assert words.startswith("toys/1: identical")
    assert "git worktree remove --force /there" in words
    result, words = describe(SHARED, "v")
    assert (result["status"], result["expected"]) == ("within tolerance", "identical")
    assert "not deterministic" in words


def test_other_circumstances_are_listed():
    """Library and module by name; what an older record does not tell is not held against it."""
    changed = {"libraries": {"torch": "3"}, "code": {"tasks.training": "b"}}
    result, words = describe(SHARED | changed | {"device": {"threads": 2}}, "v")
    assert result["expected"] == "within tolerance"
    assert "libraries.torch: 2 -> 3" in words
    assert "code.tasks.training: a -> b" in words
    assert "threads" not in words
    assert "not deterministic" not in words


def test_nothing_of_the_places_of_the_project_reaches_the_run(tmp_path, monkeypatch):
    """Neither its registry nor the store that machines share: what is made there is made anew."""
    seen = {}

    def act(words, env, **options):
        seen.update(env)
        return subprocess.CompletedProcess(words, 0, '{"metrics": {"test/accuracy": 1.0}}', "")

    for name in ("TUNESMITH_STORE", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.setenv(name, "somewhere")
    monkeypatch.setattr(reproducing.subprocess, "run", act)
    assert reproducing.run_there(tmp_path, tmp_path, {}) == {"test/accuracy": 1.0}
    assert "somewhere" not in seen.values()
