"""Base models that cannot be taken, and those that bring code: it is never run."""

import json
import shutil
from contextlib import suppress

import pytest
from transformers import AutoModel, T5Config

from finetuning.base_configs import open_config
from finetuning.errors import InputError
from finetuning.image_models import build as build_image_model
from finetuning.language_models import build as build_language_model
from finetuning.models import open_base
from finetuning.tokenization import load_tokenizer

CODE = """
from pathlib import Path
Path({proof!r}).write_text("the code was run")
from transformers import BertConfig, BertModel, BertTokenizerFast
class PlantedConfig(BertConfig):
    model_type = "planted"
class PlantedModel(BertModel):
    config_class = PlantedConfig
class PlantedTokenizer(BertTokenizerFast):
    pass
"""
MAP = {
    "AutoConfig": "planted.PlantedConfig",
    "AutoModel": "planted.PlantedModel",
    "AutoModelForCausalLM": "planted.PlantedModel",
    "AutoTokenizer": ["planted.PlantedTokenizer", "planted.PlantedTokenizer"],
}


def plant(source, folder, name, **changes):
    """A copy of a base model with code in it, named by one of its json files; and its proof."""
    shutil.copytree(source, folder)
    proof = folder.parent / "proof"
    (folder / "planted.py").write_text(CODE.format(proof=str(proof)))
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": MAP} | changes))
    return proof


@pytest.mark.parametrize(
    "build",
    [
        open_config,
        lambda folder: open_base(folder, 0),
        lambda folder: build_language_model(folder, 2, 0),
        lambda folder: build_image_model(folder, 2, 0),
    ],
)
def test_an_architecture_that_needs_its_own_code_is_refused(bert_folder, tmp_path, build):
    """The remedy is said, and the code was not run."""
    proof = plant(bert_folder, tmp_path / "base", "config.json", model_type="planted")
    with pytest.raises(InputError, match="never run"):
        build(tmp_path / "base")
    assert not proof.exists()


def test_a_known_architecture_opens_by_transformers_own_code(bert_folder, tmp_path):
    """Many models name code beside an architecture that transformers has by now."""
    proof = plant(bert_folder, tmp_path / "base", "config.json")
    model, _ = open_base(tmp_path / "base", 0)
    assert type(model).__module__.startswith("transformers.")
    assert not proof.exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_tokenizers_code_is_not_run(bert_folder, tmp_path, known):
    """A known class is taken from transformers; an unknown one is refused, or read as its files."""
    changes = {} if known else {"tokenizer_class": "PlantedTokenizer"}
    proof = plant(bert_folder, tmp_path / "base", "tokenizer_config.json", **changes)
    with suppress(InputError):
        found = load_tokenizer(tmp_path / "base")
        assert type(found).__module__.startswith("transformers.")
    assert not proof.exists()


@pytest.mark.parametrize("content", ['{"model_type": "unheard-of"}', "{}", "{", "[]"])
def test_what_is_no_config_is_said(tmp_path, content):
    """An architecture that nobody knows, and files that are none."""
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"model\.base"):
        open_config(tmp_path)


def test_attention_from_the_hub_is_refused(bert_folder, tmp_path):
    """Transformers would fetch and run it."""
    shutil.copytree(bert_folder, tmp_path / "base")
    path = tmp_path / "base" / "config.json"
    named = {"attn_implementation": "somebody/attention"}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    with pytest.raises(InputError, match="never run"):
        open_config(tmp_path / "base")


def test_an_encoder_with_a_decoder_is_refused(tmp_path):
    """It would want a second text; what to name instead is said."""
    config = T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"model\.base: .*t5.*encoder such as BERT"):
        open_base(tmp_path, seed=0)
