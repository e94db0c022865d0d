"""Frozen lower blocks are computed once, and leaving them out changes nothing."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, XLNetConfig

from finetuning import class_scoring, image_models, pixels, prefixes
from finetuning.batching import EncodedRows
from finetuning.config import Training
from finetuning.devices import Device
from finetuning.models import build, layer_groups
from finetuning.prefixes import count_frozen_blocks, skip_blocks
from finetuning.probing import compute_features
from finetuning.stacks import find_modules, find_stack
from finetuning.tokenization import encode, load_tokenizer
from finetuning.training import train
from tests.finetuning.test_image_models import FAMILIES, make_base
from tests.finetuning.test_image_models import make_rows as make_images
from tests.finetuning.test_models import CONFIGS, save_tiny

CPU = Device("cpu", "CPU", "fp32")
TEXTS = ["good film", "a", "the plot was bad , and the cast was very awful", "one two", "red"]


def make_rows(folder, texts=TEXTS):
    """Encoded texts, every second one of the other label."""
    return encode(load_tokenizer(folder), texts, None, np.arange(len(texts)) % 2, 32)


@pytest.mark.parametrize(
    ("table", "blocks"),
    [
        (((0, 0, 0, 1),), 2),
        (((0, 0, 0, 1), (0, 0, 1, 1)), 1),
        (((0, 1, 1, 1),), 0),
        (((1, 1, 1, 1),), 0),
        (((0, 0, 0, 1), (1, 0, 0, 1)), 0),
        ((), 0),
    ],
)
def test_count_frozen_blocks(table, blocks, bert_folder):
    """Only blocks below every group that is ever trained count, and not the embeddings."""
    model = build(bert_folder, 2, seed=0)
    assert count_frozen_blocks(model, layer_groups(model), table) == blocks


@pytest.mark.parametrize(("family", "blocks"), [("vgg", 2), ("cifar", 1)])
def test_a_stem_is_no_block(family, blocks, tmp_path):
    """Of two frozen groups a VGG's are both blocks; another network's first is the stem."""
    model = image_models.build(make_base(family, tmp_path), 2, 0)
    groups = layer_groups(model)
    table = ((0.0, 0.0, *[1.0] * (len(groups) - 2)),)
    assert count_frozen_blocks(model, groups, table) == blocks


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("fixture", ["bert_folder", "gpt2_folder"])
def test_features_are_the_same_to_the_bit(fixture, blocks, request, tmp_path):
    """With blocks left out, features are what the whole model gives; after it, it is whole."""
    folder = request.getfixturevalue(fixture)
    model, rows = build(folder, 2, seed=0), make_rows(folder)
    whole = compute_features(model, rows, CPU)
    names = [name for name, _ in model.named_parameters()]
    with skip_blocks(model, blocks, (rows, rows), CPU, tmp_path) as (kept, also):
        assert kept.states.shape == (len(rows.tokens), 32)
        assert torch.equal(kept.states, also.states)
        assert len([name for name, _ in model.named_parameters()]) < len(names)
        assert torch.equal(compute_features(model, kept, CPU), whole)
    assert [name for name, _ in model.named_parameters()] == names
    assert torch.equal(compute_features(model, rows, CPU), whole)


def test_frozen_blocks_are_not_computed(bert_folder, tmp_path):
    """Within the context no frozen block is ever called."""
    model, rows = build(bert_folder, 2, seed=0), make_rows(bert_folder)
    calls = []
    _, stack = find_stack(model.base)
    stack[0].register_forward_hook(lambda *_: calls.append(1))
    with skip_blocks(model, 1, (rows,), CPU, tmp_path) as (kept,):
        calls.clear()
        compute_features(model, kept, CPU)
        assert not calls
    compute_features(model, rows, CPU)
    assert calls


def test_states_of_many_rows_lie_in_a_file(bert_folder, tmp_path, monkeypatch):
    """What is too large for memory is kept on disk, gives the same, and is gone at the end."""
    model, rows = build(bert_folder, 2, seed=0), make_rows(bert_folder)
    whole = compute_features(model, rows, CPU)
    monkeypatch.setattr(prefixes, "IN_MEMORY", 0)
    with skip_blocks(model, 1, (rows,), CPU, tmp_path) as (kept,):
        (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert file.stat().st_size == len(rows.tokens) * 32 * 4
        assert torch.equal(compute_features(model, kept, CPU), whole)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_kept_without_room(bert_folder, tmp_path, monkeypatch):
    """Where the states do not fit, the rows come back as they are."""
    model, rows = build(bert_folder, 2, seed=0), make_rows(bert_folder)
    monkeypatch.setattr(prefixes, "IN_MEMORY", 0)
    monkeypatch.setattr(prefixes, "SHARE_OF_DISK", 0)
    with skip_blocks(model, 1, (rows,), CPU, tmp_path) as (kept,):
        assert kept is rows


def test_nothing_is_left_out_where_the_result_would_differ(bert_folder, tmp_path):
    """A block above that looks at the embeddings again is noticed, and the whole way is taken."""
    model, rows = build(bert_folder, 2, seed=0), make_rows(bert_folder)
    _, stack = find_stack(model.base)

    class Peeking(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, hidden_states, *args, **kwargs):
            seen = self.block(hidden_states, *args, **kwargs)
            return seen + (model.resumed is None)

    stack[1] = Peeking(stack[1])
    with skip_blocks(model, 1, (rows,), CPU, tmp_path) as (kept,):
        assert kept is rows


def test_training_moves_only_what_is_above(bert_folder, tmp_path):
    """Through the loop, nothing below the lowest trained group moves by a bit; the rest learns."""
    model, rows = build(bert_folder, 2, seed=0, dropout=0.1), make_rows(bert_folder)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    groups, table = layer_groups(model), ((0.0, 0.0, 1.0, 1.0),) * 2
    settings = Training.model_validate({"batch_size": 2, "learning_rate": 1e-2})
    with skip_blocks(
        model, count_frozen_blocks(model, groups, table), (rows, rows), CPU, tmp_path
    ) as kept:
        train(model, table, *kept, class_scoring, settings, CPU)
    after = dict(model.named_parameters())
    for number, group in enumerate(groups):
        moved = [not torch.equal(before[name], after[name]) for name in group.parameters]
        assert any(moved) == (number > 1)


def test_training_is_the_same_with_blocks_left_out(bert_folder, tmp_path):
    """Without dropout, training from kept states gives what training with every block gives."""
    table = ((0.0, 0.0, 1.0, 1.0),) * 2
    settings = Training.model_validate({"batch_size": 2, "learning_rate": 1e-3})
    histories = []
    for blocks in (0, 1):
        model, rows = build(bert_folder, 2, seed=0, dropout=0.0), make_rows(bert_folder)
        with skip_blocks(model, blocks, (rows, rows), CPU, tmp_path) as kept:
            histories.append(train(model, table, *kept, class_scoring, settings, CPU).history)
    for whole, short in zip(*histories, strict=True):
        assert short.train_loss == pytest.approx(whole.train_loss, rel=1e-4)
        assert short.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)


FAMILIES_OF_TEXTS = [name for name in CONFIGS if name not in ("bert", "gpt2")]


@pytest.mark.parametrize("name", FAMILIES_OF_TEXTS)
def test_training_is_the_same_in_every_family(name, tmp_path):
    """Blocks are left out of each, and without dropout it learns as with every block."""
    folder, rows = save_tiny(name, tmp_path), make_numbers()
    settings = Training.model_validate({"batch_size": 4, "learning_rate": 1e-2})
    table = ((0.0, 0.0, 0.0, 1.0, 1.0),) * 2
    histories = []
    for is_short in (False, True):
        model = build(folder, 2, seed=0, dropout=0.0)
        groups = layer_groups(model)
        before = {one: value.detach().clone() for one, value in model.named_parameters()}
        blocks = count_frozen_blocks(model, groups, table) if is_short else 0
        with skip_blocks(model, blocks, (rows, rows), CPU, tmp_path) as kept:
            assert (kept[0].states is not None) == is_short
            histories.append(train(model, table, *kept, class_scoring, settings, CPU).history)
        after = dict(model.named_parameters())
        for number, group in enumerate(groups):
            moved = [not torch.equal(before[one], after[one]) for one in group.parameters]
            assert any(moved) == (number > 2)
    for whole, short in zip(*histories, strict=True):
        assert short.train_loss == pytest.approx(whole.train_loss, rel=1e-4)
        assert short.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)


def make_numbers(count=12):
    """Rows of drawn token ids, whatever tokens those are, of three to nine tokens."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(3, 10, count)
    tokens = generator.integers(4, 50, lengths.sum()).astype(np.int32)
    return EncodedRows(tokens, np.concatenate([[0], np.cumsum(lengths)]), np.arange(count) % 2)


def test_states_that_are_laid_out_otherwise_are_not_kept(tmp_path):
    """XLNet's have their batch second: the whole way is taken, and no error shows."""
    config = XLNetConfig(vocab_size=50, d_model=32, n_layer=3, n_head=4, d_inner=64)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    model, rows = build(tmp_path, 2, seed=0), make_numbers()
    with skip_blocks(model, 1, (rows,), CPU, tmp_path) as (kept,):
        assert kept is rows


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_features_of_images_are_the_same(family, blocks, tmp_path):
    """Without stem and lower blocks features are the whole model's; none of those is computed."""
    model = image_models.build(make_base(family, tmp_path), 3, 0)
    rows = make_images()
    whole = compute_features(model, rows, CPU)
    names = [name for name, _ in model.named_parameters()]
    frozen = [module for _, module in find_modules(model.base, blocks)]
    calls = []
    for module in frozen:
        module.register_forward_hook(lambda *_: calls.append(1))
    with skip_blocks(model, blocks, (rows, rows), CPU, tmp_path) as (kept, also):
        assert len(kept.states) == len(rows)
        assert torch.equal(kept.states, also.states)
        assert kept.collate([0, 3])["pixel_values"].shape == (0, *rows.pixels.shape[1:])
        assert kept.take(np.arange(2)).states is None
        calls.clear()
        torch.testing.assert_close(compute_features(model, kept, CPU), whole)
        assert not calls
    assert [name for name, _ in model.named_parameters()] == names
    torch.testing.assert_close(compute_features(model, rows, CPU), whole)
    assert calls


def test_images_that_are_changed_keep_no_states(tmp_path):
    """What is drawn anew in each epoch leaves the blocks anew; a change of nothing is none."""
    model = image_models.build(make_base("cifar", tmp_path), 3, 0)
    rows = make_images()
    for asked, is_kept in (({"shift": 0.1}, False), ({"mixup": 0.2}, False), ({}, True)):
        settings = Training.model_validate({"augmentation": asked})
        varied = pixels.vary(rows, settings)
        with skip_blocks(model, 1, (varied, rows), CPU, tmp_path) as (kept, _):
            assert (kept.states is not None) == is_kept


@pytest.mark.parametrize("family", ["cifar", "resnet", "vgg_bn"])
def test_training_on_images_is_the_same_with_blocks_left_out(family, tmp_path):
    """Losses are as with every block; nothing below moves, the statistics neither."""
    folder, rows = make_base(family, tmp_path), make_images()
    settings = Training.model_validate({"batch_size": 4, "learning_rate": 1e-3})
    histories = []
    for is_short in (False, True):
        model = image_models.build(folder, 3, 0)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        groups = layer_groups(model)
        table = ((0.0, 0.0, *[1.0] * (len(groups) - 2)),) * 2
        blocks = count_frozen_blocks(model, groups, table) if is_short else 0
        with skip_blocks(model, blocks, (rows, rows), CPU, tmp_path) as kept:
            histories.append(train(model, table, *kept, class_scoring, settings, CPU).history)
        after = model.state_dict()
        learnt = {name for group in groups[2:] for name in group.parameters}
        for name, _ in model.named_parameters():
            assert torch.equal(before[name], after[name]) == (name not in learnt)
        for name, module in find_modules(model.base, blocks):
            for own, value in module.state_dict().items():
                assert torch.equal(value, before[f"base.{name}.{own}"])
    for whole, short in zip(*histories, strict=True):
        assert short.train_loss == pytest.approx(whole.train_loss, rel=1e-4)
        assert short.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)
