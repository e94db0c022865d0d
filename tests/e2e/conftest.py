"""One project for all tests of the main job: its first run takes the longest."""

import pytest

from tests.support import begin_project, run_json


@pytest.fixture(scope="session")
def project(tmp_path_factory, bert_folder):
    """A project in a git repository, with versioned data and a pipeline on a tiny model."""
    return begin_project(tmp_path_factory.mktemp("project") / "root", bert_folder, "toy")


@pytest.fixture(scope="session")
def first(project):
    """The JSON of the first run."""
    return run_json(project, "run", "toy")
