"""What a span finder learns, what it answers, and what its answers are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from finetuning.answers import Answers, read_answers
from finetuning.batching import cut_batches
from finetuning.devices import Device, choose_device, computing
from finetuning.parts import Checked, Examined
from finetuning.progress import track
from finetuning.question_models import NEVER
from finetuning.spans import CERTAIN, Decoded, Span, choose_threshold, find_spans, gather
from finetuning.squad_metrics import score_answer
from finetuning.windows import NOWHERE

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns
    from finetuning.question_models import SpanFinder
    from finetuning.windows import Windows

WORST_ANSWERS = 30


def weigh(targets: Tensor) -> int:
    """The windows of a batch."""
    return len(targets)


def compute_loss(outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Mean of the cross-entropies of the answer's first and last token, in nats.

    Args:
        outputs: Logits, (batch, length, 2).
        targets: First and last token, (batch, 2).
        label_smoothing: Share that is spread over the tokens where an answer may begin or end.
    """
    logarithms = functional.log_softmax(outputs.float(), dim=1)
    loss = -logarithms.gather(1, targets.unsqueeze(1)).mean()
    if label_smoothing:
        allowed = (outputs > NEVER / 2).float()
        spread = -(logarithms * allowed).sum(dim=1) / allowed.sum(dim=1)
        loss = (1 - label_smoothing) * loss + label_smoothing * spread.mean()
    return loss


def count_right(outputs: Tensor, targets: Tensor) -> int:
    """The windows whose likeliest first and last token are the answer's."""
    return int((outputs.argmax(dim=1) == targets).all(dim=1).sum().item())


@dataclass(frozen=True)
class _Seen:
    """What a model gave for windows: the loss's mean, the windows it got right, and answers."""

    loss: float
    right: int
    decoded: list[Decoded]


def _look(model: SpanFinder, rows: Windows, device: Device, title: str) -> _Seen:
    """Run a model over windows, and decode each question's answers from all of its own."""
    windows: list[tuple[int, Sequence[Span], float]] = []
    loss = right = 0.0
    model.eval().to(device.kind)
    batches = cut_batches(rows.lengths)
    for chosen in track(batches, title, len(batches)):
        batch = {name: value.to(device.kind) for name, value in rows.collate(chosen).items()}
        with torch.no_grad(), computing(device):
            outputs = model(**batch)
        outputs = outputs.float().cpu()
        targets = torch.from_numpy(np.stack([rows.starts[chosen], rows.ends[chosen]], axis=1))
        loss += compute_loss(outputs, targets, 0.0).item() * len(chosen)
        right += count_right(outputs, targets)
        windows += _decode(outputs, rows, chosen)
    questions = int(rows.sources.max(initial=-1)) + 1
    return _Seen(loss / max(len(rows), 1), int(right), gather(windows, questions))


def _decode(
    outputs: Tensor, rows: Windows, chosen: np.ndarray
) -> Iterator[tuple[int, Sequence[Span], float]]:
    """Each window's question, its best spans in characters, and the score of no answer."""
    logarithms = functional.log_softmax(outputs.double(), dim=1).numpy()
    in_context = np.zeros(logarithms.shape[:2], bool)
    for place, row in enumerate(chosen):
        own = rows.places[rows.offsets[row] : rows.offsets[row + 1], 0]
        in_context[place, : len(own)] = own != NOWHERE
    found = find_spans(logarithms, in_context)
    for place, row in enumerate(chosen):
        begin = rows.offsets[row]
        spans = [
            Span(
                int(rows.places[begin + first, 0]), int(rows.places[begin + last, 1]), float(score)
            )
            for first, last, score in zip(
                found.firsts[place], found.lasts[place], found.scores[place], strict=True
            )
            if np.isfinite(score)
        ]
        yield int(rows.sources[row]), spans, float(found.nulls[place])


def check(model: SpanFinder, rows: Windows, device: Device, title: str) -> Checked:
    """What validation rows show; the model's threshold for giving no answer is chosen on them.

    Accuracy is the share of windows that are right; merit is the mean over questions of F1 over the
    characters of the best span and the answer: of the rows nothing but the windows is known here.
    """
    seen = _look(model, rows, device, title)
    golds = np.full((len(seen.decoded), 2), NOWHERE)
    golds[rows.sources] = rows.spans
    answered = np.array(
        [
            _overlap(one.spans[0], gold) if one.spans else 0.0
            for one, gold in zip(seen.decoded, golds, strict=True)
        ]
    )
    silent = (golds[:, 0] == NOWHERE).astype(float)
    leads = np.array([_lead(one) for one in seen.decoded])
    threshold = choose_threshold(leads, answered, silent)
    model.threshold.fill_(threshold)
    merit = np.where(leads > threshold, silent, answered).mean()
    return Checked(seen.loss, seen.right / max(len(rows), 1), float(merit))


def _lead(one: Decoded) -> float:
    """By how much no answer is likelier than the best span, in nats."""
    return one.null - one.spans[0].score if one.spans else CERTAIN


def _overlap(span: Span, gold: np.ndarray) -> float:
    """F1 over characters; 0 where there is no answer."""
    shared = min(span.end, int(gold[1])) - max(span.start, int(gold[0]))
    return 2 * max(shared, 0) / (span.end - span.start + int(gold[1] - gold[0]))


def answer(
    model: SpanFinder,
    description: Mapping[str, Any],  # noqa: ARG001 - every problem's part is called alike
    rows: Windows,
    inputs: pandas.DataFrame,
    columns: Columns,
    parameters: Mapping[str, Any] | None = None,  # noqa: ARG001 - likewise
) -> pandas.DataFrame:
    """Each question's answer, a part of its context, and its probability; empty for no answer."""
    import pandas

    seen = _look(model, rows, choose_device("fp32"), "answering")
    threshold = model.threshold.item()
    contexts = inputs[columns.context].fillna("").astype(str)
    chosen = [
        _choose(one, context, threshold)
        for one, context in zip(seen.decoded, contexts, strict=True)
    ]
    return pandas.DataFrame(
        {
            "answer": pandas.Series([text for text, _ in chosen], dtype=object),
            "score": np.array([score for _, score in chosen], float),
        }
    ).set_index(inputs.index)


def _choose(one: Decoded, context: str, threshold: float) -> tuple[str, float]:
    if not one.spans or _lead(one) > threshold:
        return "", float(np.exp(one.null))
    best = one.spans[0]
    return context[best.start : best.end].strip(), float(np.exp(best.score))


def examine(
    model: SpanFinder,
    description: Mapping[str, Any],
    rows: Windows,
    tested: pandas.DataFrame,
    columns: Columns,
) -> Examined:
    """What `answer` gives for test rows; where some have no answer, both kinds are scored apart."""
    answers = answer(model, description, rows, tested, columns)
    marked = mark(answers, tested, columns)
    possible = marked["label"] != ""
    if possible.all() or not possible.any():
        return Examined(answers, {}, {})
    metrics = {
        f"{name}_{metric}": float(marked.loc[chosen, metric].mean())
        for name, chosen in (("answerable", possible), ("unanswerable", ~possible))
        for metric in ("f1", "exact_match")
    }
    return Examined(answers, metrics, {})


def mark(answers: pandas.DataFrame, tested: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Answer and first right answer as texts, and exact match and F1 as `squad_metrics` has them.

    The probability is handed on as score, where answers have one.
    """
    import pandas

    golds = [(read_answers(cell) or Answers()).texts for cell in tested[columns.answers]]
    given = answers["answer"].fillna("").astype(str).tolist()
    scores = [score_answer(text, gold) for text, gold in zip(given, golds, strict=True)]
    table = pandas.DataFrame(
        {
            "label": [gold[0] if gold else "" for gold in golds],
            "prediction": given,
            "f1": [f1 for _, f1 in scores],
            "exact_match": [exact for exact, _ in scores],
        },
        index=tested.index,
    )
    if "score" in answers:
        table["score"] = answers["score"].to_numpy(float)
    return table


def find_worst(table: pandas.DataFrame, shown: str) -> list[dict[str, Any]]:
    """The answers with the lowest F1, of those the surest first."""
    wrong = table[table["exact_match"] < 1]
    worst = wrong.sort_values(["f1", "score"], ascending=[True, False], kind="stable")
    return [
        {
            "file": row["file"],
            "row": int(row["row"]),
            "text": row[shown],
            "label": row["label"],
            "prediction": row["prediction"],
            "score": float(row["score"]),
        }
        for _, row in worst.head(WORST_ANSWERS).iterrows()
    ]
