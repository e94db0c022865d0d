"""Where stores meet: entries under an fsspec address, shared by machines that run the same work.

An entry lies under `ADDRESS/STAGE/DIGEST/`: each file under its own SHA-256, and the manifest,
which is written last. So a half upload is a miss, and of two that send the same entry at once
neither mixes its files into the other's. What is missing, damaged or does not answer is a miss.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from finetuning.addresses import hide_password
from finetuning.digests import digest_file, digest_value, write_atomically
from finetuning.errors import InputError, wrong

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MANIFEST = "manifest.json"
ATTEMPTS = 3
FIRST_DELAY = 1.0  # seconds before the second attempt; each later one waits twice as long
REST = 300.0  # seconds in which an address that did not answer is not asked again
CONNECTING = 5  # seconds that a connection to S3 may take
VARIABLE = "TUNESMITH_STORE"

_SHA256 = re.compile("[0-9a-f]{64}")
_logger = logging.getLogger(__name__)
_silent: dict[str, float] = {}  # address -> until when it is not asked again


class SilentError(Exception):
    """The address does not answer; that has been logged."""


@dataclass(frozen=True)
class RemoteStore:
    """Entries under an fsspec address, such as ``s3://bucket/prefix``."""

    address: str

    @property
    def shown(self) -> str:
        """The address as it may stand in a log."""
        return hide_password(self.address)

    def bring(self, stage: str, digest: str, folder: Path) -> bool:
        """Fill an empty folder with an entry's files and manifest, all of them checked.

        Returns:
            Whether the entry is there, undamaged; else the folder may hold half of it.
        """
        try:
            manifest = self._read_manifest(stage, digest)
            if manifest is None:
                return False
            for name, (size, sha256) in manifest["files"].items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._try("get_file", self._place(stage, digest, sha256), str(path))
                if path.stat().st_size != size or digest_file(path) != sha256:
                    raise ValueError(f"{name} is not what its manifest says")
        except SilentError:
            return False
        except (FileNotFoundError, ValueError) as error:
            _logger.warning("%s of %s is damaged: %s", stage, self.shown, error)
            return False
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1))
        return True

    def look(self, stage: str, digest: str) -> dict[str, Any] | None:
        """An entry's manifest; None where it is missing or damaged, or the address is silent."""
        try:
            return self._read_manifest(stage, digest)
        except (SilentError, ValueError):
            return None

    def holds(self, stage: str, digest: str) -> bool | None:
        """Whether an entry's manifest is there; None where the address does not answer."""
        place = self._place(stage, digest, MANIFEST)
        try:
            return bool(self._try("exists", place))
        except SilentError:
            return None

    def send(self, stage: str, digest: str, folder: Path) -> bool:
        """Send an entry's files, and its manifest when all of them have arrived.

        Returns:
            Whether it is there now; where it is not, that has been logged.
        """
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        try:
            for name, (_, sha256) in manifest["files"].items():
                self._try("put_file", str(folder / name), self._place(stage, digest, sha256))
            content = (folder / MANIFEST).read_bytes()
            self._try("pipe_file", self._place(stage, digest, MANIFEST), content)
        except FileNotFoundError as error:
            said = hide_password(str(error))
            _logger.warning("cannot write %s: %s does not exist", self.shown, said)
            return False
        except SilentError:
            return False
        return True

    def discard(self, stage: str, digest: str) -> None:
        """Make an entry a miss; its files stay until they are replaced or expire."""
        try:
            self._try("rm_file", self._place(stage, digest, MANIFEST))
        except (SilentError, FileNotFoundError):
            return

    def _read_manifest(self, stage: str, digest: str) -> dict[str, Any] | None:
        try:
            content = self._try("cat_file", self._place(stage, digest, MANIFEST))
        except FileNotFoundError:
            return None
        return parse_manifest(content)

    def _place(self, stage: str, digest: str, name: str) -> str:
        return f"{self.address.rstrip('/')}/{stage}/{digest}/{name}"

    def _try(self, method: str, *arguments: str | bytes) -> Any:
        """Call a method of the file system, again after a while where that failed.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: The address is of no known kind.
            SilentError: It failed each time, or did so a moment ago.
        """
        if time.monotonic() < _silent.get(self.address, 0.0):
            raise SilentError
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return getattr(open_files(self.address), method)(*arguments)
            except (FileNotFoundError, InputError):
                raise
            # Each protocol's library has errors of its own, and none of them may end a run that
            # can go on without this.
            except Exception as error:
                said = (str(error).splitlines() or [""])[0][:200]
                reason = f"{type(error).__name__}: {said}"
                if attempt == ATTEMPTS:
                    break
                time.sleep(FIRST_DELAY * 2 ** (attempt - 1))
        _silent[self.address] = time.monotonic() + REST
        _logger.warning(
            "%s does not answer (%s). The run goes on with the store on this machine alone",
            self.shown,
            hide_password(reason),
        )
        raise SilentError


def open_files(address: str) -> AbstractFileSystem:
    """The file system that an address lies on.

    Raises:
        InputError: There is no such protocol, or its library is not installed.
    """
    from fsspec.core import url_to_fs

    protocol = address.partition("://")[0] if "://" in address else "file"
    known: dict[str, dict[str, Any]] = {
        "file": {"auto_mkdir": True},
        "local": {"auto_mkdir": True},
        "s3": {
            "use_listings_cache": False,
            "config_kwargs": {"connect_timeout": CONNECTING, "retries": {"max_attempts": 0}},
        },
    }
    try:
        files, _ = url_to_fs(address, **known.get(protocol, {}))
    except (ImportError, ValueError) as error:
        remedy = "Write an address such as s3://bucket/prefix, and install the extra s3 for it."
        raise wrong(VARIABLE, hide_password(f"{address} ({error})"), remedy) from None
    return files


def parse_manifest(content: bytes) -> dict[str, Any]:
    """A manifest that says what it did when it was written.

    Raises:
        ValueError: It does not, or it names a file outside its folder.
    """
    try:
        manifest = json.loads(content)
        said = {key: value for key, value in manifest.items() if key != "digest"}
        if manifest["digest"] != digest_value(said):
            raise ValueError("its manifest is not what was written")
        for name, (size, sha256) in manifest["files"].items():
            path = PurePosixPath(name)
            sound = int(size) >= 0 and _SHA256.fullmatch(sha256)
            if path.is_absolute() or ".." in path.parts or "\0" in name or not sound:
                raise ValueError(f"its manifest names the file {name!r}")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("its manifest cannot be read") from error
    return dict(manifest)
