"""Training with frozen layers here and in the stock loop: processor seconds of an epoch.

    python benchmarks/frozen_layers.py --train ../shared/data/snips/train.csv \
        --test ../shared/data/snips/valid.csv

The stock loop is transformers' `Trainer` as in `against_stock.py`, with the same layers frozen by
`requires_grad`, on the same rows in batches of the same size. Both sides take turns, in rounds. An
epoch of each is timed from its second on, ours with its validation, the stock's without any.

- `freeze` with so many frozen groups (of MiniLM's eight: embeddings, six blocks, head): what leaves
  the frozen blocks is computed once, before the first epoch.
- `head` has no epochs: features are computed once, and the whole fit to convergence, over all
  penalties, is held against one stock epoch with everything but the classifier frozen.

Ours computes as a pipeline does on this device, in bf16 where that is native; the stock in fp32.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from against_stock import BASE, SETTINGS, read_rows, run_stock, shorten
from recipes import make_pipeline

from finetuning.adaptation import adapt
from finetuning.config import Pipeline
from finetuning.probing import compute_features
from finetuning.sources import find_base
from finetuning.tokenization import encode, load_tokenizer
from flows.environment import prepare_environment

EPOCHS = 3
LEAST_RATIO = 5.0  # what is to be reached
FROZEN = (7, 6, 5, 4)  # groups; 7 are all but the head
HEAD = "head"


def time_ours(
    splits: dict[str, Any], folder: Path, classes: int, frozen: int | None, settings: dict[str, Any]
) -> dict[str, list[float]]:
    """Encode the texts, and see `time_adaptation`."""
    tokenizer, length = load_tokenizer(folder), settings["max_length"]
    train, validation = (
        encode(tokenizer, splits[split][0], None, splits[split][1], length)
        for split in ("train", "validation")
    )
    pipeline = choose_pipeline(BASE, frozen, settings)
    return time_adaptation(folder, classes, pipeline, (train, validation), length)


def choose_pipeline(
    base: str, frozen: int | None, settings: dict[str, Any], **others: Any
) -> Pipeline:
    """The pipeline of `freeze` with so many groups; None is the strategy `head`."""
    kind = HEAD if frozen is None else "freeze"
    return make_pipeline(base, kind, settings, strategy={"kind": kind, "groups": frozen}, **others)


def time_adaptation(
    folder: Path, classes: int, pipeline: Pipeline, splits: tuple[Any, Any], longest: int | None
) -> dict[str, list[float]]:
    """Processor seconds of what is done once, and of each epoch from the second on.

    Of the strategy `head` its features are what is done once, its fit the epoch.
    """
    stamps = [time.process_time()]
    is_fitted = pipeline.strategy.kind == HEAD

    def find_features(model: Any, *parts: Any) -> tuple[Any, Any]:
        own, other = (compute_features(model, part, parts[-1]) for part in parts[:2])
        stamps.append(time.process_time())
        return own, other

    with tempfile.TemporaryDirectory() as place:
        adapt(
            folder, classes, pipeline, *splits, longest, Path(place),
            find_features=find_features if is_fitted else None,
            report=lambda _: stamps.append(time.process_time()),
        )  # fmt: skip
    spans = [later - earlier for earlier, later in itertools.pairwise(stamps)]
    # The first epoch's own part is taken to be like the others': the rest was done once.
    once = spans[0] if is_fitted else spans[0] - statistics.median(spans[1:])
    return {"epochs": spans[1:], "once": [once]}


def time_stock(
    splits: dict[str, Any], folder: Path, classes: int, frozen: int, settings: dict[str, Any]
) -> list[float]:
    """Processor seconds of each epoch from the second on."""
    blocks = [f"bert.encoder.layer.{number}." for number in range(frozen - 1)]
    names = ("bert.",) if frozen == max(FROZEN) else ("bert.embeddings.", *blocks)
    return watch_epochs(lambda watch: run_stock(splits, folder, classes, settings, names, [watch]))


def watch_epochs(run: Callable[[Any], Any]) -> list[float]:
    """Processor seconds of each epoch of a Trainer, from the second on; it is given a callback."""
    from transformers import TrainerCallback

    spans: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers' way to be told of epochs
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            spans.append(-time.process_time())

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            spans[-1] += time.process_time()

    run(Watch())
    return spans[1:]


def summarise(ours: list[dict[str, list[float]]], stock: list[float]) -> dict[str, Any]:
    """Medians over rounds and epochs, and every round's ratio."""
    own = [statistics.median(one["epochs"]) for one in ours]
    ratios = [theirs / mine for mine, theirs in zip(own, stock, strict=True)]
    return {
        "tunesmith epoch": round(statistics.median(own), 3),
        "tunesmith once": round(statistics.median(one["once"][0] for one in ours), 3),
        "stock epoch": round(statistics.median(stock), 3),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        f"at least {LEAST_RATIO}": statistics.median(ratios) >= LEAST_RATIO,
    }


def take_rounds(
    groups: tuple[int, ...],
    rounds: int,
    ours: Callable[[int | None, int], dict[str, list[float]]],
    stock: Callable[[int, int], list[float]],
) -> dict[str, Any]:
    """Both sides in turns, a seed a round: `head`, then `freeze` with so many groups each."""
    own: dict[Any, list[dict[str, list[float]]]] = {None: [], **{k: [] for k in groups}}
    theirs: dict[int, list[float]] = {k: [] for k in groups}
    for seed in range(rounds):
        for frozen, found in own.items():
            found.append(ours(frozen, seed))
            if frozen is not None:
                theirs[frozen].append(statistics.median(stock(frozen, seed)))
    report = {HEAD: summarise(own[None], theirs[max(groups)])}
    return report | {f"freeze, groups {k}": summarise(own[k], theirs[k]) for k in groups}


def main() -> None:
    """Run all rounds and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--rows", type=int, default=1000, help="of each split")
    parser.add_argument("--batch-size", type=int, default=32, help="of both; ours has 32 by itself")
    parser.add_argument("--stock-batch-size", type=int, help="the Trainer's own is 8")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    whole, classes = read_rows(arguments)
    splits = shorten(whole, arguments.rows)
    splits["validation"] = tuple(part[: arguments.rows // 10] for part in splits["validation"])
    base = find_base(BASE, None, Path.cwd())
    if base is None:
        raise SystemExit(f"{BASE} is not at hand: pip install 'tunesmith[sample]'")
    settings = SETTINGS | {"epochs": EPOCHS, "batch_size": arguments.batch_size}
    others = {"batch_size": arguments.stock_batch_size or arguments.batch_size}
    report = take_rounds(
        FROZEN,
        arguments.rounds,
        lambda k, seed: time_ours(splits, base.folder, classes, k, settings | {"seed": seed}),
        lambda k, seed: time_stock(
            splits, base.folder, classes, k, settings | others | {"seed": seed}
        ),
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
