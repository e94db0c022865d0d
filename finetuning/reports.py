"""One training as a page that people read, and as a short model card: from plain numbers only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from finetuning import charts
from finetuning.canvas import printable, shorten
from finetuning.evaluation import Bin, ClassScore
from finetuning.history import SHARE_NAMES, Epoch, find_best
from finetuning.measures import find_measure
from finetuning.overfitting import score
from finetuning.roles import METRICS, SHARES

MOST_CONFUSED_SHOWN = 20
# MLflow keeps a model version's description in a column of 5,000 characters.
LONGEST_CARD = 5000


@dataclass(frozen=True)
class Baseline:
    """A simpler model on the same rows, and how much better the model is by the first metric."""

    name: str
    description: str
    scores: Mapping[str, float]
    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class WorstError:
    """A row that is predicted wrong with high confidence, and where to find it."""

    file: str
    row: int
    text: str
    label: str
    prediction: str
    score: float


@dataclass(frozen=True)
class SliceScore:
    """The scores of the rows that share one value of a column."""

    column: str
    value: str
    rows: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """Everything that the page and the model card say; what is empty is left out of them."""

    name: str
    version: str | None
    problem: str
    base_model: str
    strategy: str
    created: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    baselines: Sequence[Baseline] = ()
    history: Sequence[Epoch] = ()
    labels: Sequence[str] = ()
    tested_rows: int = 0
    confusion: Sequence[Sequence[int]] = ()
    per_class: Sequence[ClassScore] = ()
    reliability: Sequence[Bin] = ()
    errors: Sequence[WorstError] = ()
    slices: Sequence[SliceScore] = ()
    verdict: Mapping[str, Any] = field(default_factory=dict)
    learning_rate_table: Sequence[tuple[str, Sequence[float]]] = ()
    lineage: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    overfitting: str = ""
    behind: str = ""  # that a baseline is surely better, where one is
    restored: int | None = None  # index in history of the weights kept; None: find_best's
    data_change: Sequence[str] = ()  # since which model, how many rows, the verdict, then the rest

    @property
    def measures(self) -> tuple[str, ...]:
        """The problem's metrics, the first of them leading."""
        return METRICS.get(self.problem, ("accuracy",))

    @property
    def share(self) -> str:
        """What the epochs' accuracy is called."""
        return SHARE_NAMES.get(self.problem, "accuracy")


def chance(value: float | None) -> str:
    """A p-value, as it is written in a sentence."""
    return "p < 0.001" if value is not None and value < 0.001 else f"p = {score(value)}"


def headline(report: Report) -> str:
    """The verdict and the score against the best baseline, in one plain sentence."""
    metric = str(report.verdict.get("metric", report.measures[0]))
    key, spoken = f"test/{metric}", name_measure(metric)
    version = f" version {report.version}" if report.version else ""
    promote = report.verdict.get("promote")
    status = "measured" if promote is None else "registered" if promote else "refused"
    said = f"{report.name}{version} was {status}"
    value = report.metrics.get(key, report.verdict.get("value"))
    if value is None:
        return f"{said}; no test {spoken} was measured."
    bounds = " (interval {:.3f} to {:.3f})".format(*report.intervals.get(key, (0, 0)))
    said += f": its test {spoken} is {score(value)}{bounds if key in report.intervals else ''}"
    if not report.baselines:
        return f"{said}; no baseline was measured."
    best = min(report.baselines, key=lambda baseline: baseline.difference)
    side = name_side(best.difference)
    low, high = best.interval
    luck = "chance could explain" if low <= 0 <= high else "chance does not explain"
    leading = report.measures[0]
    return (
        f"{said}; its {name_measure(leading)} is {score(abs(best.difference))} {side} than that of "
        f"the best baseline on the same rows, {best.name} ({score(best.scores.get(leading))}), a "
        f"difference that {luck} (interval {low:+.3f} to {high:+.3f}, {chance(best.p_value)})."
    )


def name_side(difference: float) -> str:
    """On which side of the other a model is by that much."""
    return "better" if difference >= 0 else "worse"


def name_measure(metric: str) -> str:
    """A metric as it stands in a sentence: macro F1."""
    return metric.replace("_", " ").replace("f1", "F1")


def most_confused(
    labels: Sequence[str], confusion: Sequence[Sequence[int]]
) -> list[tuple[str, str, int, float]]:
    """The most frequent confusions: true label, prediction, rows, share of the true label."""
    pairs = [
        (labels[true], labels[predicted], count, count / sum(row))
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:MOST_CONFUSED_SHOWN]


def _draw(report: Report) -> dict[str, Markup]:
    """The charts that there is something to show in."""
    history, drawn = report.history, {}
    steps = [(epoch.phase, epoch.epoch) for epoch in history]
    best = find_best(history) if report.restored is None else report.restored
    for measure in ("loss", "accuracy") if history else ():
        spoken = report.share if measure == "accuracy" else measure
        lines = [
            charts.Line(split, [getattr(epoch, f"{split}_{measure}") for epoch in history], split)
            for split in ("train", "validation")
        ]
        drawn[measure] = charts.line_chart(spoken.capitalize(), lines, steps, best)
    if report.confusion:
        drawn["confusion"] = charts.confusion_matrix("Confusion", report.labels, report.confusion)
    if any(part.rows for part in report.reliability):
        drawn["reliability"] = charts.reliability_diagram("Reliability", report.reliability)
    if report.learning_rate_table:
        table = report.learning_rate_table
        drawn["strategy"] = charts.learning_rate_table("Learning-rate multipliers", table)
    # The charts escape what they are given.
    return {name: Markup(chart) for name, chart in drawn.items()}


def _finalize(value: object) -> object:
    return printable(value) if type(value) is str else value


@cache
def make_environment() -> Environment:
    """What the pages are rendered with: escaping, and an error for what is missing."""
    loader = FileSystemLoader(Path(__file__).parent)
    page = Environment(
        loader=loader, autoescape=True, finalize=_finalize, undefined=StrictUndefined
    )
    page.trim_blocks = page.lstrip_blocks = True
    # Named here and not in the pages, so that its content counts in the digest of this module.
    page.globals["style"] = "page_style.html"
    page.filters |= {"score": score, "p": chance, "shorten": shorten, "measure": name_measure}
    page.filters["column"] = lambda metric: name_measure(metric[:1].upper() + metric[1:])
    page.globals["shares"] = SHARES
    return page


def render(report: Report) -> str:
    """The report as one HTML page that needs nothing beside itself."""
    confused = most_confused(report.labels, report.confusion)
    shown = {"headline": headline(report), "charts": _draw(report), "confused": confused}
    return make_environment().get_template("report.html").render(report=report, **shown)


def _plain(text: object, limit: int = 400) -> str:
    """The text as Markdown that reads as it stands, on one line and not too long."""
    line = " ".join(shorten(printable(text), limit).split())
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", line)


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"**{title}.**\n\n" + "\n".join(f"- {_plain(line)}" for line in lines)] if lines else []


def to_markdown(report: Report) -> str:
    """The report as a short model card, for the registry's description of the version."""
    version = f" version {report.version}" if report.version else ""
    leading = report.measures[0]
    spoken = name_measure(leading)
    baselines = [
        f"{one.name}: {spoken} {score(one.scores.get(leading))}; the model is "
        f"{name_side(one.difference)} by {score(abs(one.difference))} (interval "
        f"{one.interval[0]:+.3f} to {one.interval[1]:+.3f}, {chance(one.p_value)})"
        for one in report.baselines
    ]
    lower = find_measure(leading).lower_is_better
    weakest = sorted(report.slices, key=lambda one: one.scores[leading], reverse=lower)
    slices = [
        f"{one.column} = {one.value}: {spoken} {score(one.scores[leading])} on {one.rows:,} rows"
        for one in weakest[:10]
    ]
    data = report.lineage.get("data_version", "not recorded")
    warning = [f"{report.behind[:1].upper()}{report.behind[1:]}."] if report.behind else []
    parts = [
        f"# {_plain(report.name + version)}",
        _plain(headline(report)),
        *_list("Warning", warning),
        *_list("Verdict", [str(reason) for reason in report.verdict.get("reasons", ())]),
        f"**What it is.** A {_plain(report.problem)} model: {_plain(report.base_model)}, "
        f"fine-tuned with the strategy {_plain(report.strategy)}, made {_plain(report.created)}.",
        f"**Intended use.** Rows like those it learned from: data version {_plain(data)}.",
        *_list("Labels", [", ".join(report.labels)] if report.labels else []),
        *_list(f"Against baselines, on the same {report.tested_rows:,} test rows", baselines),
        *_list("Weakest slices", slices),
        *_list("What changed in the data", report.data_change[:3]),
        f"**Limits.** {_plain(report.overfitting)} Measure anew before any use on other rows.",
        *_list("Lineage", [f"{key}: {value}" for key, value in report.lineage.items()]),
    ]
    return shorten("\n\n".join(parts), LONGEST_CARD)
