"""The registered model, as MLflow loads it: models from code, so that no pickle is kept.

MLflow copies this file and the `finetuning` package beside the weights; it runs without the rest
of the project.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas


class Classifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow asks for a subclass
    """Answers each row with its most probable label and that label's probability."""

    def load_context(self, context: Any) -> None:
        """Load the weights, and what encodes rows for them, from the version's artifacts."""
        # Read at the import of torch: threads that spin while they wait cost single rows most.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from finetuning.config import Columns, Training
        from finetuning.problem import find_problem

        problem = find_problem(context.model_config["problem"])
        folder = Path(context.artifacts["model"])
        self.model, self.description = problem.modelling.load(folder)
        columns = Columns.model_validate(context.model_config["columns"])
        training = Training.model_validate(context.model_config["training"])
        self.encoder = problem.encoding.open_encoder(folder, columns, training)

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pandas.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - likewise
    ) -> pandas.DataFrame:
        """Score rows.

        Args:
            context: MLflow's; not read.
            model_input: A table with the column(s) that the pipeline was trained on.
            params: Not read.

        Returns:
            A table with label and score, in the rows' order.
        """
        import numpy

        from finetuning.devices import choose_device
        from finetuning.evaluation import compute_probabilities
        from finetuning.probing import compute_logits

        table = pandas.DataFrame(model_input)
        unknown = numpy.full(len(table), -1, numpy.int64)
        rows = self.encoder.encode(table, unknown)
        logits = compute_logits(self.model, rows, choose_device("fp32"))
        probabilities = compute_probabilities(logits.numpy())
        names = numpy.array(self.description["labels"], dtype=object)
        return pandas.DataFrame(
            {"label": names[probabilities.argmax(axis=1)], "score": probabilities.max(axis=1)},
            index=table.index,
        )


mlflow.models.set_model(Classifier())
