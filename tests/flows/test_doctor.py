"""`tunesmith doctor`: every lack is found and comes with its remedy; nothing ever raises."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from importlib import metadata

import pytest

from finetuning.devices import Device
from finetuning.digests import PROJECT
from finetuning.errors import InputError
from flows import doctor, machine
from flows.doctor import describe_health, examine
from flows.machine import check_device
from tasks import digits, sample, versioning
from tests.support import call, call_json

FILE = """\
name: {name}
problem: text-classification
data: {{path: data/{name}}}
model: {{base: {base}}}
"""


@pytest.fixture(autouse=True)
def _own_settings(tmp_path_factory, monkeypatch, own_dvc):
    """Keeps MLflow and the hub, too, away from the settings of whoever runs the tests."""
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
    for name in ("MLFLOW_TRACKING_URI", "HF_HUB_CACHE", "PREFECT_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path):
    """A project in git and DVC, with one data set, committed."""
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    (tmp_path / "data" / "reviews" / "train.csv").write_text("text,label\ngood,a\nbad,b\n")
    (tmp_path / ".gitignore").write_text("/data/\n/.tunesmith/\n/mlruns/\n")
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"0")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "reviews.yaml").write_text(FILE.format(name="reviews", base="./base"))
    git(tmp_path, "init", "-q")
    versioning.initialise(tmp_path)
    versioning.add(tmp_path)
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "All")
    return tmp_path


def git(root, *words):
    """Run git."""
    subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)


def find(result, name):
    """The checks of one name: (status, found, remedy)."""
    return [
        (check["status"], check["found"], check["remedy"])
        for check in result["checks"]
        if check["name"] == name
    ]


def test_a_whole_project_is_healthy(root):
    """Everything is at hand: no problem, and the data set and base model of the pipeline named."""
    result = examine(root, "reviews")
    assert result["status"] == "healthy", describe_health(result)
    assert find(result, "git")[0][0] == "ok"
    assert find(result, "data")[0][0] == "ok"
    said = " ".join(found for _, found, _ in find(result, "reviews"))
    assert "base model ./base is at hand" in said
    assert "data/reviews, version" in said
    lines = describe_health(json.loads(json.dumps(result))).splitlines()
    assert lines[0].startswith("✓ python")
    assert lines[-1].startswith("healthy: 0 problems")
    assert all(set(check) == {"name", "status", "found", "remedy"} for check in result["checks"])


def test_an_empty_folder_gets_warnings_with_remedies(tmp_path):
    """Outside of everything nothing is broken: each lack is a warning that says what to run."""
    result = examine(tmp_path, None)
    assert result["status"] == "healthy"
    assert "git init" in find(result, "git")[0][2]
    assert "dvc init" in find(result, "dvc")[0][2]
    assert "tunesmith init" in find(result, "pipelines")[0][2]
    assert "! git" in describe_health(result)
    assert not list(tmp_path.iterdir())


def test_changed_data_is_a_problem_with_both_ways_out(root):
    """Data that differs makes the project unhealthy; so does data that is gone everywhere."""
    (root / "data" / "reviews" / "train.csv").write_text("text,label\nother,a\n")
    result = examine(root, None)
    status, _, remedy = find(result, "data")[0]
    assert (result["status"], status) == ("unhealthy", "problem")
    assert "dvc add data/reviews" in remedy
    assert "dvc checkout --force data/reviews" in remedy
    (root / "data" / "reviews" / "train.csv").unlink()
    (root / "data" / "reviews").rmdir()
    (root / "data").rmdir()
    result = examine(root, "reviews")
    assert result["status"] == "healthy"
    assert [find(result, name)[-1][0] for name in ("data", "reviews")] == ["ok", "warning"]
    assert "dvc checkout data/reviews" in find(result, "data")[0][2]
    shutil.rmtree(root / ".dvc" / "cache")
    result = examine(root, "reviews")
    assert result["status"] == "unhealthy"
    assert "whose listing is not in DVC's cache" in find(result, "data")[0][1]
    assert "dvc pull" not in find(result, "data")[0][2]
    assert find(result, "reviews")[-1][0] == "problem"
    assert not (root / "data").exists()


def test_a_sample_that_was_not_made_is_no_problem(root):
    """None of them, or one of them: what makes it is said, and nothing is wrong."""
    shutil.copy(PROJECT / "data.dvc", root)
    shutil.rmtree(root / "data")
    assert find(examine(root, None), "data") == [
        ("ok", "the samples are not made yet", "To make them, run: make data")
    ]
    sample.keep_listing(root)
    digits.fetch(root)
    result = examine(root, None)
    assert result["status"] == "healthy"
    assert find(result, "data")[0][:2] == ("ok", "data/reviews is not here")
    assert "make data" in find(result, "data")[0][2]


def test_the_command_fails_where_something_is_wrong(root):
    """Exit code 1 with all checks, for people and for programs; nouns agree with their number."""
    assert "healthy: 0 problems, " in call(root, "doctor").stdout
    (root / "data" / "reviews" / "train.csv").write_text("text,label\nother,a\n")
    assert "unhealthy: 1 problem, " in call(root, "doctor", code=1).stdout
    result = call_json(root, "doctor", code=1)
    assert result["status"] == "unhealthy"
    assert find(result, "data")[0][0] == "problem"


def test_every_fault_of_a_pipeline_file_is_listed(root):
    """A wrong file is a finding for each fault; the other pipelines are looked at all the same."""
    wrong = FILE.format(name="Wrong", base="nobody/nothing") + "colour: blue\n"
    (root / "pipelines" / "wrong.yaml").write_text(wrong)
    (root / "pipelines" / "absent.yaml").write_text(FILE.format(name="absent", base="no/such"))
    (root / "pipelines" / "broken.yaml").write_bytes(b"\xff: [")
    result = examine(root, "wrong")
    assert len(find(result, "wrong")) == 2
    assert "colour" in describe_health(result)
    assert find(result, "absent")[1][0] == "warning"
    assert find(result, "broken")[0][0] == "problem"
    assert find(result, "reviews")[0][0] == "ok"


@pytest.mark.parametrize("name", ["nothing", "nothing.yaml", "../x"])
def test_a_pipeline_that_is_not_there_is_the_users_error(root, name):
    """A wrong name is refused, as everywhere."""
    with pytest.raises(InputError):
        examine(root, name)


def test_packages_out_of_range_or_missing_have_a_remedy(monkeypatch):
    """Each package is held against the range that the project asks for; the pin says why."""
    versions = {"tunesmith": "1", "fastapi": "0.160.0", "prefect": "3.8.8"}

    def find_version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(machine.metadata, "version", find_version)
    wanted = ["fastapi<0.155,>=0.150", "prefect<3.9,>=3.8", "numpy>=2", "x>1; extra == 'more'"]
    monkeypatch.setattr(machine.metadata, "requires", lambda _name: wanted)
    found = {check["name"]: check for check in machine.check_packages()}
    assert set(found) == {"package fastapi", "package numpy"}
    assert "Prefect's server" in found["package fastapi"]["remedy"]
    assert found["package numpy"]["found"] == "missing"


def test_a_check_that_breaks_is_a_finding_and_no_more(tmp_path, monkeypatch):
    """A broken library's import ends its own check only, without a traceback."""
    monkeypatch.setitem(sys.modules, "torch", None)
    result = examine(tmp_path, None)
    assert find(result, "device")[0][0] == "problem"
    assert find(result, "telemetry")[0][0] == "ok"


def test_the_database_is_opened_and_a_damaged_one_is_said(tmp_path):
    """Its versions are counted without the deleted ones; what is no database is a problem."""
    (tmp_path / "mlruns").mkdir()
    database = tmp_path / "mlruns" / "mlflow.db"
    connection = sqlite3.connect(database)
    connection.execute("create table model_versions (name text, current_stage text)")
    stages = [("one", "None"), ("two", "None"), ("gone", "Deleted_Internal")]
    connection.executemany("insert into model_versions values (?, ?)", stages)
    connection.commit()
    connection.close()
    (found,) = doctor._check_mlflow(tmp_path)
    assert (found["status"], found["found"]) == ("ok", "2 model versions registered")
    database.write_bytes(b"no database at all" * 100)
    assert [check["status"] for check in doctor._check_mlflow(tmp_path)] == ["problem"]


def test_passwords_of_a_tracking_server_are_not_shown(tmp_path, monkeypatch):
    """Of an address with a name and a password only what follows them is printed."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@tracking.example/x")
    found = next(doctor._check_mlflow(tmp_path))["found"]
    assert "tracking.example" in found
    assert "secret" not in found


def test_little_room_and_files_in_the_way_are_found(tmp_path, monkeypatch):
    """Less than 2 GiB free is a warning; a file where a folder belongs is a problem."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _place: usage(10, 9, 2**30))
    assert next(machine.check_disk(tmp_path))["status"] == "warning"
    (tmp_path / "mlruns").write_text("")
    found = {check["name"]: check["status"] for check in machine.check_folders(tmp_path)}
    assert found == {"folder .tunesmith": "ok", "folder mlruns": "problem", "folder data": "ok"}


def test_git_that_refuses_a_repository_of_another_user_is_told_apart(tmp_path, monkeypatch):
    """Dubious ownership, as in a container, has another remedy than a missing repository."""
    answer = subprocess.CompletedProcess([], 128, "", "fatal: detected dubious ownership in ...")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_words, **_options: answer)
    assert "safe.directory" in next(doctor._check_git(tmp_path))["remedy"]


def test_advice_stands_beside_what_the_pipeline_has(root):
    """Two rows of two labels: the head; the command to try stands there, and nothing is a fault."""
    said = find(examine(root, "reviews"), "reviews")
    advice = [one for one in said if "suggested" in one[1]]
    assert [one[0] for one in advice] == ["ok"] * 3
    assert advice[0][1].startswith("strategy.kind is probe-then-tune; suggested: head (1 rows")
    assert advice[0][2] == "To try: tunesmith run reviews --set strategy.kind=head"
    assert advice[1][2] == ""
    assert "--set training.learning_rate=0.0002" in advice[2][2]
    assert not [one for one in find(examine(root, None), "reviews") if "suggested" in one[1]]


def test_a_gpu_is_told_what_determinism_costs_on_it(monkeypatch):
    """The measured ratios, by kind of model; on a CPU it is the default and no matter."""
    monkeypatch.setattr("finetuning.devices.choose_device", lambda: Device("cuda", "A GPU", "bf16"))
    cost = {"texts": 1.254, "images": 2.0}
    monkeypatch.setattr("finetuning.determinism.measure_determinism", lambda _: cost)
    (said,) = [one["found"] for one in check_device() if one["name"] == "determinism"]
    assert said.endswith("1.25 times as long for texts, 2.00 times as long for images")
    monkeypatch.undo()
    assert "determinism" not in {one["name"] for one in check_device()}
