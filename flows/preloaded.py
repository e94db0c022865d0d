"""What the process imports from which flow runs are forked; imported there alone.

Nothing here starts a thread or initialises a GPU: torch is imported, and a process that had asked
it for devices could not be forked.
"""

from __future__ import annotations

import ssl
from functools import cache
from importlib import import_module
from types import SimpleNamespace

from tasks.forking import note_imports

note_imports()  # first: an edit during the imports below must not pass for imported

FLOWS = ("flows.finetune", "flows.compare", "flows.predict", "flows.release", "flows.watch")
LIBRARIES = (
    "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "prefect.engine",
    "prefect.flow_engine", "transformers.modeling_utils", "transformers.activations",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
)  # fmt: skip


def share_authorities() -> None:
    """Let all Prefect clients of a run trust by one context; each would take 30 ms to make its own.

    One that is to trust anybody, by Prefect's setting, stays that client's own.
    """
    import certifi
    from prefect.client import orchestration

    share = cache(ssl.create_default_context)
    share(cafile=certifi.where())

    def create(cafile: str | None = None) -> ssl.SSLContext:
        return ssl.create_default_context() if cafile is None else share(cafile=cafile)

    changed = vars(ssl) | {"create_default_context": create}
    orchestration.ssl = SimpleNamespace(**changed)  # type: ignore[assignment, attr-defined]


for name in (*FLOWS, *LIBRARIES):
    import_module(name)
share_authorities()
