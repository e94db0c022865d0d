"""Blocks from bottom to top: by a model's own list, its longest stack, or timm's grouping."""

import json
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from finetuning.models import layer_groups
from finetuning.stacks import list_blocks


def test_timms_groups_are_asked_for(monkeypatch):
    """The first group is the stem; parameters are named in full, so none is taken for another's."""
    wrapped = nn.Module()
    wrapped.group_matcher = lambda coarse: {"coarse": coarse}
    asked = []

    def group(model, matcher):
        asked.append((model, matcher))
        return {2: ["layer10.weight"], 0: ["stem.weight"], 1: ["layer1.weight", "gamma"]}

    timm = ModuleType("timm.models")
    timm.group_parameters = group
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "timm.models", timm)
    base = nn.Module()
    base.timm_model = wrapped
    assert list_blocks(base) == (
        ("timm_model.layer1.weight", "timm_model.gamma"),
        ("timm_model.layer10.weight",),
    )
    assert asked == [(wrapped, {"coarse": False})]


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("vit_tiny_patch16_224", 12)])
def test_models_of_timm(name, blocks, tmp_path):
    """Each block is a group, between stem and head, and a model that was saved answers alike."""
    try:
        import timm
    except Exception as error:  # a torchvision of another build than torch's raises what it likes
        pytest.skip(f"timm cannot be imported here: {error}")
    from finetuning.image_models import build, load, save

    content = {
        "architecture": name,
        "num_classes": 0,
        "num_features": timm.create_model(name, num_classes=0).num_features,
        "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    model = build(tmp_path, 3, 0, scratch=True).eval()
    groups = layer_groups(model)
    assert len(groups) == blocks + 2
    named = [one for group in groups for one in group.parameters]
    assert sorted(named) == sorted(one for one, _ in model.named_parameters())
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    save(model, tmp_path / "saved", ("a", "b", "c"), 0)
    again, _ = load(tmp_path / "saved")
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))
