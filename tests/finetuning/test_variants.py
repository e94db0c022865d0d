"""Which trials a comparison is made of."""

import pytest

from finetuning.config import Pipeline
from finetuning.errors import InputError
from finetuning.variants import check_sizes, check_strategies, choose_sizes, name_variant, vary


def pipeline(seed=5, **strategy):
    """A pipeline with that strategy."""
    return Pipeline.model_validate(
        {
            "name": "toy",
            "problem": "text-classification",
            "data": {"path": "data/toy"},
            "model": {"base": "toy"},
            "strategy": strategy,
            "training": {"seed": seed, "epochs": 2},
        }
    )


def test_every_strategy_with_every_seed():
    """The file's own seed comes first; rank and epochs hold for all, groups for its own kind."""
    own = pipeline(kind="probe-then-tune", groups=4, rank=3)
    variants = vary(own, ["full", "probe-then-tune", "head", "freeze", "full"], 2)
    assert [(one.strategy.kind, one.strategy.groups, one.training.seed) for one in variants] == [
        ("full", None, 5), ("full", None, 6),
        ("probe-then-tune", 4, 5), ("probe-then-tune", 4, 6),
        ("head", None, 5), ("head", None, 6),
        ("freeze", 4, 5), ("freeze", 4, 6),
    ]  # fmt: skip
    assert {one.strategy.rank for one in variants} == {3}
    assert {one.training.epochs for one in variants} == {2}
    assert variants[2] == own


def test_a_strategy_with_a_rate_of_its_own():
    """It is named by it, others keep the pipeline's; the pipeline's own rate is nothing else."""
    own = pipeline(kind="full")
    variants = vary(own, ["full", "lora@2e-3", "lora", "full@5e-5", "lora@0.002"], 1)
    named = [(name_variant(one, own), one.training.learning_rate) for one in variants]
    assert named == [("full", 5e-5), ("lora@0.002", 2e-3), ("lora", 5e-5)]


def test_the_largest_seed_has_a_next():
    """Seeds go round at the largest that the file takes."""
    seeds = [one.training.seed for one in vary(pipeline(2**32 - 1), ["full"], 2)]
    assert seeds == [2**32 - 1, 0]


def test_freeze_needs_groups():
    """Without groups in the file, freeze cannot be compared, and the remedy says how it can."""
    with pytest.raises(InputError, match=r"'freeze'.*--set strategy\.groups=N"):
        vary(pipeline(kind="full"), ["full", "freeze"], 1)


def test_wrong_words():
    """Every unknown strategy and size is a fault; so is none at all."""
    assert [fault.found for fault in check_strategies(["full", "magic", ""])] == ["'magic'", "''"]
    assert len(check_strategies([])) == len(check_sizes([])) == 1
    rates = ["full@1", "full@0", "full@-1", "full@2", "full@", "full@nan", "full@fast", "@1"]
    assert [fault.found for fault in check_strategies(rates)] == [repr(one) for one in rates[1:]]
    sizes = ["all", "2", "100", "1", "0", "-5", "ten", "1e3", "٣٣"]
    assert [fault.found for fault in check_sizes(sizes)] == [
        "'1'", "'0'", "'-5'", "'ten'", "'1e3'", "'٣٣'",
    ]  # fmt: skip


def test_sizes_in_order_each_once():
    """All is the number of rows; a size above it is refused with that number."""
    assert choose_sizes(["all", "50", "7", "50", "120"], 120) == (7, 50, 120)
    with pytest.raises(InputError, match=r"'121'. There are 120 training rows"):
        choose_sizes(["121", "7"], 120)
