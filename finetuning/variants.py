"""Which trials a comparison is made of: a pipeline varied by strategy and seed, and the sizes.

A strategy is named by its kind, or as KIND@RATE where it has a learning rate of its own: adapters
want a higher one than a whole model, and strategies that share one are not all at their best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from pydantic import ValidationError

from finetuning.config import Pipeline, Strategy, StrategyKind
from finetuning.errors import Fault, InputError

ALL = "all"
FEWEST_ROWS = 2
LARGEST_SEED = 2**32


def vary(pipeline: Pipeline, strategies: Sequence[str], seeds: int) -> tuple[Pipeline, ...]:
    """The pipeline with each strategy and seed; the first of a strategy has the file's own seed.

    `groups` of the pipeline file holds for its own strategy, and for `freeze`, which needs it; the
    other strategies are compared whole. All other keys hold for all.

    Raises:
        InputError: With every strategy that cannot be.
    """
    if faults := check_strategies(strategies):
        raise InputError(faults)
    own, rate, variants = pipeline.strategy, pipeline.training.learning_rate, []
    asked = [_part(one) for one in strategies]
    for kind, wanted in dict.fromkeys((kind, float(said or rate)) for kind, said in asked):
        groups = own.groups if kind in (own.kind, "freeze") else None
        try:
            strategy = Strategy.model_validate(
                own.model_dump(mode="json") | {"kind": kind, "groups": groups}
            )
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            remedy = f"{said[0].upper()}{said[1:]}: --set strategy.groups=N."
            faults.append(Fault("--strategies", repr(kind), remedy))
            continue
        first = pipeline.training.seed
        for seed in range(first, first + seeds):
            changed = {"seed": seed % LARGEST_SEED, "learning_rate": wanted}
            training = pipeline.training.model_copy(update=changed)
            changes = {"strategy": strategy, "training": training}
            variants.append(pipeline.model_copy(update=changes))
    if faults:
        raise InputError(faults)
    return tuple(variants)


def name_variant(variant: Pipeline, own: Pipeline) -> str:
    """The strategy of a variant, with its learning rate where that is not the pipeline's own."""
    rate = variant.training.learning_rate
    is_own = rate == own.training.learning_rate
    return variant.strategy.kind if is_own else f"{variant.strategy.kind}@{rate:g}"


def check_strategies(strategies: Sequence[str]) -> list[Fault]:
    """A fault for every name that is no strategy, and every rate that is none."""
    known = get_args(StrategyKind)
    remedy = f"The strategies are {', '.join(known)}; lora@0.01 gives one a rate of its own."
    faults = [
        Fault("--strategies", repr(one), remedy)
        for one in strategies
        if _part(one)[0] not in known or not _is_rate(one)
    ]
    return faults if strategies else [Fault("--strategies", "nothing", remedy)]


def _part(strategy: str) -> tuple[str, str]:
    """KIND@RATE as its kind, and its rate or nothing."""
    kind, _, rate = strategy.partition("@")
    return kind, rate


def _is_rate(strategy: str) -> bool:
    if "@" not in strategy:
        return True
    try:
        return 0 < float(_part(strategy)[1]) <= 1
    except ValueError:
        return False


def check_sizes(sizes: Sequence[str]) -> list[Fault]:
    """A fault for everything that is no number of rows."""
    remedy = f"Write numbers of rows from {FEWEST_ROWS} on, or all, such as 100,500,all."
    faults = [Fault("--sizes", repr(one), remedy) for one in sizes if not _is_size(one)]
    return faults if sizes else [Fault("--sizes", "nothing", remedy)]


def _is_size(size: str) -> bool:
    return size == ALL or (size.isascii() and size.isdigit() and int(size) >= FEWEST_ROWS)


def choose_sizes(sizes: Sequence[str], rows: int) -> tuple[int, ...]:
    """The sizes in order, each once.

    Args:
        sizes: Numbers of rows, or all.
        rows: Training rows that there are.

    Raises:
        InputError: A size is none, or is more than there are.
    """
    faults = check_sizes(sizes)
    if not faults:
        remedy = f"There are {rows} training rows: name fewer, or all."
        large = [one for one in sizes if one != ALL and int(one) > rows]
        faults = [Fault("--sizes", repr(one), remedy) for one in large]
    if faults:
        raise InputError(faults)
    return tuple(sorted({rows if one == ALL else int(one) for one in sizes}))
