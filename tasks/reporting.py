"""What a run shows people: the report page, the model card, and Prefect's artifacts."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from finetuning.charts import confusion_matrix
from finetuning.evaluation import Bin, ClassScore
from finetuning.history import SHARE_NAMES, Epoch
from finetuning.leads import describe_defeat, list_better
from finetuning.numerals import count
from finetuning.overfitting import Yardstick, describe_overfitting, find_guessing_loss
from finetuning.reports import Baseline, Report, SliceScore, WorstError, render, to_markdown
from finetuning.roles import METRICS
from tasks.announcing import make_key
from tasks.evaluation import EVALUATION
from tasks.stages import fetch
from tasks.validation_report import RESULTS

if TYPE_CHECKING:
    from finetuning.lineage import Lineage
    from tasks.planning import Work

LARGEST_PICTURE = 500_000  # characters that an artifact is given for a picture


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
            f"validation/{SHARE_NAMES[work.pipeline.problem]}": best.validation_accuracy,
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
        lineage=_shorten_lineage(lineage),
        validation=lineage.validation,
        overfitting=describe_overfitting(history, trained["best"], find_yardstick(work, details)),
        behind=tell_defeat(work.pipeline.problem, evaluated.facts["metrics"], details["baselines"]),
        restored=trained["best"],
        data_change=change,
    )


def _shorten_lineage(lineage: Lineage) -> dict[str, str]:
    return {
        "data_version": lineage.data_version,
        "git_commit": (lineage.commit.sha or "none") + (" (dirty)" * lineage.commit.dirty),
        "code_digest": lineage.code_digest,
        "config_digest": lineage.config_digest,
        "base_digest": lineage.base_digest,
        "flow_run_id": lineage.flow_run_id or "none",
        "run_id": lineage.run_id or "none",
        "device": " ".join(lineage.device[key] for key in ("kind", "name", "precision")),
    }


def find_yardstick(work: Work, details: Mapping[str, Any]) -> Yardstick:
    """What the training's history is held against.

    Args:
        work: The run's work.
        details: What the evaluation kept.
    """
    counts = fetch(work, "encode").facts["rows"]
    settings, problem = work.pipeline.training, work.pipeline.problem
    confusion = details.get("confusion", ())
    guessing = find_guessing_loss(
        [sum(row) for row in confusion],
        settings.label_smoothing,
        settings.class_weights == "balanced",
    )
    better = list_better(details["baselines"]) if confusion else ()
    beaten = next(((one["description"], one["scores"]["accuracy"]) for one in better), None)
    rows = (counts["train"], counts["validation"])
    return Yardstick(rows, guessing, beaten, SHARE_NAMES[problem])


def tell_defeat(
    problem: str, metrics: Mapping[str, float], baselines: Sequence[Mapping[str, Any]]
) -> str:
    """That a baseline is surely better by the problem's first metric; empty where none is."""
    metric = METRICS[problem][0]
    return describe_defeat(baselines, metric, metrics.get(f"test/{metric}"))


def render_pages(report: Report) -> tuple[str, str]:
    """The report page as HTML, and the model card as Markdown."""
    return render(report), to_markdown(report)


def publish(work: Work, result: dict[str, Any], card: str) -> None:
    """Show the model card, the scores, the confusion matrix and the verdict in the Prefect UI.

    Args:
        work: The run's work, all of its stages done.
        result: What the register stage kept.
        card: The model card.
    """
    name = work.pipeline.name
    create_markdown_artifact(
        markdown=card, key=make_key(name, "model-card"), description="Model card"
    )
    publish_scores(name, result)
    details = (fetch(work, "evaluate").folder / EVALUATION).read_text("utf-8")
    publish_confusion(name, json.loads(details))
    defeat = tell_defeat(result["problem"], result["metrics"], result["baselines"])
    publish_verdict(name, result["gate"], defeat)


def publish_validation(work: Work) -> None:
    """Show in the Prefect UI what the data was held against, what failed above the rest."""
    report = json.loads((fetch(work, "validate").folder / RESULTS).read_text("utf-8"))
    split = ", ".join(f"{split} {count:,}" for split, count in report["rows"].items())
    checks = sorted(report["expectations"], key=lambda one: bool(one["success"]))
    rows = [
        {
            "what": one["name"],
            "passed": "yes" if one["success"] else one["severity"],
            "rows": "" if one["unexpected_count"] is None else str(one["unexpected_count"]),
            "found": one["observed"] or "",
        }
        for one in checks
    ]
    warnings = count(report["warnings"], "warning")
    head = f"Validation: {report['critical_failures']} critical, {warnings}"
    create_table_artifact(
        table=rows,
        key=make_key(work.pipeline.name, "validation"),
        description=f"{head}. Rows: {split}",
    )


def publish_scores(name: str, result: Mapping[str, Any]) -> None:
    """Show in the Prefect UI the scores on the test rows, beside the baselines'."""
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
    create_table_artifact(
        table=rows, key=make_key(name, "scores"), description="Scores on the test rows"
    )


def publish_confusion(name: str, details: Mapping[str, Any]) -> None:
    """Show in the Prefect UI which labels were taken for which, where the problem has labels.

    Args:
        name: The pipeline's name.
        details: What the evaluation kept.
    """
    if not (counts := details.get("confusion")):
        return
    drawn = confusion_matrix("Confusion", details["labels"], counts).encode()
    # Prefect's image artifact would print the whole address below the picture.
    picture = f"![Confusion](data:image/svg+xml;base64,{base64.b64encode(drawn).decode()})"
    if len(picture) > LARGEST_PICTURE:
        picture = f"With {len(counts)} labels it is too large to be shown here: see report.html."
    right, every = sum(row[place] for place, row in enumerate(counts)), sum(map(sum, counts))
    create_markdown_artifact(
        markdown=f"{right:,} of {every:,} test rows are right, on the diagonal.\n\n{picture}",
        key=make_key(name, "confusion"),
        description="Confusion matrix of the test rows",
    )


def publish_verdict(name: str, verdict: dict[str, Any], defeat: str = "") -> None:
    """Show in the Prefect UI what the gate decided on, its reasons above the numbers.

    Args:
        name: The pipeline's name.
        verdict: The gate's, by name.
        defeat: That a baseline is surely better, where one is.
    """
    head = "passed" if verdict["promote"] else "refused"
    champion = verdict["champion"]
    against = f" against version {champion['model_version']}" if champion else ""
    reasons = [*([f"warning: {defeat}"] if defeat else []), *verdict["reasons"]]
    said = "\n".join([f"The gate: {head}{against}", *(f"- {one}" for one in reasons)])
    rows = [{"what": verdict["metric"], "passed": head, **_tell_numbers(verdict, verdict["value"])}]
    for one in (*verdict["apart"], *verdict["slices"]):
        what = one.get("name") or f"{one['column']} = {one['value']}"
        passed = "shown only" if not one.get("judged") else "fell" if one["fell"] else "holds"
        rows.append({"what": what, "passed": passed, **_tell_numbers(one, one["candidate_value"])})
    for test in verdict["behaviour"]:
        cases = f"{test['passed']} of {test['cases']}"
        passed = "passed" if test["ok"] else "failed"
        rows.append({"what": f"behaviour: {test['name']}", "passed": passed, "this model": cases})
    create_table_artifact(table=rows, key=make_key(name, "gate"), description=said)


def _tell_numbers(one: dict[str, Any], value: float | None) -> dict[str, str]:
    told = {"rows": str(one["rows"]), "this model": "-" if value is None else f"{value:.4f}"}
    if one["difference"] is None:
        return told
    return told | {
        "champion": f"{one['champion_value']:.4f}",
        "difference": f"{one['difference']:+.4f}",
        "interval": "{:+.4f} to {:+.4f}".format(*one["interval"]),
    }
