"""What a local registry's database says, asked directly.

Importing MLflow would cost more than all the rest of an unchanged run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tasks.registry import CHAMPION, OFFERED, SQLITE, connect, find_champion, find_tracking_uri

Values = tuple[str | int, ...]  # what stands in a query's places


def read_champion(root: Path, name: str) -> str | None:
    """The version that bears the alias champion, or None."""
    rows = ask_database(
        root,
        "select version from registered_model_aliases where name = ? and alias = ?",
        (name, CHAMPION),
    )
    if rows is not None:
        return str(rows[0][0]) if rows else None
    found = find_champion(connect(root), name)
    return None if found is None else str(found.version)


def read_offer(root: Path, name: str) -> str | None:
    """The version that a pipeline's last run led to, new or old; None where that is unknown."""
    query = "select value from registered_model_tags where name = ? and key = ?"
    rows = ask_database(root, query, (name, OFFERED))
    if rows is None:
        from mlflow.exceptions import MlflowException

        try:
            tags = connect(root).get_registered_model(name).tags
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        rows = [(tags[OFFERED],)] if OFFERED in tags else []
    return str(rows[0][0]).partition(" ")[0] if rows else None


def ask_database(root: Path, query: str, values: Values) -> list[tuple[Any, ...]] | None:
    """The rows of one query; see `ask_questions`."""
    found = ask_questions(root, [(query, values)])
    return None if found is None else found[0]


def ask_questions(
    root: Path, questions: Sequence[tuple[str, Values]]
) -> list[list[tuple[Any, ...]]] | None:
    """The rows of several queries, each with its values, to one state of a local database.

    Returns:
        None where the registry is no local database, or it does not answer.
    """
    uri = find_tracking_uri(root)
    if not uri.startswith(SQLITE):
        return None
    path = Path(uri.removeprefix(SQLITE))
    if not path.is_file():
        return [[] for _ in questions]
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            database.execute("begin")
            return [database.execute(query, values).fetchall() for query, values in questions]
    except (sqlite3.DatabaseError, OverflowError):
        return None  # another version of MLflow keeps its tables otherwise: ask MLflow itself
