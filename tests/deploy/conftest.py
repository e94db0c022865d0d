"""What the tests of a deployment share: the servers, a team's repository, and its workers."""

import csv
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.deploy.servers import BUCKETS, HOST, PATIENCE, REPOSITORY, list_missing, run_stack
from tests.servers import await_status, take_port

TRAIN, TEST = 400, 200  # rows of the sample, a twentieth of them: enough for a head to be fitted


@pytest.fixture(scope="session")
def stack():
    """The servers, running."""
    if missing := list_missing():
        pytest.skip(f"this machine has no {' and no '.join(missing)}")
    with run_stack() as running:
        yield running


@pytest.fixture(scope="session")
def origin(stack, tmp_path_factory):
    """A team's repository: this project's files, a small data set, a DVC remote on S3."""
    sample = REPOSITORY / "data" / "reviews"
    if not (sample / "train.csv").exists():
        pytest.skip("the sample is not here: python -m tasks.sample reviews")
    root = tmp_path_factory.mktemp("origin") / "project"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((REPOSITORY / name).read_bytes())
    (root / "data.dvc").unlink()
    for name, rows in (("train.csv", TRAIN), ("test.csv", TEST)):
        copy_rows(sample / name, root / "data" / "reviews" / name, rows)
    shell(root, "git", "init", "-q")
    shell(root, "git", "config", "user.email", "tester@example.org")
    shell(root, "git", "config", "user.name", "tester")
    dvc = (sys.executable, "-m", "dvc")
    shell(root, *dvc, "remote", "add", "--default", "storage", f"s3://{BUCKETS['data']}/dvc")
    shell(root, *dvc, "add", "-q", "data")
    shell(root, *dvc, "push", "-q", environment=stack.worker())
    shell(root, "git", "add", "-A")
    shell(root, "git", "commit", "-qm", "Begin")
    return root


def copy_rows(source, target, count):
    """The first rows of a table."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open(newline="", encoding="utf-8") as file:
        rows = [row for _, row in zip(range(count + 1), csv.reader(file), strict=False)]
    with target.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def shell(folder, *words, environment=None):
    """Run a tool; what it says is shown where it fails."""
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


class Worker:
    """A machine of its own, as far as a folder can be one: a clone, an environment, a process."""

    def __init__(self, stack, origin, folder):
        shell(origin.parent, "git", "clone", "-q", str(origin), str(folder))
        self.stack, self.folder = stack, folder
        self.environment = stack.worker() | {
            # Before an installed copy of the project, where there is one.
            "PYTHONPATH": str(folder),
            "PREFECT_HOME": str(folder.parent / "prefect"),
            "DVC_GLOBAL_CONFIG_DIR": str(folder.parent / "dvc"),
            "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-cache"),
            "USER": "worker",
            "PREFECT_WORKER_WEBSERVER_HOST": HOST,
            "PREFECT_WORKER_WEBSERVER_PORT": str(take_port()),
        }

    def start(self):
        """Take work from the pool, and say that it is well."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool",
                   "tunesmith-process", "--limit", "1", "--with-healthcheck",
                   "--name", self.folder.parent.name]  # fmt: skip
        with (self.folder.parent / "worker.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.stack.processes.append(self.process)
        port = self.environment["PREFECT_WORKER_WEBSERVER_PORT"]
        await_status(f"http://{HOST}:{port}/health", patience=PATIENCE)
        return self

    def stop(self):
        """End it, so that the next run is another worker's."""
        self.process.terminate()
        self.process.wait(180)

    @property
    def said(self):
        """What it and its runs have said."""
        return (self.folder.parent / "worker.log").read_text("utf-8", "replace")


@pytest.fixture(scope="session")
def begin_worker(stack, origin, tmp_path_factory):
    """Makes a worker in a folder of its own."""

    def begin(name):
        return Worker(stack, origin, tmp_path_factory.mktemp(name) / "project")

    return begin


def run_deployment(stack, parameters, patience=900):
    """Run the deployment of the process pool; the flow run's id and its final state."""
    with reach_prefect(stack) as client:
        deployment = client.read_deployment_by_name("finetune/process")
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        until = time.monotonic() + patience
        while not (run := client.read_flow_run(run.id)).state.is_final():
            assert time.monotonic() < until, f"the run is still {run.state.name}"
            time.sleep(1)
        return run


@contextmanager
def reach_prefect(stack):
    """A client of the server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import temporary_settings

    with (
        temporary_settings(restore_defaults=set(), updates=prefect_settings(stack)),
        get_client(sync_client=True) as client,
    ):
        yield client


def prefect_settings(stack):
    """The server's address and password, as Prefect's settings."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    return {
        PREFECT_API_URL: stack.prefect["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: stack.prefect["PREFECT_API_AUTH_STRING"],
    }
