"""The content-addressed store: what a stage made, kept under the digest of what made it.

An entry is a folder with a manifest that lists every file with its size and SHA-256, and ends with
the digest of what it says itself. It is written to a temporary name and moved into place, so a
crash leaves no half entry; a missing or damaged entry is a miss, never a wrong answer. What is
missing here may be at a remote address that machines share: it is brought from there, and what is
made here is sent there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuning.digests import digest_file, digest_value, write_atomically
from finetuning.locks import fill
from finetuning.remote_store import MANIFEST, RemoteStore, parse_manifest


@dataclass(frozen=True)
class Entry:
    """One stage's kept output: the folder of its files and the small facts beside them."""

    stage: str
    digest: str
    folder: Path
    facts: dict[str, Any]


@dataclass(frozen=True)
class Store:
    """A folder of entries, `STAGE/DIGEST/`, and the remote store behind it, where there is one."""

    root: Path
    remote: RemoteStore | None = None

    def find(self, stage: str, digest: str, verify: bool = True) -> Entry | None:
        """The entry, brought here where it is not; None where it is missing or damaged.

        Args:
            stage: Stage's name.
            digest: Stage's key.
            verify: Compare every file's SHA-256, not only its presence and size.
        """
        entry = self.find_here(stage, digest, verify)
        if entry is not None or self.remote is None:
            return entry
        folder = self.root / stage / digest
        with fill(folder.parent, digest[:16]) as temporary:
            if not self.remote.bring(stage, digest, temporary):
                return None
            self._move(temporary, folder)
        return self.find_here(stage, digest, verify=False)

    def find_here(self, stage: str, digest: str, verify: bool = True) -> Entry | None:
        """As `find`, on this machine alone."""
        folder = self.root / stage / digest
        try:
            manifest = parse_manifest((folder / MANIFEST).read_bytes())
            facts, files = dict(manifest["facts"]), dict(manifest["files"])
            intact = all(_is_intact(folder / name, mark, verify) for name, mark in files.items())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Entry(stage, digest, folder, facts) if intact else None

    def look(self, stage: str, digest: str) -> dict[str, Any] | None:
        """The facts of an entry, here or at the remote store; its files are not asked for.

        None where its manifest is missing or damaged.
        """
        try:
            content = (self.root / stage / digest / MANIFEST).read_bytes()
            return dict(parse_manifest(content)["facts"])
        except (OSError, ValueError):
            found = None if self.remote is None else self.remote.look(stage, digest)
            return None if found is None else dict(found["facts"])

    def keep(
        self,
        stage: str,
        digest: str,
        make: Callable[[Path], dict[str, Any]],
        components: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Make an entry: `make` fills an empty folder and returns the facts to keep beside it.

        It is kept here first. Where the remote store does not take it, that is logged.
        """
        folder = self.root / stage / digest
        with fill(folder.parent, digest[:16]) as temporary:
            facts = make(temporary)
            files = {
                path.relative_to(temporary).as_posix(): [path.stat().st_size, digest_file(path)]
                for path in sorted(temporary.rglob("*"))
                if path.is_file()
            }
            said = {"facts": facts, "files": files, "components": dict(components or {})}
            manifest = json.loads(json.dumps(said))  # as it will be read: tuples are lists
            manifest["digest"] = digest_value(manifest)
            write_atomically(temporary / MANIFEST, json.dumps(manifest, indent=1))
            self._move(temporary, folder)
        # Read back, so that a first run and a later one see the very same values.
        kept = self.find_here(stage, digest, verify=False)
        if kept is None:
            raise OSError(f"the store entry {folder} could not be read back")
        if self.remote is not None:
            self.remote.send(stage, digest, folder)
        return kept

    def share(self, entry: Entry) -> None:
        """Send an entry that is not at the remote store: it was made before, or that was silent."""
        if self.remote is not None and self.remote.holds(entry.stage, entry.digest) is False:
            self.remote.send(entry.stage, entry.digest, entry.folder)

    def discard(self, stage: str, digest: str) -> None:
        """Drop an entry that speaks of something which is no more."""
        if self.remote is not None:
            self.remote.discard(stage, digest)
        folder = self.root / stage / digest
        with fill(folder.parent, digest[:16]) as gone, suppress(FileNotFoundError):
            folder.rename(gone)

    def _move(self, temporary: Path, folder: Path) -> None:
        try:
            temporary.rename(folder)
        except OSError:
            if self.find_here(folder.parent.name, folder.name) is not None:
                return  # another run made the same entry first: by construction it is the same
            if not folder.exists():
                raise
            folder.rename(temporary.with_name("damaged"))
            temporary.rename(folder)


def _is_intact(path: Path, mark: Sequence[Any], verify: bool) -> bool:
    size, sha256 = mark
    if not path.is_file() or path.stat().st_size != size:
        return False
    return not verify or digest_file(path) == sha256
