"""A new champion is proved, or the one before is put back."""

import json
import sys
from pathlib import Path

import pytest

from finetuning.succession import PUT_BACK, ROLLED_BACK
from tasks import releasing
from tasks.champions import WITHDRAWN, read_succession
from tasks.promotion import promote
from tasks.registry import connect
from tasks.releasing import (
    Release,
    ReleaseError,
    check_verdict,
    find_release,
    load_and_answer,
    put_back,
    record_release,
    run_hook,
)
from tests.registered import PASSED, REFUSED, add_version, begin_registry

ECHO = """
import mlflow
import pandas


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if "broken" in model_input["text"].iloc[0]:
            raise ValueError("I am broken")
        return pandas.DataFrame({"label": model_input["text"].str.upper()})


mlflow.models.set_model(Echo())
"""
NAME = "toys"


@pytest.fixture
def registry(tmp_path, empty_registry, monkeypatch):
    """A registry with two versions that the gate let pass, and the project's folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = begin_registry(tmp_path, empty_registry)
    for _ in range(2):
        add_version(client, tmp_path, NAME)
    return client, tmp_path


def point(client, version):
    """Set the champion as somebody does in MLflow's UI."""
    client.set_registered_model_alias(NAME, "champion", version)


def get_tag(client, version, key):
    """A tag of a version."""
    return client.get_model_version(NAME, version).tags.get(key)


def test_a_champion_is_released_once(registry):
    """It waits until that is written down, with its time, and is no challenger from then on."""
    client, root = registry
    assert find_release(root, NAME) is None
    point(client, "1")
    client.set_registered_model_alias(NAME, "challenger", "1")
    release = find_release(root, NAME)
    assert (release.version, release.released, release.uri) == ("1", None, "models:/toys/1")
    moment = record_release.fn(release)
    assert get_tag(client, "1", "tunesmith.released_at") == moment
    assert "challenger" not in read_succession(client, NAME).aliases
    assert find_release(root, NAME) is None
    point(client, "2")
    assert find_release(root, NAME).released == "1"


def test_a_champion_set_by_hand_needs_a_verdict_that_let_it_pass(registry):
    """Refused, without a verdict, or judged against another champion: each says so."""
    client, root = registry
    for verdict, said in (
        (REFUSED, "below the floor"),
        (None, "no verdict"),
        (PASSED | {"champion": {"model_version": "2"}}, "held against champion version 2"),
    ):
        version = add_version(client, root, NAME, verdict)
        point(client, version)
        with pytest.raises(ReleaseError, match=said) as caught:
            check_verdict.fn(Release(root, NAME, version, "1"))
        assert caught.value.how == PUT_BACK
    good = add_version(client, root, NAME, PASSED | {"champion": {"model_version": "1"}})
    point(client, good)
    assert check_verdict.fn(Release(root, NAME, good, "1")) is None


def test_what_promote_did_is_not_judged_again(registry):
    """A person who set the verdict aside, with a reason, is believed."""
    client, root = registry
    version = add_version(client, root, NAME, REFUSED)
    promote(client, root, f"{NAME}/{version}", override="a demonstration")
    assert check_verdict.fn(Release(root, NAME, version, None)) is None


def test_the_champion_before_is_put_back(registry):
    """Passed over the gate: put back, and it may be offered again. Broken: rolled back for good."""
    client, root = registry
    point(client, "1")
    record_release.fn(find_release(root, NAME))
    for how, withdrawn in ((PUT_BACK, False), (ROLLED_BACK, True)):
        point(client, "2")
        release = find_release(root, NAME)
        assert put_back.fn(release, "it is no good", how) == "1"
        assert "it is no good" in get_tag(client, "2", "tunesmith.release")
        assert (get_tag(client, "2", WITHDRAWN) is not None) == withdrawn
        assert find_release(root, NAME) is None
        last = read_succession(client, NAME).tell()[-1]
        assert (last.version, last.how, last.why) == ("1", how, "it is no good")


def test_a_first_champion_that_fails_leaves_none(registry):
    """There is nothing to put back: the alias goes."""
    client, root = registry
    point(client, "1")
    assert put_back.fn(find_release(root, NAME), "it is no good", ROLLED_BACK) is None
    assert find_release(root, NAME) is None


def test_somebody_who_was_quicker_is_not_overruled(registry):
    """The alias points elsewhere by now: that stays."""
    client, root = registry
    point(client, "1")
    release = find_release(root, NAME)
    point(client, "2")
    assert put_back.fn(release, "it is no good", PUT_BACK) == "2"


def test_a_hook_gets_the_model_and_nothing_of_ours(registry, monkeypatch):
    """No shell, and of the environment only what a program needs to be found."""
    client, root = registry
    monkeypatch.setenv("SECRET_TOKEN", "planted")
    point(client, "1")
    code = "import json, os; json.dump([dict(os.environ), os.getcwd()], open('seen.json', 'w'))"
    write_pipeline(root, [sys.executable, "-c", code, "$HOME; touch injected"])
    run_hook.fn(find_release(root, NAME))
    seen, place = json.loads((root / "seen.json").read_text("utf-8"))
    assert seen["TUNESMITH_MODEL_URI"] == "models:/toys/1"
    assert (seen["TUNESMITH_MODEL_NAME"], seen["TUNESMITH_MODEL_VERSION"]) == (NAME, "1")
    assert Path(place) == root
    assert "planted" not in json.dumps(seen)
    assert not (root / "injected").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('the website is down')"], "website is down"),
        (["/no/such/program"], "cannot be run: No such file"),
    ],
)
def test_a_hook_that_fails_takes_the_champion_back(registry, command, said):
    """Its last words are the reason."""
    client, root = registry
    point(client, "1")
    write_pipeline(root, command)
    with pytest.raises(ReleaseError, match=said) as caught:
        run_hook.fn(find_release(root, NAME))
    assert caught.value.how == ROLLED_BACK


def test_a_hook_that_hangs_is_ended(registry, monkeypatch):
    """It has its time, and no more."""
    client, root = registry
    point(client, "1")
    monkeypatch.setattr(releasing, "LONGEST_HOOK", 0.2)
    write_pipeline(root, [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(ReleaseError, match="did not end within"):
        run_hook.fn(find_release(root, NAME))


def write_pipeline(root, command):
    """A pipeline file with a hook."""
    (root / "pipelines").mkdir(exist_ok=True)
    (root / "pipelines" / f"{NAME}.yaml").write_text(
        f"name: {NAME}\nproblem: text-classification\ndata: {{path: data/{NAME}}}\n"
        f"model: {{base: none}}\non_release: {json.dumps(command)}\n",
        "utf-8",
    )


@pytest.mark.slow
def test_a_champion_answers_its_example_in_a_process_of_its_own(registry, tmp_path):
    """By its URI; one that raises, and one that has no example, are taken back."""
    import mlflow
    import pandas

    _, root = registry
    code = tmp_path / "echo.py"
    code.write_text(ECHO, "utf-8")
    connect(root)

    def register(name, example):
        with mlflow.start_run():
            logged = mlflow.pyfunc.log_model(
                name="model", python_model=str(code), input_example=example, pip_requirements=[]
            )
        return str(mlflow.register_model(logged.model_uri, name).version)

    good = register("good", pandas.DataFrame({"text": ["a", "b"]}))
    assert load_and_answer.fn(Release(root, "good", good, None)) is None
    broken = register("broken", pandas.DataFrame({"text": ["broken"]}))
    with pytest.raises(ReleaseError, match="ValueError: I am broken") as caught:
        load_and_answer.fn(Release(root, "broken", broken, None))
    assert caught.value.how == ROLLED_BACK
    bare = register("bare", None)
    with pytest.raises(ReleaseError, match="no input example"):
        load_and_answer.fn(Release(root, "bare", bare, None))
