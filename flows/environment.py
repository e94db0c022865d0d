"""The process's environment: where state lies, and that nothing phones home. Set in one place."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

from finetuning.errors import TunesmithError
from finetuning.failures import explain
from finetuning.progress import QUIET
from tasks.registry import HTTP_RETRIES

# What Prefect says of a concurrency limit, and of a hook that did what it is there for.
UNSAID = (
    "do not exist - skipping acquisition",
    "Running hook 'announce_failure'",
    "Hook 'announce_failure' finished running successfully",
)
FAILED = "Finished in state Failed("
ANSWERED = "tunesmith_answered"  # on a record of a failure whose message ends the command
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "ACCELERATE_DISABLE_RICH": "1",
}


def prepare_environment(root: Path, quiet: bool = False) -> None:
    """Set what the libraries read at import; what the user has set already is kept.

    Telemetry is the exception: it is off whatever the environment says.

    Args:
        root: The project's folder.
        quiet: No progress bars, and of the logs only warnings.
    """
    os.environ.update(TELEMETRY_OFF)
    defaults = {
        # Threads that wait spin for a moment and then sleep. By default they spin on, and where
        # others want the cores too, each small step waits for a thread that is not running.
        "GOMP_SPINCOUNT": "10000",
        "PREFECT_HOME": str(root / ".tunesmith" / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        # So that a slot that was held when a server ended is not held for ever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        "PREFECT_LOGGING_LEVEL": "WARNING" if quiet else "INFO",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "finetuning",  # what the library says belongs to the run
        "TOKENIZERS_PARALLELISM": "true",
        "TRANSFORMERS_VERBOSITY": "error",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        # MLflow's own patience is four minutes of silence; a stage that waits says for what.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": HTTP_RETRIES,
        # Artifacts go through the tracking server. Left to itself MLflow takes large ones from the
        # server's storage, whose address need not mean anything here.
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
        # Standard output is the answer's alone; MLflow would print addresses of a server there.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # On a CPU each new length of a batch leaves compiled products behind; a thousand of them,
        # which is what oneDNN keeps unless told, are gigabytes.
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if quiet:
        os.environ[QUIET] = "1"


def hush_libraries() -> None:
    """Silence what the libraries say that no user of this project can act on, in every flow."""
    warnings.filterwarnings("ignore", module=r"mlflow\..*")
    warnings.filterwarnings("ignore", message=r".*Add type hints to the `predict` method.*")
    for name in ("mlflow", "alembic", "great_expectations"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("prefect.flow_runs", "prefect.task_runs", "mlflow.store.db.utils"):
        logging.getLogger(name).addFilter(hide_expected)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def leave_failures_to_answer() -> None:
    """Keep a foreseen failure off the terminal where a command ends with it; the log has it."""
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(is_unanswered)


def is_unanswered(record: logging.LogRecord) -> bool:
    """Whether a record says what the command does not say again when it ends."""
    return not getattr(record, ANSWERED, False)


def hide_expected(record: logging.LogRecord) -> bool:
    """Drop the traceback of a failure that was foreseen: its message says all there is to do.

    That no limit for the device is kept by a run's own server is expected, and not said; and of a
    message that the flow's log has whole, a state repeats the first line.
    """
    if any(said in str(record.msg) for said in UNSAID):
        return False
    if str(record.msg).startswith(FAILED):
        first, cut, _ = str(record.msg).partition(r"\n")
        record.msg = f"{first.rstrip(':')} ...')" if cut else record.msg
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is None:
        return True
    known = error if isinstance(error, TunesmithError) else explain(error)
    if known is not None:
        record.exc_info = None
        record.exc_text = None
        setattr(record, ANSWERED, True)
        record.msg, record.args = f"{type(error).__name__}: {known}", ()
    return True
