"""The registry as it is asked: passwords stay unsaid, and a server with users is understood."""

import pytest
from mlflow.exceptions import RestException

from finetuning.addresses import hide_password
from finetuning.errors import TunesmithError
from tasks.registered_files import has_run, has_version
from tasks.registry import explain_silence, find_champion
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
