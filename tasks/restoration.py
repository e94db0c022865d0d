"""Any recorded version of a data set, brought back beside the present one."""

from __future__ import annotations

import shutil
from pathlib import Path

from tasks.data_files import hash_file
from tasks.data_state import find_cache, list_version, refuse
from tasks.versioning import explain, run_python

# Fetch has a parameter for revisions that its command line lacks. A relative address is resolved
# inside git's tree there, so the remotes are handed over as they are known here.
_FETCH = """
import sys
from dvc.exceptions import DvcException
from dvc.repo import Repo

folder, revision = sys.argv[1:]
try:
    with Repo(".") as repo:
        remotes = {name: dict(values) for name, values in repo.config["remote"].items()}
        present = {"core": dict(repo.config["core"]), "remote": remotes}
        repo.fetch([folder], revs=[revision], workspace=False, config=present)
except DvcException as error:
    sys.exit(f"ERROR: {error}")
"""


def restore(root: Path, pointer: str, folder: str, target: Path, sha: str | None = None) -> None:
    """Copy a data set's folder, as a version of data/ has it, to another place.

    Args:
        root: The repository.
        pointer: The MD5 of that version of data/, as its data.dvc holds it.
        folder: The data set's folder, such as ``data/reviews``.
        target: Where its files are to lie.
        sha: The commit with that data.dvc: what is not in DVC's cache is then fetched into it from
            the default remote.

    Raises:
        InputError: Some of it is in neither, or is damaged in the cache.
    """
    listing, missing = _look_up(root, pointer, folder)
    reason = "no commit is known that names it"
    if missing and sha is not None:
        result = run_python(root, "-c", _FETCH, folder, sha)
        reason = explain(result) if result.stderr.strip() else "it holds no such version"
        listing, missing = _look_up(root, pointer, folder)
    if missing:
        raise refuse(
            f"{folder} of version {pointer}",
            f"{missing} in DVC's cache, and none to be had from its default remote: {reason}",
            "Name the remote that has it (dvc remote add --default NAME URL), or copy "
            "its cache here, then try again.",
        )
    for name, md5 in listing.items():
        place = target / name
        if not place.resolve().is_relative_to(target.resolve()):
            raise refuse(f"{folder} of version {pointer}", repr(name), "Its listing is damaged.")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(find_cache(root) / md5[:2] / md5[2:], place)
        if hash_file(place) != md5:
            remedy = f"Delete {md5[:2]}/{md5[2:]} from DVC's cache; `dvc pull` brings it back."
            raise refuse(f"{folder}/{name}", "a damaged copy in DVC's cache", remedy)


def _look_up(root: Path, pointer: str, folder: str) -> tuple[dict[str, str], str]:
    """A version's files, and in words what of them the cache lacks."""
    listing = list_version(root, pointer, folder)
    if listing is None:
        return {}, "no listing"
    if not listing:
        return {}, "no file of that folder"
    cache = find_cache(root)
    gone = [name for name, md5 in listing.items() if not (cache / md5[:2] / md5[2:]).is_file()]
    return listing, f"not {gone[0]} (nor {len(gone) - 1} more)" if gone else ""
