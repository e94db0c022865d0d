"""`tunesmith convert`: a folder that can be named as base, or nothing at all."""

import pytest
import torch

from finetuning.errors import InputError
from finetuning.image_models import build
from finetuning.sources import find_base
from flows.converting import convert_checkpoint, describe_conversion
from tests.finetuning.test_image_models import make_base


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a ResNet-20, apart from any config.json."""
    (tmp_path / "made").mkdir()
    file = tmp_path / "weights.th"
    torch.save(build(make_base("cifar", tmp_path / "made"), 2, 0).base.state_dict(), file)
    return file


def test_what_is_made_is_a_base(checkpoint, tmp_path):
    """Named relative to the project where it lies inside, and said as a pipeline file has it."""
    result = convert_checkpoint(tmp_path, checkpoint, tmp_path / "bases" / "mine", None)
    assert result["base"] == "./bases/mine"
    assert find_base(result["base"], None, tmp_path).has_weights
    assert "model: {base: ./bases/mine}" in describe_conversion(result)
    assert [path.name for path in (tmp_path / "bases").iterdir()] == ["mine"]


def test_nothing_is_overwritten_or_left_behind(checkpoint, tmp_path):
    """A folder that is there, a checkpoint that is not, and one that does not fit."""
    (tmp_path / "there").mkdir()
    for file, target, architecture, key in (
        (checkpoint, "there", None, "--to"),
        (tmp_path / "none.th", "new", None, "CHECKPOINT"),
        (checkpoint, "new", "vgg11", "--architecture"),
    ):
        with pytest.raises(InputError) as caught:
            convert_checkpoint(tmp_path, file, tmp_path / target, architecture)
        assert caught.value.faults[0].key == key
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "there").iterdir()) == []
