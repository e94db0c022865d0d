"""What predicted tokens are worth: loss, perplexity, and what a served model writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.batching import cut_batches
from finetuning.parts import Checked, Examined
from finetuning.passages import name_scored
from finetuning.progress import track

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from finetuning.blocks import BlockRows
    from finetuning.config import Columns
    from finetuning.devices import Device

LOGITS_AT_ONCE = 2**23  # numbers in fp32: of a large vocabulary, a few hundred tokens' logits
WORST_ROWS = 30
_WORD = re.compile(r"\S+")


def weigh(targets: Tensor) -> int:
    """See `problem.Scoring`: tokens."""
    return len(targets)


def compute_loss(outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy a token, in nats.

    Args:
        outputs: Logits, (tokens, vocabulary).
        targets: The tokens that followed, (tokens,) int64.
        label_smoothing: Share of the target that goes to all tokens alike.
    """
    from torch.nn import functional

    return functional.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)


def count_right(outputs: Tensor, targets: Tensor) -> int:
    """Tokens that were the most probable."""
    return int((outputs.argmax(dim=1) == targets).sum().item())


def check(model: Any, rows: BlockRows, device: Device, title: str) -> Checked:
    """Loss a token and share of tokens that were the most probable; the least loss is best."""
    nats, tokens, right = (part.sum() for part in score_blocks(model, rows, device, title))
    loss = float(nats / max(tokens, 1))
    return Checked(loss, float(right / max(tokens, 1)), -loss)


def score_blocks(
    model: Any, rows: BlockRows, device: Device, title: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each block's tokens cost, in the blocks' order.

    Returns:
        The sum of the loss in nats, (blocks,) float64; predicted tokens, and those that were the
        most probable, (blocks,) int64 each.
    """
    import torch

    from finetuning.devices import computing

    model.eval().to(device.kind)
    nats = np.zeros(len(rows))
    tokens, right = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    batches = cut_batches(rows.lengths)
    for chosen in track(batches, title, len(batches)):
        drawn, targets = rows.draw(chosen, 0)
        owners = chosen[np.nonzero(drawn["wanted"].numpy())[0]]  # (wanted,)
        if not len(owners):
            continue
        batch = {name: value.to(device.kind) for name, value in drawn.items()}
        with torch.no_grad(), computing(device):
            losses, hits = _weigh_tokens(model(**batch), targets.to(device.kind))
        np.add.at(nats, owners, losses)
        np.add.at(tokens, owners, 1)
        np.add.at(right, owners, hits)
    return nats, tokens, right


def _weigh_tokens(logits: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each token in nats, (tokens,), and whether it was the most probable, (tokens,)."""
    import torch
    from torch.nn import functional

    size = max(1, LOGITS_AT_ONCE // logits.shape[1])
    starts = range(0, len(targets), size)
    parts = [(logits[at : at + size], targets[at : at + size]) for at in starts]
    # In fp32, some tokens at a time: log_softmax holds everything once more.
    losses = [functional.cross_entropy(own.float(), aims, reduction="none") for own, aims in parts]
    hits = [own.argmax(dim=1) == aims for own, aims in parts]
    return torch.cat(losses).double().cpu().numpy(), torch.cat(hits).long().cpu().numpy()


def answer(
    model: Any,
    description: Mapping[str, Any],
    rows: BlockRows,
    inputs: pandas.DataFrame,
    columns: Columns,
    parameters: Mapping[str, Any] | None = None,
) -> pandas.DataFrame:
    """How a text, or a prompt, goes on, and what is thought of the text, or of the completion.

    Returns:
        completion; loss, mean nats a token (0 where there is no token to score); tokens, how many
        were scored.
    """
    from finetuning.writing import read_wishes, write

    wishes = read_wishes(parameters or {})
    answers = _score_rows(model, rows, inputs, "scoring")
    is_prompted = columns.completion is not None
    answers.insert(
        0, "completion", write(model, description, rows, len(inputs), is_prompted, wishes)
    )
    return answers


def _score_rows(
    model: Any, rows: BlockRows, inputs: pandas.DataFrame, title: str
) -> pandas.DataFrame:
    """Loss and tokens of each row of the table."""
    import pandas

    from finetuning.devices import choose_device

    # In fp32, as the model is served: what is judged is what answers.
    nats, tokens, _ = score_blocks(model, rows, choose_device("fp32"), title)
    sums = np.bincount(rows.places, nats, len(inputs))
    counts = np.bincount(rows.places, tokens, len(inputs)).astype(np.int64)
    return pandas.DataFrame(
        {"loss": sums / np.maximum(counts, 1), "tokens": counts}, index=inputs.index
    )


def examine(
    model: Any,
    description: Mapping[str, Any],  # noqa: ARG001 - every problem's part is called alike
    rows: BlockRows,
    tested: pandas.DataFrame,
    columns: Columns,
) -> Examined:
    """Loss and tokens of the test rows; nothing is written for them."""
    answers = _score_rows(model, rows, tested, "evaluating")
    answers.insert(0, "completion", "")
    nats = float((answers["loss"] * answers["tokens"]).sum())
    characters = int(tested[name_scored(columns)].fillna("").str.len().sum())
    metrics = {
        "loss": nats / max(int(answers["tokens"].sum()), 1),
        "bits_per_character": nats / np.log(2) / max(characters, 1),
    }
    return Examined(answers, metrics, {})


def mark(answers: pandas.DataFrame, tested: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Loss and tokens as they were answered, and the words of what was scored, at white space."""
    import pandas

    texts = tested[name_scored(columns)].fillna("")
    return pandas.DataFrame(
        {
            "loss": answers["loss"].to_numpy(float),
            "tokens": answers["tokens"].to_numpy(np.int64),
            "words": [len(_WORD.findall(str(text))) for text in texts],
        },
        index=tested.index,
    )


def find_worst(table: pandas.DataFrame, shown: str) -> list[dict[str, Any]]:
    """The rows whose tokens the model expected least, their loss as score."""
    worst = table.sort_values("loss", ascending=False, kind="stable").head(WORST_ROWS)
    return [
        {
            "file": row["file"],
            "row": int(row["row"]),
            "text": row[shown],
            "label": "",
            "prediction": "",
            "score": float(row["loss"]),
        }
        for _, row in worst.iterrows()
    ]
