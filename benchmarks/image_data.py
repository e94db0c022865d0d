"""A strategy beside the stock recipe on images: accuracy, time and peak memory of both.

    tunesmith convert ../shared/weights/cifar_resnet/resnet20-12fca82f.th --to bases/resnet20
    python benchmarks/image_data.py --data ../shared/data/sign_digits_64 --base bases/resnet20 \
        --recipe probe-then-tune,epochs=12,learning_rate=1e-3

The data are the folders train, val and test, each with a folder a label; the base is a network of
`finetuning.convolutional`. The stock recipe is transformers' `Trainer` at its defaults (fp32, three
epochs at 5e-5, batches of 8, AdamW, linear decay) on the same network with a fresh linear head over
the mean of its last states. Both learn from the same scaled images, and ours chooses its epoch (and
of several recipes the recipe) on val. Decoding the images counts on both sides.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from recipes import STOCK, STOCK_BATCH, add_sides, make_pipeline, measure, read_recipe, take_turns
from torch import Tensor, nn

from finetuning.adaptation import adapt
from finetuning.config import Pipeline
from finetuning.convolutional import build_own, read_own
from finetuning.devices import choose_device
from finetuning.labels import learn_labels
from finetuning.pixels import ImageRows, open_encoder, read_input
from finetuning.probing import compute_logits
from finetuning.snapshots import take_snapshot
from flows.environment import prepare_environment

RECIPE = "probe-then-tune,epochs=12,learning_rate=1e-3"
PROBLEM = "image-classification"
PLACES = {"path": "data", "train": "train", "validation": "val", "test": "test"}
WHITE = 255.0


class StockNetwork(nn.Module):
    """A network and a fresh linear head, which answer as transformers' models do."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(cast(Any, network).config.hidden_size, classes)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """(batch, channels, side, side), normalised -> loss, and logits (batch, classes)."""
        states = self.network(pixel_values).last_hidden_state
        logits = self.head(states.mean(dim=(2, 3)))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def read_splits(folder: Path, base: Path, pipeline: Pipeline) -> tuple[dict[str, ImageRows], int]:
    """Scaled images of each split, and the number of labels."""
    table = take_snapshot(folder, pipeline.data, PROBLEM)
    labels = learn_labels(table, pipeline.data.columns)
    encoder = open_encoder(base, pipeline.data.columns, pipeline.training, folder)
    splits = {}
    for split in ("train", "validation", "test"):
        rows = table[table["split"] == split]
        numbers = rows["label"].map(labels.index).to_numpy(np.int64)
        splits[split] = encoder.encode(rows, numbers)
    return splits, len(labels)


def run_ours(folder: Path, base: Path, pipeline: Pipeline) -> dict[str, Any]:
    """Read, adapt by the pipeline's strategy, and score the test images."""
    started = time.perf_counter()
    splits, classes = read_splits(folder, base, pipeline)
    with tempfile.TemporaryDirectory() as place:
        adapted = adapt(
            base, classes, pipeline, splits["train"], splits["validation"], None, Path(place)
        )
    logits = compute_logits(adapted.model, splits["test"], choose_device("fp32"))
    result = adapted.result
    return {
        "history": result.history,
        "validation": result.history[result.best].validation_accuracy,
        "accuracy": float((logits.argmax(dim=1).numpy() == splits["test"].labels).mean()),
        "seconds": time.perf_counter() - started,
    }


def run_stock(
    folder: Path,
    base: Path,
    pipeline: Pipeline,
    frozen: tuple[str, ...] = (),
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Transformers' Trainer at its defaults, but for what the command line names.

    Parameters whose names begin with one of `frozen` do not learn.
    """
    from transformers import PrinterCallback, Trainer, TrainingArguments

    settings = pipeline.training
    started = time.perf_counter()
    splits, classes = read_splits(folder, base, pipeline)
    taken = read_input(base)
    mean, deviation = (
        torch.tensor(values).view(-1, 1, 1) for values in (taken.mean, taken.deviation)
    )

    def make(split: str) -> list[dict[str, Any]]:
        rows = splits[split]
        scaled = (torch.from_numpy(rows.pixels).float() / WHITE - mean) / deviation
        return [
            {"pixel_values": pixels, "labels": int(label)}
            for pixels, label in zip(scaled, rows.labels, strict=True)
        ]

    torch.manual_seed(settings.seed)  # of the head
    config = read_own(base)
    if config is None:
        raise SystemExit(f"{base} holds no network of finetuning.convolutional")
    model = StockNetwork(build_own(base, config), classes)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            TrainingArguments(
                scratch,
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size,
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                seed=settings.seed,
                report_to="none",
            ),
            train_dataset=make("train"),
            callbacks=list(callbacks),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        answers = trainer.predict(make("test")).predictions
    accuracy = float((answers.argmax(axis=1) == splits["test"].labels).mean())
    return {"accuracy": accuracy, "seconds": time.perf_counter() - started}


def run_side(arguments: argparse.Namespace) -> dict[str, Any]:
    """One side's figures, from this process."""
    prepare_environment(Path.cwd(), quiet=True)
    base, others = str(arguments.base), {"problem": PROBLEM, "data": PLACES}
    if arguments.only == STOCK:
        training = {
            "epochs": arguments.stock_epochs, "learning_rate": arguments.stock_learning_rate,
            "batch_size": STOCK_BATCH, "seed": arguments.seed,
        }  # fmt: skip
        pipeline = make_pipeline(base, "full", training, **others)
    else:
        pipeline = read_recipe(base, arguments.only, {"seed": arguments.seed}, **others)
    run = run_stock if arguments.only == STOCK else run_ours
    return measure(lambda: run(arguments.data, arguments.base, pipeline))


def main() -> None:
    """Run all sides and print them as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of train, val and test")
    parser.add_argument("--base", type=Path, required=True)
    add_sides(parser, RECIPE)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run_side(arguments)))
        return
    report = take_turns(arguments.recipe or [RECIPE], arguments.stock_epochs > 0)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
