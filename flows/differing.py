"""`tunesmith diff`: what differs between two model versions, or since one, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from finetuning.config import Data
from finetuning.data_changes import compare_data
from finetuning.differences import Change, compare_values
from finetuning.errors import InputError
from finetuning.measures import find_measure
from finetuning.pairing import compare as compare_paired
from finetuning.pipelines import find_pipeline, flatten, load_pipeline
from finetuning.roles import METRICS
from finetuning.snapshots import spell_out, take_snapshot
from flows.environment import prepare_environment
from flows.inspection import read_lineage
from tasks.recorded_rows import find_rows, shape_rows
from tasks.registered_models import TESTED, Evidence, gather_evidence
from tasks.versioning import folder_version, hash_folder, locate

if TYPE_CHECKING:
    import pandas

LEVEL = 0.025  # of the difference of two versions, one-sided: a 95% interval
SHOWN_MODULES = 8
UNCOMPARED = "what changed in the rows cannot be said"
# What a record tells of the circumstances, each compared key by key.
CIRCUMSTANCES = (
    "base_model",
    "base_revision",
    "base_digest",
    "parent",
    "python",
    "device",
    "seeds",
)


@dataclass(frozen=True)
class Side:
    """One of the two states that are compared.

    Attributes:
        name: NAME/VERSION, or what else it is.
        record: The lineage record, or as much of one as there is.
        rows: As `shape_rows` gives them; None where they cannot be had.
        why: What is to be known about the rows, or why there are none.
        evidence: Answers and metrics; None where they cannot be had.
    """

    name: str
    record: Mapping[str, Any]
    rows: pandas.DataFrame | None
    why: str
    evidence: Evidence | None = None


def compare(root: Path, before: str, after: str | None) -> dict[str, Any]:
    """Compare two model versions, or a version with the data and the pipeline file as they are.

    Args:
        root: The project's folder.
        before: NAME (its newest version), NAME@ALIAS or NAME/VERSION.
        after: Likewise; None for the present.

    Returns:
        `status` (same, different), and what differs by kind: data, config, code, circumstances,
        libraries, scores. Rows that cannot be had are None, and `notes` says why.

    Raises:
        InputError: There is no such version, record or pipeline, or the present data is wrong.
    """
    prepare_environment(root, quiet=True)
    then = read_side(root, before)
    now = read_present(root, then.record) if after is None else read_side(root, after)
    data = compare_rows(then, now)
    config = compare_values(flatten(then.record["config"]), flatten(now.record["config"]))
    result: dict[str, Any] = {
        "from": then.name,
        "to": now.name,
        "data": data,
        "config": [asdict(change) for change in config],
        "code": [],
        "circumstances": [],
        "libraries": [],
        "scores": None,
        "notes": [side.why for side in (then, now) if side.why],
    }
    if after is not None:
        former, latter = (
            flatten({key: side.record.get(key) for key in CIRCUMSTANCES}) for side in (then, now)
        )
        result |= {
            "code": [asdict(one) for one in compare_key(then, now, "code")],
            "circumstances": [asdict(one) for one in compare_values(former, latter)],
            "libraries": [asdict(one) for one in compare_key(then, now, "libraries")],
            "scores": compare_scores(then, now),
        }
    changed = any(result[key] for key in ("config", "code", "circumstances", "libraries"))
    differs = changed or data["from"] != data["to"]
    return {"status": "different" if differs else "same", **result}


def compare_key(then: Side, now: Side, key: str) -> list[Change]:
    """What differs in one flat mapping of the records."""
    return compare_values(then.record.get(key) or {}, now.record.get(key) or {})


def read_side(root: Path, reference: str) -> Side:
    """A version's record, rows and evidence."""
    record = read_lineage(root, reference)
    name = f"{record['pipeline']}/{record['model_version']}"
    try:
        evidence = gather_evidence(root, record)
    except InputError:
        evidence = None  # the scores are then said to be gone
    try:
        data = Data.model_validate(record["config"]["data"])
        rows, why = find_rows(root, record, data)
    except ValidationError:
        return Side(
            name, record, None, f"the rows of {name}: its config is of another time", evidence
        )
    except InputError as error:
        return Side(name, record, None, f"the rows of {name} cannot be had: {error}", evidence)
    return Side(
        name,
        record,
        shape_rows(rows, data, record["config"]["problem"]),
        why and f"{name}: {why}",
        evidence,
    )


def read_present(root: Path, record: Mapping[str, Any]) -> Side:
    """The pipeline file and the data as they are now, recorded by DVC or not.

    Raises:
        InputError: The file, the folder or a table is wrong.
    """
    pipeline = load_pipeline(find_pipeline(root, record["pipeline"]))
    data = pipeline.data
    rows = spell_out(take_snapshot(locate(root, data.path), data, pipeline.problem))
    version = folder_version(hash_folder(root, data.path))
    present = {"config": pipeline.model_dump(mode="json"), "data_version": version}
    return Side("the present", present, shape_rows(rows, data, pipeline.problem), "")


def compare_rows(then: Side, now: Side) -> dict[str, Any]:
    """Both versions, and what became of the rows; `rows` is None where they cannot be compared."""
    versions = {"from": then.record["data_version"], "to": now.record["data_version"]}
    if then.rows is None or now.rows is None:
        said = f"{UNCOMPARED}: the rows of {then.name if then.rows is None else now.name} are gone"
        return versions | {"rows": None, "verdict": None, "words": [said]}
    return versions | compare_data(then.rows, now.rows)


def compare_scores(then: Side, now: Side) -> dict[str, Any]:
    """The metrics of both, and a paired comparison where both were tested on the same rows."""
    metrics = [
        side.record.get("metrics") or (side.evidence.metrics if side.evidence else {})
        for side in (then, now)
    ]
    digests = [(side.record.get("row_digests") or {}).get("test") for side in (then, now)]
    same = digests[0] is not None and digests[0] == digests[1]
    paired = None
    if same and then.evidence and now.evidence:
        tables = (then.evidence.predictions, now.evidence.predictions)
        kind = (now.record.get("config") or {}).get("problem", "text-classification")
        paired = compare_predictions(*tables, METRICS[kind][0])
    return {
        "metrics": {
            key: [metrics[0].get(key), metrics[1].get(key)]
            for key in sorted({*metrics[0], *metrics[1]})
        },
        "same_test_rows": same,
        "paired": paired,
    }


def compare_predictions(
    then: pandas.DataFrame, now: pandas.DataFrame, metric: str
) -> dict[str, Any] | None:
    """How much better the later predictions are on the rows of both; None where there are none."""
    shared = sorted(set(then["id"]) & set(now["id"]))
    if not shared:
        return None
    before, after = (table.set_index("id").loc[shared].reset_index() for table in (then, now))
    found = compare_paired(find_measure(metric), after, before, LEVEL)
    kept = {key: getattr(found, key) for key in ("low", "high", "p_value", "test")}
    return {"metric": metric, "value": found.difference, **kept}


def describe_differences(result: dict[str, Any]) -> str:
    """The differences, for people."""
    lines = [f"{result['from']} -> {result['to']}"]
    data = result["data"]
    versions = f"version {data['from']} -> {data['to']}"
    lines += _section("data", ["the same version" if data["from"] == data["to"] else versions])
    lines += _section("", data["words"])
    lines += _section("", result["notes"])
    config = [str(Change(**change)) for change in result["config"]]
    lines += _section("config", config or ["the same"])
    scores = result["scores"]
    if scores is None:
        return "\n".join(lines)
    lines += _section("code", _describe_modules([Change(**one) for one in result["code"]]))
    for kind in ("circumstances", "libraries"):
        changes = [str(Change(**change)) for change in result[kind]]
        lines += _section(kind, changes or ["the same"])
    lines += _section("scores", _describe_scores(scores))
    return "\n".join(lines)


def _section(title: str, words: list[str]) -> list[str]:
    lines = [line for word in words for line in word.splitlines()]
    return [f"  {title if not index else '':<14}{line}" for index, line in enumerate(lines)]


def _describe_modules(changes: list[Change]) -> list[str]:
    words = []
    for verb, names in (
        ("changed", [one.key for one in changes if one.before and one.after]),
        ("added", [one.key for one in changes if not one.before]),
        ("removed", [one.key for one in changes if not one.after]),
    ):
        if names:
            more = len(names) - SHOWN_MODULES
            tail = f" and {more} more" if more > 0 else ""
            words.append(f"{verb}: {', '.join(names[:SHOWN_MODULES])}{tail}")
    return words or ["the same"]


def _describe_scores(scores: dict[str, Any]) -> list[str]:
    words = []
    for key, (before, after) in scores["metrics"].items():
        then, now = ("gone" if value is None else f"{value:.4f}" for value in (before, after))
        both = before is not None and after is not None
        words.append(f"{key.removeprefix(TESTED)} {then} -> {now}" + (
            f" ({after - before:+.4f})" if both else ""
        ))  # fmt: skip
    if not scores["same_test_rows"]:
        words.append("on other test rows: the difference is not the models' alone")
    elif paired := scores["paired"]:
        side = "better" if paired["value"] >= 0 else "worse"
        words.append(
            f"on the same test rows, {paired['metric']} {side} by {abs(paired['value']):.4f} "
            f"({paired['low']:+.4f} to {paired['high']:+.4f}, p = {paired['p_value']:.2g}, "
            f"{paired['test']})"
        )
    return words or ["gone"]
