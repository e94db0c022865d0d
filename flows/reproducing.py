"""`tunesmith reproduce`: a model made again from its record, elsewhere, and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from finetuning.differences import Change, compare_values
from finetuning.digests import PROJECT
from finetuning.errors import Fault, InputError, NotReproducedError, TunesmithError
from finetuning.lineage import digest_weights, list_hindrances
from finetuning.pipelines import flatten
from finetuning.reproduction import TOLERANCE, Comparison, compare_models
from flows.environment import prepare_environment
from flows.inspection import read_lineage
from tasks.base_models import recall_base
from tasks.data_state import POINTER, find_cache, parse_pointer
from tasks.planning import STATE
from tasks.registered_models import PREDICTIONS, Evidence, gather_evidence
from tasks.repository import check_out, drop_checkout, has_commit, read_at
from tasks.restoration import restore

CODE = "flows/cli.py"
FILE = f"{STATE}/recorded.yaml"
REFUSED = 4  # the exit code of a gate's refusal: the model was made all the same
# What decides where state lies and who else is told of it: the second making has its own.
_PLACES = ("MLFLOW_", "PREFECT_", "GIT_", "TUNESMITH_STORE")
_KEPT = "PREFECT_SERVER_EPHEMERAL_"
# What two makings must share for their weights to be equal byte for byte.
_SHAPING = ("libraries", "python", "device", "code", "row_digests", "base_digest")


@dataclass(frozen=True)
class Making:
    """What the second making left: its own record, what it is compared by, and whose code ran."""

    code: str  # of the commit | installed
    record: Mapping[str, Any]
    evidence: Evidence


def reproduce_model(root: Path, reference: str, keep: bool = False) -> dict[str, Any]:
    """Make a model version again from its recorded commit, data, config and base, and compare.

    The commit is checked out as a git worktree under .tunesmith/reproduce/, with a store and a
    registry of its own; nothing in the project changes. Afterwards it is removed.

    Args:
        root: The project's folder.
        reference: NAME (its newest version), NAME@ALIAS or NAME/VERSION.
        keep: Leave that place as it is.

    Returns:
        `status` (identical, within tolerance), and what it rests on.

    Raises:
        InputError: Something that the record names cannot be had; with the remedy.
        NotReproducedError: The second model differs by more than the tolerance.
        TunesmithError: The run there failed.
    """
    started = time.monotonic()
    prepare_environment(root, quiet=True)
    record = read_lineage(root, reference)
    model = f"{record['pipeline']}/{record['model_version']}"
    evidence = gather_evidence(root, record)
    check_record(root, record, model)
    base = find_recorded_base(root, record)
    place = root / STATE / "reproduce" / model.replace("/", "-")
    lock = FileLock(root / STATE / "locks" / f"{place.name}.reproduce", timeout=0)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        with lock:
            making = make_again(root, record, base, place, keep)
    except Timeout:
        raise TunesmithError(f"{model} is being made again already: wait for that") from None
    found = compare_models(
        (evidence.weights, making.evidence.weights),
        (evidence.predictions, making.evidence.predictions),
        (evidence.metrics, making.evidence.metrics),
    )
    result = conclude(record, making, found) | {
        "model": model,
        "place": str(place) if keep else None,
        "seconds": round(time.monotonic() - started, 3),
    }
    if found.verdict == "differs":
        raise NotReproducedError(f"{model} was not reproduced", result)
    return result


def check_record(root: Path, record: Mapping[str, Any], model: str) -> None:
    """Raise, with all that is missing, where code or data of a record cannot be had.

    Raises:
        InputError: The tree was dirty, the commit is gone, or it names other data.
    """
    commit, pointer = record.get("commit") or {}, record.get("data_pointer")
    sha, remedy = (
        str(commit.get("sha")),
        "Nothing brings it back now; the next version can do better.",
    )
    hindrances = list_hindrances(commit.get("sha"), bool(commit.get("dirty")), pointer)
    if hindrances:
        raise InputError([Fault(model, reason, remedy) for reason in hindrances])
    if not has_commit(root, sha):
        remedy = "Bring it back (git fetch --all), or clone the repository where it still is."
        raise InputError([Fault(model, f"commit {sha}, which this repository lacks", remedy)])
    content = read_at(root, sha, POINTER)
    if content is None or parse_pointer(content) != pointer:
        found = f"data version {pointer}, which {POINTER} of commit {sha} does not name"
        raise InputError([Fault(model, found, remedy)])


def find_recorded_base(root: Path, record: Mapping[str, Any]) -> Path | None:
    """The folder of the recorded base model; None where only the recorded commit still has it.

    Raises:
        InputError: It is gone, or its files are others by now.
    """
    try:
        return recall_base(root, record).folder
    except InputError:
        config = f"{record['config']['model']['base']}/config.json"
        if record.get("parent") or read_at(root, record["commit"]["sha"], config) is None:
            raise
        return None


def make_again(
    root: Path, record: Mapping[str, Any], base: Path | None, place: Path, keep: bool
) -> Making:
    """Check out code and data into a place, run there, and read what came of it.

    Without a base model, the checkout holds it.
    """
    sha, folder = record["commit"]["sha"], record["config"]["data"]["path"]
    ended = False
    try:
        project = check_out(root, sha, place)
        restore(root, record["data_pointer"], folder, project / folder, sha)
        share_cache(root, project)
        write_config(record, base or recall_base(project, record).folder, project / FILE)
        print(f"tunesmith: commit {sha[:12]} runs again in {place}", file=sys.stderr, flush=True)
        own = (project / CODE).is_file()
        metrics = run_there(project, project if own else PROJECT, record)
        ended = True
        code = "of the commit" if own else "installed"
        return read_making(project / STATE / "store", metrics, code)
    finally:
        if not (keep and ended):
            drop_checkout(root, place)


def share_cache(root: Path, project: Path) -> None:
    """Let the checkout know DVC's cache of the project, which holds the listing of its data."""
    settings = project / ".dvc" / "config.local"
    settings.parent.mkdir(exist_ok=True)
    cache = find_cache(root).parent.parent.resolve()
    settings.write_text(f"[cache]\n    dir = {cache}\n", "utf-8")


def write_config(record: Mapping[str, Any], base: Path, path: Path) -> None:
    """The recorded config as a pipeline file; the base model by the folder that it was found in."""
    config = {**record["config"], "model": {**record["config"]["model"], "base": str(base)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")


def run_there(project: Path, code: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Run the recorded config in the checkout.

    Args:
        project: The project's folder in the checkout.
        code: The folder that holds flows/: the checkout, where the repository has its own.
        record: The lineage record.

    Returns:
        The metrics.

    Raises:
        TunesmithError: The run failed; in its own words.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_PLACES) or name.startswith(_KEPT)
    }
    environment["PYTHONPATH"] = str(code)
    if threads := (record.get("device") or {}).get("threads"):
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", FILE, "--json"],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = {"error": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
    if done.returncode not in (0, REFUSED) or "metrics" not in result:
        raise TunesmithError(f"the run in the checkout failed: {result.get('error')}")
    return dict(result["metrics"])


def read_making(store: Path, metrics: dict[str, float], code: str) -> Making:
    """What a run that began with an empty store has left in it."""
    import pandas

    (trained,) = store.glob("train/*/model")
    (predictions,) = store.glob(f"evaluate/*/{PREDICTIONS}")
    (lineage,) = store.glob("register/*/lineage.json")
    record = json.loads(lineage.read_text("utf-8"))
    evidence = Evidence(digest_weights(trained), pandas.read_parquet(predictions), metrics)
    return Making(code, record, evidence)


def conclude(record: Mapping[str, Any], making: Making, found: Comparison) -> dict[str, Any]:
    """What held, what was to be expected, and what else was different."""
    then, now = (
        flatten({key: one[key] for key in _SHAPING if one.get(key)})
        for one in (record, making.record)
    )
    # What a record does not tell cannot be held against it: an older one knows fewer fields.
    differences = [change for change in compare_values(then, now) if change.key in then]
    return {
        "status": found.verdict,
        "commit": record["commit"]["sha"],
        "expected": "within tolerance" if differences else "identical",
        "weights": found.weights,
        "predictions_identical": found.predictions,
        "agreement": found.agreement,
        "largest_score_difference": found.largest_score_difference,
        "metrics": {key: list(values) for key, values in found.metrics.items()},
        "tolerance": asdict(TOLERANCE),
        "differences": [asdict(change) for change in differences],
        "code": making.code,
    }


def describe_reproduction(result: dict[str, Any]) -> str:
    """What held, for people."""
    heads = {
        "identical": "identical: every weights file is equal byte for byte",
        "within tolerance": "within tolerance: the weights differ, the answers hardly do",
        "differs": "differs by more than the tolerance",
    }
    equal = [name for name, same in result["weights"].items() if same]
    other = [name for name, same in result["weights"].items() if not same]
    score = result["largest_score_difference"]
    apart = "" if score is None else f", scores at most {score:.2g} apart"
    rows = [
        ("code", result["code"]),
        ("equal weights", ", ".join(equal)),
        ("other weights", ", ".join(other)),
        ("answers", f"{result['agreement']:.2%} of the test rows alike{apart}"),
    ]
    for key, values in result["metrics"].items():
        then, now = ("gone" if value is None else f"{value:.6f}" for value in values)
        rows.append((key, f"{then} -> {now}"))
    rows += [("differs too", str(Change(**change))) for change in result["differences"]]
    if result["expected"] == "identical" != result["status"]:
        rows.append(("note", "nothing known differs: the training is not deterministic here"))
    if result["place"]:
        rows.append(("kept in", result["place"]))
        rows.append(("remove it by", f"git worktree remove --force {result['place']}"))
    width = max(len(title) for title, _ in rows)
    head = f"{result['model']}: {heads[result['status']]}"
    return "\n".join([head, *(f"  {title:<{width}}  {text}" for title, text in rows if text)])
