"""The lineage record says who asked, and what would keep it from being reproduced."""

from pathlib import Path

import pandas
import pytest

from finetuning.lineage import (
    Commit,
    digest_predictions,
    digest_weights,
    list_libraries,
    list_obstacles,
)
from finetuning.sources import BaseModel

CLEAN = Commit("a" * 40, dirty=False, difference=None)


POINTER = "d" * 32 + ".dir"


def base(origin, revision=None):
    """A base model from somewhere."""
    return BaseModel("some/model", Path("models"), revision, "b" * 64, origin)


@pytest.mark.parametrize("origin", ["package", "hub", "registry"])
def test_clean_commit_versioned_data_and_known_base_have_no_obstacle(origin):
    """A commit, a clean tree and a base that is kept somewhere can be had again."""
    assert list_obstacles(CLEAN, POINTER, base(origin)) == ()


def test_every_obstacle_is_said():
    """A dirty tree, data without a version, a base that no commit holds, and no git are named."""
    dirty = Commit("a" * 40, dirty=True, difference="c" * 64)
    said = list_obstacles(dirty, None, base("folder"))
    for obstacle, words in zip(said, ("working tree", "dvc add", "local folder"), strict=True):
        assert words in obstacle
    assert list_obstacles(CLEAN, POINTER, base("folder"), kept=True) == ()
    gone = Commit(None, dirty=False, difference=None)
    assert "git" in list_obstacles(gone, POINTER, base("hub"))[0]


def test_weights_are_digested_file_by_file(tmp_path):
    """SHA-256 of each safetensors file, and of no other."""
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    (tmp_path / "config.json").write_text("{}")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert digest_weights(tmp_path) == {"model.safetensors": known}


def test_predictions_digest_sees_every_answer():
    """Another score is another digest; another column is not."""
    table = pandas.DataFrame(
        {"id": ["a:1"], "label": ["x"], "prediction": ["y"], "score": [0.5], "text": ["t"]}
    )
    digest = digest_predictions(table)
    assert digest_predictions(table.assign(text="u")) == digest
    assert digest_predictions(table.assign(score=0.5000000001)) != digest


def test_libraries_are_those_that_run():
    """The versions are the installed ones."""
    import torch

    assert torch.__version__.startswith(list_libraries()["torch"].split("+")[0])


def test_digest_of_predictions_without_labels():
    """Loss and tokens tell a model that names nothing; another loss is another digest."""
    table = pandas.DataFrame({"id": ["a", "b"], "text": ["x", "y"], "loss": [1.0, 2.0]})
    assert digest_predictions(table) == digest_predictions(table.assign(text="z"))
    assert digest_predictions(table) != digest_predictions(table.assign(loss=[1.0, 2.1]))
    assert digest_predictions(table) != digest_predictions(table.assign(tokens=[3, 4]))
