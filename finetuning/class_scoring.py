"""What one label a row is worth: the loss, the answers, and what the report shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.evaluation import (
    compute_probabilities,
    confuse,
    measure_calibration,
    score_classes,
)
from finetuning.problem import Checked, Examined

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from finetuning.config import Columns
    from finetuning.devices import Device
    from finetuning.problem import Rows

WORST_ERRORS = 30


def weigh(targets: Tensor) -> int:
    """See `problem.Scoring`: rows."""
    return len(targets)


def compute_loss(outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy in nats.

    Args:
        outputs: Logits, (batch, classes).
        targets: Class numbers, (batch,) int64, or each class's share, (batch, classes).
        label_smoothing: Share of the target that goes to all classes alike.
    """
    from torch.nn import functional

    return functional.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)


def count_right(outputs: Tensor, targets: Tensor) -> int:
    """Rows whose largest logit is the label's; of mixed rows, the larger share's."""
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return int((outputs.argmax(dim=1) == labels).sum().item())


def check(model: Any, rows: Rows, device: Device, title: str) -> Checked:
    """Loss and accuracy on validation; the best epoch has the highest accuracy."""
    import torch

    from finetuning.probing import compute_logits, score_logits

    logits = compute_logits(model, rows, device, title)
    loss, accuracy = score_logits(logits, torch.from_numpy(rows.labels))
    return Checked(loss, accuracy, accuracy)


def answer(
    model: Any,
    description: Mapping[str, Any],
    rows: Rows,
    inputs: pandas.DataFrame,
    columns: Columns,  # noqa: ARG001 - every problem's part is called alike
    parameters: Mapping[str, Any] | None = None,  # noqa: ARG001 - likewise
) -> pandas.DataFrame:
    """The most probable label of each row, and its probability as score."""
    probabilities = _find_probabilities(model, rows, "scoring")[1]
    return name_answers(probabilities, description["labels"], inputs)


def examine(
    model: Any,
    description: Mapping[str, Any],
    rows: Rows,
    tested: pandas.DataFrame,
    columns: Columns,  # noqa: ARG001 - likewise
) -> Examined:
    """Answers to the test rows, with confusion, calibration, and each label's scores."""
    import torch

    from finetuning.probing import score_logits

    logits, probabilities = _find_probabilities(model, rows, "evaluating")
    labels = description["labels"]
    confusion = confuse(rows.labels, probabilities.argmax(axis=1), len(labels))
    calibration, bins = measure_calibration(probabilities, rows.labels)
    return Examined(
        answers=name_answers(probabilities, labels, tested),
        metrics={
            "expected_calibration_error": calibration,
            "loss": score_logits(logits, torch.from_numpy(rows.labels))[0],
        },
        details={
            "labels": list(labels),
            "confusion": confusion.tolist(),
            "per_class": [vars(score) for score in score_classes(confusion, tuple(labels))],
            "reliability": [vars(one) for one in bins],
        },
    )


def _find_probabilities(model: Any, rows: Rows, title: str) -> tuple[Tensor, np.ndarray]:
    from finetuning.devices import choose_device
    from finetuning.probing import compute_logits

    # In fp32, as the model is served: what is judged is what answers.
    logits = compute_logits(model, rows, choose_device("fp32"), title)
    return logits, compute_probabilities(logits.numpy())


def name_answers(
    probabilities: np.ndarray, labels: tuple[str, ...], inputs: pandas.DataFrame
) -> pandas.DataFrame:
    """Probabilities, (rows, classes), as the columns label and score."""
    import pandas

    names = np.array(labels, dtype=object)
    return pandas.DataFrame(
        {"label": names[probabilities.argmax(axis=1)], "score": probabilities.max(axis=1)},
        index=inputs.index,
    )


def mark(answers: pandas.DataFrame, tested: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Label, prediction, and score where the answers have one."""
    import pandas

    marked = {"label": tested[columns.label].to_numpy(), "prediction": answers["label"].to_numpy()}
    if "score" in answers:
        marked["score"] = answers["score"].to_numpy()
    return pandas.DataFrame(marked, index=tested.index)


def find_worst(table: pandas.DataFrame, shown: str) -> list[dict[str, Any]]:
    """The wrong predictions that the model was surest of."""
    wrong = table[table["label"] != table["prediction"]]
    worst = wrong.sort_values("score", ascending=False, kind="stable").head(WORST_ERRORS)
    return [
        {
            "file": row["file"],
            "row": int(row["row"]),
            "text": row[shown],
            "label": row["label"],
            "prediction": row["prediction"],
            "score": float(row["score"]),
        }
        for _, row in worst.iterrows()
    ]
