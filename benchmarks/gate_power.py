"""How often the gate is right, beside the rule that the higher score wins.

    python benchmarks/gate_power.py

Simulated models of known quality are judged by the gate itself, on 2,000 rows, models that agree on
90% of them: models of equal quality, alone and as 50 weekly challengers on one test split; models
that are truly 3 points better, as first to fiftieth challenger; and, for `not_worse`, models that
are truly worse by the margin and models that are equal. Every trial draws its own test split. A
rate comes with its 95% interval.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas

from finetuning.config import Gate
from finetuning.gate import judge
from finetuning.measures import find_measure
from finetuning.predictions import Slices
from finetuning.statistics import wilson
from finetuning.verdicts import Evidence

ROWS = 2000
ACCURACY = 0.85
DISAGREEMENT = 0.10
WEEKS = 50
MARGIN = 0.02
LABELS = np.array(["negative", "positive"], dtype=object)
Models = Iterator[tuple[np.ndarray, np.ndarray]]


def tabulate(true: np.ndarray, right: np.ndarray) -> pandas.DataFrame:
    """A prediction table of the rows that a model gets right."""
    predicted = np.where(right, true, 1 - true)
    ids = np.arange(len(true))
    return pandas.DataFrame({"id": ids, "label": LABELS[true], "prediction": LABELS[predicted]})


def draw_pair(generator: np.random.Generator, lead: float) -> tuple[np.ndarray, np.ndarray]:
    """Which rows a candidate and a champion get right; on DISAGREEMENT of them only one does."""
    point = generator.random(ROWS)
    only_candidate, only_champion = (DISAGREEMENT + lead) / 2, (DISAGREEMENT - lead) / 2
    both = ACCURACY - only_champion
    candidate = point < both + only_candidate
    apart = both + only_candidate
    champion = (point < both) | ((point >= apart) & (point < apart + only_champion))
    return candidate, champion


def draw_weeks(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A champion and WEEKS challengers of equal quality, (WEEKS, ROWS); any two disagree alike.

    Each model takes a shared answer except on rows of its own, where it is right by luck.
    """
    shared = generator.random(ROWS) < ACCURACY
    # Two models differ where at least one goes its own way: 2 a (1 - a) (1 - (1 - own)^2).
    own = 1 - np.sqrt(1 - DISAGREEMENT / (2 * ACCURACY * (1 - ACCURACY)))
    alone = generator.random((WEEKS + 1, ROWS)) < own
    right = np.where(alone, generator.random((WEEKS + 1, ROWS)) < ACCURACY, shared)
    return right[1:], right[0]


def decide(
    true: np.ndarray, candidate: np.ndarray, champion: np.ndarray, gate: Gate, judged: int = 0
) -> bool:
    """Whether the gate lets the candidate pass."""
    tables = tabulate(true, candidate), tabulate(true, champion)
    return judge(Evidence(*tables, Slices(()), judged), gate, find_measure(gate.metric)).promote


def count(trials: int, seed: int, trial: Callable[[np.random.Generator], np.ndarray]) -> list[str]:
    """Rates of what a trial finds true, each with its interval."""
    generator = np.random.default_rng(seed)
    hits = np.sum([trial(generator) for _ in range(trials)], axis=0)
    rates = []
    for found in hits:
        low, high = wilson(int(found), trials)
        rates.append(f"{found / trials:.4f} ({low:.3f} to {high:.3f})")
    return rates


def try_pair(gate: Gate, lead: float, judged: int = 0) -> Callable[..., np.ndarray]:
    """A trial: one candidate with a true lead; what the gate says, and the higher score."""

    def trial(generator: np.random.Generator) -> np.ndarray:
        true = generator.integers(0, 2, ROWS)
        candidate, champion = draw_pair(generator, lead)
        passed = decide(true, candidate, champion, gate, judged)
        return np.array([passed, candidate.mean() > champion.mean()])

    return trial


def try_weeks(gate: Gate) -> Callable[..., np.ndarray]:
    """A trial: whether any of WEEKS equal challengers passes, by the gate and by higher score."""

    def trial(generator: np.random.Generator) -> np.ndarray:
        true = generator.integers(0, 2, ROWS)
        challengers, champion = draw_weeks(generator)
        passed = any(
            decide(true, challenger, champion, gate, week)
            for week, challenger in enumerate(challengers)
        )
        unspent = any(decide(true, challenger, champion, gate) for challenger in challengers)
        higher = bool((challengers.mean(axis=1) > champion.mean()).any())
        return np.array([passed, unspent, higher])

    return trial


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started, size = time.perf_counter(), (arguments.trials, arguments.seed)
    better = Gate.model_validate({"against_champion": "better"})
    macro = Gate.model_validate({"against_champion": "better", "metric": "macro_f1"})
    not_worse = Gate.model_validate({"against_champion": "not_worse", "margin": MARGIN})
    rules = ("better", "higher score wins")
    report: dict[str, object] = {
        "equal quality, promoted": dict(
            zip(rules, count(*size, try_pair(better, 0.0)), strict=True)
        ),
        "equal quality, macro F1, promoted": dict(
            zip(rules, count(*size, try_pair(macro, 0.0)), strict=True)
        ),
        f"equal quality, any of {WEEKS} weekly challengers promoted": dict(
            zip(
                ("better", "better, alpha not spent", "higher score wins"),
                count(*size, try_weeks(better)),
                strict=True,
            )
        ),
    }
    for number in (1, 2, 10, 25, 50):
        found = count(*size, try_pair(better, 0.03, number - 1))
        report[f"3 points better, challenger {number}, promoted"] = dict(
            zip(rules, found, strict=True)
        )
    found = count(*size, try_pair(macro, 0.03))
    report["3 points better, macro F1, promoted"] = dict(zip(rules, found, strict=True))
    worse, equal = (count(*size, try_pair(not_worse, lead))[0] for lead in (-MARGIN, 0.0))
    report[f"not_worse, margin {MARGIN}, promoted"] = {"truly worse by it": worse, "equal": equal}
    report["trials"], report["seconds"] = (
        arguments.trials,
        round(time.perf_counter() - started, 1),
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
