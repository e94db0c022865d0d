"""Registered versions without training: a folder with an MLmodel file, and a run's verdict."""

import shutil
from pathlib import Path

from tasks.registry import DATABASE, connect, find_experiment

PASSED = {"promote": True, "reasons": ["accuracy 0.9000 on 100 test rows reaches the floor 0.8"]}
REFUSED = {"promote": False, "reasons": ["accuracy 0.5000 on 100 test rows is below the floor 0.8"]}
MODEL = "flavors: {}\n"


def begin_registry(root, empty):
    """A client of a project's registry, whose database begins as a copy of an empty one."""
    (root / DATABASE).parent.mkdir(parents=True)
    shutil.copy(empty, root / DATABASE)
    return connect(root)


def add_version(client, root, name="toys", verdict=PASSED, tag=None):
    """Register one more version whose run holds this verdict; its number as text."""
    run = client.create_run(find_experiment(client, root, name)).info.run_id
    client.log_text(run, MODEL, "model/MLmodel")
    if verdict is not None:
        client.log_dict(run, verdict, "verdict.json")
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    tags = {} if tag is None else {"tunesmith.verdict": tag}
    source = f"{client.get_run(run).info.artifact_uri}/model"
    version = client.create_model_version(name, source=source, run_id=run, tags=tags)
    return str(version.version)


def drop_files(root, client, version, name="toys"):
    """Delete a version's MLmodel file, wherever under the root it lies."""
    run = client.get_model_version(name, version).run_id
    (found,) = [path for path in Path(root).rglob("MLmodel") if run in path.parts]
    found.unlink()
