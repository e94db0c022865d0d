"""Processes that begin at once: forked from one that has imported the libraries, never on old code.

Starting an interpreter and importing torch, transformers, MLflow and Prefect takes seconds.
`tunesmith up` lets Python's fork server (`multiprocessing`, "Contexts and start methods") do it
once. Where a source file of this project or an installed package is not what it imported, a forked
process becomes a new interpreter.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from finetuning.digests import PROJECT, PROJECT_PACKAGES

_PACKAGES = "purelib"
_LOG = "log"  # in the folder of a script that runs apart

Stamp = tuple[tuple[str, int], ...]
_imported: list[Stamp] = []  # one, in the fork server and in what is forked from it


def stamp_sources() -> Stamp:
    """What tells one state of the code from another: this project's sources, and the packages."""
    files = [file for name in PROJECT_PACKAGES for file in sorted((PROJECT / name).rglob("*.py"))]
    places = [*files, Path(sysconfig.get_path(_PACKAGES))]
    return tuple((str(place), place.stat().st_mtime_ns) for place in places)


def note_imports() -> None:
    """Remember the code that this process, the fork server, is about to import."""
    _imported.append(stamp_sources())


def become(
    command: list[str], environment: dict[str, str], folder: Path, run: Callable[[], None]
) -> None:
    """Do in this forked process what a command would do, by `run`, on the code as it is now.

    Args:
        command: What an interpreter of its own would be started with.
        environment: The command's, whole.
        folder: Where it runs.
        run: Does the same with what is imported.
    """
    os.chdir(folder)
    if not _imported or _imported[-1] != stamp_sources():
        os.execve(command[0], command, environment)
    os.environ.clear()
    os.environ.update(environment)
    try:
        run()
    finally:
        # A forked process leaves them out, and with them the removal of temporary folders.
        atexit._run_exitfuncs()


def run_apart(
    script: Path, words: list[str], environment: dict[str, str], folder: Path, patience: float
) -> tuple[int, str]:
    """Run a script that imports nothing of this project, in a process of its own.

    Args:
        script: A file of Python.
        words: Its arguments.
        environment: The process's, whole.
        folder: Where it runs; a file `log` there takes what it says.
        patience: Seconds that it may take.

    Returns:
        Its exit code, and what it said.

    Raises:
        TimeoutError: It took longer, and was ended.
    """
    # Not -m: the project's own modules must not stand before those that a model brings.
    command = [sys.executable, "-P", str(script), *words]
    log = folder / _LOG
    if _imported:
        process = _fork(_become_script, command, environment, folder)
        try:
            process.join(patience)
            code = process.exitcode
        finally:
            process.kill()
            process.join()
    else:
        with log.open("wb") as output:
            started = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=output
            )
        code = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = started.wait(patience)
        finally:
            started.kill()
            started.wait()
    if code is None:
        raise TimeoutError
    return code, log.read_text("utf-8", "replace")


def _fork(target: Callable[..., None], *words: Any) -> ForkServerProcess:
    from multiprocessing import forkserver

    # Else this process, which the fork server has forked, would start a server of its own, against
    # what that function's docstring says.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    process = multiprocessing.get_context("forkserver").Process(target=target, args=words)
    process.start()
    return process


def _become_script(command: list[str], environment: dict[str, str], folder: Path) -> None:
    with (folder / _LOG).open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    become(command, environment, folder, lambda: _run_script(command[2:]))


def _run_script(words: list[str]) -> None:
    for name in [*sys.modules]:
        # What is None there keeps a library from being imported: the project's own affair, too.
        if name.partition(".")[0] in PROJECT_PACKAGES or sys.modules[name] is None:
            del sys.modules[name]
    sys.path[:] = [place for place in sys.path if place not in ("", str(PROJECT))]
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
