"""Promotions and registrations at once leave one champion, one history and no outdated verdict."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from finetuning.errors import TunesmithError
from tasks import champions, promotion
from tasks.champions import read_succession
from tasks.promotion import offer, promote
from tasks.registered_files import is_current
from tasks.registry import DATABASE
from tests.registered import PASSED
from tests.tasks.registries import KINDS, open_registry, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A tracking server of MLflow's on loopback: its address and its folder."""
    with serve(tmp_path_factory.mktemp("server")) as served:
        yield served


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A project's folder for a database that is made once, which takes a second."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(params=KINDS)
def registry(request, tmp_path, monkeypatch):
    """A registry of each kind; every test has a model of its own in it."""
    return open_registry(request, tmp_path, monkeypatch)


def test_a_promotion_during_a_registration_is_not_overruled(registry, monkeypatch):
    """Somebody is quicker than `promote: auto`: the model waits to be judged again."""
    registry.add()
    registry.promote("1")
    other, own = registry.add(), registry.add(PASSED | {"champion": "1"})

    def come_second(*words, **more):
        registry.promote(other)
        return promote(*words, **more)

    monkeypatch.setattr(promotion, "promote", come_second)
    alias, why = offer(registry.client, registry.root, registry.name, own, automatic=True)
    assert (alias, "out of date" in why) == ("challenger", True)
    assert registry.look() == (other, "1", own)
    facts = {"model_version": own, "gate": {"champion": {"model_version": "1"}}}
    assert not is_current(registry.root, registry.name, facts)


def test_a_change_that_was_cut_off_happened_or_did_not(registry, monkeypatch):
    """Cut off before the alias it is taken back, after it it is finished by the next change."""
    monkeypatch.setattr(champions, "PATIENCE", 0.2)
    for _ in range(3):
        registry.add()
    registry.promote("1")
    cut = ("carry_out", "follow")
    for part, champion, told in zip(cut, ("1", "2"), (["1"], ["1", "2"]), strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(champions, part, stop)
            with pytest.raises(KeyboardInterrupt):
                registry.promote("2")
        assert registry.look() == (champion, None, None)
        assert [version for version, _ in registry.told()] == told
    registry.promote("3")
    assert registry.look() == ("3", "2", None)
    assert [how for _, how in registry.told()] == ["promoted"] * 3
    assert all(one.done for one in read_succession(registry.client, registry.name).changes)


def stop(*_):
    """As if the process were interrupted here."""
    raise KeyboardInterrupt


def test_a_claim_that_meets_another_is_withdrawn(registry, monkeypatch):
    """Another machine promotes in the same moment: this one is decided anew on top of it."""
    monkeypatch.setattr(champions, "PATIENCE", 0.2)
    for _ in range(2):
        registry.add()
    real, calls = champions.claim, []

    def meet(client, name, change):
        calls.append(change.number)
        if len(calls) == 1:
            monkeypatch.setattr(champions, "FileLock", lambda *_, **__: open(os.devnull))  # noqa: SIM115, PTH123
            registry.promote("1")
        return real(client, name, change)

    monkeypatch.setattr(champions, "claim", meet)
    change, _ = registry.promote("2")
    assert calls == [1, 1, 2]
    assert (change.replaced, change.number) == ("1", 2)
    assert registry.look() == ("2", "1", None)
    assert registry.told() == [("1", "promoted"), ("2", "promoted")]


def test_a_process_that_stood_still_puts_the_aliases_back(registry, monkeypatch):
    """Its claim was taken back and another version promoted meanwhile: that one stays champion."""
    monkeypatch.setattr(champions, "PATIENCE", 0.2)
    for _ in range(3):
        registry.add()
    registry.promote("1")
    real = champions.carry_out

    def stand_still(client, name, change):
        monkeypatch.setattr(champions, "carry_out", real)
        monkeypatch.setattr(champions, "FileLock", lambda *_, **__: open(os.devnull))  # noqa: SIM115, PTH123
        registry.promote("3")
        return real(client, name, change)

    monkeypatch.setattr(champions, "carry_out", stand_still)
    with pytest.raises(TunesmithError, match="too slowly"):
        registry.promote("2")
    assert registry.look() == ("3", "1", None)
    assert registry.told() == [("1", "promoted"), ("3", "promoted")]


RACE = """
import json, sys
from pathlib import Path
from finetuning.errors import TunesmithError
from tasks.promotion import promote
from tasks.registry import connect
client = connect(Path.cwd())
client.search_registered_models()
print("ready", flush=True)
for line in sys.stdin:
    root, reference = json.loads(line)
    try:
        change, _ = promote(client, Path(root), reference)
        print(change.replaced, flush=True)
    except TunesmithError as error:
        print(error.exit_code, *str(error).splitlines(), flush=True)
"""


@pytest.mark.slow
def test_promotions_at_once_leave_one_truth(registry, tmp_path):
    """Two processes promote 2 and 3 over champion 1, with a file lock between them and without.

    One after the other they both become champion; where their verdicts were held against 1, the
    later one is refused.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{registry.root / DATABASE}"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE],
            env=os.environ | {"MLFLOW_TRACKING_URI": uri},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2
    for case, (shared, held) in enumerate([(True, False), (False, False), (False, True)]):
        own = dataclasses.replace(registry, name=f"{registry.name}-{case}")
        roots = [tmp_path if shared else tmp_path / f"machine-{number}" for number in (2, 3)]
        race(own, dict(zip(("2", "3"), zip(racers, roots, strict=True), strict=True)), held)
    for racer in racers:
        racer.communicate(timeout=60)


def race(registry, racers, held):
    """Let each racer promote its version from its folder, and look at what is left."""
    registry.add()
    registry.promote("1")
    verdict = PASSED | {"champion": "1"} if held else PASSED
    for _ in ("2", "3"):
        registry.add(verdict)
    for version, (racer, root) in racers.items():
        root.mkdir(exist_ok=True)
        racer.stdin.write(json.dumps([str(root), f"{registry.name}/{version}"]) + "\n")
        racer.stdin.flush()
    said = {version: racer.stdout.readline().strip() for version, (racer, _) in racers.items()}
    (first,) = [version for version, words in said.items() if words == "1"]
    (second,) = {"2", "3"} - {first}
    if held:
        assert said[second].startswith("4 ")
        assert "out of date" in said[second]
        assert registry.look() == (first, "1", None)
        assert registry.told() == [("1", "promoted"), (first, "promoted")]
    else:
        assert said[second] == first
        assert registry.look() == (second, first, None)
        assert registry.told() == [(one, "promoted") for one in ("1", first, second)]
    assert all(one.done for one in read_succession(registry.client, registry.name).changes)


def test_a_registration_is_outdated_once_a_later_run_led_elsewhere(registry):
    """Data that went forth and back: the earlier version is offered again, not found up to date."""
    versions = [registry.add() for _ in range(2)]
    places = (registry.client, registry.root, registry.name)

    def look(version):
        facts = {"model_version": version, "gate": {"champion": None}}
        return is_current(registry.root, registry.name, facts)

    for offered, other in (versions, versions[::-1]):
        offer(*places, offered, automatic=False)
        assert (look(offered), look(other)) == (True, False)
        assert registry.look() == (None, None, offered)


def test_a_kept_verdict_is_current_while_its_champion_is(registry):
    """Held against no champion: current until there is one, unless the version is it itself."""
    for _ in range(2):
        registry.add()

    def look(version, held):
        champion = None if held is None else {"model_version": held}
        facts = {"model_version": version, "gate": {"champion": champion}}
        return is_current(registry.root, registry.name, facts)

    assert look("1", None)
    assert look(None, None)
    registry.promote("1")
    assert look("1", None)
    assert look("2", "1")
    assert look(None, "1")
    assert not look("2", None)
    assert not look(None, None)
    assert not look("9", "1")


def test_a_kept_outcome_counts_in_its_own_registry(registry):
    """A version of the same number that another run made is another model, as is its verdict."""
    registry.add()
    run_id = registry.client.get_model_version(registry.name, "1").run_id

    def look(version, run):
        facts = {"model_version": version, "run_id": run, "gate": {"champion": None}}
        return is_current(registry.root, registry.name, facts)

    assert look("1", run_id)
    assert look(None, run_id)
    assert not look("1", "0" * 32)
    assert not look(None, "0" * 32)
