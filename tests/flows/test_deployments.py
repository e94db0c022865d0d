"""Pipeline files as the serving process takes them up; with real servers: test_serving."""

from __future__ import annotations

import asyncio

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    temporary_settings,
)

from flows import deployments
from flows.deployments import deploy_changed

PIPELINE = """
name: {name}
problem: text-classification
data: {{path: data/toys, train: train.csv}}
model: {{base: ./base}}
"""


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A project with three pipeline files, and a server that notes what it is given."""
    (tmp_path / "pipelines").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name))
    taken, refused = [], []

    async def deploy(_runner, _flow, name, *_others, **_more):
        if name in refused:
            raise ConnectionError(name)
        taken.append(name)

    monkeypatch.setattr(deployments, "deploy", deploy)
    nobody = {PREFECT_API_URL: "http://127.0.0.1:9/api"}
    with temporary_settings(nobody | {PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}):
        yield tmp_path, taken, refused


def test_what_a_server_did_not_take_is_taken_up_at_the_next_look(served):
    """The pipelines after a failure are not forgotten, those before it are not sent again."""
    root, taken, refused = served
    known = {}
    refused.append("b")
    with pytest.raises(ConnectionError):
        asyncio.run(deploy_changed(root, None, known))
    assert taken == ["a"]
    refused.clear()
    asyncio.run(deploy_changed(root, None, known))
    asyncio.run(deploy_changed(root, None, known))
    assert taken == ["a", "b", "c"]


def test_a_broken_file_is_said_once_and_hides_no_other(served, capsys):
    """Its faults are told when it changes, not at every look."""
    root, taken, _ = served
    (root / "pipelines" / "b.yaml").write_text("name: b\n")
    known = {}
    for _ in range(2):
        asyncio.run(deploy_changed(root, None, known))
    assert taken == ["a", "c"]
    assert capsys.readouterr().err.count("b is not served") == 1
