"""`tunesmith notify`: a run of `watch` at once, and git's hooks that ask for it."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from finetuning.errors import InputError, TunesmithError
from flows.notifying import install_hooks, notify
from tests.support import begin_repository


@pytest.fixture
def server():
    """A server that keeps what it is sent: its address, the requests, and the status it answers."""
    kept, answer = [], {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept.append((self.path, self.headers, json.loads(body or "null")))
            status = answer["status"]
            self.send_response(status.pop(0) if isinstance(status, list) else status)
            self.end_headers()
            self.wfile.write(b'{"id": "one"}')

        do_GET = do_POST  # noqa: N815 - the name that the server looks for

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api", kept, answer
    server.shutdown()
    server.server_close()


def test_watch_is_run_on_the_server_that_is_set(server, tmp_path, monkeypatch):
    """Its deployment is found by name and run; with a login where the server wants one."""
    address, kept, _ = server
    monkeypatch.setenv("PREFECT_API_URL", address)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:secret")
    assert notify(tmp_path)["status"] == "sent"
    assert [(path, body) for path, _, body in kept] == [
        ("/api/deployments/name/watch/watch", None),
        ("/api/deployments/one/create_flow_run", {}),
    ]
    assert {headers["Authorization"] for _, headers, _ in kept} == {"Basic YWRtaW46c2VjcmV0"}


def test_a_server_where_nobody_serves_watch_is_named(server, tmp_path, monkeypatch):
    """Nothing is wrong with the commit: what is missing is said."""
    address, _, answer = server
    answer["status"] = 404
    monkeypatch.setenv("PREFECT_API_URL", address)
    result = notify(tmp_path)
    assert result["status"] == "unheard"
    assert "nobody serves watch/watch" in result["message"]


def test_a_busy_server_is_asked_again(server, tmp_path, monkeypatch):
    """SQLite's short troubles are nobody's; a lasting one does not stop a commit."""
    address, kept, answer = server
    answer["status"] = [503, 200, 503, 200]
    monkeypatch.setenv("PREFECT_API_URL", address)
    monkeypatch.setattr("flows.notifying.PAUSE", 0.0)
    assert notify(tmp_path)["status"] == "sent"
    assert len(kept) == 4
    answer["status"] = 503
    monkeypatch.setattr("flows.notifying.PATIENCE", 0.5)
    result = notify(tmp_path)
    assert result["status"] == "unheard"
    assert "is busy (503" in result["message"]


def test_a_running_up_is_found(server, tmp_path, monkeypatch):
    """Without an address that is set, the one that `tunesmith up` wrote down is asked."""
    address, kept, _ = server
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert notify(tmp_path)["status"] == "unheard"
    (tmp_path / ".tunesmith").mkdir()
    (tmp_path / ".tunesmith" / "up.json").write_text(json.dumps({"prefect": address}), "utf-8")
    assert notify(tmp_path)["status"] == "sent"
    assert len(kept) == 2


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
