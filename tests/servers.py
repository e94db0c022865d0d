"""What tests that start servers share: free ports, and answers that are waited for."""

import json
import random
import socket
import time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

OPENER = build_opener(ProxyHandler({}))
# Below what systems lend to outgoing connections: one of another test's could take a port between
# the moment it was found free and the moment its server listens.
PORTS = range(20_000, 32_000)


def take_port():
    """A port that nothing listens on."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
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
