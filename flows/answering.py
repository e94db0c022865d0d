"""How every command ends: its result or its error, for a person or a program, and an exit code."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from finetuning.errors import (
    InputError,
    NotReproducedError,
    RefusedError,
    TunesmithError,
    UnhealthyError,
)
from finetuning.failures import explain

TELLING = (NotReproducedError, RefusedError, UnhealthyError)  # those with a result to show
STATUSES = {2: "invalid", 3: "invalid", 4: "refused"}


def answer(as_json: bool, act: Callable[[], dict[str, Any]], say: Callable[[Any], str]) -> None:
    """Act, print the result for a person or a program, and end with the agreed exit code."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        result = act()
    except TunesmithError as error:
        fail(as_json, error, say)
    except KeyboardInterrupt:
        message = "interrupted: the same command goes on from what is kept"
        fail(as_json, TunesmithError(message), say)
    except Exception as error:
        if (known := explain(error)) is None:
            traceback.print_exc()
            known = TunesmithError(f"unexpected {type(error).__name__}: {error}")
        fail(as_json, known, say)
    else:
        write(json.dumps(result, ensure_ascii=False) if as_json else say(result))


def interrupt(*_: Any) -> None:
    """What SIGTERM does: as Ctrl-C, so that what was started is ended too."""
    raise KeyboardInterrupt


def fail(as_json: bool, error: TunesmithError, say: Callable[[Any], str]) -> None:
    """Print an error for a person or a program, and exit with its code."""
    found = error.result if isinstance(error, TELLING) else {}
    if as_json:
        faults = error.faults if isinstance(error, InputError) else ()
        status = found.get("status") or STATUSES.get(error.exit_code, "failed")
        result = {"status": status, "error": str(error), "faults": [vars(one) for one in faults]}
        write(json.dumps(found | result, ensure_ascii=False))
    elif found:
        write(say(found))
    else:
        for line in str(error).splitlines():
            print(f"tunesmith: {line}", file=sys.stderr)
    raise typer.Exit(error.exit_code)


def write(text: str) -> None:
    """Print to standard output, which may not know every letter."""
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
    sys.stdout.flush()
