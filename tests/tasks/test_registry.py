"""The registry as it is asked: passwords stay unsaid, and a server with users is understood."""

import pytest
from mlflow.exceptions import RestException

from finetuning.addresses import hide_password
from finetuning.errors import InputError, TunesmithError
from tasks import registry
from tasks.champions import read_succession
from tasks.promotion import list_usable
from tasks.registered_files import has_run, has_version
from tasks.registry import (
    PAGE,
    explain_silence,
    find_champion,
    find_registered,
    find_version,
    list_versions,
)
from tasks.standing import _ask_registry, read_standing
from tests.registered import begin_registry
from tests.servers import Door, take_port


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:word@host:5000/x", "http://host:5000/x"),
        ("postgresql+psycopg2://me:w-o_rd@host/db", "postgresql+psycopg2://host/db"),
        ("http://host/me@home", "http://host/me@home"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
        ("API request to http://me:word@host/api failed", "API request to http://host/api failed"),
    ],
)
def test_addresses_are_shown_without_passwords(text, shown):
    """Wherever the address stands in a text; a path may hold an @."""
    assert hide_password(text) == shown


def test_a_silent_registry_is_named_without_its_password():
    """Neither by its address nor in what the library says."""
    address = "http://me:word@host:5000"
    said = str(explain_silence(address, RuntimeError(f"API request to {address}/api failed")))
    assert "word" not in said
    assert said.count("http://host:5000") == 2


class Guarded:
    """A client of a server with users, which forbids to ask about what is not there."""

    def __init__(self, models):
        self.models = models

    def get_model_version_by_alias(self, name, alias):
        """Refuse, as MLflow's auth app does."""
        raise RestException({"error_code": "PERMISSION_DENIED", "message": "Permission denied"})

    def search_registered_models(self, filter_string):
        """The models that may be seen."""
        return [name for name in self.models if filter_string == f"name='{name}'"]


def test_a_model_that_is_not_there_has_no_champion():
    """Even where the server says that it must not be asked about."""
    assert find_champion(Guarded([]), "reviews") is None


def test_a_model_that_is_forbidden_is_not_taken_for_missing():
    """The refusal is passed on."""
    with pytest.raises(RestException, match="Permission denied"):
        find_champion(Guarded(["reviews"]), "reviews")


@pytest.mark.parametrize("ask", [has_run, lambda root, run: has_version(root, "toys", "1", run)])
def test_silence_is_told_from_a_no(tmp_path, monkeypatch, ask):
    """A server that says no such run or version is answered by; one that is away is an error."""
    door = Door(take_port())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", door.address)
    for name in ("MAX_RETRIES", "BACKOFF_FACTOR", "BACKOFF_JITTER"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "0")
    with pytest.raises(TunesmithError, match="does not answer"):
        ask(tmp_path, "a" * 32)
    door.plans = {"": ["deny", "miss"]}
    door.open()
    with pytest.raises(TunesmithError, match="does not answer"):
        ask(tmp_path, "a" * 32)
    assert ask(tmp_path, "a" * 32) is False
    door.shut()


VERSIONS = 11  # so that 9 < 10, whose text comes before it


@pytest.fixture(scope="module")
def many(tmp_path_factory, empty_registry):
    """A registry of one model with eleven versions, an odd one of which shares its digest."""
    root = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = begin_registry(root, empty_registry)
        for name in ("toys", "dolls", "cars"):
            client.create_registered_model(name)
        for number in range(1, VERSIONS + 1):
            tags = {"tunesmith.digest": str(number % 2), "tunesmith.data_version": f"v{number}"}
            client.create_model_version("toys", source=str(root), tags=tags)
        client.set_registered_model_alias("toys", "champion", "3")
    return root, client


@pytest.fixture
def small_pages(monkeypatch):
    """A registry that gives two entries at once."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "PAGE", 2)


def test_nothing_beyond_a_page_is_overlooked(many, small_pages):
    """Versions, usable ones, what was offered last, and models: all of them, on many pages."""
    root, client = many
    numbers = {str(number) for number in range(1, VERSIONS + 1)}
    assert len(list_versions(client, "toys")) == VERSIONS
    assert {str(one.version) for one in list_versions(client, "toys")} == numbers
    assert list_usable(client, read_succession(client, "toys")) == numbers
    assert _ask_registry(root, "toys") == read_standing(root, "toys")
    assert read_standing(root, "toys").data_version == f"v{VERSIONS}"
    with pytest.raises(InputError, match="Registered are cars, dolls, toys"):
        find_version(client, "trains")


def test_the_newest_version_is_the_one_of_the_largest_number(many):
    """Version 11 comes after 9, and among those of one digest version 10 is the newest."""
    _, client = many
    assert find_version(client, "toys").version == VERSIONS
    assert find_registered(client, "toys", "0").version == 10
    assert find_registered(client, "toys", "2") is None


def test_a_message_names_the_newest_versions(many, small_pages, monkeypatch):
    """A thousand numbers would be no help."""
    _, client = many
    monkeypatch.setattr(registry, "SHOWN", 3)
    with pytest.raises(InputError, match=r"versions \.\.\., 9, 10, 11 and the aliases champion"):
        find_version(client, "toys/12")


def test_the_registry_takes_the_size_of_a_page(many):
    """MLflow refuses to give more registered models at once than it thinks right."""
    _, client = many
    assert len(client.search_registered_models(max_results=PAGE)) == 3
