"""A registered model asked in a process of its own, as a stranger would load it: by its URI.

    python -P pyfunc_process.py REQUEST.json

Nothing of this project is imported here, so that the model runs on the code that was registered
with it. The request names the model, tables of inputs and where answers go, all as parquet; the
answer is a JSON file with the seconds that loading took and the latencies.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 3
MOST_CAUSES = 20
MEASURED = 30  # single rows whose time is taken


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Load the model, answer every table, and time single rows of the first."""
    import mlflow
    import pandas

    mlflow.set_tracking_uri(request["tracking_uri"])
    started = time.perf_counter()
    model = mlflow.pyfunc.load_model(request["uri"])
    loaded = time.perf_counter() - started
    tables = {name: pandas.read_parquet(path) for name, path in request["tables"].items()}
    parameters = request["parameters"] or None
    for name, table in tables.items():
        answers = model.predict(table, params=parameters)
        pandas.DataFrame(answers).to_parquet(request["answers"][name], index=False)
    seconds = []
    rows = next(iter(tables.values()))
    for number in range(WARM_UP + MEASURED):
        place = number % len(rows)
        row = rows.iloc[place : place + 1]
        started = time.perf_counter()
        model.predict(row, params=parameters)
        seconds.append(time.perf_counter() - started)
    return {
        "load_seconds": loaded,
        "latency_ms": 1000 * statistics.median(seconds[WARM_UP:]),
    }


def _list(error: BaseException | None) -> list[str]:
    """What an error and its causes say, the outermost first."""
    said: list[str] = []
    while error is not None and len(said) < MOST_CAUSES:
        said.append(str(error)[:10_000])
        error = error.__cause__ or error.__context__
    return said


def main() -> None:
    """Answer the request, or write why not and end with code 1."""
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        result, code = answer(request), 0
    except Exception as error:  # whatever a stranger's model does is an answer
        said = (str(error).splitlines() or [""])[0][:500]
        result, code = {"error": f"{type(error).__name__}: {said}", "causes": _list(error)}, 1
    Path(request["result"]).write_text(json.dumps(result), "utf-8")
    sys.exit(code)


if __name__ == "__main__":
    main()
