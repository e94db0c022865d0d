"""A project that `tunesmith up` serves on free ports, and what its servers' APIs say."""

import json
import signal
import subprocess
import sys
import time
from datetime import datetime
from urllib.parse import urlencode

from tasks.planning import STATE
from tests.servers import ask, await_status, take_port
from tests.support import make_environment

PATIENCE = 300.0  # seconds for a run to end
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Served:
    """The project, the process, and both servers."""

    def __init__(self, root):
        self.root = root
        ports = take_port(), take_port()
        self.prefect, self.mlflow = (f"http://127.0.0.1:{port}" for port in ports)
        self.command = [
            sys.executable, "-m", "flows.cli", "up",
            "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]),
        ]  # fmt: skip
        self.process, self.started = None, 0.0

    def start(self):
        """Start `up` and wait until every deployment is there."""
        self.started = time.time()
        environment = make_environment()
        environment.pop("PREFECT_API_URL", None)
        (self.root / STATE).mkdir(exist_ok=True)
        with (self.root / STATE / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.root, env=environment, stdout=log, stderr=log
            )
        for name in ("finetune/tickets", "finetune/letters", "release/release", "watch/watch"):
            self.await_ready(name)

    def await_ready(self, name):
        """Wait until the process that was started last serves a deployment."""
        url = f"{self.prefect}/api/deployments/name/{name}"

        def is_ready():
            deployment = json.loads(await_status(url, patience=150))
            is_new = datetime.fromisoformat(deployment["updated"]).timestamp() > self.started
            return is_new and deployment["status"] == "READY"

        await_that(f"{name} is served", is_ready)

    def stop(self):
        """Stop `up` as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0

    def ask_prefect(self, place, body=None):
        """What Prefect's API answers."""
        status, content = ask(f"{self.prefect}/api{place}", body)
        until = time.monotonic() + PATIENCE
        while status == 503 and time.monotonic() < until:  # its database is busy: ask again
            time.sleep(0.5)
            status, content = ask(f"{self.prefect}/api{place}", body)
        assert status in (200, 201), f"{place}: {status} {content}"
        return json.loads(content)

    def ask_mlflow(self, place, **words):
        """What MLflow's API answers."""
        status, content = ask(f"{self.mlflow}/api/2.0/mlflow/{place}?{urlencode(words)}")
        assert status == 200, f"{place}: {status} {content}"
        return json.loads(content)

    def find_deployment(self, name):
        """A deployment by FLOW/NAME."""
        return self.ask_prefect(f"/deployments/name/{name}")

    def page_of(self, name):
        """The address of a deployment's page."""
        return f"{self.prefect}/v2/deployments/deployment/{self.find_deployment(name)['id']}"

    def list_runs(self, name):
        """The runs of a deployment that are due or have begun, the oldest first."""
        wanted = {"deployments": {"id": {"any_": [self.find_deployment(name)["id"]]}}}
        runs = self.ask_prefect("/flow_runs/filter", {**wanted, "limit": 200})
        begun = [run for run in runs if not run["auto_scheduled"]]
        return sorted(begun, key=lambda run: run["created"])

    def await_run(self, name, number):
        """Wait until a deployment's run of that number, from 1, has ended.

        Returns:
            The flow run.
        """
        await_that(f"{name} has {number} runs", lambda: len(self.list_runs(name)) >= number)
        await_that(
            f"run {number} of {name} ends",
            lambda: self.list_runs(name)[number - 1]["state_type"] in FINAL,
        )
        return self.list_runs(name)[number - 1]

    def find_version(self, name, number):
        """A model version's tags and aliases, as MLflow's server has them."""
        version = self.ask_mlflow("model-versions/get", name=name, version=number)["model_version"]
        tags = {tag["key"]: tag["value"] for tag in version.get("tags", ())}
        return {**version, "tags": tags, "aliases": version.get("aliases", [])}


def await_that(what, condition, patience=PATIENCE):
    """Wait until a condition holds."""
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until, f"never came true: {what}"
        time.sleep(0.25)
