"""What data/ holds and what data.dvc says it holds: read from the files, without starting DVC.

Only DVC's file formats are known here, so that the answer "nothing changed" costs milliseconds:
data.dvc is YAML with the MD5 of a listing, the listing is JSON in DVC's cache, and a version is
the MD5 that DVC itself would write for that folder.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from finetuning.errors import Fault, InputError

DATA = "data"
POINTER = "data.dvc"
ADD = f"dvc add {DATA}"
SHOWN = 5


@dataclass(frozen=True)
class DataVersion:
    """The exact content of one data set's folder.

    Attributes:
        version: The folder's MD5 as DVC writes it, ending in ``.dir``.
        pointer: The MD5 of the whole of data/ in data.dvc; None where there is no data.dvc.
        files: Path inside the folder -> MD5 of the file's bytes.
        committed: Whether data.dvc holds exactly these files.
    """

    version: str
    pointer: str | None
    files: dict[str, str]
    committed: bool


@dataclass(frozen=True)
class Difference:
    """What happened to a folder's files between two listings."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        said = [
            f"{name} {word}"
            for word, names in (
                ("changed", self.changed),
                ("added", self.added),
                ("removed", self.removed),
            )
            for name in names
        ]
        more = [f"{len(said) - SHOWN} more"] if len(said) > SHOWN else []
        return ", ".join(said[:SHOWN] + more)


def refuse(key: str, found: str, remedy: str) -> InputError:
    """An InputError with one fault, whose finding is a phrase and not a value."""
    return InputError([Fault(key, found, remedy)])


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    """The files that differ between two listings."""
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(
            sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
        ),
    )


def folder_version(listing: Mapping[str, str]) -> str:
    """The MD5 that DVC gives a folder with these files, ending in ``.dir``."""
    return f"{hashlib.md5(render_listing(listing), usedforsecurity=False).hexdigest()}.dir"


def render_listing(listing: Mapping[str, str]) -> bytes:
    """The file in which DVC keeps a folder's listing (path inside the folder -> MD5)."""
    entries = [{"md5": listing[name], "relpath": name} for name in sorted(listing)]
    return json.dumps(entries, sort_keys=True).encode()


def locate(root: Path, folder: str) -> Path:
    """The data set's folder as a path, whether it exists or not.

    Raises:
        InputError: It is not a folder inside data/, by its name or through a link.
    """
    name = PurePosixPath(folder)
    remedy = f"Name a folder inside {DATA}/, such as {DATA}/reviews."
    if name.is_absolute() or ".." in name.parts or name.parts[:1] != (DATA,) or len(name.parts) < 2:
        raise refuse("data.path", repr(folder), remedy)
    path = root / DATA
    for part in name.parts[1:]:
        path = path / part
        if path.is_symlink():
            raise refuse(
                "data.path",
                f"{folder!r}, which passes through the symbolic link {path.relative_to(root)}",
                f"DVC does not follow links to folders: move the files into {DATA}/.",
            )
    if path.exists() and not path.is_dir():
        raise refuse("data.path", f"{folder!r}, which is a file", remedy)
    return path


def read_pointer(root: Path) -> str | None:
    """The MD5 of data/ in data.dvc, ending in ``.dir``; None where there is no data.dvc.

    Raises:
        InputError: data.dvc cannot be read, or does not describe the folder data/.
    """
    path = root / POINTER
    if not path.exists():
        return None
    try:
        return parse_pointer(path.read_bytes())
    except OSError as error:
        found = f"a file that cannot be read: {error.strerror}"
        raise refuse(POINTER, found, "Make it readable.") from error


def parse_pointer(content: bytes) -> str:
    """The MD5 of data/ in the content of a data.dvc, ending in ``.dir``.

    Raises:
        InputError: It does not describe the folder data/.
    """
    import yaml

    try:
        output = yaml.safe_load(content.decode("utf-8"))["outs"][0]
        known = (output["path"], output.get("hash"))
        pointer = output["md5"]
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        found = "text that is no DVC pointer to a folder (a merge left unfinished?)"
        raise refuse(POINTER, found, f"Repair it, or run: {ADD}") from error
    if known != (DATA, "md5") or not re.fullmatch(r"[0-9a-f]{32}\.dir", str(pointer)):
        found = f"a pointer to {known[0]!r} that is not DVC 3's pointer to the folder {DATA}/"
        raise refuse(POINTER, found, f"Run: {ADD}")
    return str(pointer)


def find_cache(root: Path) -> Path:
    """The folder in which DVC keeps this repository's contents, by their MD5."""
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(root / ".dvc" / name, "utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        if value := parser.get("cache", "dir", fallback="").strip("\"' "):
            return (root / ".dvc" / Path(value).expanduser()) / "files" / "md5"
    return root / ".dvc" / "cache" / "files" / "md5"


def list_tracked(root: Path, folder: str) -> dict[str, str] | None:
    """The files of a data set's folder as data.dvc has them: path inside the folder -> MD5.

    Returns:
        None where the listing is not in DVC's cache or is damaged there; an empty dictionary
        where data.dvc holds nothing in that folder.

    Raises:
        InputError: The folder is not inside data/, or data.dvc cannot be read.
    """
    locate(root, folder)
    pointer = read_pointer(root)
    return None if pointer is None else list_version(root, pointer, folder)


def list_version(root: Path, pointer: str, folder: str) -> dict[str, str] | None:
    """The files of a data set's folder in any version of data/: path inside the folder -> MD5.

    Args:
        root: The repository.
        pointer: The MD5 that a data.dvc holds.
        folder: The data set's folder, such as ``data/reviews``.

    Returns:
        None where the listing is not in DVC's cache or is damaged there; an empty dictionary
        where that version holds nothing in that folder.
    """
    listing = list_everything(root, pointer)
    inside = PurePosixPath(folder).relative_to(DATA).as_posix() + "/"
    return listing and {
        name.removeprefix(inside): md5 for name, md5 in listing.items() if name.startswith(inside)
    }


def list_everything(root: Path, pointer: str) -> dict[str, str] | None:
    """The files of any version of data/: path inside data/ -> MD5.

    Args:
        root: The repository.
        pointer: The MD5 that a data.dvc holds.

    Returns:
        None where the listing is not in DVC's cache or is damaged there.
    """
    try:
        content = (find_cache(root) / pointer[:2] / pointer[2:]).read_bytes()
    except OSError:
        return None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != pointer.removesuffix(".dir"):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def are_cached(root: Path, hashes: Iterable[str]) -> bool:
    """Whether DVC's cache holds all contents with these MD5s."""
    cache = find_cache(root)
    return all((cache / md5[:2] / md5[2:]).exists() for md5 in hashes)


def find_remote(root: Path) -> str | None:
    """The name of the project's default DVC remote; None where it has none."""
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        with suppress(configparser.Error, UnicodeDecodeError):
            parser.read(root / ".dvc" / name, "utf-8")
            if remote := parser.get("core", "remote", fallback="").strip("\"' "):
                return remote
    return None


def explain_return(root: Path, folder: str, tracked: Mapping[str, str]) -> str:
    """What brings back what data.dvc holds of a folder that differs, as far as is known here."""
    back = f"To go back to what {POINTER} holds, run: dvc"
    if not tracked:
        return f"{POINTER} holds nothing there: to go back, move it out of {DATA}/."
    if are_cached(root, tracked.values()):
        return f"{back} checkout --force {folder}"
    if find_remote(root):
        return f"{back} pull --force {folder}"
    return (
        f"DVC has no copy of what {POINTER} holds, and no remote: to go back, move {folder} away "
        "and put the data there anew, a sample by: make data"
    )
