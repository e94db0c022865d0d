"""A span finder: what it gives, what it keeps, and what it begins with."""

import json

import numpy as np
import pytest
import torch

from finetuning.errors import InputError
from finetuning.models import build as build_classifier
from finetuning.models import layer_groups
from finetuning.question_models import KIND, NEVER, build, load, save
from finetuning.spans import CERTAIN
from tests.finetuning.question_rows import make_questions, open_questions


@pytest.fixture(scope="module")
def rows(bert_folder):
    """A few windows of different lengths."""
    return open_questions(bert_folder).encode(make_questions(4, 1), None)


def look(model, rows, chosen=None):
    """Logits of some windows in evaluation mode."""
    batch = rows.collate(np.arange(len(rows)) if chosen is None else chosen)
    with torch.inference_mode():
        return model.eval()(**batch), batch["allowed"]


def test_logits_are_two_a_token(bert_folder, rows):
    """The head's product where an answer may be, and a number that is never chosen elsewhere."""
    model = build(bert_folder, 0, seed=1)
    logits, allowed = look(model, rows)
    assert logits.shape == (*allowed.shape, 2)
    assert (logits[~allowed] == NEVER).all()
    batch = rows.collate(np.arange(len(rows)))
    del batch["allowed"]
    hidden = model.base(**batch).last_hidden_state
    expected = hidden @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(logits[allowed], expected[allowed])


def test_padding_changes_nothing(bert_folder, rows):
    """A window alone gives what it gives beside a longer one, and features are 0 in padding."""
    model = build(bert_folder, 0, seed=1).eval()
    short = int(rows.lengths.argmin())
    alone, allowed = look(model, rows, np.array([short]))
    beside, _ = look(model, rows)
    length = alone.shape[1]
    torch.testing.assert_close(beside[short, :length][allowed[0]], alone[0][allowed[0]])
    batch = rows.collate(np.arange(len(rows)))
    with torch.inference_mode():
        features = model.features(**batch)
    assert (features[batch["attention_mask"] == 0] == 0).all()


def test_seed_decides_the_head_alone(bert_folder):
    """The base model's weights are the folder's; from scratch they are not."""
    one, two = build(bert_folder, 0, seed=1), build(bert_folder, 0, seed=2)
    assert not torch.equal(one.head.weight, two.head.weight)
    own, other = one.base.state_dict(), two.base.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own)
    fresh = build(bert_folder, 0, seed=1, scratch=True)
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(fresh.base.state_dict()[name], own[name])


def test_groups_run_from_embeddings_to_head(bert_folder):
    """Every parameter is in one group, the head's in the highest; the threshold is none."""
    model = build(bert_folder, 0, seed=1)
    groups = layer_groups(model)
    assert [group.name for group in groups] == ["embeddings", "block 1", "block 2", "head"]
    named = [name for group in groups for name in group.parameters]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    assert groups[-1].parameters == ("head.weight", "head.bias")


def test_saved_model_answers_alike(bert_folder, rows, tmp_path):
    """Weights, dropout and threshold come back; transformers opens the base."""
    from transformers import AutoModel

    model = build(bert_folder, 0, seed=1, dropout=0.3)
    assert model.threshold.item() == pytest.approx(CERTAIN)
    model.threshold.fill_(1.25)
    save(model, tmp_path, (), 48)
    again, description = load(tmp_path)
    assert not again.training
    assert description == {
        "kind": KIND, "labels": [], "dropout": 0.3, "max_length": 48, "threshold": 1.25,
    }  # fmt: skip
    assert (again.threshold.item(), again.dropout.p) == (1.25, 0.3)
    torch.testing.assert_close(look(again, rows)[0], look(model, rows)[0])
    base = AutoModel.from_pretrained(tmp_path)
    own = model.base.state_dict()
    kept = {name: value for name, value in base.state_dict().items() if name in own}
    assert kept.keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in kept.items())


def test_warm_start_keeps_base_and_head(bert_folder, tmp_path):
    """A model of this project begins where it was left, but from scratch."""
    model = build(bert_folder, 0, seed=1)
    with torch.no_grad():
        model.base.get_input_embeddings().weight.add_(1.0)
    save(model, tmp_path, (), 48)
    warm = build(tmp_path, 0, seed=2)
    assert torch.equal(warm.head.weight, model.head.weight)
    assert torch.equal(
        warm.base.get_input_embeddings().weight, model.base.get_input_embeddings().weight
    )
    assert not torch.equal(build(tmp_path, 0, seed=2, scratch=True).head.weight, warm.head.weight)


def test_head_of_transformers_is_kept(bert_folder, tmp_path):
    """A checkpoint that was trained for the same with transformers brings its head."""
    from transformers import BertForQuestionAnswering

    foreign = BertForQuestionAnswering.from_pretrained(bert_folder)
    foreign.save_pretrained(tmp_path)
    model = build(tmp_path, 0, seed=1)
    assert torch.equal(model.head.weight, foreign.qa_outputs.weight)
    assert torch.equal(model.head.bias, foreign.qa_outputs.bias)


def test_problems_begin_from_each_other(bert_folder, tmp_path):
    """A classifier's encoder serves questions, and theirs a classifier; the heads stay behind."""
    from finetuning.models import save as save_classifier

    classifier = build_classifier(bert_folder, 3, seed=1)
    save_classifier(classifier, tmp_path / "classes", ("a", "b", "c"), 48)
    finder = build(tmp_path / "classes", 0, seed=1)
    assert finder.head.out_features == 2
    save(finder, tmp_path / "spans", (), 48)
    description = json.loads((tmp_path / "spans" / "head.json").read_text("utf-8"))
    assert "pooling" not in description
    assert build_classifier(tmp_path / "spans", 3, seed=1).pooling == "mean"


def test_decoder_is_refused(gpt2_folder):
    """With the pipeline file's key, and what to give in its place."""
    with pytest.raises(InputError, match=r"model\.base: found 'gpt2, a decoder'\. Give an encoder"):
        build(gpt2_folder, 0, seed=1)
