"""What tests share that watch what a command gives away: connections, and planted secrets."""

import base64
import gzip
import zipfile

# Python imports a module of this name when it starts, in every process that inherits the path.
GUARD = """
import ipaddress, os, sys

def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        place = arguments[-1]
        host = place[0] if isinstance(place, tuple) else None  # else a Unix socket, or none
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost", "0.0.0.0", "::"):
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    with open(os.environ["GUARD_LOG"], "a") as log:
        log.write(f"{host} by {sys.argv}\\n")
    raise ConnectionRefusedError(f"the guard refuses {host}")

sys.addaudithook(note)
with open(os.environ["GUARD_LOG"] + ".begun", "a") as log:
    log.write("begun\\n")
"""


def post_guard(folder, environment):
    """An environment in which every Python process refuses, and notes, what leaves this machine."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GUARD)
    (folder / "log").touch()
    paths = [str(folder), *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, "PYTHONPATH": ":".join(paths), "GUARD_LOG": str(folder / "log")}


def read_guard(folder):
    """What was tried, a line each; and how many processes were watched."""
    return (folder / "log").read_text(), (folder / "log.begun").read_text().count("begun")


def find_secrets(folder, secrets):
    """Where secrets (name -> value) stand below a folder: in files, compressed ones, as base64."""
    wanted = {name: _spell(value.encode()) for name, value in secrets.items()}
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            for content in _unpack(path):
                found += [
                    f"{name} in {path.relative_to(folder)}"
                    for name, spellings in wanted.items()
                    if any(spelling in content for spelling in spellings)
                ]
    return found


def _spell(value):
    """A secret as it stands, and as base64 wherever in it it may begin."""
    middles = (base64.b64encode(b"x" * skip + value) for skip in range(3))
    return [value, *(middle[4:-4] for middle in middles)]


def _unpack(path):
    content = path.read_bytes()
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())
