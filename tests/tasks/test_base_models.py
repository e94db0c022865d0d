"""A registered model as the base of another: found by alias or version, or refused with reason."""

import shutil

import pytest

from finetuning.config import Pipeline
from finetuning.errors import InputError
from finetuning.sources import Parent, find_base
from tasks.base_models import recall_base, resolve_base
from tasks.registered_models import find_registered_model, gather_evidence
from tasks.registry import connect, find_experiment
from tests.registered import begin_registry


@pytest.fixture
def project(tmp_path, monkeypatch, empty_registry):
    """A project whose model toys has versions 1 and 2, and of which 2 is the champion."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "my project"
    root.mkdir()
    client = begin_registry(root, empty_registry)
    experiment = find_experiment(client, root, "toys")
    client.create_registered_model("toys")
    for number in ("1", "2"):
        run = client.create_run(experiment).info.run_id
        folder = root / "models" / number / "artifacts" / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(number.encode())
        client.create_model_version("toys", (root / "models" / number).as_uri(), run)
    client.set_registered_model_alias("toys", "champion", "2")
    return root


def make_pipeline(base, name="toys", promote="manual"):
    """A pipeline with that base."""
    return Pipeline.model_validate(
        {
            "name": name,
            "problem": "text-classification",
            "data": {"path": "data/toys"},
            "model": {"base": base},
            "gate": {"promote": promote},
        }
    )


def test_a_registered_model_is_a_base(project):
    """Its files, their digest, and the version that is meant; the name stays as it was given."""
    for base, version in (("models:/toys@champion", "2"), ("models:/toys/1", "1")):
        found = resolve_base(project, make_pipeline(base))
        folder = project / "models" / version / "artifacts" / "model"
        assert found.folder == folder
        assert (found.name, found.origin) == (base, "registry")
        assert found.parent == Parent("toys", version)
        assert found.digest == find_base(str(folder), None, project).digest


def test_a_registered_model_that_is_not_there(project):
    """Its key is model.base, and what there is is said."""
    for base, words in (
        ("models:/toys@missing", "aliases champion"),
        ("models:/toys/9", "versions 1, 2"),
        ("models:/dolls/1", "no model dolls"),
        ("models:/toys", "models:/NAME@ALIAS"),
        ("models:/toys/new", "models:/NAME@ALIAS"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            resolve_base(project, make_pipeline(base))
        assert {fault.key for fault in caught.value.faults} == {"model.base"}


def test_files_that_are_gone_are_said(project):
    """The registry knows the version, and its folder is not there."""
    shutil.rmtree(project / "models" / "2")
    with pytest.raises(InputError, match="no files of toys/2"):
        resolve_base(project, make_pipeline("models:/toys@champion"))


def test_where_nothing_is_registered_no_database_is_made(tmp_path, monkeypatch):
    """To look is not to make."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="Nothing is registered yet"):
        find_registered_model(tmp_path, "models:/toys/1")
    assert not (tmp_path / "mlruns").exists()


def test_a_run_does_not_move_what_it_begins_with(project):
    """A pipeline that makes its own next base would never be up to date."""
    with pytest.raises(InputError, match="Name a version"):
        resolve_base(project, make_pipeline("models:/toys@champion", promote="auto"))
    with pytest.raises(InputError, match="Name a version"):
        resolve_base(project, make_pipeline("models:/toys@challenger"))
    other = make_pipeline("models:/toys@champion", name="dolls", promote="auto")
    assert resolve_base(project, other).parent == Parent("toys", "2")


def test_the_recorded_base_is_found_again_or_refused(project):
    """By the parent's version, wherever the alias is now; other files are another base."""
    digest = resolve_base(project, make_pipeline("models:/toys/1")).digest
    record = {
        "config": {"model": {"base": "models:/toys@champion", "revision": None}},
        "parent": {"name": "toys", "version": "1"},
        "base_digest": digest,
    }
    assert recall_base(project, record).digest == digest
    with pytest.raises(InputError, match="not those of the record"):
        recall_base(project, record | {"base_digest": "0" * 64})
    with pytest.raises(InputError, match=r"gone, or out of reach.* Bring back the files"):
        recall_base(project, record | {"parent": None, "config": {"model": {"base": "./gone"}}})


def test_evidence_that_is_gone_is_said(project):
    """A run without its predictions: what is missing, and that another run makes it."""
    run_id = connect(project).get_model_version("toys", "1").run_id
    record = {"pipeline": "toys", "model_version": "1", "run_id": run_id}
    with pytest.raises(InputError, match=r"toys/1, predictions\.parquet: .* tunesmith run toys"):
        gather_evidence(project, record)


def test_an_old_record_is_completed_from_the_files(project, tmp_path):
    """A record that lacks the weights' digests: they are taken from the version's folder."""
    import pandas

    client = connect(project)
    run_id = client.get_model_version("toys", "2").run_id
    pandas.DataFrame({"id": ["a:1"]}).to_parquet(tmp_path / "predictions.parquet")
    client.log_artifact(run_id, str(tmp_path / "predictions.parquet"))
    client.log_metric(run_id, "test/accuracy", 0.5)
    client.log_metric(run_id, "train/loss", 0.1)
    record = {"pipeline": "toys", "model_version": "2", "run_id": run_id}
    found = gather_evidence(project, record)
    known = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"  # SHA-256 of "2"
    assert found.weights == {"model.safetensors": known}
    assert found.metrics == {"test/accuracy": 0.5}
    assert list(found.predictions["id"]) == ["a:1"]
