"""The ear for MLflow's webhooks: a champion set in its UI is released within seconds.

A delivery only makes happen at once what `watch` would find within a minute. It must be signed with
the secret that was given to MLflow, be fresh, and come once; it listens on this machine alone.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from finetuning.digests import write_atomically
from finetuning.signatures import Gatekeeper
from flows.processes import HOST
from tasks.planning import STATE
from tasks.registry import CHAMPION

LARGEST = 1_000_000  # bytes of a delivery
PATIENCE = 10.0  # seconds that a sender may take
PLACE = "/mlflow"
SERVER = "TUNESMITH_MLFLOW_SERVER"  # in the environment: the server of `up`, which sends to us
NAME = "tunesmith-release"
EVENT = "model_version_alias.created"
KEY = "webhook-encryption.key"  # with which MLflow keeps our secret
OWN = "webhook.secret"


def keep_secret(root: Path, name: str, make: Callable[[], str]) -> str:
    """A secret of this project, made once and kept where only its owner can read it."""
    path = root / STATE / "secrets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    if not path.exists():
        write_atomically(path, make())
    path.chmod(0o600)
    return path.read_text("utf-8").strip()


def make_encryption_key() -> str:
    """A key as MLflow's encryption of webhook secrets takes it."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def describe_server(root: Path) -> dict[str, str]:
    """What MLflow's server needs in its environment to send webhooks to this machine."""
    return {
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": keep_secret(root, KEY, make_encryption_key),
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "5",  # seconds; our port changes when we are started again
    }


def listen(root: Path, act: Callable[[str], Any]) -> ThreadingHTTPServer:
    """Listen for deliveries, on a free port of this machine, in threads of this process.

    Args:
        root: The project's folder.
        act: Called with the name of a model whose champion was set.
    """
    gatekeeper, lock = Gatekeeper(keep_secret(root, OWN, secrets.token_urlsafe)), threading.Lock()

    def judge(headers: Any, body: bytes) -> str | None:
        with lock:
            return gatekeeper.reject(
                headers.get("X-MLflow-Delivery-Id") or "",
                headers.get("X-MLflow-Timestamp") or "",
                headers.get("X-MLflow-Signature") or "",
                body,
                time.time(),
            )

    server = ThreadingHTTPServer((HOST, 0), make_handler(judge, act))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def make_handler(
    judge: Callable[[Any, bytes], str | None], act: Callable[[str], Any]
) -> type[BaseHTTPRequestHandler]:
    """The handler of requests: what is not to be believed is refused, and nothing is told of why.

    Args:
        judge: Headers and body -> why they are not to be believed, or None.
        act: Called with the name of a model whose champion was set.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_POST(self) -> None:
            """Take a delivery."""
            length = self.headers.get("Content-Length") or ""
            if self.path != PLACE:
                self.reply(404)
            elif not (length.isascii() and length.isdigit() and int(length) <= LARGEST):
                self.reply(413)
            else:
                body = self.rfile.read(int(length))
                if judge(self.headers, body) is not None:
                    self.reply(401)
                else:
                    name = read_delivery(body)
                    self.reply(204)
                    if name is not None:
                        act(name)

        def reply(self, status: int) -> None:
            """Answer with a status and no content."""
            self.close_connection = True
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads an access log here."""

    return Handler


def read_delivery(body: bytes) -> str | None:
    """The model whose champion was set; None for whatever else a delivery may say."""
    try:
        data = json.loads(body)["data"]
        name, alias = data["name"], data["alias"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return name if alias == CHAMPION and isinstance(name, str) else None


def subscribe(root: Path, server: str, port: int) -> None:
    """Have MLflow's server send what happens to aliases to our port, by one webhook.

    Args:
        root: The project's folder.
        server: The tracking server's address.
        port: Where we listen.
    """
    from mlflow import MlflowClient

    client = MlflowClient(server, server)
    address = f"http://{HOST}:{port}{PLACE}"
    for old in client.list_webhooks():
        if old.name == NAME:
            client.delete_webhook(old.webhook_id)
    secret = keep_secret(root, OWN, secrets.token_urlsafe)
    client.create_webhook(NAME, address, [EVENT], "Releases a new champion at once.", secret)
