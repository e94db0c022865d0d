"""What tests that start servers share: free ports, and answers that are waited for."""

import json
import socket
import time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

OPENER = build_opener(ProxyHandler({}))


def take_port():
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


def await_status(url, wanted=200, patience=50.0):
    """The content of an address once it answers as wanted."""
    until = time.monotonic() + patience
    while True:
        status, content = ask(url)
        if status == wanted:
            return content
        assert time.monotonic() < until, f"{url} answers {status}"
        time.sleep(0.3)
