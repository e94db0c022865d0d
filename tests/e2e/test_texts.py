"""Text classification by every strategy, from data to models that answer."""

import pytest

from tests.strategies import KINDS, ask_every, run_every
from tests.support import begin_project


def test_every_strategy_registers_a_model_that_answers(tmp_path, bert_folder):
    """Through the whole flow; each answers in a fresh process as it was judged."""
    project = begin_project(tmp_path / "root", bert_folder, "toy")
    results = run_every(project, "toy", tmp_path, "training.epochs=2", "gate.minimum=0")
    assert {one["status"] for one in results.values()} == {"registered"}
    asked = ask_every(project, results, tmp_path, ["text"])
    assert set(asked) == set(KINDS)
    for found, logged in asked.values():
        assert len(logged["prediction"]) == 60
        assert found["label"] == logged["prediction"]
        assert found["score"] == pytest.approx(logged["score"], abs=1e-4)
