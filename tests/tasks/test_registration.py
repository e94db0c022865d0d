"""Registration: one version for one digest, as long as its files are there."""

from types import SimpleNamespace

import pytest

from tasks import logged_run, registration
from tests.registered import add_version, begin_registry, drop_files


@pytest.fixture
def project(tmp_path, monkeypatch, empty_registry):
    """A client, and the work whose digest version 1 of toys was registered under."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = begin_registry(tmp_path, empty_registry)
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


def test_one_of_several_versions_of_one_model_stays(project):
    """An answer was lost and the request sent again: the later twin goes, other versions stay."""
    client, work = project
    run = client.get_model_version("toys", "1").run_id
    other = add_version(client, work.root)
    made = []
    real = client.create_model_version

    def twice(*words, **more):
        made.extend(real(*words, **more) for _ in range(2))
        return made[-1]

    client.create_model_version = twice
    drop_files(work.root, client, "1")
    assert registration.register_version(client, work, run, "d", None, work.root) == "3"
    assert [str(one.version) for one in made] == ["3", "4"]
    there = {str(one.version) for one in client.search_model_versions("name='toys'")}
    assert there == {"1", other, "3"}


def test_one_of_several_runs_of_one_digest_stays(project):
    """The first is gone on in; a later one that nothing was written to is deleted."""
    client, _ = project
    experiment = client.get_experiment_by_name("toys").experiment_id
    tags = {"tunesmith.digest": "twin"}
    runs = [client.create_run(experiment, start_time=t, tags=tags).info.run_id for t in (2, 1, 3)]
    client.set_tag(runs[2], logged_run.LOGGED, "yes")
    assert logged_run.find_run(client, experiment, "twin") == runs[1]
    left = client.search_runs([experiment], "tags.`tunesmith.digest` = 'twin'")
    assert {run.info.run_id for run in left} == {runs[1], runs[2]}
    assert logged_run.find_run(client, experiment, "none") is None
