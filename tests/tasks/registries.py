"""Registries of each kind for tests: MLflow's SQLite database, and a tracking server."""

import dataclasses
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.champions import read_succession
from tasks.promotion import promote, roll_back
from tasks.registry import connect
from tests.registered import PASSED, add_version
from tests.servers import serve_mlflow

KINDS = ("sqlite", pytest.param("server", marks=pytest.mark.slow))


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


@contextmanager
def serve(root):
    """A tracking server of MLflow's on loopback: its address and its folder."""
    with serve_mlflow(root) as address:
        yield address, root


def open_registry(request, tmp_path, monkeypatch):
    """A registry of the kind that is asked for, with a model of the test's own in it."""
    name = f"toys-{tmp_path.name}"
    if request.param == "sqlite":
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = request.getfixturevalue("database")
        return Registry(connect(root), root, root, name)
    address, files = request.getfixturevalue("server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return Registry(connect(tmp_path), tmp_path, files, name)
