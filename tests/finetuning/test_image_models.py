"""Image models: features by hand, groups of every family, and frozen layers that do not move."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import (
    BeitConfig,
    BeitModel,
    MobileNetV2Config,
    MobileNetV2Model,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from finetuning import class_scoring
from finetuning.config import Columns, Training
from finetuning.convolutional import ARCHITECTURES
from finetuning.devices import Device
from finetuning.errors import InputError
from finetuning.image_models import build, load, save
from finetuning.models import layer_groups
from finetuning.optimization import freeze, hold_statistics
from finetuning.pixels import ImageRows, open_encoder
from finetuning.training import train

CPU = Device("cpu", "test", "fp32")
SIDE = 32
FAMILIES = ("resnet", "vit", "vgg", "vgg_bn", "cifar")


def make_base(family, folder):
    """A base model folder with random weights."""
    torch.manual_seed(5)
    if family == "resnet":
        config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1],
                              layer_type="basic")  # fmt: skip
        ResNetModel(config).save_pretrained(folder)
    elif family == "vit":
        config = ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                           intermediate_size=32, image_size=SIDE, patch_size=8)  # fmt: skip
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    else:
        name = {"vgg": "vgg11", "vgg_bn": "vgg11_bn", "cifar": "resnet20"}[family]
        write_config(folder, name)
        build(folder, 2, 0, scratch=True).base.save_pretrained(folder)
    return folder


def write_config(folder, name, **changes):
    """The configuration of one of our own architectures."""
    content = {"model_type": ARCHITECTURES[name], "architecture": name, "image_size": SIDE}
    (folder / "config.json").write_text(json.dumps(content | changes))


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    """Each family's base model folder."""
    return make_base(request.param, tmp_path)


def make_rows(count=8):
    """Images of noise in three classes."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 3, SIDE, SIDE), np.uint8)
    return ImageRows(pixels, np.arange(count) % 3)


def test_every_parameter_is_in_one_group(folder):
    """Once, in the order from stem to head, in every family."""
    model = build(folder, 3, seed=0)
    listed = [name for group in layer_groups(model) for name in group.parameters]
    assert sorted(listed) == sorted(name for name, _ in model.named_parameters())
    assert len(set(listed)) == len(listed)
    assert layer_groups(model)[-1].parameters == ("head.weight", "head.bias")


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("resnet", ["base.embedder", "base.encoder.stages.0", "base.encoder.stages.1"]),
        ("vit", ["base.embeddings", "base.layers.0", "base.layers.1"]),
        ("vgg", [f"base.features.{first}" for first in (0, 3, 6, 11, 16)]),
        ("vgg_bn", [f"base.features.{first}" for first in (0, 4, 8, 15, 22)]),
        ("cifar", ["base.conv1", *(f"base.layer{n}.{k}" for n in (1, 2, 3) for k in (0, 1, 2))]),
    ],
)
def test_groups_begin_where_they_should(family, expected, tmp_path):
    """Each group's first parameter, worked out from the architecture by hand."""
    groups = layer_groups(build(make_base(family, tmp_path), 3, seed=0))
    assert len(groups) == len(expected) + 1
    for group, prefix in zip(groups, expected, strict=False):
        assert group.parameters[0].startswith(f"{prefix}."), group


def list_state(model, names):
    """Copies of the parameters named and of the buffers beside them."""
    modules = {name.rpartition(".")[0] for name in names}
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if name.rpartition(".")[0] in modules
    }


@pytest.mark.parametrize("frozen", [1, 2])
def test_what_is_frozen_does_not_move_by_a_bit(folder, frozen):
    """Neither weights nor BatchNorm's statistics, over an epoch; every group above does move."""
    model = build(folder, 3, seed=0)
    groups = layer_groups(model)
    below = [name for group in groups[:frozen] for name in group.parameters]
    before, weights = list_state(model, below), model.state_dict()
    weights = {name: value.clone() for name, value in weights.items()}
    table = (tuple(float(number >= frozen) for number in range(len(groups))),)
    settings = Training.model_validate(
        {"epochs": 1, "batch_size": 4, "learning_rate": 0.01, "warmup": 0, "early_stopping": None}
    )
    rows = make_rows()
    train(model, table, rows, rows, class_scoring, settings, CPU)
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    for group in groups[frozen:]:
        assert any(not torch.equal(weights[name], after[name]) for name in group.parameters), group


@pytest.mark.parametrize("frozen", [1, 2])
def test_nothing_is_kept_below_the_lowest_that_learns(folder, frozen):
    """What the frozen groups put out asks for no gradient: autograd keeps none of it."""
    model = build(folder, 3, seed=0)
    groups = layer_groups(model)
    freeze(model, groups, tuple(float(number >= frozen) for number in range(len(groups))))
    model.train()
    hold_statistics(model)
    frozen_names = {name for group in groups[:frozen] for name in group.parameters}
    seen = []
    for name, module in model.named_modules():
        own = [f"{name}.{one}" for one, _ in module.named_parameters(recurse=False)]
        if own and set(own) <= frozen_names:
            module.register_forward_hook(lambda _m, _i, output: seen.append(output.requires_grad))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda x: x):
        logits = model(**make_rows().collate([0, 1]))
    assert seen
    assert not any(seen)
    assert logits.requires_grad
    assert kept


def test_the_last_layers_width_is_found_by_a_look(tmp_path):
    """MobileNet's configuration does not name it: 1280 of the last convolution, read again too."""
    config = MobileNetV2Config(image_size=SIDE)
    MobileNetV2Model(config).save_pretrained(tmp_path)
    model = build(tmp_path, 3, seed=0)
    assert model.head.in_features == 1280
    kept = tmp_path / "kept"
    kept.mkdir()
    save(model, kept, ("a", "b", "c"), 0)
    open_encoder(tmp_path, Columns.model_validate({}), Training.model_validate({})).save(kept)
    again, _ = load(kept)
    assert torch.equal(again.head.weight, model.head.weight)


def test_what_a_model_keeps_while_it_scores_can_be_trained_with(tmp_path):
    """BEiT keeps its relative positions from the first pass on: training goes on after a score."""
    config = BeitConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=SIDE, patch_size=8, use_relative_position_bias=True,
    )  # fmt: skip
    BeitModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    model, rows = build(tmp_path, 3, seed=0), make_rows()
    settings = Training.model_validate({"batch_size": 4, "early_stopping": None})
    table = ((1.0,) * len(layer_groups(model)),) * 2
    assert len(train(model, table, rows, rows, class_scoring, settings, CPU).history) == 2


def test_frozen_batch_norms_stay_in_evaluation_mode():
    """Also one without parameters of its own, which goes with what it stands in."""
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, affine=False)),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False)),
    )
    model[0].requires_grad_(False)
    model.train()
    hold_statistics(model)
    assert [model[0][1].training, model[1][1].training, model[1][2].training] == [
        False, True, True,
    ]  # fmt: skip


def test_features_are_the_mean_over_the_image(tmp_path):
    """Normalised as the folder says, then averaged: against the base called by hand."""
    folder = make_base("resnet", tmp_path)
    content = {"size": SIDE, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    rows = make_rows()
    mean, deviation = (
        torch.tensor(content[key]).view(3, 1, 1) for key in ("image_mean", "image_std")
    )
    scaled = (torch.from_numpy(rows.pixels).float() / 255 - mean) / deviation
    base = ResNetModel.from_pretrained(folder).eval()
    model = build(folder, 3, seed=0).eval()
    with torch.no_grad():
        expected = base(pixel_values=scaled).pooler_output.flatten(1)
        found = model.features(**rows.collate(np.arange(len(rows))))
    torch.testing.assert_close(found, expected)


def test_a_transformer_s_feature_is_its_class_token(tmp_path):
    """And its positions are stretched for images of another size."""
    folder = make_base("vit", tmp_path)
    model = build(folder, 3, seed=0).eval()
    assert model.pooling == "cls"
    larger = torch.randint(0, 256, (2, 3, 2 * SIDE, 2 * SIDE), dtype=torch.uint8)
    with torch.no_grad():
        assert model.features(pixel_values=larger).shape == (2, 16)


def test_saved_models_answer_the_same(folder, tmp_path_factory):
    """Read from its own files alone, and there is no pickle among them."""
    model = build(folder, 3, seed=0).eval()
    kept = tmp_path_factory.mktemp("kept")
    save(model, kept, ("a", "b", "c"), 256)
    from finetuning.config import Columns

    open_encoder(folder, Columns.model_validate({}), Training.model_validate({})).save(kept)
    again, description = load(kept)
    batch = make_rows().collate([0, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(again(**batch), model(**batch), rtol=0, atol=0)
    assert description["labels"] == ["a", "b", "c"]
    assert {path.suffix for path in kept.iterdir()} == {".json", ".safetensors"}


def test_torchvision_s_vgg_fits(tmp_path):
    """By its names and shapes; its classifier is not read. Computed layer by layer for vgg11."""
    shapes = {0: (64, 3), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256),
              13: (512, 512), 16: (512, 512), 18: (512, 512)}  # fmt: skip
    weights = {}
    for place, (width, inward) in shapes.items():
        weights[f"features.{place}.weight"] = torch.randn(width, inward, 3, 3) / inward**0.5 / 3
        weights[f"features.{place}.bias"] = torch.randn(width)
    write_config(tmp_path, "vgg11")
    save_file(weights | {"classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    base = build(tmp_path, 2, seed=0).base
    states = images = torch.randn(2, 3, SIDE, SIDE)
    for place in shapes:
        name = f"features.{place}"
        states = functional.conv2d(states, weights[f"{name}.weight"], weights[f"{name}.bias"],
                                   padding=1).relu()  # fmt: skip
        if place in (0, 3, 8, 13, 18):
            states = functional.max_pool2d(states, 2)
    torch.testing.assert_close(base(images).last_hidden_state, states)


def test_weights_saved_from_several_devices_fit(tmp_path):
    """Their names begin with module., and the published classifier comes along."""
    folder = make_base("cifar", tmp_path)
    weights = load_file(folder / "model.safetensors")
    before = build(folder, 2, seed=0).state_dict()
    wrapped = {f"module.{name}": value for name, value in weights.items() if "tracked" not in name}
    save_file(wrapped | {"module.linear.weight": torch.zeros(10, 64)}, folder / "model.safetensors")
    after = build(folder, 2, seed=0).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_of_another_architecture_are_refused(tmp_path):
    """Too few, too many, and of another shape: each is said, and nothing is left at random."""
    folder = make_base("vgg", tmp_path)
    for name in ("vgg13", "vgg11_bn"):
        write_config(folder, name)
        with pytest.raises(InputError, match=r"Its weights"):
            build(folder, 2, seed=0)
    write_config(folder, "vgg11", architecture="vgg12")
    with pytest.raises(InputError, match="Give one of vgg11, vgg11_bn"):
        build(folder, 2, seed=0)


def test_a_vgg_takes_small_images(tmp_path):
    """Of fewer pixels than its five halvings need."""
    model = build(make_base("vgg", tmp_path), 3, seed=0)
    assert model(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape == (2, 3)
