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


class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow asks for a subclass
    """Answers each row as its problem does: with a label and a score, for instance."""

    def load_context(self, context: Any) -> None:
        """Load the weights, and what encodes rows for them, from the version's artifacts."""
        # Read at the import of torch: threads that spin on while they wait cost single rows most.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        from finetuning.config import Columns, Training
        from finetuning.problem import find_problem

        problem = find_problem(context.model_config["problem"])
        folder = Path(context.artifacts["model"])
        self.model, self.description = problem.modelling.load(folder)
        self.scoring = problem.scoring
        self.columns = Columns.model_validate(context.model_config["columns"])
        training = Training.model_validate(context.model_config["training"])
        self.encoder = problem.encoding.open_encoder(folder, self.columns, training)

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pandas.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pandas.DataFrame:
        """Answer rows.

        Args:
            context: MLflow's; not read.
            model_input: A table with the column(s) that the pipeline was trained on.
            params: What the signature lets a caller set.

        Returns:
            A table with the columns that the signature names, in the rows' order.
        """
        import numpy

        table = pandas.DataFrame(model_input)
        unknown = numpy.full(len(table), -1, numpy.int64)
        rows = self.encoder.encode(table, unknown)
        return self.scoring.answer(
            self.model, self.description, rows, table, self.columns, params or {}
        )


mlflow.models.set_model(Model())
