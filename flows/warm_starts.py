"""Flow runs that begin at once: Prefect's runner forks them instead of starting interpreters."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from tasks.forking import become

ENGINE = "prefect.engine"
PRELOADED = "flows.preloaded"


def fork_runs() -> None:
    """Let Prefect's runners of this process fork the runs that they start, where that is possible.

    Prefect names the function that is replaced as the one to replace (`_starter_engine`).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    from prefect.runner import _starter_engine

    context = begin_imports()

    async def run_process(
        command: list[str],
        *,
        stream_output: bool,  # noqa: ARG001 - a forked process writes where this one does
        task_status: Any,
        task_status_handler: Callable[[Any], Any],
        env: dict[str, str],
        cwd: Path | None,
    ) -> None:
        import anyio

        words = (command, env, cwd or Path.cwd())
        process = context.Process(target=become_engine, args=words)
        process.start()
        task_status.started(task_status_handler(process))
        await anyio.wait_readable(process.sentinel)
        process.join()

    _starter_engine.run_process = run_process  # type: ignore[assignment, attr-defined]


def begin_imports() -> ForkServerContext:
    """Have the fork server import what runs need, unless it has; its `multiprocessing` context."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    context.Process(target=int).start()
    return context


def become_engine(command: list[str], environment: dict[str, str], folder: Path) -> None:
    """Run Prefect's engine in this forked process.

    Args:
        command: What Prefect would have started.
        environment: The run's, whole.
        folder: Where it runs.
    """
    os.setsid()  # as Prefect's own: a signal to the runner's group is not the run's
    become(command, environment, folder, _run_engine)


def _run_engine() -> None:
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    sys.argv = [ENGINE]
    runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)
