"""Plans: what changes a stage's key, what does not, and the words for it."""

import dataclasses
import json
from pathlib import Path

import pytest

from finetuning.config import Pipeline
from finetuning.digests import digest_value
from finetuning.sources import BaseModel
from tasks import planning
from tasks.data_files import hash_folder
from tasks.data_state import DataVersion, folder_version
from tasks.planning import STAGES, plan, recall, remember

ALL = ["snapshot", "validate", "encode", "features", "train", "evaluate", "register"]
AFTER_ENCODE = ["encode", "features", "train", "evaluate", "register"]
AFTER_TRAIN = ["train", "evaluate", "register"]
CONTENT = {
    "name": "reviews",
    "problem": "text-classification",
    "data": {"path": "data/reviews"},
    "model": {"base": "some/model"},
}
DATA = DataVersion("v1.dir", "p1.dir", {"train.csv": "1" * 32, "test.csv": "2" * 32}, True)
BASE = BaseModel("some/model", Path("models"), None, "b" * 64)


def make(root, data=DATA, base=BASE, **changes):
    """The work of a run, with keys of the pipeline file changed: gate__minimum=0.5."""
    content = json.loads(json.dumps(CONTENT))
    for key, value in changes.items():
        place = content
        *parents, last = key.split("__")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return plan(root, Pipeline.model_validate(content), data, base)


def changed(one, other):
    """Names of the stages whose keys differ, in order."""
    return [name for name in one.plans if one.plans[name].key != other.plans[name].key]


def test_the_same_inputs_have_the_same_keys(tmp_path):
    """Twice, and in another folder: nothing of the machine or the clock counts."""
    (tmp_path / "other").mkdir()
    work = make(tmp_path)
    assert list(work.plans) == ALL
    assert set(STAGES) == set(ALL) - {"features"}
    assert changed(work, make(tmp_path)) == []
    assert changed(work, make(tmp_path / "other")) == []
    assert len({stage.key for stage in work.plans.values()}) == len(ALL)
    for stage in work.plans.values():
        assert stage.key == digest_value(stage.components)


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"gate__minimum": 0.5}, ["register"]),
        ({"gate__metric": "macro_f1"}, ["register"]),
        ({"name": "other"}, ["register"]),
        ({"training__epochs": 7}, AFTER_TRAIN),
        ({"training__seed": 7}, AFTER_TRAIN),
        ({"training__checkpoint_steps": 7}, []),
        ({"strategy__kind": "full"}, AFTER_TRAIN),
        ({"model__dropout": 0.2}, AFTER_TRAIN),
        ({"training__max_length": 64}, AFTER_ENCODE),
        ({"model__revision": "v2"}, AFTER_ENCODE),
        ({"data__labels": ["a", "b"]}, ["validate", *AFTER_ENCODE]),
        ({"data__expectations": [{"expect": "ExpectX"}]}, ["validate", "register"]),
        ({"data__columns": {"text": "body"}}, ALL),
        ({"data__slices": ["source"]}, ALL),
        ({"data__test": "test.csv"}, ALL),
    ],
)
def test_a_config_key_changes_the_stages_that_use_it(tmp_path, change, stages):
    """That stage and what comes after it; nothing else runs again."""
    assert changed(make(tmp_path), make(tmp_path, **change)) == stages


@pytest.mark.parametrize(
    "change", [{"gate__alpha": 0.05}, {"training__learning_rate": 0.00005}, {"data__labels": None}]
)
def test_a_default_that_is_written_out_changes_nothing(tmp_path, change):
    """The resolved values count, not how the file says them."""
    assert changed(make(tmp_path), make(tmp_path, **change)) == []


def test_the_base_model_s_content_counts_and_its_place_does_not(tmp_path):
    """The same files from a package or the hub are the same model."""
    work = make(tmp_path)
    moved = dataclasses.replace(BASE, name="package:x/y", folder=Path("y"), revision="c" * 40)
    assert changed(work, make(tmp_path, base=moved)) == []
    assert changed(work, make(tmp_path, base=moved, model__base="package:x/y")) == []
    assert changed(work, make(tmp_path, base=dataclasses.replace(BASE, digest="c"))) == AFTER_ENCODE


def test_the_data_set_s_files_count_and_the_rest_of_data_does_not(tmp_path):
    """Real folders: another data set's edit leaves all keys; one's own changes all."""
    for name in ("reviews", "tickets"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "train.csv").write_text("text,label\na,b\n")

    def read(pointer):
        files = hash_folder(tmp_path, "data/reviews")
        return make(tmp_path, DataVersion(folder_version(files), pointer, files, True))

    before = read("p1.dir")
    (tmp_path / "data" / "tickets" / "train.csv").write_text("text,label\nc,d\n")
    (tmp_path / "data" / "tickets" / "new.csv").write_text("text,label\nc,d\n")
    assert changed(before, read("p2.dir")) == []
    (tmp_path / "data" / "reviews" / "train.csv").write_text("text,label\na,c\n")
    assert changed(before, read("p2.dir")) == ALL


def test_a_library_s_version_counts_where_it_computes(tmp_path, monkeypatch):
    """Another torch trains again; validation and encoding are not concerned."""
    real = planning._read_version
    work = make(tmp_path)
    monkeypatch.setattr(
        planning, "_read_version", lambda name: "0.0.1" if name == "torch" else real(name)
    )
    assert changed(work, make(tmp_path)) == ["features", *AFTER_TRAIN]


def test_a_first_run_says_so(tmp_path):
    """Nothing is remembered yet."""
    assert {stage.why for stage in make(tmp_path).plans.values()} == {"first run"}
    assert recall(tmp_path, "reviews") == {}


def test_what_was_remembered_explains_the_next_run(tmp_path):
    """Stage by stage, in the user's words."""
    for stage in ALL:
        remember(make(tmp_path), stage)
    same = {stage.why for stage in make(tmp_path).plans.values()}
    assert same == {"its kept output was missing or damaged"}
    plans = make(tmp_path, training__learning_rate=3e-5, training__epochs=1).plans
    assert plans["train"].why == (
        "training.epochs changed 3 -> 1; training.learning_rate changed 5e-05 -> 3e-05"
    )
    assert plans["evaluate"].why == "train changed"
    assert plans["encode"].why == "its kept output was missing or damaged"
    assert {stage.why for stage in make(tmp_path, name="other").plans.values()} == {"first run"}


@pytest.mark.parametrize("content", ["", "[]", "{", "\0", b"\xff"])
def test_a_damaged_memory_is_a_first_run(tmp_path, content):
    """It costs the words, never the run."""
    path = tmp_path / ".tunesmith" / "plans" / "reviews.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert make(tmp_path).plans["train"].why == "first run"


def test_the_environment_names_the_store_behind_the_own_one(tmp_path, monkeypatch):
    """Unset or empty there is none; the keys are the same with one."""
    monkeypatch.delenv("TUNESMITH_STORE", raising=False)
    alone = make(tmp_path)
    assert alone.store.remote is None
    monkeypatch.setenv("TUNESMITH_STORE", "")
    assert alone.store.remote is None
    address = (tmp_path / "shared").as_uri()
    monkeypatch.setenv("TUNESMITH_STORE", address)
    assert make(tmp_path).store.remote.address == address
    assert changed(alone, make(tmp_path)) == []
