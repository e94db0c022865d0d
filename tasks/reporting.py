"""What a run shows people: the report page, the model card, and Prefect's artifacts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from finetuning.evaluation import Bin, ClassScore
from finetuning.history import Epoch
from finetuning.reports import (
    Baseline,
    Report,
    SliceScore,
    WorstError,
    describe_overfitting,
    render,
    to_markdown,
)
from finetuning.roles import METRICS
from tasks.evaluation import EVALUATION
from tasks.stages import fetch

if TYPE_CHECKING:
    from finetuning.lineage import Lineage
    from tasks.planning import Work


def make_report(
    work: Work, verdict: dict[str, Any], lineage: Lineage, change: Sequence[str] = ()
) -> Report:
    """Everything that the report page shows; `change` is what changed in the data, in lines."""
    evaluated, trained = fetch(work, "evaluate"), fetch(work, "train").facts
    details = json.loads((evaluated.folder / EVALUATION).read_text("utf-8"))
    history = [Epoch(**epoch) for epoch in trained["history"]]
    columns = zip(*trained["table"], strict=True) if trained["table"] else ()
    best = history[trained["best"]]
    return Report(
        name=work.pipeline.name,
        version=verdict["candidate"]["model_version"],
        problem=work.pipeline.problem,
        base_model=work.base.name,
        strategy=work.pipeline.strategy.kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        metrics={
            **evaluated.facts["metrics"],
            "validation/accuracy": best.validation_accuracy,
            "validation/loss": best.validation_loss,
        },
        intervals={key: tuple(bounds) for key, bounds in details["intervals"].items()},
        baselines=[
            Baseline(**{**baseline, "interval": tuple(baseline["interval"])})
            for baseline in details["baselines"]
        ],
        history=history,
        labels=details.get("labels", ()),
        tested_rows=details["tested_rows"],
        confusion=details.get("confusion", ()),
        per_class=[ClassScore(**score) for score in details.get("per_class", ())],
        reliability=[Bin(**one) for one in details.get("reliability", ())],
        errors=[WorstError(**error) for error in details["errors"]],
        slices=[SliceScore(**score) for score in details["slices"]],
        verdict=verdict,
        learning_rate_table=list(zip(trained["groups"], columns, strict=False)),
        lineage={
            "data_version": lineage.data_version,
            "git_commit": (lineage.commit.sha or "none") + (" (dirty)" * lineage.commit.dirty),
            "code_digest": lineage.code_digest,
            "config_digest": lineage.config_digest,
            "base_digest": lineage.base_digest,
            "flow_run_id": lineage.flow_run_id or "none",
            "run_id": lineage.run_id or "none",
            "device": " ".join(lineage.device[key] for key in ("kind", "name", "precision")),
        },
        validation=lineage.validation,
        overfitting=describe_overfitting(history, restored=trained["best"]),
        restored=trained["best"],
        data_change=change,
    )


def render_pages(report: Report) -> tuple[str, str]:
    """The report page as HTML, and the model card as Markdown."""
    return render(report), to_markdown(report)


def publish(name: str, result: dict[str, Any], card: str) -> None:
    """Show the model card and the scores in the Prefect UI.

    Args:
        name: The pipeline's name.
        result: What the register stage kept.
        card: The model card.
    """
    key = make_key(name)
    create_markdown_artifact(markdown=card, key=f"{key}-model-card", description="Model card")
    metric = METRICS[result["problem"]][0]
    rows = [
        {
            "model": baseline["name"],
            metric: f"{baseline['scores'][metric]:.4f}",
            "lead of this model": f"{baseline['difference']:+.4f}",
            "interval": "{:+.4f} to {:+.4f}".format(*baseline["interval"]),
        }
        for baseline in result["baselines"]
    ]
    own = f"{result['metrics'][f'test/{metric}']:.4f}"
    rows.insert(0, {"model": name, metric: own, "lead of this model": "", "interval": ""})
    create_table_artifact(table=rows, key=f"{key}-scores", description="Scores on the test rows")
    publish_verdict(key, result["gate"])


def make_key(name: str) -> str:
    """A pipeline's name as the keys of its artifacts begin with it."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def publish_verdict(key: str, verdict: dict[str, Any]) -> None:
    """Show in the Prefect UI what the gate decided on, its reasons above the numbers."""
    head = "passed" if verdict["promote"] else "refused"
    champion = verdict["champion"]
    against = f" against version {champion['model_version']}" if champion else ""
    said = "\n".join([f"The gate: {head}{against}", *(f"- {one}" for one in verdict["reasons"])])
    rows = [{"what": verdict["metric"], "passed": head, **_tell_numbers(verdict, verdict["value"])}]
    for one in (*verdict["apart"], *verdict["slices"]):
        name = one.get("name") or f"{one['column']} = {one['value']}"
        passed = "shown only" if not one.get("judged") else "fell" if one["fell"] else "holds"
        rows.append({"what": name, "passed": passed, **_tell_numbers(one, one["candidate_value"])})
    for test in verdict["behaviour"]:
        cases = f"{test['passed']} of {test['cases']}"
        passed = "passed" if test["ok"] else "failed"
        rows.append({"what": f"behaviour: {test['name']}", "passed": passed, "this model": cases})
    create_table_artifact(table=rows, key=f"{key}-gate", description=said)


def _tell_numbers(one: dict[str, Any], value: float | None) -> dict[str, str]:
    told = {"rows": str(one["rows"]), "this model": "-" if value is None else f"{value:.4f}"}
    if one["difference"] is None:
        return told
    return told | {
        "champion": f"{one['champion_value']:.4f}",
        "difference": f"{one['difference']:+.4f}",
        "interval": "{:+.4f} to {:+.4f}".format(*one["interval"]),
    }
