"""What the servers must hold before a worker can begin: run once they answer, any number of times.

It makes the buckets, MLflow's user for the workers, Prefect's work pools and the deployments of
`prefect.yaml`. What is there already stays as it is. All addresses and secrets come from the
environment; `deploy/README.md` lists them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DEPLOYMENTS = Path(__file__).with_name("prefect.yaml")
POOLS = {"tunesmith-process": "process", "tunesmith-docker": "docker",
         "tunesmith-kubernetes": "kubernetes"}  # fmt: skip
POOL_OF_JOBS = Path(__file__).with_name("kubernetes") / "pool.json"
TOLD = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_TRACKING_URI", "TUNESMITH_STORE", "PREFECT_API_URL",
        "PREFECT_API_AUTH_STRING")  # fmt: skip


def make_buckets(names: list[str]) -> None:
    """Make each S3 bucket that is not there."""
    import boto3
    from botocore.exceptions import ClientError

    storage = boto3.client("s3")
    for name in names:
        try:
            storage.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            storage.create_bucket(Bucket=name)
            print(f"bucket {name}: made")


def make_user(address: str, name: str, password: str) -> None:
    """Make MLflow's user for the workers, who may make models but not other users.

    The administrator's name and password are taken from MLFLOW_TRACKING_USERNAME and _PASSWORD.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.server import get_app_client

    client = get_app_client("basic-auth", tracking_uri=address)
    try:
        client.get_user(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_user(name, password)
        print(f"MLflow's user {name}: made")


def make_pools() -> None:
    """Make each of Prefect's work pools that is not there."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        for name, kind in POOLS.items():
            try:
                client.read_work_pool(name)
            except ObjectNotFound:
                template = make_template(client, kind)
                client.create_work_pool(
                    WorkPoolCreate(name=name, type=kind, base_job_template=template)
                )
                print(f"work pool {name}: made")


def make_template(client: Any, kind: str) -> dict[str, Any]:
    """What a pool's jobs are made of; addresses and secrets come from where the job runs.

    A process has them from its worker. A Kubernetes job names secrets of the cluster. A container
    gets them from Prefect's secret blocks, which are encrypted, and read when the job begins.
    """
    if kind == "kubernetes":
        template: dict[str, Any] = json.loads(POOL_OF_JOBS.read_text("utf-8"))
        return template
    known = client.read_worker_metadata()
    package = "prefect" if kind == "process" else f"prefect-{kind}"
    template = known[package][kind]["default_base_job_configuration"]
    if kind == "docker":
        template["variables"]["properties"]["env"]["default"] = save_secrets()
    return template


def save_secrets() -> dict[str, str]:
    """Keep what a container is told in Prefect's secret blocks; variable -> reference to one."""
    from prefect.blocks.system import Secret

    told = {name: os.environ[name] for name in TOLD if name in os.environ}
    told |= {
        "MLFLOW_TRACKING_USERNAME": os.environ["TUNESMITH_MLFLOW_USERNAME"],
        "MLFLOW_TRACKING_PASSWORD": os.environ["TUNESMITH_MLFLOW_PASSWORD"],
    }
    references = {}
    for name, value in told.items():
        block = f"tunesmith-{name.lower().replace('_', '-')}"
        Secret(value=value).save(block, overwrite=True)
        references[name] = f"{{{{ prefect.blocks.secret.{block} }}}}"
    return references


def deploy() -> None:
    """Register the deployments."""
    _prefect("deploy", "--all", "--prefect-file", str(DEPLOYMENTS))


def _prefect(*words: str) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    make_buckets(os.environ["TUNESMITH_BUCKETS"].split())
    make_user(
        os.environ["MLFLOW_TRACKING_URI"],
        os.environ["TUNESMITH_MLFLOW_USERNAME"],
        os.environ["TUNESMITH_MLFLOW_PASSWORD"],
    )
    make_pools()
    deploy()
