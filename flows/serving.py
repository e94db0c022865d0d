"""`tunesmith up`: both servers, and a process that serves every pipeline, watched over as one.

Everything listens on this machine alone, unless it is told otherwise and has logins. What is
started here inherits a mark in its environment, so that at the end the flow runs, which Prefect
puts into sessions of their own, are found too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from finetuning.addresses import hide_password
from finetuning.digests import write_atomically
from finetuning.errors import Fault, InputError
from finetuning.locks import hold
from flows.databases import LOCK, lay_database
from flows.environment import prepare_environment
from flows.exposure import check_exposure, find_address, protect_mlflow, protect_prefect
from flows.notifying import RUNNING
from flows.processes import HOST, STOPPING, Part, await_health, end_group, end_part, start
from flows.webhooks import SERVER, describe_server
from tasks.announcing import UI
from tasks.planning import STATE
from tasks.registry import ARTIFACTS, find_tracking_uri

MARK = "TUNESMITH_UP"
LONGEST_WAIT = 60.0  # seconds before a part that dies again and again is started again


def serve_all(root: Path, prefect_port: int, mlflow_port: int, host: str = HOST) -> dict[str, Any]:
    """Run both servers and the serving process until told to stop.

    Raises:
        InputError: A port is in use, this project is served already, or the servers would be heard
            elsewhere without a password.
    """
    prepare_environment(root)
    check_exposure(host, not is_served(find_tracking_uri(root)))
    with alone(root):
        return serve_alone(root, prefect_port, mlflow_port, host)


def is_served(store: str) -> bool:
    """Whether a tracking server keeps the models already."""
    return store.startswith(("http://", "https://"))


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Be the only one that serves a project: a second one would take the first one's runs for dead.

    Raises:
        InputError: Another process serves it.
    """
    from filelock import FileLock, Timeout

    path = root / STATE / "locks" / "up"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, blocking=False):
            yield
    except Timeout:
        remedy = "Use it, or end it with Ctrl-C first."
        found = f"{str(root)!r}, which another `tunesmith up` serves"
        raise InputError([Fault("the project", found, remedy)]) from None


def serve_alone(root: Path, prefect_port: int, mlflow_port: int, host: str) -> dict[str, Any]:
    """As `serve_all`, in a project that nobody else serves."""
    mark, home = uuid.uuid4().hex, Path(os.environ["PREFECT_HOME"])
    servers, serving = plan_parts(root, prefect_port, mlflow_port, mark, host)
    ports = (("--prefect-port", prefect_port), ("--mlflow-port", mlflow_port))
    check_ports(dict(ports[: len(servers)]), host)
    parts = list(servers)
    with watch_signals() as stop:
        try:
            with hold(home / LOCK):
                lay_database(home)
            for part in servers:
                start(part, root)
            for part in servers:
                await_health(part, stop)
            if not stop.is_set():
                start(serving, root)
                parts.append(serving)
                own = find_address(host, mlflow_port) if len(servers) > 1 else None
                note_addresses(root, f"{find_address(host, prefect_port)}/api")
                tell(f"Prefect: {find_address(host, prefect_port)}")
                tell(f"MLflow:  {own or hide_password(find_tracking_uri(root))}")
                tell(f"Logs:    {root / STATE / 'logs'}   (Ctrl-C stops everything)")
            while not stop.wait(0.5):
                for part in parts:
                    if revive(part, root) and part is serving:
                        # Else nobody would wait for the flow runs that it had started.
                        end_strays(mark, parts)
        finally:
            stop_all(parts, mark)
            (root / STATE / RUNNING).unlink(missing_ok=True)
    return {"status": "stopped", "message": "Everything that was started here has stopped."}


def plan_parts(
    root: Path, prefect_port: int, mlflow_port: int, mark: str, host: str = HOST
) -> tuple[list[Part], Part]:
    """The servers, and the process that serves the pipelines once they answer."""
    environment = {**os.environ, MARK: mark, "PYTHONUNBUFFERED": "1"}
    for name in ("NO_PROXY", "no_proxy"):
        own = dict.fromkeys((HOST, "localhost", host))
        environment[name] = f"{environment.get(name, '')},{','.join(own)}".lstrip(",")
    server = {key: value for key, value in environment.items() if key != "PREFECT_API_URL"}
    logs, python, bound = root / STATE / "logs", [sys.executable, "-m"], ["--host", host, "--port"]
    api = f"{find_address(host, prefect_port)}/api"
    prefect = Part(
        "Prefect",
        [*python, "flows.prefect_ui", str(prefect_port), host],
        # Where the UI finds the API; unless told, it asks port 4200 whatever the server's own is.
        {"PREFECT_SERVER_UI_API_URL": api, **server, **protect_prefect(host),
         "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"},
        logs / "prefect.log",
        f"{api}/health",
    )  # fmt: skip
    serving = Part(
        "the serving process",
        [*python, "flows.deployments"],
        {**environment, "PREFECT_API_URL": api},
    )
    store = find_tracking_uri(root)
    if is_served(store):
        return [prefect], serving  # there is a tracking server already
    (root / ARTIFACTS).mkdir(parents=True, exist_ok=True)
    address = find_address(host, mlflow_port)
    options, logins = protect_mlflow(root, host)
    serving.environment.update({UI: address, SERVER: address})
    mlflow = Part(
        "MLflow",
        [*python, "mlflow", "server", *bound, str(mlflow_port), "--workers", "1",
         "--backend-store-uri", store,
         # As the runs write it: one folder, whether a run comes through the server or not.
         "--default-artifact-root", (root / ARTIFACTS).as_uri(), *options],
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **server, **describe_server(root),
         **logins},
        logs / "mlflow.log",
        f"{address}/health",
    )  # fmt: skip
    return [prefect, mlflow], serving


def note_addresses(root: Path, prefect: str) -> None:
    """Write down how the servers are reached, for `notify`."""
    write_atomically(root / STATE / RUNNING, json.dumps({"prefect": prefect}))


def check_ports(ports: dict[str, int], host: str = HOST) -> None:
    """Refuse ports that something else listens on, or that are given twice, by their options."""
    family = socket.getaddrinfo(host, 0)[0][0]
    faults, probes = [], [socket.socket(family) for _ in ports]
    for probe, (option, port) in zip(probes, ports.items(), strict=True):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            found = f"port {port}, which cannot be used ({error.strerror})"
            faults.append(Fault(option, found, f"Choose another one with {option}."))
    for probe in probes:
        probe.close()
    if faults:
        raise InputError(faults)


@contextmanager
def watch_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or a closed terminal sets, instead of ending the process."""
    stop = threading.Event()
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, lambda *_: stop.set()) for number in wanted}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def tell(text: str) -> None:
    """Tell whoever watches."""
    print(text, file=sys.stderr, flush=True)


def revive(part: Part, root: Path) -> bool:
    """Start a part again that has died; after each failure later. Whether it has just died."""
    if part.process is not None and part.process.poll() is not None:
        lived = time.monotonic() - part.started
        part.failures = 1 if lived > LONGEST_WAIT else part.failures + 1
        wait = min(2.0**part.failures, LONGEST_WAIT)
        tell(f"{part.name} ended with code {part.process.returncode}: again in {wait:.0f} s")
        end_group(part.process.pid, signal.SIGKILL)
        part.process, part.due = None, time.monotonic() + wait
        return True
    if part.process is None and time.monotonic() >= part.due:
        start(part, root)
    return False


def stop_all(parts: list[Part], mark: str) -> None:
    """Stop what was started: the last first, so that flow runs can still tell the server."""
    for part in reversed(parts):
        end_part(part)
    end_strays(mark, [])


def end_strays(mark: str, parts: list[Part]) -> None:
    """End what was started here and is in none of the parts' groups: flow runs, mostly."""
    groups = {part.process.pid for part in parts if part.process is not None}
    left = find_strays(mark, groups)
    for number, patience in ((signal.SIGTERM, STOPPING), (signal.SIGKILL, STOPPING)):
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        until = time.monotonic() + patience
        while (left := find_strays(mark, groups)) and time.monotonic() < until:
            time.sleep(0.1)


def find_strays(mark: str, groups: set[int]) -> list[int]:
    """Processes that were started here and belong to none of these process groups."""
    strays = []
    for process in find_marked(mark):
        with suppress(ProcessLookupError):
            strays += [] if os.getpgid(process) in groups else [process]
    return strays


def find_marked(mark: str) -> list[int]:
    """Processes that were started here, directly or not, and still run."""
    import psutil  # type: ignore[import-untyped]

    found: list[int] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            found += [process.pid] if process.environ().get(MARK) == mark else []
    return found
