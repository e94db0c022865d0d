"""How data/ stands to data.dvc, set by set, and a new data set recorded beside the others.

What data.dvc holds and is not here stays recorded as it is: a fresh clone has none of it, and the
samples are made one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetuning.errors import Fault, InputError, wrong
from tasks import sample
from tasks.data_files import hash_everything
from tasks.data_state import (
    ADD,
    DATA,
    POINTER,
    Difference,
    are_cached,
    compare,
    explain_return,
    find_remote,
    folder_version,
    list_everything,
    list_tracked,
    read_pointer,
    refuse,
)
from tasks.versioning import add, explain, run_python

# DVC asks its default remote for the listing alone.
_LEARN = """
import sys
from dvc.exceptions import DvcException
from dvc.repo import Repo

try:
    with Repo(".") as repo:
        for output in repo.stage.load_one(sys.argv[1]).outs:
            output.get_dir_cache()
except DvcException as error:
    sys.exit(f"ERROR: {error}")
"""


@dataclass(frozen=True)
class Standing:
    """How what lies directly in data/ stands to what data.dvc holds there.

    Attributes:
        missing: What data.dvc holds and of which no file is here, such as ``data/digits``.
        differing: What is here and is not what data.dvc holds -> in what.
        held: What data.dvc holds: such as ``data/digits`` -> path inside it -> MD5.
    """

    missing: tuple[str, ...]
    differing: Mapping[str, Difference]
    held: Mapping[str, Mapping[str, str]]


def compare_sets(root: Path) -> Standing | None:
    """Hold data/ against data.dvc; None where there is no data.dvc or its listing is not here.

    Raises:
        InputError: data.dvc cannot be read, or something in data/ cannot be versioned.
    """
    pointer = read_pointer(root)
    listing = None if pointer is None else list_everything(root, pointer)
    if listing is None:
        return None
    held, here = _group(listing), _group(hash_everything(root))
    differences = {name: compare(held.get(name, {}), here[name]) for name in sorted(here)}
    return Standing(
        tuple(sorted(held.keys() - here.keys())),
        {name: difference for name, difference in differences.items() if difference},
        held,
    )


def _group(listing: Mapping[str, str]) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    for path, md5 in listing.items():
        name, _, inside = path.partition("/")
        groups.setdefault(f"{DATA}/{name}", {})[inside or name] = md5
    return groups


def check_beside(root: Path, folder: str) -> list[str]:
    """That a new folder can be recorded, and nothing else by the way.

    Args:
        root: The repository.
        folder: The folder that will be made, such as ``data/support``.

    Returns:
        What is to be said of the others.

    Raises:
        InputError: What is here differs from data.dvc, or data.dvc holds such a folder already.
    """
    pointer, files = read_pointer(root), hash_everything(root)
    if pointer is None:
        return [f"{POINTER} now holds {name} too, not versioned before" for name in _group(files)]
    if folder_version(files) == pointer:
        return []
    reason = _learn_listing(root, pointer)
    standing = compare_sets(root)
    if standing is None:
        found = f"files that cannot be held against {POINTER}: its listing is not here ({reason})"
        remedy = (
            "Name the remote that has it (dvc remote add --default NAME URL), or copy DVC's cache "
            f"from where it was recorded. To record what is here and drop all else, run: {ADD}"
        )
        raise refuse(f"{DATA}/", found, remedy)
    if folder in standing.held:
        remedy = "It is never overwritten: choose another name."
        raise refuse("NAME", f"{folder!r}, which {POINTER} holds and is not here", remedy)
    if faults := list_differences(root, standing):
        raise InputError(faults)
    listed = ", ".join(standing.missing)
    return [f"{POINTER} still holds what is not here: {listed}"] if standing.missing else []


def list_differences(root: Path, standing: Standing) -> list[Fault]:
    """What is here and differs from data.dvc, each with the remedies that work here."""
    return [
        Fault(
            name,
            f"files that differ from {POINTER} ({difference})",
            f"To record them, run: dvc add {name}. "
            f"{explain_return(root, name, standing.held.get(name, {}))}",
        )
        for name, difference in standing.differing.items()
    ]


def _learn_listing(root: Path, pointer: str) -> str:
    """Bring data.dvc's listing into DVC's cache; where that fails, in words why."""
    if list_everything(root, pointer) is not None:
        return ""
    if pointer == sample.POINTER:
        sample.keep_listing(root)
        return "the sample's could not be made"
    if find_remote(root) is None:
        return "no DVC remote is known"
    result = run_python(root, "-c", _LEARN, POINTER)
    return explain(result) if result.stderr.strip() else "its remote does not have it"


def record(root: Path, folder: str) -> None:
    """Record a new folder; what data.dvc holds beside it and is not here stays as it is.

    Raises:
        TunesmithError: DVC refuses; in its own words.
    """
    standing = compare_sets(root)
    add(root, folder if standing and standing.missing else DATA)


def explain_missing(root: Path, folder: str) -> str:
    """What brings a data set that is not here; nothing is started to find that out.

    Raises:
        InputError: Nothing does but the user.
    """
    if sample.is_missing(root, folder):
        return sample.REMEDY
    tracked = list_tracked(root, folder)
    if tracked and are_cached(root, tracked.values()):
        return f"It is not here. `dvc checkout {folder}` or `tunesmith run` brings it."
    known = tracked != {} and read_pointer(root) is not None
    if known and find_remote(root):
        return f"It is not here. `dvc pull {folder}` or `tunesmith run` brings it."
    remote = ", or name the remote that has it: dvc remote add --default NAME URL"
    recorded = f" and run: {ADD if read_pointer(root) is None else f'dvc add {folder}'}"
    remedy = f"It is not here. Put it there{remote if known else recorded}"
    raise wrong("data.path", folder, remedy)
