"""Promotion and rollback over a real registry: MLflow's SQLite database, and a tracking server."""

import json

import pytest

from finetuning.errors import InputError, RefusedError
from tasks.champions import WITHDRAWN, read_succession
from tasks.promotion import check_champion, offer, promote
from tasks.registered_files import has_version
from tests.registered import PASSED, REFUSED, drop_files
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
