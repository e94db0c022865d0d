"""Changed data and new champions: what is due is started once, over a real Prefect server."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Completed, Crashed, Failed
from prefect.types.entrypoint import EntrypointType

from tasks import watching
from tasks.data_changes import find_committed_version
from tasks.registry import OFFERED
from tasks.watching import start_release
from tests.registered import add_version, begin_registry
from tests.support import begin_project, shell, write_table

FOLDER = "data/toy"


@pytest.fixture(scope="module", autouse=True)
def api(prefect_server):
    """The tests' own Prefect server, which the test's process asks."""
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield prefect_server


@pytest.fixture(scope="module")
def project(tmp_path_factory, bert_folder, empty_registry, api):
    """A project whose registered model says that it was made from the present data."""
    from flows.finetune import finetune
    from flows.release import release

    root = begin_project(tmp_path_factory.mktemp("watched") / "root", bert_folder, "toy", "other")
    client = begin_registry(root, empty_registry)
    for flow, name in ((finetune, "toy"), (finetune, "other"), (release, "release")):
        parameters = {"pipeline": name} if flow is finetune else {}
        kind = EntrypointType.MODULE_PATH
        flow.to_deployment(name, parameters=parameters, entrypoint_type=kind).apply()
    for name in ("toy", "other"):
        version = find_committed_version(root, f"data/{name}")
        offer(client, root, add(client, root, name, version), name)
    return root, client


def add(client, root, name, data_version):
    """Register a version that was made from some data."""
    number = add_version(client, root, name)
    client.set_model_version_tag(name, number, "tunesmith.data_version", data_version)
    return number


def offer(client, root, number, name="toy"):
    """Say that a run has led to this version just now."""
    client.set_registered_model_tag(name, OFFERED, f"{number} {time.time_ns()}")


def change_data(root, text):
    """Commit a table with one more row."""
    table = root / FOLDER / "train.csv"
    rows = table.read_text("utf-8")
    table.unlink()
    table.write_text(f"{rows}{text},positive,film\n", "utf-8")
    shell(root, sys.executable, "-m", "dvc", "add", "-q", "data")
    shell(root, "git", "commit", "-qam", text)
    return find_committed_version(root, FOLDER)


def rerun(root, name):
    """What is decided for one pipeline."""
    return watching.rerun(root, [name])[name]


def list_runs():
    """The runs of finetune/toy, newest last."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["toy"])),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=100,
        )


def end(run, state):
    """Let a run end in a state, whoever was to run it."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state, force=True)


def later(monkeypatch, seconds):
    """Let the clock of the decisions stand in the future."""
    now = time.time() + seconds
    monkeypatch.setattr(watching.time, "time", lambda: now)


def test_changed_data_start_their_pipeline_once(project, monkeypatch):
    """Two watchers at once start one run, with version and reason; a crash is tried again later."""
    root, _ = project
    assert rerun(root, "toy") == "nothing changed"
    version = change_data(root, "so much better than before")
    with ThreadPoolExecutor(2) as pool:
        contexts = [copy_context() for _ in range(2)]  # threads do not inherit the settings
        list(pool.map(lambda context: context.run(rerun, root, "toy"), contexts))
    (run,) = list_runs()
    assert run.parameters["data_version"] == version
    assert version[:12] in run.parameters["reason"]
    assert rerun(root, "toy") == "a run for this data is under way"
    assert rerun(root, "other") == "nothing changed"

    end(run, Crashed(message="the machine went away"))
    assert "failed once (the machine went away): again in" in rerun(root, "toy")
    later(monkeypatch, 61)
    assert "attempt 2" in rerun(root, "toy")
    assert len(list_runs()) == 2


def test_an_answer_is_final_until_something_changes(project):
    """What the gate refused is not trained again, unless the pipeline file says something else."""
    root, _ = project
    said = "Flow run encountered an exception: RefusedError: below the floor"
    end(list_runs()[-1], Failed(message=said))
    assert rerun(root, "toy") == "this data was tried: RefusedError: below the floor"
    file = Path(root, "pipelines", "toy.yaml")
    file.write_text(file.read_text("utf-8").replace("minimum: 0.5", "minimum: 0.4"), "utf-8")
    assert rerun(root, "toy").startswith("started: ")
    end(list_runs()[-1], Cancelled())
    assert "somebody cancelled it" in rerun(root, "toy")


def test_data_that_go_back_and_forth_are_followed_each_time(project):
    """Each state of the data leads to one run, also the second time."""
    root, client = project
    first = list_runs()
    newest = add(client, root, "toy", find_committed_version(root, FOLDER))
    offer(client, root, newest)
    assert rerun(root, "toy") == "nothing changed"
    for message, offered in (("back", "1"), ("forth", newest), ("back again", "1")):
        shell(root, "git", "checkout", "-q", "HEAD~1", "--", "data.dvc")
        shell(root, "git", "commit", "-qm", message)
        assert rerun(root, "toy").startswith("started: "), message
        end(list_runs()[-1], Completed())
        offer(client, root, offered)
        assert rerun(root, "toy") == "nothing changed"
    assert len(list_runs()) == len(first) + 3


def test_what_is_wrong_is_said_and_nothing_starts(project):
    """Data that are not committed, files that would be lost: named, with the remedy."""
    root, _ = project
    before = len(list_runs())
    table = root / FOLDER / "train.csv"
    table.unlink(missing_ok=True)
    write_table(table, [("mine alone", "positive", "film")])
    shell(root, "git", "checkout", "-q", "HEAD~1", "--", "data.dvc")
    shell(root, "git", "commit", "-qm", "other data")
    told = []
    said = watching.tell(watching.rerun(root, ["toy"]), told.append)["toy"]
    assert told == [f"toy: {said}"]
    assert "as no version has it" in said
    assert "dvc add data" in said
    assert "mine alone" in table.read_text("utf-8")
    assert len(list_runs()) == before


def test_a_new_champion_starts_its_release_once(project, monkeypatch):
    """Asked twice it is one run; set again after it was refused, it is another."""
    root, client = project
    assert start_release(root, "toy") == "nothing changed"
    client.set_registered_model_alias("toy", "champion", "1")
    assert start_release(root, "toy") == "release of version 1 started"
    assert start_release(root, "toy").endswith("a run for this data is under way")
    client.set_model_version_tag("toy", "1", "tunesmith.release", "refused then: it did not load")
    assert start_release(root, "toy") == "release of version 1 started"
    client.set_registered_model_tag("toy", "tunesmith.released", "1 now")
    assert start_release(root, "toy") == "nothing changed"


def test_notify_runs_watch(api, tmp_path, monkeypatch):
    """Over Prefect's real API: a run of `watch` is due at once; where nobody serves it, none."""
    from flows.notifying import notify
    from flows.watch import watch

    monkeypatch.setenv("PREFECT_API_URL", api)
    assert "nobody serves watch/watch" in notify(tmp_path)["message"]
    watch.to_deployment("watch", entrypoint_type=EntrypointType.MODULE_PATH).apply()
    assert notify(tmp_path)["status"] == "sent"
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("watch/watch").id
        (run,) = client.get_scheduled_flow_runs_for_deployments([deployment])
    assert run.state.is_scheduled()


def test_one_training_at_a_time_uses_the_device(api, monkeypatch):
    """While one holds the machine's limit another waits; then it is free."""
    monkeypatch.setenv("TUNESMITH_LIMIT", "watched")  # of its own: other tests use the server
    import asyncio

    from prefect.concurrency.sync import concurrency

    from flows.upkeep import limit_device
    from tasks.devices import name_device, occupy_device

    asyncio.run(limit_device())
    with disable_run_logger(), occupy_device(), pytest.raises(TimeoutError):  # noqa: SIM117
        with concurrency(name_device(), timeout_seconds=1, strict=True):  # this one must wait
            pass
    with concurrency(name_device(), timeout_seconds=5, strict=True):
        pass


def test_a_run_that_nobody_runs_any_more_is_shown_as_crashed(project):
    """Found under way when its server's process begins: whoever ran it has gone."""
    import asyncio

    from prefect.states import Running

    from flows.upkeep import crash_orphans

    (*_, run) = list_runs()
    end(run, Running())
    asyncio.run(crash_orphans())
    (*_, after) = list_runs()
    assert (after.id, after.state.type.value) == (run.id, "CRASHED")
    assert "process has gone" in after.state.message


def test_attempts_on_many_pages_are_all_counted(project, monkeypatch):
    """Three runs of one tag and two of another, two at a time: each in its order."""
    from tasks import runs

    monkeypatch.setattr(runs, "LARGEST_PAGE", 2)
    with get_client(sync_client=True) as client:
        deployment = runs.find_deployment(client, "finetune/other")
        for number, tag in enumerate("abaab", start=1):
            run = runs.start_run(client, deployment, {}, f"change:{tag}", number)
            client.set_flow_run_state(run, Crashed(message=f"number {number}"), force=True)
        found = runs.list_attempts(client, ["change:a", "change:b", "change:c"])
    said = {tag: [one.said for one in attempts] for tag, attempts in found.items()}
    assert said == {
        "change:a": ["number 1", "number 3", "number 4"],
        "change:b": ["number 2", "number 5"],
        "change:c": [],
    }


def test_runs_that_were_missed_are_dropped_and_later_ones_stay(project, monkeypatch):
    """A server that was away for a night does not look a thousand times in the morning."""
    import asyncio
    from datetime import UTC, datetime, timedelta

    from prefect.states import Scheduled

    from flows import upkeep

    monkeypatch.setattr(upkeep, "LARGEST_PAGE", 1)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("release/release")
        due = [datetime.now(UTC) + timedelta(hours=hours) for hours in (-2, -1, 1)]
        made = [
            client.create_flow_run_from_deployment(
                deployment.id, parameters={"model": "toy"}, state=Scheduled(scheduled_time=moment)
            )
            for moment in due
        ]
        asyncio.run(upkeep.drop_late(deployment.id))
        left = {run.id for run in client.read_flow_runs(sort="START_TIME_ASC", limit=200)}
    assert [run.id in left for run in made] == [False, False, True]
