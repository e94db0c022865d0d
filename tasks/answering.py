"""Answers of a registered model, loaded by its URI in a fresh process; no pickle passes between."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import TunesmithError
from finetuning.failures import recognise
from tasks.forking import run_apart

if TYPE_CHECKING:
    import pandas

LONGEST = 3600  # seconds that a model may take to load and answer
_PROCESS = Path(__file__).with_name("pyfunc_process.py")


@dataclass(frozen=True)
class Answers:
    """What a model answered to each table, and how long one row takes (median milliseconds)."""

    tables: dict[str, pandas.DataFrame]
    latency_ms: float | None
    error: str | None = None


def ask_model(
    uri: str,
    tracking_uri: str,
    tables: dict[str, pandas.DataFrame],
    parameters: Mapping[str, Any] | None = None,
) -> Answers:
    """Load a model by its URI in a fresh process and let it answer some tables.

    Args:
        uri: Such as models:/NAME/VERSION.
        tracking_uri: Of the store that knows it.
        tables: Inputs by name; single rows of the first are timed. Empty tables are not asked.
        parameters: By which it is asked, beside the tables.

    Returns:
        One table of answers for each; none, and the error, where the model did not load or answer.

    Raises:
        TunesmithError: The process was killed or took too long, or a server did not answer it:
            all of that says nothing of the model.
    """
    import pandas

    asked = {name: table for name, table in tables.items() if len(table)}
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        place = Path(folder)
        request: dict[str, Any] = {
            "uri": uri,
            "tracking_uri": tracking_uri,
            "tables": {name: str(place / f"{name}.parquet") for name in asked},
            "answers": {name: str(place / f"{name}.answers.parquet") for name in asked},
            "result": str(place / "result.json"),
            "parameters": dict(parameters or {}),
        }
        for name, table in asked.items():
            table.to_parquet(place / f"{name}.parquet", index=False)
        (place / "request.json").write_text(json.dumps(request), "utf-8")
        result = _run(place, uri)
        if "error" in result:
            _raise_if_passing(uri, result)
            return Answers({}, None, str(result["error"]))
        answers = {name: pandas.read_parquet(path) for name, path in request["answers"].items()}
        return Answers(answers, float(result["latency_ms"]))


def _run(place: Path, uri: str) -> dict[str, Any]:
    # The run's own experiment and run are none of the model's business.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_RUN")
    }
    words = [str(place / "request.json")]
    try:
        code, said = run_apart(_PROCESS, words, environment, place, LONGEST)
    except TimeoutError:
        raise TunesmithError(f"{uri} did not answer within {LONGEST} s") from None
    try:
        result = json.loads((place / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        last = " ".join(said.splitlines()[-3:])[:500]
        raise TunesmithError(f"the process of {uri} ended with code {code}: {last}") from None
    return dict(result)


def _raise_if_passing(uri: str, result: dict[str, Any]) -> None:
    for said in (result["error"], *result.get("causes", ())):
        known = recognise(RuntimeError(said))
        if known is not None and known[0].passing:
            raise TunesmithError(f"{uri} could not be asked: {result['error']}")
