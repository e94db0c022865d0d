"""`tunesmith notify`: the event that makes `watch` look at once, and git's hooks that send it."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from finetuning.errors import InputError, TunesmithError
from flows.notifying import CHANGED, install_hooks, notify
from tests.support import begin_repository


@pytest.fixture
def server():
    """A server that keeps what it is sent: its address, the requests, and the status it answers."""
    kept, answer = [], {"status": 204}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            kept.append((self.path, self.headers, json.loads(self.rfile.read(length))))
            self.send_response(answer["status"])
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api", kept, answer
    server.shutdown()
    server.server_close()


def test_the_event_goes_to_the_server_that_is_set(server, tmp_path, monkeypatch):
    """One event of the agreed name; with a name and password where the server wants them."""
    address, kept, _ = server
    monkeypatch.setenv("PREFECT_API_URL", address)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:secret")
    assert notify(tmp_path)["status"] == "sent"
    ((path, headers, (event,)),) = kept
    assert (path, event["event"]) == ("/api/events", CHANGED)
    assert event["resource"]["prefect.resource.id"]
    assert headers["Authorization"] == "Basic YWRtaW46c2VjcmV0"


def test_a_running_up_is_found(server, tmp_path, monkeypatch):
    """Without an address that is set, the one that `tunesmith up` wrote down is asked."""
    address, kept, _ = server
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert notify(tmp_path)["status"] == "unheard"
    (tmp_path / ".tunesmith").mkdir()
    (tmp_path / ".tunesmith" / "up.json").write_text(json.dumps({"prefect": address}), "utf-8")
    assert notify(tmp_path)["status"] == "sent"
    assert len(kept) == 1


def test_nobody_is_stopped_by_a_server_that_is_down(tmp_path, monkeypatch):
    """A commit goes through; that nobody heard is said."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    result = notify(tmp_path)
    assert result["status"] == "unheard"
    assert "127.0.0.1:9" in result["message"]


def test_a_server_that_refuses_is_named_with_the_remedy(server, tmp_path, monkeypatch):
    """A wrong password is the user's to set right."""
    address, _, answer = server
    answer["status"] = 401
    monkeypatch.setenv("PREFECT_API_URL", address)
    with pytest.raises(TunesmithError, match="PREFECT_API_AUTH_STRING"):
        notify(tmp_path)


def test_hooks_are_installed_and_never_overwritten(tmp_path):
    """Both can be run; installed twice they are the same; somebody's own hook stays."""
    with pytest.raises(InputError, match="git init"):
        install_hooks(tmp_path)
    root = begin_repository(tmp_path)
    assert install_hooks(root) == install_hooks(root)
    hook = root / ".git" / "hooks" / "post-commit"
    assert "tunesmith notify" in hook.read_text("utf-8")
    assert os.access(hook, os.X_OK)
    hook.write_text("#!/bin/sh\nmake\n", "utf-8")
    with pytest.raises(InputError, match="post-commit"):
        install_hooks(root)
    assert hook.read_text("utf-8") == "#!/bin/sh\nmake\n"
