"""Language models: logits where they are wanted, layer groups, files, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from finetuning.blocks import pack
from finetuning.errors import InputError
from finetuning.language_models import build, load, save
from finetuning.models import layer_groups
from finetuning.tying import separate

FOLDERS = ["gpt2_folder", "llama_folder"]
HEAD_ONLY = ((0.0, 0.0, 0.0, 1.0),)
ALL = ((1.0, 1.0, 1.0, 1.0),)


@pytest.fixture(params=FOLDERS)
def folder(request):
    """A base model's folder: GPT-2's head is tied to its embeddings, Llama's is not."""
    return request.getfixturevalue(request.param)


def draw_rows(count=50, length=16):
    """Random tokens in blocks, the last one shorter."""
    generator = torch.Generator().manual_seed(0)
    return pack([torch.randint(3, 40, (count,), generator=generator).tolist()], length)


@pytest.mark.parametrize("longest", [None, 16], ids=["fused", "eager"])
def test_logits_are_the_base_models(folder, longest):
    """Of the wanted tokens alone, in order, padding or not, as transformers computes them."""
    rows = draw_rows()
    batch = rows.collate(range(len(rows)))
    reference = AutoModelForCausalLM.from_pretrained(folder).eval()
    expected = [
        reference(input_ids=ids[None, : int(mask.sum())]).logits[0, :-1]
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    with torch.no_grad():
        got = build(folder, 0, seed=0, longest=longest).eval()(**batch)
    assert got.shape[0] == int(rows.learned.sum())
    torch.testing.assert_close(got, torch.cat(expected), rtol=0, atol=1e-4)


def test_layer_groups(folder):
    """Each parameter stands in one group; a tied head stands with the embeddings."""
    model = build(folder, 0, seed=0)
    groups = layer_groups(model)
    assert [group.name for group in groups] == ["embeddings", "block 1", "block 2", "head"]
    together = [name for group in groups for name in group.parameters]
    assert len(together) == len(set(together))
    assert set(together) == {name for name, _ in model.named_parameters()}
    is_tied = model.base.config.tie_word_embeddings
    assert groups[-1].parameters == (() if is_tied else ("base.lm_head.weight",))
    final = "base.transformer.ln_f.weight" if is_tied else "base.model.norm.weight"
    assert final in groups[-2].parameters


def test_head_gets_a_copy_where_it_is_trained_alone(gpt2_folder):
    """The copy computes the same, is the head's group, and moves by itself."""
    model, rows = build(gpt2_folder, 0, seed=0).eval(), draw_rows()
    batch = rows.collate([0])
    with torch.no_grad():
        before = model(**batch)
        assert separate(model, HEAD_ONLY)
        torch.testing.assert_close(model(**batch), before, rtol=0, atol=0)
        assert layer_groups(model)[-1].parameters == ("base.lm_head.weight",)
        embeddings = model.base.get_input_embeddings().weight.clone()
        model.head.weight.add_(1.0)
    torch.testing.assert_close(model.base.get_input_embeddings().weight, embeddings)


def test_head_stays_tied_where_the_embeddings_learn(gpt2_folder, llama_folder):
    """Nothing is copied where the table does not ask for it, or where nothing is tied."""
    model = build(gpt2_folder, 0, seed=0)
    assert not separate(model, ALL)
    assert not separate(model, ((0.0, 0.0, 0.0, 0.0),))
    assert model.head.weight is model.base.get_input_embeddings().weight
    assert not separate(build(llama_folder, 0, seed=0), HEAD_ONLY)


@pytest.mark.parametrize("table", [ALL, HEAD_ONLY], ids=["tied", "apart"])
def test_files_are_transformers_own(folder, table, tmp_path):
    """What is saved loads alike here and with from_pretrained; a copied head stays apart."""
    model = build(folder, 0, seed=0)
    has_copy = separate(model, table)
    with torch.no_grad():
        model.head.weight.add_(torch.randn(model.head.weight.shape) / 10)
    save(model, tmp_path, (), 32)
    again, description = load(tmp_path)
    assert not again.training
    assert description == {"labels": [], "max_length": 32, "folder": str(tmp_path)}
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    batch = draw_rows().collate([0])
    with torch.no_grad():
        expected = model.eval()(**batch)
        torch.testing.assert_close(again(**batch), expected, rtol=0, atol=0)
        whole = plain(input_ids=batch["input_ids"]).logits[0, :-1]
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-4)
    is_tied = plain.lm_head.weight is plain.get_input_embeddings().weight
    assert is_tied == (model.base.config.model_type == "gpt2" and not has_copy)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    assert not list(tmp_path.glob("*.bin"))


def test_scratch_has_the_shape_and_not_the_weights(folder):
    """Fresh weights of the same architecture, the same for the same seed."""
    known, fresh, again, other = (
        build(folder, 0, seed=seed, scratch=scratch)
        for seed, scratch in ((0, False), (1, True), (1, True), (2, True))
    )
    first = next(iter(known.state_dict()))
    weights = [model.state_dict()[first] for model in (known, fresh, again, other)]
    assert weights[0].shape == weights[1].shape
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[1], weights[3])


def test_dropout_is_set_everywhere(gpt2_folder):
    """Every dropout of the architecture has the probability that was asked for."""
    model = build(gpt2_folder, 0, seed=0, dropout=0.3)
    found = [one.p for one in model.modules() if isinstance(one, torch.nn.Dropout)]
    assert found
    assert set(found) == {0.3}


def test_encoder_is_refused(bert_folder):
    """BERT reads in both directions and cannot write."""
    with pytest.raises(InputError) as caught:
        build(bert_folder, 0, seed=0)
    assert "bert" in str(caught.value.faults[0].found)


def test_model_without_its_head_is_refused(llama_folder, tmp_path):
    """A head that the files lack would be drawn at random: that is said instead."""
    shutil.copytree(llama_folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError) as caught:
        build(tmp_path, 0, seed=0)
    assert "lm_head.weight" in str(caught.value.faults[0].found)


def test_description_is_json(llama_folder, tmp_path):
    """What is kept beside the weights can be read by anything."""
    save(build(llama_folder, 0, seed=0), tmp_path, (), 48)
    kept = json.loads((tmp_path / "language_model.json").read_text("utf-8"))
    assert kept == {"labels": [], "max_length": 48}
