"""What tests that start servers share: free ports, and answers that are waited for."""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

OPENER = build_opener(ProxyHandler({}))
# Below what systems lend to outgoing connections: one of another test's could take a port between
# the moment it was found free and the moment its server listens.
STATUSES = {
    "accept": "200 OK",
    "deny": "503 Service Unavailable",
    "forbid": "401 Unauthorized",
    "miss": "404 Not Found",
}
PORTS = range(20_000, 32_000)
TAKEN = set()  # in this process; what is to listen there may not yet


def take_port():
    """A port that nothing listens on, and that was not taken before."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in TAKEN:
            TAKEN.add(port)
            return port


def ask(url, body=None, method=None):
    """Status and content of an address; (0, "") where nothing answers."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with OPENER.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, ""
    except (OSError, HTTPException):  # such as an answer that was cut off
        return 0, ""


def await_status(url, wanted=200, patience=120.0, process=None, log=None):
    """The content of an address once it answers as wanted.

    A process that should answer there and ends, and its log, are told at once.
    """
    until = time.monotonic() + patience
    while True:
        status, content = ask(url)
        if status == wanted:
            return content
        ended = None if process is None else process.poll()
        said = "" if log is None else log.read_text(errors="replace")[-3000:]
        assert ended is None, f"the server of {url} ended with {ended}: {said}"
        assert time.monotonic() < until, f"{url} answers {status}: {said}"
        time.sleep(0.3)


@contextmanager
def serve_mlflow(root):
    """A tracking server of MLflow's on loopback, with its state in a folder: its address."""
    port = take_port()
    environment = {key: value for key, value in os.environ.items() if "MLFLOW" not in key}
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{root}/mlflow.db",
        "--artifacts-destination", f"{root}/artifacts",
    ]  # fmt: skip
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        await_status(f"http://127.0.0.1:{port}/health", process=process, log=root / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@dataclass
class Door:
    """The way to a server, which can be shut, and on which answers can be lost.

    inner: port of the server. plans: end of a path -> what becomes of the next requests to it: one
    is "lose" (served, and its answer lost), one of STATUSES, or "shut" (the door shuts before it is
    served, for the seconds of `shut_for`, or for good). Any other request is served.
    """

    inner: int
    port: int = field(default_factory=take_port)
    plans: dict[str, list[str]] = field(default_factory=dict)
    shut_for: float | None = None
    listening: ThreadingTCPServer | None = None

    @property
    def address(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def open(self):
        """Let requests in."""
        door = self

        class Handler(BaseRequestHandler):
            def handle(self):
                door.pass_on(self.request)

        self.listening = Listener(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.listening.serve_forever, args=(0.05,), daemon=True).start()

    def shut(self):
        """Refuse connections."""
        self.listening.shutdown()
        self.listening.server_close()

    def shut_a_while(self):
        """Refuse connections, for the time that is set."""
        self.shut()
        if self.shut_for is not None:
            time.sleep(self.shut_for)
            self.open()

    def pass_on(self, client):
        """Answer a request as is planned, or as the server does."""
        asked = b""
        while b"\r\n\r\n" not in asked:
            more = client.recv(1 << 16)
            if not more:
                return
            asked += more
        first, rest = asked.split(b"\r\n", 1)
        path = first.split(b" ")[1].partition(b"?")[0].decode()
        plan = next((self.plans[end] for end in self.plans if path.endswith(end)), [])
        action = plan.pop(0) if plan else "serve"
        if action == "shut":
            threading.Thread(target=self.shut_a_while).start()
        elif action in STATUSES:
            client.sendall(f"HTTP/1.1 {STATUSES[action]}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            # Who keeps a connection would not see that the door is shut.
            for kept in (b"Connection: keep-alive", b"connection: keep-alive"):
                rest = rest.replace(kept, b"Connection: close", 1)
            with socket.create_connection(("127.0.0.1", self.inner)) as server:
                server.sendall(first + b"\r\n" + rest)
                threading.Thread(target=copy, args=(client, server), daemon=True).start()
                while answer := server.recv(1 << 16):
                    if action == "serve":
                        client.sendall(answer)


class Listener(ThreadingTCPServer):
    """A listener whose port can be taken again at once."""

    allow_reuse_address, daemon_threads = True, True


def copy(client, server):
    """Send on what else a client sends."""
    with suppress(OSError):
        while content := client.recv(1 << 16):
            server.sendall(content)
