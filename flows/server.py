"""The servers of a run: those that are set, or Prefect's of its own for as long as it lasts.

Prefect's own ephemeral server would not do: two of them that begin at once on a new database break
each other's migrations, and one whose database cannot be written is started again for ever.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetuning.errors import TunesmithError
from finetuning.locks import hold
from flows.databases import LOCK, lay_database
from flows.garbage import collect_apart
from flows.insistence import insist
from flows.processes import HOST, Part, await_health, end_part, is_healthy, start
from tasks.patience import find_silence, name_place
from tasks.planning import STATE
from tasks.registry import find_tracking_uri

URL = "PREFECT_API_URL"
MOST_RESTARTS = 3  # one that ends each time has a reason that starting does not change
LOOKING = 1.0  # seconds between two looks at whether the run is still there


@contextmanager
def reach_server(root: Path) -> Iterator[Callable[[], bool]]:
    """Make Prefect's API answer: ask the server that is set, or start one that ends with us.

    Within the context one that was started gets ready, and at its end it answers.

    Yields:
        Tells whether it answers already.

    Raises:
        TunesmithError: It does not answer; with the reason and the remedy.
    """
    if url := find_url():
        ask(url, "Prefect", URL)
        yield lambda: True
        return
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    log = root / STATE / "logs" / f"prefect-{os.getpid()}.log"
    environment = {
        **os.environ,
        # As Prefect's own ephemeral server has them.
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_UI_ENABLED": "0",
    }
    server = Part(
        "Prefect's temporary server",
        [sys.executable, "-m", "flows.server", str(port), str(os.getpid())],
        environment,
        log,
        f"http://{HOST}:{port}/api/health",
    )
    ending = threading.Event()
    # Registered before Prefect is imported: so it ends after Prefect has sent its last logs.
    atexit.register(_end, server, ending)
    os.environ[URL] = f"http://{HOST}:{port}/api"
    os.environ["PREFECT_UI_URL"] = ""  # there is none to look at, so no log names it
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
    try:
        # The database lies there, and whoever comes first brings its tables up to date.
        with hold(Path(os.environ["PREFECT_HOME"], LOCK)):
            start(server, root)
            yield lambda: is_healthy(server)
            await_health(server, threading.Event())
        threading.Thread(target=_keep, args=(server, root, ending), daemon=True).start()
    except BaseException:
        del os.environ[URL]
        raise


def _keep(server: Part, root: Path, ending: threading.Event) -> None:
    """Start the server again where it was killed: the run waits for it and goes on."""
    while server.failures < MOST_RESTARTS and not ending.wait(LOOKING):
        if server.process is not None and server.process.poll() is not None:
            server.failures += 1  # its log is gone on in
            start(server, root)


def _end(server: Part, ending: threading.Event) -> None:
    ending.set()
    end_part(server)
    if server.log is not None:
        server.log.unlink(missing_ok=True)


def find_url() -> str | None:
    """The API that is set in the environment, or in a profile of Prefect's."""
    if url := os.environ.get(URL):
        return url
    if not Path(os.environ["PREFECT_HOME"], "profiles.toml").is_file():
        return None
    from prefect.settings import PREFECT_API_URL

    profiled: str | None = PREFECT_API_URL.value()
    return profiled


def reach_tracking(root: Path) -> None:
    """Ask the MLflow server that is set, where one is: better now than after the training.

    Raises:
        TunesmithError: It does not answer.
    """
    uri = find_tracking_uri(root)
    if uri.startswith(("http://", "https://")):
        ask(uri, "MLflow", "MLFLOW_TRACKING_URI")


def ask(url: str, name: str, variable: str) -> None:
    """Whether a server that is set answers.

    Args:
        url: Its address.
        name: Whose it is.
        variable: The environment's variable that names it.

    Raises:
        TunesmithError: It does not.
    """
    if reason := find_silence(url):
        raise TunesmithError(
            f"{name}'s server at {name_place(url)} does not answer ({reason}). Start it (tunesmith "
            f"up), or correct or unset {variable}: without it a run needs no server of yours"
        )


def serve(port: int, owner: int) -> None:
    """Serve Prefect's API until its owner has gone, however that went."""
    lay_database(Path(os.environ["PREFECT_HOME"]))
    import uvicorn
    from prefect.server.api.server import create_app

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(LOOKING)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    application: Any = create_app()
    collect_apart()
    uvicorn.run(insist(application), host=HOST, port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
