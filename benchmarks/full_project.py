"""A project as it is after years: many pipelines, model versions and flow runs.

One pipeline is run and promoted for true. Its rows in MLflow's and in Prefect's database are the
example that all others are copies of, under ids of their own: by the APIs it would take hours.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuning.pipelines import find_pipeline, load_pipeline
from finetuning.succession import PROMOTED
from tasks.base_models import resolve_base
from tasks.data_changes import find_committed_version
from tasks.planning import plan
from tasks.registry import ARTIFACTS, CHALLENGER, CHAMPION, DATABASE, OFFERED, TAG
from tasks.standing import RELEASED
from tasks.versioning import add, initialise, resolve

BASE = "sentence-transformers/all-MiniLM-L6-v2"
ROWS = 200  # of each pipeline's table
WORDS = ["film", "story", "the", "a", "plot", "cast", "music", "book", "was", "is"]
DECISIVE = {
    "positive": ["good", "great", "fine", "superb"],
    "negative": ["bad", "poor", "awful", "dull"],
}
# Of a hundred flow runs; the rest has succeeded.
STATES = {"FAILED": 10, "CRASHED": 3, "CANCELLED": 2, "SCHEDULED": 1, "PENDING": 1, "RUNNING": 1}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Prefect's tables that grow with each run. A run's own ids are made anew, all others stay.
PREFECT_TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state", "artifact", "log",
                  "events", "event_resources")  # fmt: skip
PER_RUN = ("metrics", "latest_metrics", "params", "tags")
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much there is. largest: versions of one model; the others share the rest."""

    pipelines: int
    versions: int
    runs: int
    largest: int | None


def begin(root: Path, count: int) -> list[str]:
    """A project with so many pipelines, each with a data set of its own; their names."""
    names = [f"p{number:03d}" for number in range(count)]
    (root / "pipelines").mkdir(parents=True)
    for number, name in enumerate(names):
        write_table(root / "data" / name / "train.csv", seed=number)
        content = {
            "name": name,
            "problem": "text-classification",
            "data": {"path": f"data/{name}", "train": "train.csv"},
            "model": {"base": BASE},
            "strategy": {"kind": "head"},
            "training": {"max_length": 32},
            "gate": {"minimum": 0.0},
        }
        (root / "pipelines" / f"{name}.yaml").write_text(json.dumps(content), "utf-8")
    (root / ".gitignore").write_text("/data/\n/.tunesmith/\n/mlruns/\n", "utf-8")
    for words in (("init", "-q"), ("config", "user.email", "load@localhost"),
                  ("config", "user.name", "load")):  # fmt: skip
        git(root, *words)
    initialise(root)
    commit_data(root)
    return names


def write_table(path: Path, seed: int) -> None:
    """A table of distinct sentences whose label one word decides."""
    draw = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for number in range(ROWS):
            label = tuple(DECISIVE)[number % 2]
            words = [*draw.choices(WORDS, k=6), draw.choice(DECISIVE[label]), str(number)]
            file.write(f"{' '.join(words)},{label}\n")


def commit_data(root: Path) -> None:
    """Record what data/ holds now."""
    add(root)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "data")


def git(root: Path, *words: str) -> None:
    """Run git there."""
    subprocess.run(["git", *words], cwd=root, check=True)


def run_example(root: Path, name: str) -> None:
    """Run a pipeline and promote its model, as a user does."""
    for words in (("run", name, "--json"), ("promote", name, "--json")):
        subprocess.run(
            [sys.executable, "-m", "flows.cli", *words],
            cwd=root,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def read(database: sqlite3.Connection, table: str) -> list[Row]:
    """All rows of a table, by column."""
    found = database.execute(f"select * from {table}")
    columns = [column[0] for column in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found]


def insert(database: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """Write rows, all with the same columns."""
    if made := list(rows):
        columns = ", ".join(made[0])
        places = ", ".join("?" * len(made[0]))
        query = f"insert into {table} ({columns}) values ({places})"
        database.executemany(query, [tuple(row.values()) for row in made])


def fill_registry(root: Path, others: list[str], size: Size) -> None:
    """Give each of the other pipelines its share of the versions; the newest is up to date."""
    one, rest = others[0], others[1:]
    total = size.versions - 1  # the example has one
    largest = size.largest or total - total // len(others) * (len(others) - 1)
    shares = {one: largest}
    for place, name in enumerate(rest):
        shares[name] = (total - largest + place) // len(rest)
    with closing(sqlite3.connect(root / DATABASE)) as database, database:
        tables = ("runs", *PER_RUN, "model_versions", "model_version_tags",
                  "registered_models", "registered_model_tags", "experiments")  # fmt: skip
        example_rows = {table: read(database, table) for table in tables}
        for number, (name, count) in enumerate(shares.items(), start=100):
            copy_model(database, example_rows, root, name, str(number), count)


def copy_model(
    database: sqlite3.Connection,
    example: Mapping[str, list[Row]],
    root: Path,
    name: str,
    experiment: str,
    count: int,
) -> None:
    """Copy the example's registered model under another name, with so many versions and runs."""
    (own,) = (row for row in example["experiments"] if row["name"] != "Default")
    place = (root / ARTIFACTS / name).as_uri()
    new = {"experiment_id": experiment, "name": name, "artifact_location": place}
    insert(database, "experiments", [own | new])
    insert(
        database,
        "registered_models",
        [row | {"name": name} for row in example["registered_models"]],
    )
    pipeline = load_pipeline(find_pipeline(root, name))
    base = resolve_base(root, pipeline)
    if base is None:
        raise SystemExit(f"{BASE} is not at hand: pip install 'tunesmith[sample]'")
    work = plan(root, pipeline, resolve(root, pipeline.data.path), base)
    version_of_data = find_committed_version(root, pipeline.data.path)
    for number in range(1, count + 1):
        run = uuid.uuid4().hex
        insert(
            database,
            "runs",
            [row | {"run_uuid": run, "experiment_id": experiment} for row in example["runs"]],
        )
        for table in PER_RUN:
            insert(database, table, [row | {"run_uuid": run} for row in example[table]])
        new = {"name": name, "version": number, "run_id": run}
        insert(database, "model_versions", [row | new for row in example["model_versions"]])
        newest = number == count
        known = {
            f"{TAG}.digest": work.plans["register"].key if newest else uuid.uuid4().hex * 2,
            f"{TAG}.data_version": version_of_data,
        }
        tags = [
            row | {"name": name, "version": number, "value": known.get(row["key"], row["value"])}
            for row in example["model_version_tags"]
        ]
        insert(database, "model_version_tags", tags)
    champion = max(1, count - 1)
    insert_standing(database, example["registered_model_tags"], name, champion, count)


def insert_standing(
    database: sqlite3.Connection, tags: list[Row], name: str, champion: int, newest: int
) -> None:
    """Every version up to the champion was promoted in turn; the newest one waits."""
    (record,) = (row for row in tags if row["key"].startswith(f"{TAG}.champion."))
    change = json.loads(record["value"])
    made = []
    for number in range(1, champion + 1):
        mark = uuid.uuid4().hex[:12]
        before = str(number - 1) if number > 1 else None
        new = {"number": number, "mark": mark, "version": str(number), "replaced": before}
        value = json.dumps(change | new | {"previous": before, "how": PROMOTED, "done": True})
        key = f"{TAG}.champion.{number:06d}.{mark}"
        made.append(record | {"name": name, "key": key, "value": value})
    for key, version in ((OFFERED, newest), (RELEASED, champion)):
        value = f"{version} 2026-01-01T00:00:00.000+00:00"
        made.append(record | {"name": name, "key": key, "value": value})
    insert(database, "registered_model_tags", made)
    aliases = {CHAMPION: champion, CHALLENGER: newest, "previous": max(1, champion - 1)}
    shared = {key: value for key, value in record.items() if key not in ("key", "value")}
    rows = [shared | {"name": name, "alias": alias, "version": n} for alias, n in aliases.items()]
    insert(database, "registered_model_aliases", rows)


def fill_prefect(path: Path, names: list[str], count: int) -> None:
    """Copy the example's flow run, with all that hangs on it, to the pipelines' deployments."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("pragma synchronous = off")
        example = {table: read(database, table) for table in PREFECT_TABLES}
        run = next(row for row in example["flow_run"] if row["name"] == names[0])
        mentions = choose_mentions(example, run["id"])
        deployments = dict(database.execute("select name, id from deployment"))
        own = {row["id"] for rows in mentions.values() for row in rows}
        states = [kind for kind, share in STATES.items() for _ in range(share)]
        draw = random.Random(0)
        for number in range(count - len(example["flow_run"])):
            name = names[number % len(names)]
            kind = states[place] if (place := draw.randrange(100)) < len(states) else "COMPLETED"
            change = {
                "name": name,
                "deployment_id": deployments[name],
                "state_type": kind,
                "state_name": kind.title(),
                "tags": json.dumps([f"change:{uuid.uuid4().hex}"]),
            }
            if kind in ("SCHEDULED", "PENDING", "RUNNING"):
                change["end_time"] = None
            insert_copy(database, mentions, own, change)


def choose_mentions(example: Mapping[str, list[Row]], run: str) -> dict[str, list[Row]]:
    """The rows of each table that belong to a flow run, to its tasks and states, or to events."""
    chosen: dict[str, list[Row]] = {"flow_run": [r for r in example["flow_run"] if r["id"] == run]}
    for table in ("flow_run_state", "task_run", "artifact", "log"):
        chosen[table] = [row for row in example[table] if row["flow_run_id"] == run]
    tasks = {row["id"] for row in chosen["task_run"]}
    chosen["task_run_state"] = [r for r in example["task_run_state"] if r["task_run_id"] in tasks]
    about = {f"prefect.flow-run.{run}"} | {f"prefect.task-run.{task}" for task in tasks}
    chosen["events"] = [row for row in example["events"] if row["resource_id"] in about]
    events = {row["id"] for row in chosen["events"]}
    chosen["event_resources"] = [r for r in example["event_resources"] if r["event_id"] in events]
    return chosen


def insert_copy(
    database: sqlite3.Connection,
    mentions: Mapping[str, list[Row]],
    own: set[str],
    change: Row,
) -> None:
    """One more flow run: every id of its own, in whatever text it stands, is another."""
    fresh = {known: str(uuid.uuid4()) for known in own}

    def rename(found: re.Match[str]) -> str:
        return fresh.get(found[0], found[0])

    for table, rows in mentions.items():
        made = [
            {key: UUID.sub(rename, value) if isinstance(value, str) else value
             for key, value in row.items()}
            for row in rows
        ]  # fmt: skip
        if table == "flow_run":
            made = [row | change for row in made]
        if table == "flow_run_state":
            made[-1] |= {"type": change["state_type"], "name": change["state_name"]}
        insert(database, table, made)
