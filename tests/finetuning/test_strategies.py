"""Strategies: every table against one written by hand."""

from contextlib import nullcontext

import pytest

from finetuning.config import Strategy
from finetuning.errors import InputError
from finetuning.strategies import (
    begins_with_probe,
    check_depth,
    describe_share,
    describe_table,
    tabulate,
)


def strategy(kind, **fields):
    """A strategy as the pipeline file would give it."""
    return Strategy.model_validate({"kind": kind, **fields})


@pytest.mark.parametrize("kind", ["full", "scratch", "probe-then-tune"])
def test_everything_trains_at_full_pace(kind):
    """Strategies without a schedule are ones in every epoch and group."""
    assert tabulate(strategy(kind), 2, 4) == ((1, 1, 1, 1), (1, 1, 1, 1))


def test_head_needs_no_epochs():
    """A head on frozen features is fitted outside the table, which is empty."""
    assert tabulate(strategy("head"), 5, 4) == ()


def test_freeze():
    """The lowest groups stay at 0 in every epoch."""
    assert tabulate(strategy("freeze", groups=2), 3, 4) == ((0, 0, 1, 1),) * 3
    assert tabulate(strategy("freeze", groups=0), 1, 3) == ((1, 1, 1),)
    assert tabulate(strategy("freeze", groups=3), 1, 4) == ((0, 0, 0, 1),)


def test_gradual():
    """One more group thaws an epoch, from the top, until all train."""
    assert tabulate(strategy("gradual"), 5, 4) == (
        (0, 0, 0, 1),
        (0, 0, 1, 1),
        (0, 1, 1, 1),
        (1, 1, 1, 1),
        (1, 1, 1, 1),
    )


def test_gradual_times_groups():
    """Gradual thawing stops at the groups that stay frozen."""
    assert tabulate(strategy("gradual", groups=2), 4, 4) == (
        (0, 0, 0, 1),
        (0, 0, 1, 1),
        (0, 0, 1, 1),
        (0, 0, 1, 1),
    )


def test_discriminative():
    """The rate falls by the factor a group downwards; the head has the full rate."""
    (row,) = tabulate(strategy("discriminative", decay=0.5), 1, 4)
    assert row == (0.125, 0.25, 0.5, 1.0)
    (usual,) = tabulate(strategy("discriminative"), 1, 3)
    assert usual == pytest.approx((0.9025, 0.95, 1.0))


def test_discriminative_times_groups():
    """Frozen groups are 0; the others keep their depth's pace."""
    table = tabulate(strategy("discriminative", decay=0.5, groups=1), 2, 3)
    assert table == ((0, 0.5, 1), (0, 0.5, 1))


def test_gradual_times_discriminative():
    """ULMFiT's: each thawed group at its depth's pace, also above groups that stay frozen."""
    both = "gradual+discriminative"
    assert tabulate(strategy(both, decay=0.5), 4, 3) == (
        (0, 0, 1),
        (0, 0.5, 1),
        (0.25, 0.5, 1),
        (0.25, 0.5, 1),
    )
    assert tabulate(strategy(both, decay=0.5, groups=1), 3, 3) == (
        (0, 0, 1),
        (0, 0.5, 1),
        (0, 0.5, 1),
    )


@pytest.mark.parametrize(
    ("head", "first"), [("fitted", (0, 0.5, 1)), ("fresh", (0, 0, 1)), ("pretrained", (0, 0, 1))]
)
def test_probe_times_gradual(head, first):
    """A fitted probe was the first step; a fresh head has that in the first epoch."""
    kind = "probe-then-tune+gradual+discriminative"
    table = tabulate(strategy(kind, decay=0.5), 4, 3, head)
    assert table[0] == first
    assert table[2:] == ((0.25, 0.5, 1), (0.25, 0.5, 1))
    paced = tabulate(strategy("probe-then-tune+gradual"), 4, 3, head)
    assert paced == tuple(tuple(float(rate > 0) for rate in row) for row in table)


def test_probe_times_discriminative():
    """The tuning half falls downwards from its first epoch on."""
    (row,) = tabulate(strategy("probe-then-tune+discriminative", decay=0.5), 1, 3)
    assert row == (0.25, 0.5, 1)


def test_probe_then_tune_times_groups():
    """The tuning half can leave groups frozen too."""
    assert tabulate(strategy("probe-then-tune", groups=1), 1, 3) == ((0, 1, 1),)


@pytest.mark.parametrize("kind", ["freeze", "gradual", "discriminative", "full", "probe-then-tune"])
@pytest.mark.parametrize("groups", [4, 9])
def test_no_group_left(kind, groups):
    """Freezing every group is refused, with the number of groups in the remedy."""
    with pytest.raises(InputError, match=r"strategy\.groups: found \d.*4 groups"):
        tabulate(strategy(kind, groups=groups), 2, 4)


@pytest.mark.parametrize(
    ("kind", "probed"),
    [
        ("head", True),
        ("probe-then-tune", True),
        ("probe-then-tune+gradual", True),
        ("full", False),
        ("gradual", False),
        ("gradual+discriminative", False),
    ],
)
def test_begins_with_probe(kind, probed):
    """Two strategies, and products with the second, fit the head on frozen features first."""
    assert begins_with_probe(strategy(kind)) is probed


def test_lora():
    """Embeddings have no adapters: they are frozen whatever the groups say."""
    assert tabulate(strategy("lora"), 2, 4) == ((0, 1, 1, 1),) * 2
    assert tabulate(strategy("lora", groups=0), 1, 4) == ((0, 1, 1, 1),)
    assert tabulate(strategy("lora", groups=2), 1, 4) == ((0, 0, 1, 1),)


@pytest.mark.parametrize(
    ("head", "kind", "expected"),
    [
        ("fresh", "head", ((0, 0, 1), (0, 0, 1))),
        ("fresh", "probe-then-tune", ((0, 0, 1), (1, 1, 1))),
        ("pretrained", "head", ((0, 0, 1), (0, 0, 1))),
        ("pretrained", "probe-then-tune", ((1, 1, 1), (1, 1, 1))),
        ("fitted", "head", ()),
        ("fitted", "probe-then-tune", ((1, 1, 1), (1, 1, 1))),
    ],
)
def test_a_head_that_no_fit_finds_is_trained(head, kind, expected):
    """A fresh head alone at first; one that the base brings has nothing to probe."""
    assert tabulate(strategy(kind), 2, 3, head) == expected


def test_a_table_in_words():
    """Epochs that are alike share a line, and neighbouring groups that are alike a name."""
    groups = ["embeddings", "block 1", "block 2", "head"]
    table = tabulate(strategy("gradual"), 5, 4)
    assert describe_table(groups, table, 2e-4) == [
        "epoch 1: embeddings to block 2 frozen, head x 1 (peak rate 0.0002)",
        "epoch 2: embeddings to block 1 frozen, block 2 to head x 1 (peak rate 0.0002)",
        "epoch 3: embeddings frozen, block 1 to head x 1 (peak rate 0.0002)",
        "epochs 4 to 5: embeddings to head x 1 (peak rate 0.0002)",
    ]
    table = tabulate(strategy("discriminative", decay=0.5), 1, 4)
    assert describe_table(groups, table, 2e-4) == [
        "epoch 1: embeddings x 0.125 (peak rate 2.5e-05), block 1 x 0.25 (peak rate 5e-05), "
        "block 2 x 0.5 (peak rate 0.0001), head x 1 (peak rate 0.0002)"
    ]
    assert describe_table(groups, (), 2e-4) == [
        "the head alone is fitted to convergence on frozen features, at no rate"
    ]


def test_the_share_that_is_trained_in_words():
    """2,246 of 23,942 are 9.381 %."""
    assert describe_share(2246, 23942) == "2,246 of 23,942 parameters are trained, 9.38%"


@pytest.mark.parametrize(
    ("config", "groups", "refused"),
    [
        ('{"num_hidden_layers": 2}', 4, True),
        ('{"num_hidden_layers": 2}', 3, False),
        ('{"n_layer": 2}', 4, True),
        ('{"num_hidden_layers": 2}', None, False),
        ('{"depths": [1, 1]}', 50, False),
        ("no json", 50, False),
    ],
)
def test_groups_are_held_against_the_layers_that_are_named(config, groups, refused, tmp_path):
    """Two blocks, embeddings and head are four groups at most; what is not named is not judged."""
    (tmp_path / "config.json").write_text(config)
    asked = strategy("full", groups=groups)
    with pytest.raises(InputError, match="4 groups") if refused else nullcontext():
        check_depth(asked, tmp_path)
