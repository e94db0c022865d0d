"""What a model writes: greedy by hand, draws that repeat, and where the text is taken up."""

import numpy as np
import pandas
import pytest
import torch

from finetuning.block_encoding import open_encoder
from finetuning.config import Columns, Training
from finetuning.errors import InputError
from finetuning.language_models import build, load, save
from finetuning.token_scoring import answer
from finetuning.writing import find_context, read_wishes

PROMPTED = Columns.model_validate({"prompt": "prompt", "completion": "completion"})
TEXTS = ["a good film", "the plot was not very good , and the cast was awful !"]


@pytest.fixture(params=["gpt2_folder", "llama_folder"])
def served(request, tmp_path):
    """A model as it is registered, with its encoder."""
    folder = request.getfixturevalue(request.param)
    save(build(folder, 0, seed=0), tmp_path, (), 32)
    open_encoder(folder, Columns(), Training.model_validate({"max_length": 32})).save(tmp_path)
    return tmp_path


def write(folder, texts, **parameters):
    """The completions that a served model answers with."""
    model, description = load(folder)
    table = pandas.DataFrame({"text": texts})
    encoder = open_encoder(folder, Columns(), Training.model_validate({"max_length": 32}))
    rows = encoder.encode(table, None)
    return list(answer(model, description, rows, table, Columns(), parameters)["completion"])


def test_greedy_by_hand(served):
    """Each token is the most probable behind all before it, computed without kept keys."""
    model, _ = load(served)
    encoder = open_encoder(served, Columns(), Training.model_validate({"max_length": 32}))
    expected = []
    for text in TEXTS:
        ids = encoder.encode(pandas.DataFrame({"text": [text]}), None).tokens.tolist()
        begun = len(ids)
        for _ in range(6):
            with torch.no_grad():
                ids.append(int(model.base(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == encoder.end:
                break
        expected.append(encoder.tokenizer.decode(ids[begun:], skip_special_tokens=True))
    got = write(served, TEXTS, max_new_tokens=6)
    assert [text.split() for text in got] == [text.split() for text in expected]


def test_same_seed_writes_the_same(served):
    """A row's draws depend on the seed and not on the rows beside it, nor on draws elsewhere."""
    asked = {"max_new_tokens": 12, "temperature": 1.0}
    first = write(served, TEXTS, seed=1, **asked)
    state = torch.get_rng_state()
    assert write(served, TEXTS[1:], seed=1, **asked) == first[1:]
    assert torch.equal(torch.get_rng_state(), state)
    assert write(served, TEXTS, seed=2, **asked) != first


def test_no_new_tokens(served):
    """None are written where none are asked for, and no tokenizer is opened."""
    assert write(served, TEXTS, max_new_tokens=0) == ["", ""]


def test_writing_stops_at_the_last_position(served):
    """The tiny models have 64 positions: the context is cut from the left, the rest is written."""
    got = write(served, TEXTS, max_new_tokens=1000)
    assert all(len(text.split()) < 64 for text in got)
    assert any(got)


def test_context_of_a_text_is_all_of_it(llama_folder):
    """A text is taken up behind its last window, a prompt before its completion."""
    short = Training.model_validate({"max_length": 6, "stride": 2})
    encoder = open_encoder(llama_folder, Columns(), short)
    rows = encoder.encode(pandas.DataFrame({"text": ["good", "a b c one two three four"]}), None)
    words = encoder.tokenizer.convert_ids_to_tokens
    assert words(find_context(rows, 0, False).tolist()) == ["<s>", "good"]
    assert words(find_context(rows, 1, False).tolist())[-4:] == ["one", "two", "three", "four"]
    encoder = open_encoder(llama_folder, PROMPTED, short)
    table = pandas.DataFrame({"prompt": ["a film", "good"], "completion": ["was fine", None]})
    rows = encoder.encode(table, None)
    assert words(find_context(rows, 0, True).tolist()) == ["<s>", "a", "film"]
    assert words(find_context(rows, 1, True).tolist()) == ["<s>", "good"]


def test_completion_does_not_change_what_is_written(served):
    """A prompt is completed alike, whether a completion to be scored stands beside it or not."""
    model, description = load(served)
    encoder = open_encoder(served, PROMPTED, Training.model_validate({"max_length": 32}))
    table = pandas.DataFrame({"prompt": ["a film"] * 2, "completion": ["was fine", None]})
    got = answer(
        model, description, encoder.encode(table, None), table, PROMPTED, {"max_new_tokens": 5}
    )
    assert got["completion"][0] == got["completion"][1]
    assert got["tokens"].tolist() == [3, 0]
    asked = table[["prompt"]]  # a caller may leave the column out
    bare = encoder.encode(asked, None)
    alone = answer(model, description, bare, asked, PROMPTED, {"max_new_tokens": 5})
    assert alone["completion"].tolist() == got["completion"].tolist()


def test_faulty_wishes_are_listed():
    """All that is below 0 is named at once."""
    with pytest.raises(InputError) as caught:
        read_wishes({"max_new_tokens": -1, "temperature": np.nan, "seed": 0})
    assert [fault.key for fault in caught.value.faults] == ["max_new_tokens", "temperature"]
    assert read_wishes({}).tokens == 64
