"""Every strategy on language models: adapted, saved, loaded, and what moved."""

import numpy as np
import pandas
import pytest
import torch
from transformers import AutoModelForCausalLM

from finetuning import prefixes
from finetuning.adaptation import adapt, save_adapted
from finetuning.block_encoding import open_encoder
from finetuning.config import Pipeline
from finetuning.language_models import build, load
from finetuning.token_scoring import answer

KINDS = (
    "probe-then-tune", "full", "head", "freeze", "gradual", "discriminative", "lora", "scratch",
)  # fmt: skip
SUBJECTS = ["film", "plot", "cast", "music", "story", "book"]
JUDGED = ["good", "great", "fine", "superb"]
SILENT = {"max_new_tokens": 0}


def make_pipeline(kind, **training):
    """A pipeline of one strategy on a tiny model."""
    groups = {"groups": 2} if kind == "freeze" else {}
    usual = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "precision": "fp32"}
    return Pipeline.model_validate(
        {
            "name": "toy",
            "problem": "causal-lm",
            "data": {"path": "data/toy"},
            "model": {"base": "toy"},
            "strategy": {"kind": kind, **groups},
            "training": {"max_length": 16, "early_stopping": None, **usual, **training},
        }
    )


def make_table(count, seed):
    """Sentences of one pattern."""
    draw = np.random.default_rng(seed)
    pairs = zip(draw.choice(SUBJECTS, count), draw.choice(JUDGED, count), strict=True)
    return pandas.DataFrame({"text": [f"the {one} was very {other} ." for one, other in pairs]})


def encode(folder, pipeline):
    """Training blocks, and validation rows with their table."""
    encoder = open_encoder(folder, pipeline.data.columns, pipeline.training)
    checked = make_table(20, seed=1)
    return encoder.encode(make_table(80, seed=0), None, learning=True), (
        encoder.encode(checked, None),
        checked,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fixture", ["gpt2_folder", "llama_folder"])
def test_every_strategy_learns_and_is_kept(fixture, kind, request, tmp_path):
    """Each lowers the loss on text that it has not seen, and loads as it was saved."""
    folder, pipeline = request.getfixturevalue(fixture), make_pipeline(kind)
    rows, (checked, table) = encode(folder, pipeline)
    columns, place = pipeline.data.columns, tmp_path / "model"
    untouched = answer(build(folder, 0, seed=0).eval(), {}, checked, table, columns, SILENT)
    adapted = adapt(folder, 0, pipeline, rows, checked, 16, tmp_path)
    history = adapted.result.history
    assert len(history) == 3
    assert history[adapted.result.best].validation_loss < untouched["loss"].mean() - 0.1
    save_adapted(adapted, place, (), pipeline, "toy")
    expected = answer(adapted.model.eval(), {}, checked, table, columns, SILENT)
    model, description = load(place)
    got = answer(model, description, checked, table, columns, SILENT)
    np.testing.assert_allclose(got["loss"], expected["loss"], rtol=0, atol=1e-5)
    plain = AutoModelForCausalLM.from_pretrained(place).eval()
    batch = checked.collate([0])
    with torch.no_grad():
        whole = plain(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        torch.testing.assert_close(whole[batch["wanted"]], model(**batch), rtol=0, atol=1e-4)
    assert (place / "adapters").is_dir() == (kind == "lora")


@pytest.mark.parametrize(
    ("kind", "still"),
    [
        ("head", ("embeddings", "block 1", "block 2")),
        ("freeze", ("embeddings", "block 1")),
        ("full", ()),
    ],
)
@pytest.mark.parametrize("fixture", ["gpt2_folder", "llama_folder"])
def test_only_what_a_strategy_names_moves(fixture, kind, still, request, tmp_path):
    """Frozen groups keep every bit, the embeddings under a head that was tied to them too."""
    folder, pipeline = request.getfixturevalue(fixture), make_pipeline(kind, epochs=1)
    rows, (checked, _) = encode(folder, pipeline)
    before = dict(build(folder, 0, seed=0).named_parameters())
    adapted = adapt(folder, 0, pipeline, rows, checked, 16, tmp_path)
    after = dict(adapted.model.named_parameters())
    trained = 0
    for group in adapted.groups:
        moved = [
            name
            for name in group.parameters
            if name not in before or not torch.equal(after[name], before[name])
        ]
        assert moved == ([] if group.name in still else list(group.parameters))
        trained += 0 if group.name in still else sum(after[one].numel() for one in moved)
    assert adapted.trained == trained


def test_adapters_are_all_that_lora_trains(gpt2_folder, tmp_path):
    """The base model brings its head: neither it nor the embeddings move, tied or not."""
    pipeline = make_pipeline("lora", epochs=1)
    rows, (checked, _) = encode(gpt2_folder, pipeline)
    adapted = adapt(gpt2_folder, 0, pipeline, rows, checked, 16, tmp_path)
    assert [len(group.parameters) for group in adapted.groups] == [0, 2, 2, 0]
    assert adapted.trained == 2 * 8 * (32 + 96)  # c_attn of two blocks, rank 8
    save_adapted(adapted, tmp_path / "model", (), pipeline, "toy")
    before, (after, _) = build(gpt2_folder, 0, seed=0), load(tmp_path / "model")
    weights = [one.base.get_input_embeddings().weight for one in (before, after)]
    assert torch.equal(*weights)
    assert after.head.weight is weights[1]


def test_frozen_blocks_are_left_out(llama_folder, tmp_path, monkeypatch):
    """Under `head` every block runs once for each token, whatever the epochs."""
    kept = []
    compute = prefixes._compute_states
    monkeypatch.setattr(
        prefixes, "_compute_states", lambda *given: kept.append(given[2]) or compute(*given)
    )
    pipeline = make_pipeline("head", epochs=2)
    rows, (checked, _) = encode(llama_folder, pipeline)
    adapted = adapt(llama_folder, 0, pipeline, rows, checked, 16, tmp_path)
    assert all(any(one is seen for seen in kept) for one in (rows, checked))
    monkeypatch.setattr("finetuning.adaptation.count_frozen_blocks", lambda *_: 0)
    plain = adapt(llama_folder, 0, pipeline, rows, checked, 16, tmp_path)
    for one, other in zip(adapted.result.history, plain.result.history, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)


@pytest.mark.parametrize("fixture", ["gpt2_folder", "llama_folder"])
def test_completions_are_learned(fixture, request, tmp_path):
    """After training on pairs the model writes the completion that belongs to a prompt."""
    folder = request.getfixturevalue(fixture)
    pipeline = make_pipeline("full", epochs=12)
    columns = {"prompt": "prompt", "completion": "completion"}
    data = pipeline.data.model_validate({"path": "data/toy", "columns": columns})
    pipeline = pipeline.model_copy(update={"data": data})
    pairs = [("red", "one two"), ("green", "three"), ("blue", "four five six")] * 12
    table = pandas.DataFrame(pairs, columns=["prompt", "completion"])
    encoder = open_encoder(folder, data.columns, pipeline.training)
    rows, checked = encoder.encode(table, None, learning=True), encoder.encode(table[:3], None)
    adapted = adapt(folder, 0, pipeline, rows, checked, 16, tmp_path)
    save_adapted(adapted, tmp_path / "model", (), pipeline, "toy")
    encoder.save(tmp_path / "model")
    model, description = load(tmp_path / "model")
    got = answer(model, description, checked, table[:3], data.columns, {"max_new_tokens": 8})
    assert got["completion"].tolist() == ["one two", "three", "four five six"]
    assert got["loss"].max() < 0.2
