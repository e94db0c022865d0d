"""Adapters: what moves, what does not, and that the merged model is the one that was trained."""

import json
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import MobileNetV2Config, MobileNetV2Model

from finetuning import image_models
from finetuning.adaptation import adapt, count_trained, save_adapted
from finetuning.adapters import attach_adapters, describe_adapters
from finetuning.config import Pipeline, Strategy
from finetuning.devices import Device
from finetuning.errors import InputError
from finetuning.models import build, layer_groups, load
from finetuning.probing import compute_logits
from finetuning.strategies import tabulate
from tests.finetuning.test_training import make_rows, moved

CPU = Device("cpu", "CPU", "fp32")


def pipeline(**strategy):
    """A pipeline whose strategy is lora."""
    return Pipeline.model_validate(
        {
            "name": "toy",
            "problem": "text-classification",
            "data": {"path": "data/toy"},
            "model": {"base": "toy"},
            "strategy": {"kind": "lora", **strategy},
            "training": {
                "epochs": 5, "batch_size": 16, "learning_rate": 1e-2, "precision": "fp32",
            },
        }
    )  # fmt: skip


def copy_base(model):
    """The weights of the base model, under the names that they have without adapters."""
    return {
        name.replace(".base_layer", ""): value.detach().clone()
        for name, value in model.base.state_dict().items()
        if ".lora_" not in name
    }


@pytest.fixture(scope="module", params=["bert_folder", "gpt2_folder"])
def folder(request):
    """An encoder, and a decoder whose linear layers are Conv1D."""
    return request.getfixturevalue(request.param)


def test_adapters_change_nothing_before_they_learn(folder):
    """B is zero at first, so that the model computes what its base computes."""
    rows, plain, adapted = make_rows(folder, 8), build(folder, 2, 0), build(folder, 2, 0)
    attach_adapters(adapted, pipeline().strategy, 0)
    assert torch.equal(compute_logits(plain, rows, CPU), compute_logits(adapted, rows, CPU))


def test_only_adapters_and_head_learn(folder, tmp_path):
    """No bit of the base moves; merged and read again, the model answers as it was trained."""
    rows, checked = make_rows(folder, 320), make_rows(folder, 32, seed=1)
    before = copy_base(build(folder, 2, 0))
    adapted = adapt(folder, 2, pipeline(), rows, checked, None, tmp_path)
    after = copy_base(adapted.model)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    logits = compute_logits(adapted.model, checked, CPU)
    seen = adapted.result.history[adapted.result.best]
    right = (logits.argmax(dim=1).numpy() == checked.labels).mean()
    assert right == pytest.approx(seen.validation_accuracy)
    assert right > 0.8
    save_adapted(adapted, tmp_path, ("bad", "good"), pipeline(), "some/base")
    model, _ = load(tmp_path)
    assert torch.allclose(compute_logits(model, checked, CPU), logits, atol=1e-5)
    assert model.base.state_dict().keys() == before.keys()
    changed = moved(before, model.base)
    wanted = ("query.weight", "value.weight", "c_attn.weight")
    assert changed == {name for name in before if name.endswith(wanted)}


def test_kept_adapters_are_what_was_added(folder, tmp_path):
    """On the base's weights, PEFT's own reader makes of the kept adapters the merged model."""
    from peft import PeftModel
    from transformers import AutoModel

    rows, chosen = make_rows(folder), pipeline(rank=2, alpha=3)
    adapted = adapt(folder, 2, chosen, rows, rows, None, tmp_path)
    save_adapted(adapted, tmp_path, ("bad", "good"), chosen, "some/base")
    config = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text("utf-8"))
    assert (config["base_model_name_or_path"], config["r"]) == ("some/base", 2)
    weights = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    assert {min(value.shape) for value in weights.values()} == {2}
    base = AutoModel.from_pretrained(folder)
    merged = PeftModel.from_pretrained(base, str(tmp_path / "adapters")).merge_and_unload()
    expected = load(tmp_path)[0].base.state_dict()
    for name, value in merged.state_dict().items():
        if not name.startswith("pooler"):
            assert torch.allclose(value, expected[name], atol=1e-6), name


def test_trained_parameters_by_hand(bert_folder):
    """Rank 4 on query and value of 2 blocks of width 32, and a head of 2 x 32 + 2."""
    model = build(bert_folder, 2, 0)
    attach_adapters(model, pipeline(rank=4).strategy, 0)
    groups = layer_groups(model)
    strategy = pipeline(rank=4).strategy
    assert count_trained(model, groups, tabulate(strategy, 1, 4)) == 2 * 2 * 2 * 4 * 32 + 66
    upper = Strategy.model_validate({"kind": "lora", "groups": 2})
    assert count_trained(model, groups, tabulate(upper, 1, 4)) == 1 * 2 * 2 * 4 * 32 + 66
    assert count_trained(model, groups, ()) == 66
    assert [len(group.parameters) for group in groups] == [0, 4, 4, 2]


def test_targets(bert_folder):
    """Named layers alone get adapters; unknown names are said with the known ones."""
    model = build(bert_folder, 2, 0)
    attach_adapters(model, pipeline(targets=["key"]).strategy, 0)
    adapted = [name for group in layer_groups(model)[:-1] for name in group.parameters]
    assert len(adapted) == 4
    assert all(".self.key.lora_" in name for name in adapted)
    with pytest.raises(InputError, match=r"strategy\.targets.*dense, key, query, value"):
        attach_adapters(build(bert_folder, 2, 0), pipeline(targets=["qkv"]).strategy, 0)


def test_an_unknown_architecture_gets_adapters_everywhere(bert_folder, monkeypatch):
    """Where PEFT knows no names for it, all linear layers of the blocks are adapted."""
    model = build(bert_folder, 2, 0)
    monkeypatch.setattr(model.base.config, "model_type", "unheard-of")
    attach_adapters(model, pipeline().strategy, 0)
    assert [len(group.parameters) for group in layer_groups(model)] == [0, 12, 12, 2]


def test_the_seed_draws_the_adapters(bert_folder):
    """One seed gives the same first weights whatever was drawn before, another gives others."""
    drawn = []
    for seed, disturbance in ((1, 5), (1, 6), (2, 5)):
        model = build(bert_folder, 2, 0)
        torch.manual_seed(disturbance)
        attach_adapters(model, pipeline().strategy, seed)
        first = next(v for name, v in model.named_parameters() if ".lora_A." in name)
        drawn.append(first.detach().numpy())
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_adapters_are_attached_without_a_warning_and_described(bert_folder):
    """Rank and layers by name: query and value of both blocks, which PEFT knows for BERT."""
    model, strategy = build(bert_folder, 2, 0), pipeline(rank=4).strategy
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        attach_adapters(model, strategy, 0)
    said = "adapters of rank 4 (alpha 16) beside 4 layers: query, value"
    assert describe_adapters(model, strategy) == said


def test_the_settings_of_a_wrapped_convolution_can_be_read(tmp_path):
    """MobileNet pads by the strides of its convolutions: with adapters it computes as before."""
    MobileNetV2Model(MobileNetV2Config(image_size=32)).save_pretrained(tmp_path)
    model = image_models.build(tmp_path, 2, seed=0).eval()
    images = torch.arange(2 * 3 * 32 * 32, dtype=torch.uint8).view(2, 3, 32, 32)
    with torch.no_grad():
        before = model(pixel_values=images)
        attach_adapters(model, Strategy.model_validate({"kind": "lora"}), 0)
        assert torch.equal(model.eval()(pixel_values=images), before)
