"""The guard that other tests rely on sees what it is there for."""

import gzip
import os
import subprocess
import sys

from tests.guard import find_secrets, post_guard, read_guard

CODE = """
import socket, urllib.request
for act in (
    lambda: socket.create_connection(("203.0.113.9", 80), 1),
    lambda: socket.getaddrinfo("telemetry.example.org", 443),
    lambda: urllib.request.urlopen("http://example.org", timeout=1),
    lambda: socket.create_connection(("127.0.0.1", 1), 1),
):
    try:
        act()
    except OSError:
        pass
"""


def test_other_hosts_are_noted_and_refused(tmp_path):
    """By address, by name and by URL; this machine's own address is not."""
    environment = post_guard(tmp_path / "guard", dict(os.environ))
    subprocess.run([sys.executable, "-c", CODE], env=environment, check=True, timeout=60)
    tried, processes = read_guard(tmp_path / "guard")
    hosts = [line.split()[0] for line in tried.splitlines()]
    assert hosts == ["203.0.113.9", "telemetry.example.org", "example.org"]
    assert processes == 1


def test_secrets_are_found_however_they_are_written(tmp_path):
    """Plain, compressed, and as base64 of a text that holds them anywhere."""
    import base64

    secret = "a-secret-of-some-length"
    (tmp_path / "plain").write_text(f"x {secret} y")
    (tmp_path / "packed").write_bytes(gzip.compress(f"x {secret} y".encode()))
    for skip in range(3):
        text = base64.b64encode(b"u" * skip + b":" + secret.encode() + b"!")
        (tmp_path / f"base64-{skip}").write_bytes(text)
    (tmp_path / "none").write_text("nothing")
    found = {line.removeprefix("s in ") for line in find_secrets(tmp_path, {"s": secret})}
    assert found == {"plain", "packed", "base64-0", "base64-1", "base64-2"}
