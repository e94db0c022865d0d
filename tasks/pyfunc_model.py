"""The registered model, as MLflow loads it: models from code, so that no pickle is kept.

MLflow copies this file and the `finetuning` package beside the weights; it runs without the rest
of the project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas


class TextClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow asks for a subclass
    """Answers each row with its most probable label and that label's probability."""

    def load_context(self, context: Any) -> None:
        """Load weights and tokenizer from the version's artifacts."""
        from finetuning.models import load
        from finetuning.problems.text_classification import load_tokenizer

        folder = Path(context.artifacts["model"])
        self.model, self.description = load(folder)
        self.tokenizer = load_tokenizer(folder)
        self.columns = dict(context.model_config)

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pandas.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - likewise
    ) -> pandas.DataFrame:
        """Score rows.

        Args:
            context: MLflow's; not read.
            model_input: A table with the text column(s) that the pipeline was trained on.
            params: Not read.

        Returns:
            A table with label and score, in the rows' order.
        """
        import numpy

        from finetuning.devices import choose_device
        from finetuning.evaluation import compute_probabilities
        from finetuning.probing import compute_logits
        from finetuning.problems.text_classification import encode

        table = pandas.DataFrame(model_input)
        texts = _read(table, self.columns["text"])
        pair = self.columns.get("text_pair")
        pairs = None if pair is None else _read(table, pair)
        labels = numpy.full(len(texts), -1, numpy.int64)
        rows = encode(self.tokenizer, texts, pairs, labels, self.description["max_length"])
        logits = compute_logits(self.model, rows, choose_device("fp32"))
        probabilities = compute_probabilities(logits.numpy())
        names = numpy.array(self.description["labels"], dtype=object)
        return pandas.DataFrame(
            {"label": names[probabilities.argmax(axis=1)], "score": probabilities.max(axis=1)},
            index=table.index,
        )


def _read(table: pandas.DataFrame, column: str) -> list[str]:
    return [str(cell) for cell in table[column].fillna("")]


mlflow.models.set_model(TextClassifier())
