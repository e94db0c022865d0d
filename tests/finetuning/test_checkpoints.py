"""Checkpoints: their weights are taken over to the bit, and nothing that they hold is run."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import BertConfig, BertModel

from finetuning.checkpoints import convert, read_checkpoint
from finetuning.errors import InputError
from finetuning.image_models import build
from finetuning.sources import find_base
from tests.finetuning.test_image_models import make_base

REAL = Path(__file__).parents[3] / "shared" / "weights" / "cifar_resnet" / "resnet20-12fca82f.th"


class Bomb:
    """What unpickles by writing a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def target(tmp_path):
    """An empty folder for the base model."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("family", ["cifar", "vgg", "vgg_bn"])
@pytest.mark.parametrize("nested", [None, "state_dict"])
def test_our_own_architectures_are_found_by_their_weights(family, nested, tmp_path, target):
    """Under DataParallel's names too, beside whatever else a trainer saves; the head is left."""
    weights = build(make_base(family, tmp_path), 2, 0).base.state_dict()
    content = {f"module.{name}": value for name, value in weights.items()}
    content |= {"module.linear.weight": torch.zeros(10, 64)}
    file = tmp_path / "weights" / "any.pth"
    file.parent.mkdir()
    torch.save({nested: content, "epoch": 3} if nested else content, file)
    made = convert(file, target)
    assert made.architecture == {"cifar": "resnet20", "vgg": "vgg11", "vgg_bn": "vgg11_bn"}[family]
    assert made.left == ("linear.weight",)
    assert made.tensors == len(weights)
    assert made.parameters == sum(value.numel() for value in weights.values())
    base = find_base(str(target), None, tmp_path)
    after = build(base.folder, 2, 0).base.state_dict()
    assert all(torch.equal(after[name], value) for name, value in weights.items())


def test_the_published_resnet20(target):
    """The real checkpoint: its stem computed here by hand from the very tensors."""
    if not REAL.is_file():
        pytest.skip("the published weights are not beside the repository")
    assert convert(REAL, target).architecture == "resnet20"
    config = json.loads((target / "config.json").read_text("utf-8"))
    assert (config["image_size"], config["num_channels"]) == (32, 3)
    base = build(target, 10, 0).base.eval()
    tensors = torch.load(REAL, map_location="cpu", weights_only=True)["state_dict"]

    def norm(states, name):
        kinds = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(states, *(tensors[f"module.{name}.{kind}"] for kind in kinds))

    images = torch.rand(2, 3, 32, 32)
    states = functional.conv2d(images, tensors["module.conv1.weight"], padding=1)
    states = norm(states, "bn1").relu()
    with torch.no_grad():
        torch.testing.assert_close(base.bn1(base.conv1(images)).relu(), states)
        assert base(images).last_hidden_state.shape == (2, 64, 8, 8)


def test_a_model_of_transformers_is_taken_as_it_is(tmp_path, target):
    """With the config.json beside it; transformers then loads the same weights."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    model, folder = BertModel(config), tmp_path / "old"
    folder.mkdir()
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("a\n")
    made = convert(folder / "pytorch_model.bin", target)
    assert (made.architecture, made.left) == ("bert", ())
    assert (target / "vocab.txt").read_text() == "a\n"
    after = BertModel.from_pretrained(target).state_dict()
    assert all(torch.equal(after[name], value) for name, value in model.state_dict().items())


def test_nothing_is_run(tmp_path, target):
    """A pickle that would write a file is refused, with what to do, and writes none."""
    torch.save({"weight": torch.zeros(1), "bomb": Bomb(tmp_path / "run")}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"could run anything.*state_dict"):
        convert(tmp_path / "x.pth", target)
    assert not (tmp_path / "run").exists()
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    """Nothing, text, the beginning of an archive, an empty mapping."""
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"CHECKPOINT.*(no checkpoint|no weights)"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [{"a": 1}, [torch.zeros(1)], {"a": torch.zeros(1), "b": 2}])
def test_other_content_is_refused(tmp_path, content):
    """Only names with tensors are weights."""
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match="It holds no weights"):
        read_checkpoint(tmp_path / "x.pth")


def test_weights_that_fit_nothing_are_refused(tmp_path, target):
    """Without an architecture, with the wrong one, and with one that is none."""
    weights = build(make_base("cifar", tmp_path), 2, 0).base.state_dict()
    (tmp_path / "config.json").unlink()
    torch.save(weights, tmp_path / "x.pth")
    for architecture, said in (("resnet32", "not those of resnet32"), ("alexnet", "one of vgg11")):
        with pytest.raises(InputError, match=rf"--architecture.*{said}"):
            convert(tmp_path / "x.pth", target, architecture)
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="fit none of our own architectures"):
        convert(tmp_path / "x.pth", target)
