"""Question answering through the one loop: every strategy, its table, and what it leaves."""

import numpy as np
import pytest
import torch

from finetuning.adaptation import adapt, save_adapted
from finetuning.config import Pipeline
from finetuning.devices import Device
from finetuning.models import layer_groups
from finetuning.prefixes import skip_blocks
from finetuning.problem import find_problem
from finetuning.question_models import build, load
from finetuning.span_scoring import answer, mark
from finetuning.vocabulary import narrow_vocabulary
from tests.finetuning.question_rows import COLUMNS, make_questions, open_questions

PROBLEM = find_problem("question-answering")
CPU = Device("cpu", "CPU", "fp32")
STRATEGIES = [
    {"kind": "full"},
    {"kind": "probe-then-tune"},
    {"kind": "head"},
    {"kind": "freeze", "groups": 2},
    {"kind": "gradual"},
    {"kind": "discriminative"},
    {"kind": "lora"},
    {"kind": "scratch"},
]
EPOCHS = 2


def make_pipeline(strategy, **training):
    """A pipeline of questions with this strategy."""
    return Pipeline.model_validate(
        {
            "name": "asked",
            "problem": "question-answering",
            "data": {"path": "data/asked"},
            "model": {"base": "toy"},
            "strategy": strategy,
            "training": {
                "epochs": EPOCHS, "batch_size": 8, "learning_rate": 5e-3, "precision": "fp32",
                "max_length": 48, "stride": 8, "early_stopping": None, **training,
            },
        }
    )  # fmt: skip


def encode(folder, contexts, seed, silent=0):
    """Questions, and their windows."""
    table = make_questions(contexts, seed, silent)
    return table, open_questions(folder).encode(table, None)


def copy(model):
    """All parameters as they are now."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy["kind"])
def test_every_strategy_trains_saves_and_answers(bert_folder, tmp_path, strategy):
    """Only what the table trains has moved, and the loaded model answers as the trained one."""
    pipeline = make_pipeline(strategy)
    _, rows = encode(bert_folder, 12, 1)
    table, checked = encode(bert_folder, 6, 2)
    adapted = adapt(bert_folder, 0, pipeline, rows, checked, 48, tmp_path)
    assert len(adapted.result.history) == EPOCHS
    assert [epoch.phase for epoch in adapted.result.history] == ["tune"] * EPOCHS
    save_adapted(adapted, tmp_path / "model", (), pipeline, "toy")
    expected = answer(adapted.model, {}, checked, table, COLUMNS)
    model, description = load(tmp_path / "model")
    found = answer(model, description, checked, table, COLUMNS)
    assert list(found["answer"]) == list(expected["answer"])
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)
    if strategy["kind"] != "lora":  # whose adapters are merged into weights that moved so
        before = copy(build(bert_folder, 0, 0, scratch=strategy["kind"] == "scratch"))
        after = copy(model)
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        trained = {
            name
            for group, rates in zip(
                layer_groups(model), zip(*adapted.table, strict=True), strict=True
            )
            if any(rates)
            for name in group.parameters
        }
        assert moved & trained
        assert not moved - trained


def test_fresh_head_is_trained_before_the_rest(bert_folder, tmp_path):
    """`probe-then-tune` trains only the head in its first epoch, `head` in every one."""
    _, rows = encode(bert_folder, 4, 1)
    tables = {
        kind: adapt(bert_folder, 0, make_pipeline({"kind": kind}), rows, rows, 48, tmp_path).table
        for kind in ("probe-then-tune", "head")
    }
    assert tables["probe-then-tune"] == ((0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0))
    assert tables["head"] == ((0.0, 0.0, 0.0, 1.0),) * 2


@pytest.mark.slow
def test_colours_are_learned_and_silence_with_them(bert_folder, tmp_path):
    """Unseen contexts: the colour where one is named, nothing where none is."""
    _, rows = encode(bert_folder, 90, 1, silent=3)
    _, checked = encode(bert_folder, 30, 2, silent=3)
    table, tested = encode(bert_folder, 30, 3, silent=3)
    pipeline = make_pipeline({"kind": "full"}, epochs=6)
    adapted = adapt(bert_folder, 0, pipeline, rows, checked, 48, tmp_path)
    marked = mark(answer(adapted.model, {}, tested, table, COLUMNS), table, COLUMNS)
    assert adapted.result.history[adapted.result.best].merit[0] > 0.9
    assert marked["exact_match"].mean() > 0.9
    assert set(marked.loc[marked["label"] == "", "prediction"]) == {""}


def test_frozen_blocks_are_left_out(bert_folder, tmp_path):
    """Their states are kept for every token, and the model gives what it gave with them."""
    _, rows = encode(bert_folder, 6, 1)
    model = build(bert_folder, 0, 0).eval()
    chosen = np.arange(len(rows))
    with torch.inference_mode():
        expected = model(**rows.collate(chosen))
        with skip_blocks(model, 1, (rows,), CPU, tmp_path) as (kept,):
            assert kept.states.shape == (len(rows.tokens), 32)
            found = model(**kept.collate(chosen))
    allowed = rows.collate(chosen)["allowed"]
    torch.testing.assert_close(found[allowed], expected[allowed])


def test_unused_words_are_left_out(bert_folder):
    """The embeddings that the windows use are enough, and answers stay where they were."""
    _, rows = encode(bert_folder, 6, 1)
    model = build(bert_folder, 0, 0).eval()
    with torch.inference_mode():
        expected = model(**rows.collate(np.arange(len(rows))))
        with narrow_vocabulary(model, rows, rows) as (narrow, _):
            assert narrow.tokens.max() < rows.tokens.max()
            assert (narrow.starts == rows.starts).all()
            found = model(**narrow.collate(np.arange(len(rows))))
    torch.testing.assert_close(found, expected)


def test_declaration_fits_its_parts():
    """A served model is given question and context, and answers with text and probability."""
    assert PROBLEM.targets == ("answers",)
    assert not PROBLEM.has_classes
    assert PROBLEM.head == "fresh"
    assert list(PROBLEM.answers) == ["answer", "score"]
    assert PROBLEM.find_shown(COLUMNS) == "question"
