"""Text classification on decoders whose tokenizers have no padding token, from base to answers."""

import numpy as np
import pandas
import pytest
from transformers import AutoModel, AutoTokenizer

from finetuning.adaptation import adapt, save_adapted
from finetuning.class_scoring import answer
from finetuning.config import Pipeline
from finetuning.models import load
from finetuning.tokenization import open_encoder

WORDS = {"positive": ["good", "great", "fine"], "negative": ["bad", "poor", "awful"]}
OTHERS = ["film", "plot", "cast", "music", "story", "book", "the", "a", "it", "was"]
LABELS = ("negative", "positive")


def make_table(count, seed):
    """Texts of different lengths whose label is told by one word, anywhere in them."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = LABELS[number % 2]
        words = list(draw.choice(OTHERS, draw.integers(0, 9)))
        words.insert(draw.integers(0, len(words) + 1), draw.choice(WORDS[label]))
        rows.append((" ".join(words), label))
    return pandas.DataFrame(rows, columns=["text", "label"])


def encode(encoder, table):
    """A table's rows with their class numbers."""
    return encoder.encode(table, table["label"].map(LABELS.index).to_numpy(np.int64, copy=True))


@pytest.mark.parametrize("kind", ["probe-then-tune", "full", "lora"])
@pytest.mark.parametrize("fixture", ["gpt2_folder", "llama_folder"])
def test_decoder_learns_and_answers_as_it_was_saved(fixture, kind, request, tmp_path):
    """It learns, loads, and answers a short text alike whether a long one pads it or not."""
    folder = request.getfixturevalue(fixture)
    assert AutoTokenizer.from_pretrained(folder).pad_token is None
    pipeline = Pipeline.model_validate(
        {
            "name": "toy",
            "problem": "text-classification",
            "data": {"path": "data/toy"},
            "model": {"base": "toy"},
            "strategy": {"kind": kind},
            "training": {
                "epochs": 12, "batch_size": 16, "learning_rate": 5e-3, "max_length": 32,
                "precision": "fp32", "early_stopping": None,
            },
        }
    )  # fmt: skip
    columns, place = pipeline.data.columns, tmp_path / "model"
    encoder = open_encoder(folder, columns, pipeline.training)
    tables = [make_table(count, seed) for seed, count in enumerate((200, 60, 60))]
    rows, checked, tested = (encode(encoder, table) for table in tables)
    adapted = adapt(folder, 2, pipeline, rows, checked, 32, tmp_path)
    save_adapted(adapted, place, LABELS, pipeline, "toy")
    encoder.save(place)
    model, description = load(place)
    assert model.pooling == "last"
    got = answer(model, description, tested, tables[2], columns)
    assert (got["label"] == tables[2]["label"]).mean() > 0.8
    served = open_encoder(place, columns, pipeline.training)
    alone = [
        answer(model, description, encode(served, one), one, columns)["score"].iloc[0]
        for one in (tables[2].iloc[place : place + 1] for place in range(8))
    ]
    np.testing.assert_allclose(alone, got["score"][:8], rtol=0, atol=1e-5)
    assert AutoModel.from_pretrained(place).config.model_type in fixture
