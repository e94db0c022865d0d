"""Questions, contexts and answers as a table: from SQuAD's json, or from a flat table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import wrong
from finetuning.splits import digest_text
from finetuning.tables import decode, read_cells, tabulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas

    from finetuning.config import Columns
    from finetuning.known_contents import Memory

_SHAPE = (
    "Give SQuAD's shape: data, a list of {paragraphs: [{context, qas: [{question, answers}]}]}; or "
    "a list of flat rows."
)


def read(
    folder: Path, name: str, key: str, columns: Columns
) -> tuple[list[str], list[list[str | None]]]:
    """The questions of a json file in SQuAD's shape, or the flat table in a file.

    SQuAD's shape has the columns that data.columns names, and beside them title and question_id. A
    question that is_impossible has no answers, whatever else stands there.

    Raises:
        InputError: The file is missing, cannot be read, has another shape, or holds no question.
    """
    path = folder / name
    if path.suffix.lower() != ".json" or not path.is_file():
        return read_cells(path, key)
    try:
        document = json.loads(decode(path, key))
        json.dumps(document, ensure_ascii=False).encode()  # refuses half a character: \ud800
    except (ValueError, RecursionError) as error:
        reason = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        raise wrong(key, path.name, f"The file is not JSON{reason}.") from None
    articles = document.get("data") if isinstance(document, dict) else document
    if not isinstance(articles, list):
        raise wrong(key, path.name, _SHAPE)
    records: list[dict[str, Any]] = []
    for number, article in enumerate(articles, 1):
        if not isinstance(article, dict):
            raise wrong(key, f"{path.name}, data[{number - 1}]", _SHAPE)
        if "paragraphs" not in article:
            records.append(article)
            continue
        try:
            records += _list_questions(article, columns)
        except (KeyError, TypeError, AttributeError):
            raise wrong(key, f"{path.name}, data[{number - 1}]", _SHAPE) from None
    if not records:
        raise wrong(key, path.name, "The file holds no question.")
    return tabulate(records, path, key)


def _list_questions(article: dict[str, Any], columns: Columns) -> Iterator[dict[str, Any]]:
    for paragraph in article["paragraphs"]:
        for asked in paragraph["qas"]:
            possible = not asked.get("is_impossible")
            yield {
                columns.question: asked["question"],
                columns.context: paragraph["context"],
                # A missing list is a blank cell, which validation reports.
                columns.answers: asked.get("answers") if possible else [],
                "title": article.get("title"),
                "question_id": asked.get("id"),
            }


def measure(
    folder: Path,  # noqa: ARG001 - every problem's part is called alike
    rows: pandas.DataFrame,
    columns: Columns,
    memory: Memory | None = None,  # noqa: ARG001 - likewise
) -> pandas.DataFrame:
    """The digest of each row's context as `key`: no context stands on both sides of a split."""
    import pandas

    contexts = rows[columns.context]
    digests = {context: digest_text(context) for context in contexts.unique()}
    keys = [digests[context] for context in contexts]
    return pandas.DataFrame({"key": keys}, index=rows.index)
