"""Registration: one version for one digest, as long as its files are there."""

from types import SimpleNamespace

import pytest

from tasks import registration
from tasks.registry import connect
from tests.registered import add_version, drop_files


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A client, and the work whose digest version 1 of toys was registered under."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = connect(tmp_path)
    add_version(client, tmp_path)
    client.set_model_version_tag("toys", "1", "tunesmith.digest", "d")
    model = client.create_logged_model(
        client.get_experiment_by_name("toys").experiment_id, name="model"
    )
    monkeypatch.setattr(registration, "keep_model", lambda *_: model)
    monkeypatch.setattr(registration, "make_tags", lambda digest, _: {"tunesmith.digest": digest})
    (tmp_path / "model_card.md").write_text("card")
    return client, SimpleNamespace(pipeline=SimpleNamespace(name="toys"), root=tmp_path)


def test_a_version_without_files_is_registered_anew(project):
    """What an attempt registered is found again; where its files are gone, a new one is made."""
    client, work = project
    run = client.get_model_version("toys", "1").run_id

    def register():
        return registration.register_version(client, work, run, "d", None, work.root)

    assert register() == "1"
    drop_files(work.root, client, "1")
    assert register() == "2"
    assert registration.find_registered(client, "toys", "d").version == 2
