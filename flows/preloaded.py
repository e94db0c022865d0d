"""What the process imports from which flow runs are forked; imported there alone.

Nothing here starts a thread or initialises a GPU: torch is imported, and a process that had asked
it for devices could not be forked.
"""

from __future__ import annotations

from importlib import import_module

from tasks.forking import note_imports

note_imports()  # first: an edit during the imports below must not pass for imported

FLOWS = ("flows.finetune", "flows.compare", "flows.predict", "flows.release", "flows.watch")
LIBRARIES = (
    "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "prefect.engine",
    "prefect.flow_engine", "transformers.modeling_utils", "transformers.activations",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
)  # fmt: skip
for name in (*FLOWS, *LIBRARIES):
    import_module(name)
