"""Training on images with frozen layers here and in the stock loop: seconds of an epoch.

    tunesmith convert ../shared/weights/cifar_resnet/resnet20-12fca82f.th --to bases/resnet20
    python benchmarks/frozen_images.py --data ../shared/data/sign_digits_64 --base bases/resnet20

As `frozen_layers.py` for texts: both sides on the same scaled images in batches of the same size,
none of them changed at random, with the same lowest groups of a CIFAR ResNet frozen. The groups are
the stem, its blocks, and the head.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from frozen_layers import EPOCHS, choose_pipeline, take_rounds, time_adaptation, watch_epochs
from image_data import PLACES, PROBLEM, read_splits, run_stock

from finetuning.convolutional import build_own, read_own
from finetuning.stacks import list_blocks
from flows.environment import prepare_environment

STEM = ("conv1.", "bn1.")
LEAVES = (1, 2, 3, 6)  # groups that learn, the head among them


def main() -> None:
    """Run all rounds and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of train, val and test")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=32, help="of both; ours has 32 by itself")
    parser.add_argument("--stock-batch-size", type=int, help="the Trainer's own is 8")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    config = read_own(arguments.base)
    if config is None:
        raise SystemExit(f"{arguments.base} holds no network of finetuning.convolutional")
    blocks = [
        prefix for block in list_blocks(build_own(arguments.base, config)) for prefix in block
    ]
    settings = {
        "epochs": EPOCHS,
        "batch_size": arguments.batch_size,
        "learning_rate": 1e-3,
        "early_stopping": None,
    }
    theirs = {"batch_size": arguments.stock_batch_size or arguments.batch_size}
    base, fixed = str(arguments.base), {"problem": PROBLEM, "data": PLACES}

    def choose(frozen: int | None, seed: int, **changes: Any) -> Any:
        return choose_pipeline(base, frozen, settings | changes | {"seed": seed}, **fixed)

    splits, classes = read_splits(arguments.data, arguments.base, choose(None, 0))
    pair = splits["train"], splits["validation"]

    def time_stock(frozen: int, seed: int) -> list[float]:
        names = tuple(f"network.{name}" for name in (*STEM, *blocks[: frozen - 1]))
        own = (arguments.data, arguments.base, choose(frozen, seed, **theirs), names)
        return watch_epochs(lambda watch: run_stock(*own, [watch]))

    report = take_rounds(
        tuple(2 + len(blocks) - leaves for leaves in LEAVES),
        arguments.rounds,
        lambda k, seed: time_adaptation(arguments.base, classes, choose(k, seed), pair, None),
        time_stock,
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
