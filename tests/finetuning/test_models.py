"""Layer groups, pooling, and models that are built, saved and read again."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    GPT2Model,
    GPTNeoConfig,
    LlamaConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
)

from finetuning.batching import collate
from finetuning.devices import Device
from finetuning.models import Classifier, build, choose_pooling, layer_groups, load, pool, save
from finetuning.probing import compute_features, compute_logits
from finetuning.tokenization import encode, load_tokenizer

CPU = Device("cpu", "CPU", "fp32")
TEXTS = ["a good film", "bad", "the plot was not very good , and the cast was awful !", "i"]
SIZE = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS = {
    "bert": BertConfig(**SIZE, intermediate_size=64),
    "distilbert": DistilBertConfig(vocab_size=50, dim=32, n_layers=3, n_heads=4, hidden_dim=64),
    "roberta": RobertaConfig(**SIZE, intermediate_size=64),
    "deberta": DebertaV2Config(
        **SIZE, intermediate_size=64, relative_attention=True, pos_att_type=["c2p", "p2c"],
        position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True,
    ),
    "modernbert": ModernBertConfig(
        **SIZE, intermediate_size=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        cls_token_id=1, sep_token_id=2,
    ),
    "mpnet": MPNetConfig(**SIZE, intermediate_size=64),
    "gpt2": GPT2Config(vocab_size=50, n_embd=32, n_layer=3, n_head=4),
    "gpt-neo": GPTNeoConfig(
        vocab_size=50, hidden_size=32, num_layers=3, num_heads=4,
        attention_types=[[["global", "local", "global"], 1]],
    ),
    "llama": LlamaConfig(**SIZE, num_key_value_heads=2, intermediate_size=64),
}  # fmt: skip
# Prefixes of what the lowest group and the three blocks hold, and what else the last one does; the
# lowest has the relative positions too, which all blocks of DeBERTa and MPNet see.
PLACES = {
    "bert": ("base.embeddings.", "base.encoder.layer.{}.", ()),
    "distilbert": ("base.embeddings.", "base.transformer.layer.{}.", ()),
    "roberta": ("base.embeddings.", "base.encoder.layer.{}.", ()),
    "deberta": (
        ("base.embeddings.", "base.encoder.rel_embeddings.", "base.encoder.LayerNorm."),
        "base.encoder.layer.{}.",
        (),
    ),
    "modernbert": ("base.embeddings.", "base.layers.{}.", ("base.final_norm.weight",)),
    "mpnet": (
        ("base.embeddings.", "base.encoder.relative_attention_bias."),
        "base.encoder.layer.{}.",
        (),
    ),
    "gpt2": ("base.w", "base.h.{}.", ("base.ln_f.weight", "base.ln_f.bias")),
    "gpt-neo": ("base.w", "base.h.{}.", ("base.ln_f.weight", "base.ln_f.bias")),
    "llama": ("base.embed_tokens.", "base.layers.{}.", ("base.norm.weight",)),
}


def save_tiny(name, folder, **changes):
    """Write a tiny random base model without a tokenizer."""
    config = CONFIGS[name].__class__.from_dict({**CONFIGS[name].to_dict(), **changes})
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def read_rows(folder, texts=TEXTS):
    """The texts as encoded rows of a base model's tokenizer."""
    return encode(load_tokenizer(folder), texts, None, np.zeros(len(texts), np.int64), 32)


@pytest.mark.parametrize("name", CONFIGS)
def test_layer_groups(name, tmp_path):
    """Every parameter is in one group: embeddings lowest, blocks in order, head last."""
    model = build(save_tiny(name, tmp_path), 3, seed=0)
    groups = layer_groups(model)
    titles = [group.name for group in groups]
    assert titles == ["embeddings", "block 1", "block 2", "block 3", "head"]
    together = [parameter for group in groups for parameter in group.parameters]
    assert len(together) == len(set(together))
    assert set(together) == {parameter for parameter, _ in model.named_parameters()}
    lowest, block, extra = PLACES[name]
    assert all(parameter.startswith(lowest) for parameter in groups[0].parameters)
    for one in (lowest,) if isinstance(lowest, str) else lowest:
        assert any(parameter.startswith(one) for parameter in groups[0].parameters)
    for number, group in enumerate(groups[1:4]):
        others = [one for one in group.parameters if not one.startswith(block.format(number))]
        assert others == (list(extra) if number == 2 else [])
    assert groups[4].parameters == ("head.weight", "head.bias")
    assert all(group.parameters for group in groups)


HIDDEN = torch.tensor(
    [[[1.0, -4.0], [3.0, -2.0], [99.0, 99.0]], [[2.0, 5.0], [-1.0, 0.0], [5.0, -2.0]]]
)
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2.0, -3.0], [2.0, 1.0]]),
        ("cls", [[1.0, -4.0], [2.0, 5.0]]),
        ("max", [[3.0, -2.0], [5.0, 5.0]]),
        ("last", [[3.0, -2.0], [5.0, -2.0]]),
    ],
)
def test_pool(pooling, expected):
    """Pooled values are those worked by hand; the padded place of 99 never shows."""
    torch.testing.assert_close(pool(HIDDEN, MASK, pooling), torch.tensor(expected))


def test_mean_is_summed_in_fp32():
    """The mean of many bf16 values keeps its low bits."""
    hidden = torch.full((1, 1000, 1), 1.0, dtype=torch.bfloat16)
    hidden[0, 0, 0] = 3.0
    got = pool(hidden, torch.ones(1, 1000, dtype=torch.int64), "mean")
    torch.testing.assert_close(got, torch.tensor([[1.002]]))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
@pytest.mark.parametrize("fixture", ["bert_folder", "gpt2_folder"])
@pytest.mark.parametrize("longest", [None, 32], ids=["fused", "eager"])
def test_padding_never_counts(fixture, pooling, longest, request):
    """A row has the same features alone and padded in a batch."""
    folder = request.getfixturevalue(fixture)
    model = build(folder, 2, seed=0, longest=longest).eval()
    model.pooling = pooling
    rows = read_rows(folder)
    with torch.no_grad():
        together = model.features(**collate(rows, range(len(rows))))
        alone = torch.cat([model.features(**collate(rows, [row])) for row in range(len(rows))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_features_are_the_base_models(bert_folder):
    """Mean-pooled features are the mean of what transformers' own model gives."""
    tokenizer = load_tokenizer(bert_folder)
    reference = AutoModel.from_pretrained(bert_folder).eval()
    with torch.no_grad():
        hidden = [reference(**tokenizer(text, return_tensors="pt"))[0][0] for text in TEXTS]
    got = compute_features(build(bert_folder, 2, seed=0), read_rows(bert_folder), CPU)
    expected = torch.stack([tokens.mean(dim=0) for tokens in hidden])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


OLD = "pooling_mode_{}"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({OLD.format("cls_token"): True, OLD.format("mean_tokens"): False}, "cls"),
        ({OLD.format("cls_token"): False, OLD.format("mean_tokens"): True}, "mean"),
        ({OLD.format("max_tokens"): True}, "max"),
        ({OLD.format("lasttoken"): True}, "last"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({}, "mean"),
    ],
)
@pytest.mark.parametrize("kind", ["sentence_transformers.models.Pooling", "other.pooling.Pooling"])
def test_declared_pooling(bert_folder, tmp_path, declared, expected, kind):
    """What the sentence-transformers files say is what is pooled, in their old form and the new."""
    folder = tmp_path / "model"
    shutil.copytree(bert_folder, folder)
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": kind},
    ]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(declared), "utf-8")
    assert build(folder, 2, seed=0).pooling == expected


def test_undeclared_pooling(bert_folder, gpt2_folder, tmp_path):
    """An encoder is mean-pooled; a decoder gives its last token, saved with its head or without."""
    assert build(bert_folder, 2, seed=0).pooling == "mean"
    assert build(gpt2_folder, 2, seed=0).pooling == "last"
    GPT2Model(CONFIGS["gpt2"]).save_pretrained(tmp_path)
    assert build(tmp_path, 2, seed=0).pooling == "last"
    for architecture in ("BertLMHeadModel", "BertForMaskedLM"):
        config = BertConfig(architectures=[architecture])
        assert choose_pooling(tmp_path, config) == "mean"


@pytest.mark.parametrize("fixture", ["bert_folder", "gpt2_folder"])
def test_saved_model_is_the_same(fixture, tmp_path, request):
    """A model that was saved and read gives the same logits, and says what it was saved with."""
    folder = request.getfixturevalue(fixture)
    model, rows = build(folder, 3, seed=5, dropout=0.25), read_rows(folder)
    save(model, tmp_path / "model", ("x", "y", "z"), 32)
    read, description = load(tmp_path / "model")
    assert not read.training
    torch.testing.assert_close(
        compute_logits(read, rows, CPU), compute_logits(model, rows, CPU), rtol=0, atol=0
    )
    assert description == {
        "labels": ["x", "y", "z"],
        "pooling": model.pooling,
        "dropout": 0.25,
        "max_length": 32,
    }
    assert isinstance(read, Classifier)


def test_saved_folder_is_transformers_own(bert_folder, tmp_path):
    """`AutoModel` reads the saved folder, and its weights are the model's."""
    model = build(bert_folder, 3, seed=5)
    with torch.no_grad():
        model.base.encoder.layer[1].output.dense.weight.add_(1.0)
    save(model, tmp_path, ("x", "y", "z"), 32)
    read = AutoModel.from_pretrained(tmp_path).state_dict()
    for name, value in model.base.state_dict().items():
        torch.testing.assert_close(read[name], value, rtol=0, atol=0, msg=name)


def test_only_safetensors_are_written(bert_folder, tmp_path):
    """Weights are written as safetensors and everything else as JSON: nothing that can run code."""
    save(build(bert_folder, 3, seed=5), tmp_path, ("x", "y", "z"), 32)
    written = {path.name for path in tmp_path.rglob("*")}
    assert written == {"config.json", "model.safetensors", "head.safetensors", "head.json"}


def test_the_unread_pooler_is_dropped(bert_folder):
    """Weights that no pooling reads are neither trained nor saved."""
    assert not [
        name for name, _ in build(bert_folder, 2, seed=0).named_parameters() if "pooler" in name
    ]


@pytest.mark.parametrize("scratch", [False, True])
def test_same_seed_same_weights(bert_folder, scratch):
    """A seed settles every fresh weight; the head's also where all else comes from the base."""
    one, same, other = (build(bert_folder, 3, seed, scratch=scratch) for seed in (1, 1, 2))
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(one.head.weight, other.head.weight)
    words = [model.base.embeddings.word_embeddings.weight for model in (one, other)]
    assert torch.equal(*words) is not scratch


def test_scratch_has_fresh_weights(bert_folder):
    """From scratch every matrix differs from the base's and has the same shape."""
    base, fresh = build(bert_folder, 3, 0), build(bert_folder, 3, 0, scratch=True)
    names = [name for name, value in base.base.named_parameters() if value.ndim == 2]
    own, new = base.base.state_dict(), fresh.base.state_dict()
    assert names
    for name in names:
        assert own[name].shape == new[name].shape
        assert not torch.equal(own[name], new[name])


@pytest.mark.parametrize("scratch", [False, True])
def test_weights_are_fp32(tmp_path, scratch):
    """A base model that was saved in bf16 is trained in fp32, fresh or not."""
    model = build(save_tiny("llama", tmp_path, dtype="bfloat16"), 3, seed=0, scratch=scratch)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", CONFIGS)
def test_dropout_everywhere(name, tmp_path):
    """The dropout asked for stands in every layer that drops, the head's too; None keeps it."""
    folder = save_tiny(name, tmp_path)

    def read(dropout):
        model = build(folder, 3, seed=0, dropout=dropout)
        layers = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
        return model.dropout.p, set(layers)

    assert read(0.3) == (0.3, {0.3})
    assert read(0.0) == (0.0, {0.0})
    assert read(None)[0] == 0.1
