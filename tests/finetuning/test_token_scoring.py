"""Loss and perplexity against transformers' own, and by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
from transformers import AutoModelForCausalLM

from finetuning import token_scoring
from finetuning.block_encoding import open_encoder
from finetuning.blocks import pack
from finetuning.config import Columns, Training
from finetuning.devices import Device
from finetuning.language_models import build
from finetuning.measures import find_measure
from finetuning.token_scoring import (
    answer,
    check,
    compute_loss,
    count_right,
    examine,
    find_worst,
    mark,
    score_blocks,
    weigh,
)

CPU = Device("cpu", "CPU", "fp32")
PROMPTED = Columns.model_validate({"prompt": "prompt", "completion": "completion"})
TEXTS = ["a good film", "the plot was not very good , and the cast was awful !", "i"]
SILENT = {"max_new_tokens": 0}


@pytest.fixture(params=["gpt2_folder", "llama_folder"])
def folder(request):
    """A base model's folder."""
    return request.getfixturevalue(request.param)


def encode(folder, table, columns=None, **fields):
    """A table's rows, to be scored."""
    settings = Training.model_validate({"max_length": 32, **fields})
    return open_encoder(folder, columns or Columns(), settings).encode(table, None)


def test_loss_is_transformers_own(folder):
    """Of full blocks: the mean of what the base model computes with labels."""
    tokens = torch.randint(3, 40, (96,), generator=torch.Generator().manual_seed(1))
    rows = pack([tokens.tolist()], 16)
    reference = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        blocks = tokens.view(6, 16)
        expected = reference(input_ids=blocks, labels=blocks).loss.item()
        logits = reference(input_ids=blocks).logits[:, :-1]
    checked = check(build(folder, 0, seed=0), rows, CPU, "checking")
    assert checked.loss == pytest.approx(expected, abs=1e-5)
    assert checked.merit == -checked.loss
    right = (logits.argmax(dim=2) == blocks[:, 1:]).float().mean().item()
    assert checked.accuracy == pytest.approx(right)


def test_training_loss_is_transformers_own(folder):
    """The batch that training draws has the loss that the Trainer would have, gradient and all."""
    tokens = torch.randint(3, 40, (48,), generator=torch.Generator().manual_seed(1))
    reference, model = AutoModelForCausalLM.from_pretrained(folder), build(folder, 0, seed=0)
    blocks = tokens.view(3, 16)
    expected = reference.eval()(input_ids=blocks, labels=blocks).loss
    batch, targets = pack([tokens.tolist()], 16).draw([0, 1, 2], 0)
    outputs = model.eval()(**batch)
    loss = compute_loss(outputs, targets, 0.0)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    assert weigh(targets) == 45
    for one in (expected, loss):
        one.backward()
    got = model.base.get_input_embeddings().weight.grad
    torch.testing.assert_close(got, reference.get_input_embeddings().weight.grad)


def test_loss_by_hand():
    """Two tokens of two: log 2 for one that is undecided, log(1 + 1/3) for one that is 3 to 1."""
    outputs = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    targets = torch.tensor([1, 0])
    expected = (math.log(2) + math.log(4 / 3)) / 2
    assert compute_loss(outputs, targets, 0.0).item() == pytest.approx(expected)
    # Smoothed by a half, the second is three quarters the first token and one quarter the other.
    smoothed = (math.log(2) + 0.75 * math.log(4 / 3) + 0.25 * math.log(4)) / 2
    assert compute_loss(outputs, targets, 0.5).item() == pytest.approx(smoothed)
    assert count_right(outputs, targets) == 1


def test_half_precision_is_lost_in_no_sum():
    """Losses of bf16 logits are computed in fp32."""
    outputs = torch.tensor([[3.0, 0.0]], dtype=torch.bfloat16)
    assert compute_loss(outputs, torch.tensor([0]), 0.0).dtype == torch.float32


def test_loss_a_row_is_that_of_its_text(folder):
    """Each row's mean over its own tokens, behind the begin token, batched or alone."""
    table = pandas.DataFrame({"text": TEXTS})
    rows = encode(folder, table)
    model = build(folder, 0, seed=0)
    got = answer(model, {}, rows, table, Columns(), SILENT)
    for row, (start, end) in enumerate(zip(rows.offsets, rows.offsets[1:], strict=False)):
        ids = torch.from_numpy(rows.tokens[start:end].astype(np.int64))[None]
        with torch.no_grad():
            expected = model.base(input_ids=ids, labels=ids).loss.item()
        assert got["loss"][row] == pytest.approx(expected, abs=1e-5)
        assert got["tokens"][row] == end - start - 1
    assert list(got.columns) == ["completion", "loss", "tokens"]
    assert set(got["completion"]) == {""}


def test_windows_of_a_row_add_up(llama_folder):
    """A row in windows has as many tokens as a whole one, and each window's nats."""
    table = pandas.DataFrame({"text": TEXTS})
    model = build(llama_folder, 0, seed=0)
    rows = encode(llama_folder, table, max_length=6, stride=2)
    got = answer(model, {}, rows, table, Columns(), SILENT)
    whole = answer(model, {}, encode(llama_folder, table), table, Columns(), SILENT)
    assert got["tokens"].tolist() == whole["tokens"].tolist()
    nats, tokens, _ = score_blocks(model, rows, CPU, "scoring")
    mine = rows.places == 1
    assert mine.sum() > 1
    assert got["loss"][1] == pytest.approx(nats[mine].sum() / tokens[mine].sum())


def test_only_the_completion_counts(llama_folder):
    """By hand: the log probabilities of the completion's tokens and its end, given the prompt."""
    table = pandas.DataFrame({"prompt": ["is it good ?"], "completion": ["very good"]})
    rows = encode(llama_folder, table, PROMPTED)
    model = build(llama_folder, 0, seed=0)
    ids = torch.from_numpy(rows.tokens.astype(np.int64))[None]
    with torch.no_grad():
        likely = model.base(input_ids=ids).logits[0].log_softmax(dim=1)
    completion = range(5, 8)  # behind <s> is it good ?
    expected = -sum(likely[place - 1, ids[0, place]].item() for place in completion) / 3
    got = answer(model, {}, rows, table, PROMPTED, SILENT)
    assert got["loss"][0] == pytest.approx(expected, abs=1e-5)
    assert got["tokens"][0] == 3


def test_nothing_to_score_is_no_loss(llama_folder):
    """A prompt without a completion weighs nothing."""
    table = pandas.DataFrame({"prompt": ["is it"], "completion": [None]})
    rows = encode(llama_folder, table, PROMPTED)
    got = answer(build(llama_folder, 0, seed=0), {}, rows, table, PROMPTED, SILENT)
    assert got[["loss", "tokens"]].to_numpy().tolist() == [[0.0, 0]]


def test_logits_are_weighed_in_parts(llama_folder, monkeypatch):
    """A large vocabulary's tokens are weighed a few at a time, to the same end."""
    rows = encode(llama_folder, pandas.DataFrame({"text": TEXTS}))
    model = build(llama_folder, 0, seed=0)
    whole = score_blocks(model, rows, CPU, "scoring")
    monkeypatch.setattr(token_scoring, "LOGITS_AT_ONCE", 100)
    parts = score_blocks(model, rows, CPU, "scoring")
    np.testing.assert_allclose(parts[0], whole[0])
    assert parts[2].tolist() == whole[2].tolist()


def test_perplexities_of_a_prediction_table(folder):
    """By token and by word, from the summed nats; the metrics beside them agree."""
    table = pandas.DataFrame({"text": TEXTS})
    examined = examine(build(folder, 0, seed=0), {}, encode(folder, table), table, Columns())
    marked = mark(examined.answers, table, Columns())
    nats = (marked["loss"] * marked["tokens"]).sum()
    assert marked["words"].tolist() == [3, 13, 1]
    perplexity = find_measure("perplexity").compute(marked)
    assert perplexity == pytest.approx(math.exp(nats / marked["tokens"].sum()))
    assert find_measure("word_perplexity").compute(marked) == pytest.approx(math.exp(nats / 17))
    assert examined.metrics["loss"] == pytest.approx(math.log(perplexity))
    characters = sum(map(len, TEXTS))
    bits = nats / math.log(2) / characters
    assert examined.metrics["bits_per_character"] == pytest.approx(bits)


def test_worst_rows():
    """Highest loss first, with where they stand."""
    table = pandas.DataFrame(
        {"file": "a.txt", "row": [1, 2, 3], "text": list("abc"), "loss": [1.0, 3.0, 2.0]}
    )
    found = find_worst(table, "text")
    assert [(one["row"], one["text"], one["score"]) for one in found] == [
        (2, "b", 3.0),
        (3, "c", 2.0),
        (1, "a", 1.0),
    ]
    fields = {"file", "row", "text", "label", "prediction", "score"}
    assert set(SimpleNamespace(**found[0]).__dict__) == fields
