"""Every strategy on every kind of image model: trained, saved, and the same when read again."""

from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from finetuning.adaptation import adapt, save_adapted
from finetuning.adapters import attach_adapters
from finetuning.config import Columns, Pipeline, StrategyKind
from finetuning.devices import Device
from finetuning.errors import InputError
from finetuning.image_models import build, load
from finetuning.models import layer_groups
from finetuning.pixels import ImageRows, open_encoder
from finetuning.probing import compute_logits
from tests.finetuning.test_image_models import SIDE, make_base

CPU = Device("cpu", "test", "fp32")
STRATEGIES = get_args(StrategyKind)
LABELS = ("dark", "light")


def make_pipeline(kind, **strategy):
    """A pipeline for images with that strategy."""
    if kind == "freeze":
        strategy = {"groups": 1, **strategy}
    return Pipeline.model_validate(
        {
            "name": "toy",
            "problem": "image-classification",
            "data": {"path": "data/toy"},
            "model": {"base": "toy"},
            "strategy": {"kind": kind, **strategy},
            "training": {
                "epochs": 8 if "gradual" in kind else 3, "batch_size": 8, "learning_rate": 5e-3,
                "precision": "fp32", "early_stopping": None, "augmentation": {"shift": 0.1},
            },
        }
    )  # fmt: skip


def make_rows(count, seed):
    """Noise that is dark or light: its mean decides the label."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    noise = generator.integers(0, 128, (count, 3, SIDE, SIDE), np.uint8)
    return ImageRows(noise + 127 * labels.astype(np.uint8)[:, None, None, None], labels)


@pytest.fixture(scope="module", params=["resnet", "vit", "cifar"])
def folder(request, tmp_path_factory):
    """A base model folder of each kind: convolutions and transformer of transformers', and ours."""
    return make_base(request.param, tmp_path_factory.mktemp(request.param))


def copy_weights(model):
    """The base's weights under the names that they have without adapters."""
    return {
        name.replace(".base_layer", ""): value.detach().clone()
        for name, value in model.base.named_parameters()
        if ".lora_" not in name
    }


@pytest.mark.parametrize("kind", STRATEGIES)
def test_each_strategy_learns_and_is_kept(folder, kind, tmp_path):
    """It tells dark from light, moves what it may, and answers alike when read from its files."""
    rows, checked = make_rows(32, 0), make_rows(16, 1)
    before = copy_weights(build(folder, 2, 0))
    adapted = adapt(folder, 2, make_pipeline(kind), rows, checked, None, tmp_path)
    logits = compute_logits(adapted.model, checked, CPU)
    assert (logits.argmax(1).numpy() == checked.labels).mean() > 0.8
    after = copy_weights(adapted.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    if kind in ("head", "lora"):
        assert moved == set()
    elif kind == "freeze":
        lowest = {name.removeprefix("base.") for name in adapted.groups[0].parameters}
        assert moved == before.keys() - lowest
    else:
        assert moved
    kept = tmp_path / "kept"
    kept.mkdir()
    save_adapted(adapted, kept, LABELS, make_pipeline(kind), "some/base")
    training = make_pipeline(kind).training
    open_encoder(folder, Columns.model_validate({}), training).save(kept)
    again, description = load(kept)
    torch.testing.assert_close(compute_logits(again, checked, CPU), logits, atol=1e-5, rtol=0)
    assert tuple(description["labels"]) == LABELS
    assert {path.suffix for path in kept.rglob("*.*")} <= {".json", ".safetensors", ".md"}


@pytest.mark.parametrize("family", ["vgg", "vgg_bn"])
def test_adapters_of_a_vgg(family, tmp_path):
    """Beside each convolution, merged at the end without a change of what is computed."""
    folder, rows = make_base(family, tmp_path), make_rows(4, 0)
    model = build(folder, 2, 0)
    plain = compute_logits(model, rows, CPU)
    adapted = adapt(folder, 2, make_pipeline("lora", rank=2), rows, rows, None, tmp_path)
    logits = compute_logits(adapted.model, rows, CPU)
    assert not torch.equal(plain, logits)
    assert [len(group.parameters) for group in adapted.groups] == [2, 2, 4, 4, 4, 2]
    kept = tmp_path / "kept"
    save_adapted(adapted, kept, LABELS, make_pipeline("lora"), "some/base")
    torch.testing.assert_close(compute_logits(load(kept)[0], rows, CPU), logits, atol=1e-5, rtol=0)
    weights = load_file(kept / "adapters" / "adapter_model.safetensors")
    assert len(weights) == 2 * 8  # two for each of the eight convolutions


def test_adapters_of_a_convolution_by_hand(tmp_path):
    """A 3 x 3 convolution to the rank's channels, then one pixel to all: counted for one block."""
    model = build(make_base("cifar", tmp_path), 2, 0)
    attach_adapters(model, make_pipeline("lora", rank=2).strategy, 0)
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    first = layer_groups(model)[1]
    assert first.name == "block 1"
    assert sum(sizes[name] for name in first.parameters) == 2 * (2 * 16 * 9 + 2 * 16)


def test_adapters_need_a_layer(tmp_path):
    """Names that no convolution bears are said with those that there are."""
    model = build(make_base("cifar", tmp_path), 2, 0)
    with pytest.raises(InputError, match=r"strategy\.targets.*conv1, conv2"):
        attach_adapters(model, make_pipeline("lora", targets=["query"]).strategy, 0)
