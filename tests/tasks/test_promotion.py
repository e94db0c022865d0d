"""Promotion and rollback over a real registry: MLflow's SQLite database, and a tracking server."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from finetuning.errors import InputError, RefusedError, TunesmithError
from tasks import champions, promotion
from tasks.champions import WITHDRAWN, read_succession
from tasks.promotion import check_champion, offer, promote, roll_back
from tasks.registered_files import has_version, is_current
from tasks.registry import DATABASE, connect
from tests.registered import PASSED, REFUSED, add_version, drop_files
from tests.servers import serve_mlflow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A tracking server of MLflow's on loopback: its address and its folder."""
    root = tmp_path_factory.mktemp("server")
    with serve_mlflow(root) as address:
        yield address, root


@dataclasses.dataclass(frozen=True)
class Registry:
    """A client, the project's folder, where the files lie, and a model name of one's own."""

    client: MlflowClient
    root: Path
    files: Path
    name: str

    def add(self, verdict=PASSED, tag=None):
        """One more version."""
        return add_version(self.client, self.root, self.name, verdict, tag)

    def promote(self, version=None, **more):
        """Promote a version, or the challenger."""
        reference = f"{self.name}/{version}" if version else self.name
        return promote(self.client, self.root, reference, **more)

    def back(self, **more):
        """Roll back."""
        return roll_back(self.client, self.root, self.name, **more)

    def look(self):
        """Champion, previous, challenger."""
        aliases = read_succession(self.client, self.name).aliases
        return tuple(aliases.get(alias) for alias in ("champion", "previous", "challenger"))

    def told(self):
        """The versions of the history with how each became champion."""
        return [(one.version, one.how) for one in read_succession(self.client, self.name).tell()]

    def point(self, alias, version):
        """Set an alias as somebody does in MLflow's UI."""
        self.client.set_registered_model_alias(self.name, alias, version)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A project's folder for a database that is made once, which takes a second."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def registry(request, tmp_path, monkeypatch):
    """A registry of each kind; every test has a model of its own in it."""
    name = f"toys-{tmp_path.name}"
    if request.param == "sqlite":
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = request.getfixturevalue("database")
        return Registry(connect(root), root, root, name)
    address, files = request.getfixturevalue("server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return Registry(connect(tmp_path), tmp_path, files, name)


def test_promotions_keep_the_former_champion(registry):
    """The challenger becomes champion and waits no longer; the former one is `previous`."""
    registry.add()
    registry.add()
    registry.point("challenger", "1")
    change, _ = registry.promote(why="because")
    assert registry.look() == ("1", None, None)
    assert (change.replaced, change.verdict, change.why) == (None, PASSED, "because")
    registry.point("challenger", "2")
    change, after = registry.promote("2")
    assert registry.look() == ("2", "1", None)
    assert (change.replaced, change.override, after.champion) == ("1", None, "2")
    assert registry.told() == [("1", "promoted"), ("2", "promoted")]
    assert registry.promote("2")[0] is None
    assert registry.told() == [("1", "promoted"), ("2", "promoted")]


def test_rollbacks_go_backwards_through_the_history(registry):
    """From 3 to 2 to 1, and no further; what was rolled back is neither brought back nor taken."""
    for version in ("1", "2", "3"):
        registry.add()
        registry.promote(version)
    registry.back(why="it is slow")
    assert registry.look() == ("2", "1", None)
    assert registry.client.get_model_version(registry.name, "3").tags[WITHDRAWN]
    with pytest.raises(RefusedError, match="rolled back"):
        registry.promote("3")
    registry.back()
    assert registry.look() == ("1", None, None)
    with pytest.raises(InputError, match="no previous champion"):
        registry.back()
    assert registry.look() == ("1", None, None)
    registry.promote("3", override="it is fast now")
    assert WITHDRAWN not in registry.client.get_model_version(registry.name, "3").tags
    assert registry.look() == ("3", "1", None)
    assert [version for version, _ in registry.told()] == ["1", "2", "3", "2", "1", "3"]
    assert [how for _, how in registry.told()][3:5] == ["rolled back", "rolled back"]


@pytest.mark.parametrize(
    ("verdict", "tag", "words"),
    [
        (REFUSED, None, "below the floor"),
        (REFUSED, "passed", "below the floor"),
        (PASSED, "refused", "its verdict refused it"),
        (None, None, "no verdict"),
        (None, "refused", "its verdict refused it"),
        (PASSED | {"champion": "7"}, "passed", "out of date"),
        ({"reasons": []}, "passed", "no reason is recorded"),
    ],
)
def test_the_gate_holds_unless_it_is_overridden(registry, verdict, tag, words):
    """A refused, missing or outdated verdict changes nothing; a reason sets it aside, recorded."""
    registry.add()
    registry.promote("1")
    registry.add(verdict, tag)
    with pytest.raises(RefusedError, match=words) as caught:
        registry.promote("2")
    assert "--override" in caught.value.result["remedy"]
    assert registry.look() == ("1", None, None)
    change, _ = registry.promote("2", override="  the old one\nis worse ")
    assert registry.look() == ("2", "1", None)
    assert change.override == "the old one is worse"


def test_a_verdict_counts_while_its_champion_is_the_present_one(registry):
    """Held against no champion, then against 1 as a number: each promotes exactly then."""
    registry.add(PASSED | {"champion": None})
    registry.add(PASSED | {"champion": 1})
    with pytest.raises(RefusedError, match="champion version 1, while now there is no champion"):
        registry.promote("2")
    registry.promote("1")
    registry.add(PASSED | {"champion": None})
    with pytest.raises(RefusedError, match="no champion, while now there is champion version 1"):
        registry.promote("3")
    registry.promote("2")
    assert registry.look() == ("2", "1", None)


def test_a_tag_alone_is_a_verdict(registry):
    """A run that kept no verdict.json: the version's tags decide, where they name the champion."""
    registry.add(None, "passed")
    with pytest.raises(RefusedError, match="no verdict"):
        registry.promote("1")
    judgement = json.dumps({"champion": None})
    registry.client.set_model_version_tag(registry.name, "1", "tunesmith.judgement", judgement)
    registry.promote("1")
    assert registry.look() == ("1", None, None)


def test_what_does_not_exist_is_the_users_fault(registry):
    """A version, alias or model that is not there: what there is, and nothing changed."""
    for version in ("1", "2"):
        registry.add()
        registry.promote(version)
    before = read_succession(registry.client, registry.name)
    for reference, words in (
        ("{}/9", "versions 1, 2"),
        ("{}@nowhere", "aliases champion, previous"),
        ("{}/two", "versions 1, 2"),
        ("{}", "no challenger waits .champion version 2."),
        ("nobody{}", "no model nobody"),
        ("{}/1/2", "NAME@ALIAS"),
    ):
        with pytest.raises(InputError, match=words):
            promote(registry.client, registry.root, reference.format(registry.name))
        assert read_succession(registry.client, registry.name) == before


def test_a_model_without_files_is_neither_promoted_nor_brought_back(registry):
    """The files were deleted: said with the remedy, also of the present champion."""
    for version in ("1", "2"):
        registry.add()
        registry.promote(version)
    registry.add()
    for version in ("1", "3"):
        drop_files(registry.files, registry.client, version, registry.name)
    before = read_succession(registry.client, registry.name)
    for act in (lambda: registry.promote("3", override="so"), registry.back):
        with pytest.raises(InputError, match=f"no MLmodel .*tunesmith run {registry.name}"):
            act()
    assert read_succession(registry.client, registry.name) == before
    assert has_version(registry.root, registry.name, "2")
    assert not has_version(registry.root, registry.name, "3")
    drop_files(registry.files, registry.client, "2", registry.name)
    with pytest.raises(InputError, match="no MLmodel "):
        registry.promote("2")


def test_a_model_without_its_weights_is_not_promoted(registry):
    """The lineage record names the weights: one file that is gone is said, and nothing changed."""
    registry.add()
    registry.promote("1")
    registry.add()
    name, client = registry.name, registry.client
    client.set_model_version_tag(name, "2", "tunesmith.digest", "d")
    run = client.get_model_version(name, "2").run_id
    client.log_dict(run, {"weights": {"head.safetensors": "a", "adapters/a.safetensors": "b"}},
                    "lineage.json")  # fmt: skip
    client.log_text(run, "", "model/artifacts/model/adapters/a.safetensors")
    with pytest.raises(InputError, match=r"found no artifacts.model.head.safetensors under"):
        registry.promote("2", override="so")
    assert registry.look() == ("1", None, None)
    client.log_text(run, "", "model/artifacts/model/head.safetensors")
    registry.promote("2")
    check_champion(client, name)
    drop_files(registry.files, client, "2", name)
    with pytest.raises(InputError, match=f"the champion: found no MLmodel .*rollback {name}"):
        check_champion(client, name)


def test_a_reason_that_was_not_needed_is_kept(registry):
    """Nothing was set aside, and the history still says why."""
    registry.add()
    change, _ = registry.promote("1", override="it is time")
    assert (change.override, change.why) == (None, "it is time")


def test_a_deleted_version_is_passed_over(registry):
    """The former champion was deleted in the registry: a rollback goes to the one before it."""
    for version in ("1", "2", "3"):
        registry.add()
        registry.promote(version)
    registry.client.delete_model_version(registry.name, "2")
    assert registry.look() == ("3", None, None)
    registry.back()
    assert registry.look() == ("1", None, None)
    registry.client.delete_model_version(registry.name, "1")
    assert registry.look() == (None, None, None)
    assert [version for version, _ in registry.told()] == ["1", "2", "3", "1"]


def test_a_champion_set_by_hand_is_told_and_undone(registry):
    """The alias was set in MLflow's UI: the history says so, and a rollback undoes just that."""
    for version in ("1", "2"):
        registry.add()
        registry.promote(version)
    registry.add(REFUSED)
    registry.point("champion", "3")
    outside = ("3", "set outside tunesmith")
    assert registry.told()[2:] == [outside]
    registry.back()
    assert registry.look() == ("2", "1", None)
    assert registry.told()[2:] == [outside, ("2", "rolled back")]
    registry.point("champion", "3")
    registry.add()
    registry.promote("4")
    assert registry.look() == ("4", "3", None)
    assert registry.told()[4:] == [outside, ("4", "promoted")]


def test_aliases_from_before_any_record_can_be_rolled_back(registry):
    """Champion and previous were both set by hand: previous is where a rollback leads."""
    registry.add()
    registry.add()
    registry.point("champion", "2")
    with pytest.raises(InputError, match="no previous champion"):
        registry.back()
    registry.point("previous", "1")
    registry.back()
    assert registry.look() == ("1", None, None)


def test_a_reason_says_something_short(registry):
    """An empty or endless reason is refused before anything is asked."""
    registry.add(REFUSED)
    for reason in ("", "  \n", "x" * 1001):
        with pytest.raises(InputError, match="--override"):
            registry.promote("1", override=reason)
        assert registry.look() == (None, None, None)


def test_what_is_registered_waits_or_is_promoted(registry):
    """Offered: challenger, or champion by itself; refused or rolled back, it is left as it was."""
    offers = (registry.client, registry.root, registry.name)
    assert offer(*offers, registry.add(), automatic=False) == ("challenger", None)
    assert registry.look() == (None, None, "1")
    assert offer(*offers, registry.add(), automatic=True) == ("champion", None)
    assert registry.look() == ("2", None, None)
    assert offer(*offers, "2", automatic=False) == ("champion", None)
    alias, why = offer(*offers, registry.add(PASSED | {"champion": "1"}), automatic=True)
    assert alias == "challenger"
    assert "out of date" in why
    assert registry.look() == ("2", None, "3")
    registry.promote("1")
    registry.back()
    assert offer(*offers, "1", automatic=True)[0] is None
    assert registry.look() == ("2", None, "3")


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
