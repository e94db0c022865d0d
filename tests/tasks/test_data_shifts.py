"""What a run says of the data since the newest model; the whole of it stands in e2e."""

import json
import shutil

import pytest
from prefect.logging import disable_run_logger

from finetuning.config import Pipeline
from finetuning.snapshots import digest_rows, take_snapshot
from finetuning.sources import BaseModel
from tasks import data_shifts
from tasks.data_files import hash_folder
from tasks.data_shifts import describe_change, find_change, tell_change
from tasks.data_state import DataVersion
from tasks.planning import plan
from tasks.snapshot import ROWS
from tests.registered import add_version, begin_registry
from tests.support import make_rows, write_table

CONTENT = {
    "name": "toys",
    "problem": "text-classification",
    "data": {"path": "data/toys", "train": "train.csv", "slices": ["source"]},
    "model": {"base": "some/model"},
}


@pytest.fixture(autouse=True)
def _no_flow(monkeypatch):
    """Outside a flow there is no run to log to."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with disable_run_logger():
        yield


def make_work(root, rows, version):
    """The work of a run on these rows, with its snapshot kept."""
    write_table(root / "data" / "toys" / "train.csv", rows)
    pipeline = Pipeline.model_validate(CONTENT)
    files = hash_folder(root, "data/toys")
    base = BaseModel("some/model", root, None, "b" * 64)
    work = plan(root, pipeline, DataVersion(version, "p.dir", files, True), base)
    taken = take_snapshot(root / "data" / "toys", pipeline.data)

    def fill(folder):
        taken.to_parquet(folder / ROWS, index=False)
        return {"digests": digest_rows(taken, pipeline.data)}

    work.store.keep("snapshot", work.plans["snapshot"].key, fill)
    return work


def register(client, work):
    """A version that this work made."""
    version = add_version(client, work.root)
    run = client.get_model_version("toys", version).run_id
    snapshot = work.plans["snapshot"].key
    record = {
        "run_id": run,
        "data_version": work.data.version,
        "data_pointer": work.data.pointer,
        "row_digests": work.store.find("snapshot", snapshot).facts["digests"],
        "config": work.pipeline.model_dump(mode="json"),
        "stages": {"snapshot": snapshot},
    }
    client.log_dict(run, record, "lineage.json")
    for key, value in (("data_version", work.data.version), ("digest", work.plans["register"].key)):
        client.set_model_version_tag("toys", version, f"tunesmith.{key}", value)


@pytest.fixture
def history(tmp_path, empty_registry):
    """Version 1, and the work of a run on forty rows more."""
    client = begin_registry(tmp_path, empty_registry)
    rows = make_rows(200, seed=1)
    before = make_work(tmp_path, rows, "v1")
    register(client, before)
    longer = [(f"{text} {'and so on ' * 5}", "neutral", "fax") for text, *_ in make_rows(40, 2)]
    return client, before, make_work(tmp_path, rows + longer, "v2")


def test_the_rows_are_compared_with_those_of_the_newest_model(history):
    """Forty rows of another kind: labels, lengths, slices, words; kept once."""
    _, _, work = history
    found = find_change(work)
    assert (found["model_version"], found["from"], found["to"]) == ("1", "v1", "v2")
    assert (found["rows"]["added"], found["rows"]["removed"]) == (40, 0)
    said = {shift["trait"]: shift["verdict"] for shift in found["shifts"]}
    for trait in ("labels", "slice source", "text length in characters"):
        assert said[trait] == said[f"{trait} of the rows added"] == "a real shift"
    assert found["vocabulary"]["frequent"][0] == ["and", 40]
    assert describe_change(found)[0] == "since version 1, data v1 -> v2"
    shutil.rmtree(work.store.root / "snapshot")
    assert find_change(work) == found


def test_the_same_data_and_the_runs_own_model_are_no_change(history):
    """A second attempt, whose first one registered already, still sees the model before it."""
    client, before, work = history
    assert find_change(before) is None  # the only version is its own
    register(client, work)
    assert find_change(work)["model_version"] == "1"
    assert find_change(make_work(work.root, make_rows(200, seed=3), "v2")) is None


def test_without_the_old_rows_the_run_goes_on_and_says_so(history):
    """Neither the snapshot nor DVC has them: the versions are told, and why there is no more."""
    _, before, work = history
    before.store.discard("snapshot", before.plans["snapshot"].key)
    found = find_change(work)
    assert (found["rows"], found["shifts"], found["verdict"]) == (None, [], None)
    assert found["words"][0].startswith("what changed in the rows cannot be said: the rows of ver")
    assert "`tunesmith diff toys`" in found["words"][0]


@pytest.mark.parametrize("name", ["find_rows", "fetch_json", "compare_data"])
def test_nothing_that_goes_wrong_stops_the_run(history, monkeypatch, name):
    """Whatever it is: its reason stands in the change."""

    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(data_shifts, name, fail)
    assert "No space left" in find_change(history[2])["words"][0]


def test_a_silent_registry_is_no_failure_here(history, monkeypatch):
    """The register stage says it better; before that, there is just no comparison."""

    def fail(*_):
        raise ConnectionError("refused")

    monkeypatch.setattr(data_shifts, "connect", fail)
    assert find_change(history[2]) is None


def test_the_change_is_shown_in_the_prefect_ui(history, monkeypatch):
    """A table of the shifts under the pipeline's key, the words above it; nothing for no change."""
    shown = []
    monkeypatch.setattr(data_shifts, "create_table_artifact", lambda **words: shown.append(words))
    monkeypatch.setattr(data_shifts, "create_markdown_artifact", lambda **said: shown.append(said))
    _, before, work = history
    tell_change.fn(before)
    assert shown == []
    tell_change.fn(work)
    assert shown[0]["key"] == "toys-data-change"
    assert len(shown[0]["table"]) == 7
    assert shown[0]["description"].startswith("since version 1, data v1 -> v2\n- 40 rows added")
    json.dumps(shown[0]["table"])
    before.store.discard("snapshot", before.plans["snapshot"].key)
    shutil.rmtree(work.store.root / data_shifts.STAGE)
    tell_change.fn(work)
    assert "cannot be said" in shown[1]["markdown"]
