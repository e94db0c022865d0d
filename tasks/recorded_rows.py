"""The rows that a model version was made from: kept in the store, or brought back by DVC."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.problem import find_problem
from finetuning.snapshots import digest_rows, list_columns, spell_out, take_snapshot
from finetuning.splits import digest_text
from finetuning.traits import find_traits, join_words
from tasks.data_state import POINTER, parse_pointer
from tasks.planning import open_store
from tasks.repository import read_at
from tasks.restoration import restore

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Data


def find_rows(
    root: Path, record: Mapping[str, Any], data: Data, fetch: bool = True
) -> tuple[pandas.DataFrame, str]:
    """A version's rows, from the store or else from DVC, and what is to be known about them.

    Args:
        root: The project's folder.
        record: The version's lineage record.
        data: The `data` of its pipeline file.
        fetch: Ask DVC's remote for what is not in its cache.

    Raises:
        InputError: They are in neither.
    """
    from tasks.snapshot import read_rows

    kind = str(record["config"]["problem"])
    key = str(record.get("stages", {}).get("snapshot"))
    kept = open_store(root).find("snapshot", key)
    if kept is not None:
        return read_rows(kept.folder), ""
    pointer, sha = str(record.get("data_pointer")), (record.get("commit") or {}).get("sha")
    content = None if sha is None else read_at(root, sha, POINTER)
    named = fetch and content is not None and parse_pointer(content) == pointer
    with tempfile.TemporaryDirectory() as place:
        restore(root, pointer, data.path, Path(place), sha if named else None)
        rows = spell_out(take_snapshot(Path(place), data, kind))
    same = digest_rows(rows, data, kind) == record.get("row_digests")
    return rows, "" if same else "its rows were split anew, as the present code does it"


def shape_rows(rows: pandas.DataFrame, data: Data, kind: str) -> pandas.DataFrame:
    """The columns that are compared, whatever the user's are called, and the rows' traits.

    Without labels a row is what all of its columns say.
    """
    import pandas

    columns, has_classes = data.columns, find_problem(kind).has_classes
    first, *others = (name for role, name in list_columns(columns, kind) if role != "label")
    text = rows[first].fillna("")
    for name in others:
        text = text + " | " + rows[name].fillna("")
    shaped = rows[["key", "split"]].copy().assign(text=text, words=join_words(rows, data, kind))
    if has_classes:
        shaped["label"] = rows[columns.label]
    else:
        shaped = shaped.assign(key=[digest_text(one) for one in text], label="")
    return pandas.concat([shaped, find_traits(rows, data, kind)], axis=1)
