"""A registered model that answers one table after another in a process of its own.

    python -P pyfunc_worker.py

Like `pyfunc_process.py` it imports nothing of this project, so that the model runs on the code that
was registered with it. The first line of standard input names the model, each later one a parquet
file of rows and where the answers go; each is replied to by one line of JSON on what was standard
output. At the end of standard input, which comes with the end of whoever asks, it ends.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

LONGEST = 500  # characters of what a model says is wrong


def describe(error: Exception) -> str:
    """An error in one line."""
    said = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {said}"[:LONGEST]


def ask(
    model: Any, table: pandas.DataFrame, parameters: dict[str, Any] | None
) -> tuple[list[pandas.DataFrame], dict[int, str]]:
    """Answers to the rows that the model takes, in their order, and why it takes no others.

    Where it does not take a table, each half is asked by itself.

    Returns:
        Tables of answers; place of a row -> what the model raised.
    """
    import pandas

    try:
        answers = pandas.DataFrame(model.predict(table, params=parameters))
        if len(answers) != len(table):
            raise ValueError(f"{len(answers)} answers to {len(table)} rows")
        return [answers], {}
    except Exception as error:  # whatever a stranger's model does is an answer
        if len(table) == 1:
            return [], {0: describe(error)}
    half = len(table) // 2
    first, wrong_first = ask(model, table.iloc[:half], parameters)
    second, wrong_second = ask(model, table.iloc[half:], parameters)
    return first + second, wrong_first | {half + at: why for at, why in wrong_second.items()}


def main() -> None:
    """Load the model, and answer until there is nothing more to answer."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the model prints is no reply

    def reply(content: dict[str, Any]) -> None:
        replies.write(json.dumps(content) + "\n")
        replies.flush()

    request = json.loads(sys.stdin.readline())
    try:
        import mlflow
        import pandas

        mlflow.set_tracking_uri(request["tracking_uri"])
        model = mlflow.pyfunc.load_model(request["uri"])
    except Exception as error:
        reply({"error": describe(error)})
        sys.exit(1)
    reply({})
    parameters = request["parameters"] or None
    for line in sys.stdin:
        named = json.loads(line)
        answers, faults = ask(model, pandas.read_parquet(named["rows"]), parameters)
        if answers:
            pandas.concat(answers, ignore_index=True).to_parquet(named["answers"], index=False)
        reply({"faults": faults})


if __name__ == "__main__":
    main()
