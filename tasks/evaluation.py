"""Evaluate: the test split, once, beside honest baselines on the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
import torch

from finetuning.baselines import Baseline, predict_majority
from finetuning.devices import choose_device
from finetuning.evaluation import (
    compute_macro_f1,
    compute_probabilities,
    confuse,
    measure_calibration,
    score_classes,
)
from finetuning.probing import compute_logits, fit_probe
from finetuning.problem import find_problem
from finetuning.statistics import bootstrap, compare_accuracy, wilson
from finetuning.training import score_logits
from tasks.snapshot import read_rows
from tasks.stages import Outcome, fetch, perform, stage
from tasks.training import MODEL, keep_features

if TYPE_CHECKING:
    from tasks.planning import Work

WORST_ERRORS = 30
PREDICTIONS = "predictions.parquet"
EVALUATION = "evaluation.json"


@stage("evaluate")
def evaluate(work: Work) -> Outcome:
    """Score the trained model and the baselines on the test split."""
    return perform(work, "evaluate", lambda folder: _make(work, folder))[0]


def _make(work: Work, folder: Path) -> dict[str, Any]:
    encoded = fetch(work, "encode")
    labels = tuple(encoded.facts["labels"])
    problem = find_problem(work.pipeline.problem)
    rows = problem.encoding.load_rows(encoded.folder / "test.safetensors")
    model, _ = problem.modelling.load(fetch(work, "train").folder / MODEL)
    # In fp32, as the model is served: what is judged is what answers.
    logits = compute_logits(model, rows, choose_device("fp32"), "evaluating")
    probabilities = compute_probabilities(logits.numpy())
    predictions = probabilities.argmax(axis=1)
    tested = read_test_rows(work)
    table = tabulate_predictions(work, tested, labels, predictions, probabilities)
    table.to_parquet(folder / PREDICTIONS, index=False)
    right = predictions == rows.labels
    confusion = confuse(rows.labels, predictions, len(labels))
    calibration, bins = measure_calibration(probabilities, rows.labels)
    metrics = {
        "test/accuracy": float(right.mean()),
        "test/macro_f1": compute_macro_f1(confusion),
        "test/expected_calibration_error": calibration,
        "test/loss": score_logits(logits, torch.from_numpy(rows.labels))[0],
    }

    def resample_macro_f1(chosen: np.ndarray) -> float:
        return compute_macro_f1(confuse(rows.labels[chosen], predictions[chosen], len(labels)))

    details = {
        "intervals": {
            "test/accuracy": wilson(int(right.sum()), len(right)),
            "test/macro_f1": bootstrap(resample_macro_f1, len(right))[:2],
        },
        "baselines": [
            score_baseline(baseline, rows.labels, right, len(labels))
            for baseline in predict_baselines(work, tested)
        ],
        "confusion": confusion.tolist(),
        "per_class": [vars(score) for score in score_classes(confusion, labels)],
        "reliability": [vars(one) for one in bins],
        "errors": find_worst_errors(table, find_shown(work)),
        "slices": score_slices(table, work.pipeline.data.slices, labels),
        "labels": labels,
        "tested_rows": len(rows),
    }
    (folder / EVALUATION).write_text(json.dumps(details, ensure_ascii=False, indent=1), "utf-8")
    return {"metrics": metrics}


def read_test_rows(work: Work) -> pandas.DataFrame:
    """The snapshot's test rows that were encoded, in the order in which they were."""
    return _read_split(work, "test")


def _read_split(work: Work, split: str) -> pandas.DataFrame:
    rows = read_rows(fetch(work, "snapshot").folder)
    chosen: np.ndarray = np.load(fetch(work, "encode").folder / f"{split}.npy", allow_pickle=False)
    return rows.iloc[chosen].reset_index(drop=True)


def find_shown(work: Work) -> str:
    """The column whose value stands for a row."""
    return str(getattr(work.pipeline.data.columns, find_problem(work.pipeline.problem).shown))


def tabulate_predictions(
    work: Work,
    tested: pandas.DataFrame,
    labels: tuple[str, ...],
    predictions: np.ndarray,
    probabilities: np.ndarray,
) -> pandas.DataFrame:
    """The prediction table: id, label, prediction, score, slices, and what stands for the row."""
    table = tested[["file", "row", find_shown(work), *work.pipeline.data.slices]].copy()
    table.insert(0, "id", tested["file"] + ":" + tested["row"].astype(str))
    table["label"] = tested[work.pipeline.data.columns.label]
    table["prediction"] = [labels[number] for number in predictions]
    table["score"] = probabilities.max(axis=1)
    return table.loc[:, ~table.columns.duplicated()]


def predict_baselines(work: Work, tested: pandas.DataFrame) -> list[Baseline]:
    """Majority class, the problem's simple model, the frozen base with a linear head."""
    encoded, problem = fetch(work, "encode"), find_problem(work.pipeline.problem)
    rows = {
        split: problem.encoding.load_rows(encoded.folder / f"{split}.safetensors")
        for split in ("train", "validation", "test")
    }
    fitted = {split: rows[split] for split in ("train", "validation")}
    labels = {split: rows[split].labels for split in rows}
    tables = {split: _read_split(work, split) for split in fitted} | {"test": tested}
    baselines = [
        predict_majority(labels["train"], len(tested)),
        problem.comparing.predict_simply(tables, rows, work.pipeline.data.columns),
    ]
    if not work.base.has_weights:
        return baselines
    device = choose_device(work.pipeline.training.precision)
    features = keep_features(work, "features", fitted, device)
    features |= keep_features(work, "features-test", {"test": rows["test"]}, device)
    probe = fit_probe(
        features["train"],
        torch.from_numpy(labels["train"]),
        features["validation"],
        torch.from_numpy(labels["validation"]),
        len(encoded.facts["labels"]),
    )
    frozen = probe.logits(features["test"]).argmax(dim=1).numpy()
    return [*baselines, Baseline("frozen", "the frozen base model with a linear head", frozen)]


def score_baseline(
    baseline: Baseline, labels: np.ndarray, right: np.ndarray, classes: int
) -> dict[str, Any]:
    """A baseline's scores, and the model's lead over it on the same rows."""
    hits = baseline.predictions == labels
    lead = compare_accuracy(right, hits)
    return {
        "name": baseline.name,
        "description": baseline.description,
        "accuracy": float(hits.mean()),
        "macro_f1": compute_macro_f1(confuse(labels, baseline.predictions, classes)),
        "difference": lead.value,
        "interval": [lead.low, lead.high],
        "p_value": lead.p_value,
    }


def find_worst_errors(table: pandas.DataFrame, text: str) -> list[dict[str, Any]]:
    """The wrong predictions that the model was surest of."""
    wrong = table[table["label"] != table["prediction"]]
    worst = wrong.sort_values("score", ascending=False, kind="stable").head(WORST_ERRORS)
    return [
        {
            "file": row["file"],
            "row": int(row["row"]),
            "text": row[text],
            "label": row["label"],
            "prediction": row["prediction"],
            "score": float(row["score"]),
        }
        for _, row in worst.iterrows()
    ]


def score_slices(
    table: pandas.DataFrame, slices: tuple[str, ...], labels: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Accuracy and macro F1 of every value of every slice column."""
    numbers = {label: number for number, label in enumerate(labels)}
    scores = []
    for column in slices:
        for value, rows in table.groupby(column, dropna=False, sort=True):
            true = rows["label"].map(numbers).to_numpy()
            predicted = rows["prediction"].map(numbers).to_numpy()
            scores.append(
                {
                    "column": column,
                    "value": str(value),
                    "rows": len(rows),
                    "accuracy": float((true == predicted).mean()),
                    "macro_f1": compute_macro_f1(confuse(true, predicted, len(labels))),
                }
            )
    return scores
