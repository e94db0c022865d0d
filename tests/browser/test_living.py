"""A month with a pipeline in an hour: forms, schedules, new data, and releases, in both UIs.

The tests go on from one another, in the order in which they stand.
"""

import time
from datetime import datetime

import pytest

from finetuning.pipelines import load_pipeline
from tests.browser.conftest import version_data
from tests.browser.served import await_that
from tests.support import make_rows, run_json

RATE = 0.002  # the file says 3e-3


def seconds(moment):
    """A time of Prefect's or of a tag's, in seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()


def choose(page, label, option):
    """Choose an option of a form's field."""
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def open_run(page, served, run):
    """Open a flow run's page."""
    page.goto(f"{served.prefect}/v2/runs/flow-run/{run['id']}")
    page.get_by_role("tab", name="Artifacts").wait_for()


def open_artifact(page, served, run, key):
    """Open the newest artifact of a key, as people find it from a flow run's page."""
    open_run(page, served, run)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text(key, exact=True).click()
    page.locator("[data-testid^='timeline-card'] a").first.click()


def test_form_starts_a_run_with_what_was_changed(served, page, shoot):
    """The form explains and offers; the run has what was changed in it, and else the file's."""
    letters = served.find_deployment("finetune/letters")["id"]
    served.ask_prefect(f"/deployments/{letters}/create_flow_run", {})
    page.goto(f"{served.page_of('finetune/tickets')}?tab=Description")
    page.get_by_text("text-classification: ").wait_for()
    assert page.get_by_text("on data/tickets").is_visible()
    assert page.get_by_text("tunesmith", exact=True).count() >= 1
    shoot("deployment")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    rate = page.get_by_label("Learning Rate")
    rate.wait_for()
    assert page.get_by_text("Peak learning rate.").is_visible()
    assert page.get_by_text("How the model is adapted.").is_visible()
    assert rate.input_value() == "0.003"
    page.get_by_label("Precision").click()
    offered = [option.inner_text() for option in page.get_by_role("option").all()]
    assert {"auto", "fp32", "bf16"} <= set(offered)
    page.keyboard.press("Escape")
    rate.fill(str(RATE))
    rate.blur()
    rate.scroll_into_view_if_needed()
    shoot("form")
    page.get_by_role("button", name="Submit").click()
    run = served.await_run("finetune/tickets", 1)
    assert run["state_type"] == "COMPLETED", run["state"]["message"]

    version = served.find_version("tickets", 1)
    recorded = served.ask_mlflow("runs/get", run_id=version["run_id"])["run"]
    logged = {one["key"]: one["value"] for one in recorded["data"]["params"]}
    assert float(logged["training.learning_rate"]) == RATE
    folder = recorded["info"]["artifact_uri"].removeprefix("file://")
    file = served.root / "pipelines" / "tickets.yaml"
    changed = load_pipeline(file, [f"training.learning_rate={RATE}"])
    resolved = load_pipeline(type(file)(folder, "pipeline.yaml"))
    assert resolved.model_dump() == changed.model_dump()


def test_run_shows_what_came_of_it(served, page, shoot):
    """A run's page has its stages and artifacts; the confusion matrix is a picture that loads."""
    run = served.await_run("finetune/tickets", 1)
    open_run(page, served, run)
    page.get_by_text("7 Task runs").wait_for()
    shoot("run")
    page.get_by_role("tab", name="Artifacts").click()
    for kind in ("model-card", "validation", "scores", "confusion", "gate", "model-version"):
        page.get_by_text(f"tickets-{kind}", exact=True).wait_for()
    page.get_by_text("tickets-validation", exact=True).scroll_into_view_if_needed()
    shoot("artifacts")
    open_artifact(page, served, run, "tickets-confusion")
    picture = page.get_by_role("img", name="Confusion")
    picture.wait_for()
    assert picture.evaluate("one => one.complete && one.naturalWidth > 100")
    shoot("confusion")
    open_artifact(page, served, run, "tickets-model-version")
    link = page.get_by_role("link", name="tickets, version 1, in MLflow")
    assert link.get_attribute("href") == f"{served.mlflow}/#/models/tickets/versions/1"


def test_schedules_of_the_ui_outlive_a_restart(served, page, shoot):
    """One set in the UI stays active, one paused there stays paused; the file's was the first."""
    schedule = served.find_deployment("finetune/letters")["schedules"][0]
    assert schedule["schedule"]["cron"] == "0 6 * * mon"
    assert schedule["active"] is True
    page.goto(served.page_of("finetune/letters"))
    page.get_by_role("switch").first.click()
    await_that(
        "the schedule of letters is paused",
        lambda: not served.find_deployment("finetune/letters")["schedules"][0]["active"],
    )
    page.goto(served.page_of("finetune/tickets"))
    page.get_by_role("button", name="Schedule", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").or_(dialog.get_by_role("spinbutton")).first.fill("720")
    shoot("schedule")
    with page.expect_response(lambda answer: answer.url.endswith("/schedules")) as answer:
        dialog.get_by_role("button", name="Save").click()
    assert answer.value.status == 201
    await_that(
        "tickets has a schedule", lambda: served.find_deployment("finetune/tickets")["schedules"]
    )
    (set_here,) = served.find_deployment("finetune/tickets")["schedules"]
    assert set_here["schedule"]["interval"] == 720 * 60
    assert set_here["parameters"] == {}

    served.await_run("finetune/letters", 1)
    served.stop()
    served.start()
    (kept,) = served.find_deployment("finetune/tickets")["schedules"]
    assert (kept["id"], kept["active"]) == (set_here["id"], True)
    (paused,) = served.find_deployment("finetune/letters")["schedules"]
    assert (paused["id"], paused["active"]) == (schedule["id"], False)
    page.goto(served.page_of("finetune/tickets"))
    page.get_by_text("Every 12 hours").wait_for()


def append_rows(served, seed):
    """Append rows to tickets' table, record and commit them.

    Returns:
        Seconds since 1970 at which the commit was there.
    """
    with (served.root / "data" / "tickets" / "train.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{','.join(row)}\n" for row in make_rows(40, seed))
    version_data(served.root, "More rows")
    return time.time()


@pytest.mark.parametrize("notified", [False, True], ids=["by itself", "notified"])
def test_changed_data_starts_its_pipeline_alone(served, page, shoot, measured, notified):
    """New rows, committed, start a run of their pipeline within a minute, or at once when told."""
    served.await_run("finetune/letters", 1)
    before = len(served.list_runs("finetune/tickets"))
    moment = append_rows(served, seed=2 + notified)
    if notified:
        assert run_json(served.root, "notify")["status"] == "sent"
    run = served.await_run("finetune/tickets", before + 1)
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    name = "notified" if notified else "by_itself"
    measured[f"commit_to_run_created_{name}"] = round(seconds(run["created"]) - moment, 1)
    measured[f"commit_to_run_started_{name}"] = round(seconds(run["start_time"]) - moment, 1)
    assert f"version {before} was made from" in run["parameters"]["reason"]
    version = served.find_version("tickets", before + 1)
    assert version["tags"]["tunesmith.data_version"] == run["parameters"]["data_version"]
    assert len(served.list_runs("finetune/letters")) == 1
    open_run(page, served, run)
    page.get_by_role("tab", name="Logs").click()
    page.get_by_text("started because data/tickets is").wait_for()
    shoot("changed-data")


def crown(page, served, version, shoot=None):
    """Set the alias champion by clicking in MLflow's UI.

    Returns:
        Seconds since 1970 at which Save was clicked.
    """
    page.goto(f"{served.mlflow}/#/models/tickets/versions/{version}")
    page.get_by_text(f"Version {version}", exact=True).first.wait_for()
    page.get_by_title("Edit aliases").or_(page.get_by_title("Add aliases")).first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type='search']").press_sequentially("champion")
    page.keyboard.press("Enter")
    if shoot is not None:
        shoot("alias")
    moment = time.time()
    dialog.get_by_role("button", name="Save aliases").click()
    dialog.wait_for(state="hidden")
    return moment


def test_champion_set_in_mlflow_is_released(served, page, shoot, measured):
    """The alias set by clicking starts the release; the version says when it was released."""
    before = len(served.list_runs("release/release"))
    moment = crown(page, served, 1, shoot)
    run = served.await_run("release/release", before + 1)
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    version = served.find_version("tickets", 1)
    assert version["aliases"] == ["champion"]
    released = seconds(version["tags"]["tunesmith.released_at"])
    measured["alias_to_release_created"] = round(seconds(run["created"]) - moment, 1)
    measured["alias_to_released"] = round(released - moment, 1)
    page.reload()
    tag = page.get_by_text("tunesmith.released_at", exact=True)
    tag.scroll_into_view_if_needed()
    shoot("released")


def test_champion_that_was_not_judged_against_it_is_put_back(served, page, shoot):
    """Judged against no champion while there is one now: put back, and both UIs say why."""
    before = len(served.list_runs("release/release"))
    crown(page, served, 2)
    run = served.await_run("release/release", before + 1)
    assert run["state_type"] == "FAILED"
    why = "its verdict is out of date: held against no champion"
    assert why in run["state"]["message"]
    await_that(
        "version 1 is champion", lambda: "champion" in served.find_version("tickets", 1)["aliases"]
    )
    version = served.find_version("tickets", 2)
    assert why in version["tags"]["tunesmith.release"]
    assert "tunesmith.released_at" not in version["tags"]
    page.reload()
    said = page.get_by_text(why).first
    said.scroll_into_view_if_needed()
    shoot("put-back-mlflow")
    open_artifact(page, served, run, "tickets-release")
    page.get_by_text("version 2 is not released, and version 1 is champion again").first.wait_for()
    assert page.get_by_text(why).first.is_visible()
    shoot("put-back-prefect")
