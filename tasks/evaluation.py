"""Evaluate: the test split, once, beside honest baselines on the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
import torch

from finetuning.baselines import name_classes
from finetuning.devices import choose_device
from finetuning.measures import find_measure
from finetuning.pairing import compare, find_interval
from finetuning.parts import Baseline
from finetuning.probing import fit_probe
from finetuning.problem import find_problem
from finetuning.roles import METRICS
from finetuning.snapshots import list_columns
from finetuning.splits import digest_text
from tasks.snapshot import read_rows
from tasks.stages import Outcome, fetch, perform, stage
from tasks.training import MODEL, keep_features

if TYPE_CHECKING:
    from finetuning.pairing import Paired
    from finetuning.problem import Problem, Rows
    from tasks.planning import Work

PREDICTIONS = "predictions.parquet"
EVALUATION = "evaluation.json"
KEY = "key"  # of the prediction table
LEVEL = 0.025  # of the leads over the baselines, one-sided: 95% intervals


@stage("evaluate")
def evaluate(work: Work) -> Outcome:
    """Score the trained model and the baselines on the test split."""
    return perform(work, "evaluate", lambda folder: _make(work, folder))[0]


def _make(work: Work, folder: Path) -> dict[str, Any]:
    problem, columns = find_problem(work.pipeline.problem), work.pipeline.data.columns
    rows, tested = load_rows(work, "test"), read_split(work, "test")
    model, description = problem.modelling.load(fetch(work, "train").folder / MODEL)
    examined = problem.scoring.examine(model, description, rows, tested, columns)
    table = tabulate_predictions(work, tested, examined.answers)
    table.to_parquet(folder / PREDICTIONS, index=False)
    measures = METRICS[problem.kind]
    leading = find_measure(measures[0])
    baselines = [
        (baseline, tabulate_predictions(work, tested, baseline.answers))
        for baseline in answer_simply(work, problem, tested)
    ]
    details = {
        "intervals": {
            f"test/{name}": find_interval(find_measure(name), table, LEVEL) for name in measures
        },
        "baselines": [
            {
                "name": baseline.name,
                "description": baseline.description,
                "scores": score(own, measures),
                **_lead(compare(leading, table, own, LEVEL)),
            }
            for baseline, own in baselines
        ],
        "errors": problem.scoring.find_worst(table, find_shown(work)),
        "slices": score_slices(table, work.pipeline.data.slices, measures),
        "tested_rows": len(table),
        **examined.details,
    }
    (folder / EVALUATION).write_text(json.dumps(details, ensure_ascii=False, indent=1), "utf-8")
    metrics = score(table, measures) | dict(examined.metrics)
    return {"metrics": {f"test/{name}": value for name, value in metrics.items()}}


def load_rows(work: Work, split: str) -> Rows:
    """The encoded rows of a split."""
    encoding = find_problem(work.pipeline.problem).encoding
    return encoding.load_rows(fetch(work, "encode").folder / f"{split}.safetensors")


def read_split(work: Work, split: str) -> pandas.DataFrame:
    """The snapshot's rows of a split that were encoded, in the order in which they were."""
    rows = read_rows(fetch(work, "snapshot").folder)
    chosen: np.ndarray = np.load(fetch(work, "encode").folder / f"{split}.npy", allow_pickle=False)
    return rows.iloc[chosen].reset_index(drop=True)


def find_shown(work: Work) -> str:
    """The column whose value stands for a row."""
    return find_problem(work.pipeline.problem).find_shown(work.pipeline.data.columns)


def tabulate_predictions(
    work: Work, tested: pandas.DataFrame, answers: pandas.DataFrame
) -> pandas.DataFrame:
    """The prediction table: id, key, what the problem marks of the answers, slices, the row's text.

    Args:
        work: The run's work.
        tested: Test rows of the snapshot.
        answers: A model's answers to them, in the same order.
    """
    table = tested[["file", "row", find_shown(work), *work.pipeline.data.slices]].copy()
    table.insert(0, "id", tested["file"] + ":" + tested["row"].astype(str))
    table[KEY] = identify_rows(work, tested)
    scoring = find_problem(work.pipeline.problem).scoring
    marked = scoring.mark(answers.set_axis(tested.index), tested, work.pipeline.data.columns)
    for name in marked.columns:
        table[name] = marked[name]
    return table.loc[:, ~table.columns.duplicated()]


def identify_rows(work: Work, tested: pandas.DataFrame) -> list[str]:
    """What is the same for rows that a model is asked the same about, whatever their targets."""
    problem, columns = find_problem(work.pipeline.problem), work.pipeline.data.columns
    if problem.has_classes:
        return list(tested["key"])
    asked = [
        name for role, name in list_columns(columns, problem.kind) if role not in problem.targets
    ]
    return [digest_text(*texts) for texts in zip(*(tested[name] for name in asked), strict=True)]


def answer_simply(work: Work, problem: Problem, tested: pandas.DataFrame) -> list[Baseline]:
    """The problem's simple baselines, and what its base model gives as it came."""
    rows = {split: load_rows(work, split) for split in ("train", "validation", "test")}
    tables = {split: read_split(work, split) for split in ("train", "validation")}
    tables["test"] = tested
    labels, columns = fetch(work, "encode").facts["labels"], work.pipeline.data.columns
    baselines = list(problem.comparing.predict_simply(tables, rows, columns, labels))
    if work.base.has_weights and problem.head == "fitted":
        baselines.append(_probe_base(work, rows, labels))
    if work.base.has_weights and problem.head == "pretrained":
        seed, longest = work.pipeline.training.seed, fetch(work, "encode").facts["longest"]
        model = problem.modelling.build(work.base.folder, 0, seed, longest=longest).eval()
        answers = problem.scoring.examine(model, {}, rows["test"], tested, columns).answers
        baselines.append(Baseline("base", "the base model as it came", answers))
    return baselines


def _probe_base(work: Work, rows: dict[str, Rows], labels: list[str]) -> Baseline:
    device = choose_device(work.pipeline.training.precision)
    fitted = {split: rows[split] for split in ("train", "validation")}
    features = keep_features(work, "features", fitted, device)
    features |= keep_features(work, "features-test", {"test": rows["test"]}, device)
    probe = fit_probe(
        features["train"],
        torch.from_numpy(rows["train"].labels),
        features["validation"],
        torch.from_numpy(rows["validation"].labels),
        len(labels),
    )
    answers = name_classes(probe.logits(features["test"]).argmax(dim=1).numpy(), labels)
    return Baseline("frozen", "the frozen base model with a linear head", answers)


def score(table: pandas.DataFrame, measures: tuple[str, ...]) -> dict[str, float]:
    """The metrics of a prediction table."""
    return {name: find_measure(name).compute(table) for name in measures}


def _lead(paired: Paired) -> dict[str, Any]:
    """How much better the model is than a baseline, on the same rows."""
    return {
        "difference": paired.difference,
        "interval": [paired.low, paired.high],
        "p_value": paired.p_value,
    }


def score_slices(
    table: pandas.DataFrame, slices: tuple[str, ...], measures: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The metrics of every value of every slice column."""
    return [
        {
            "column": column,
            "value": str(value),
            "rows": len(rows),
            "scores": score(rows, measures),
        }
        for column in slices
        for value, rows in table.groupby(column, dropna=False, sort=True)
    ]
