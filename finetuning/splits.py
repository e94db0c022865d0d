"""Train, validation and test: made before anything is looked at, and never crossed by a text."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from finetuning.tables import normalise

if TYPE_CHECKING:
    import pandas

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1


def digest_text(*texts: str | None) -> str:
    """Digest of the normalised text (or pair): equal texts belong to one group."""
    joined = "\x1f".join(normalise(text or "") for text in texts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def split_off(rows: pandas.DataFrame, share: float, salt: str) -> pandas.Series:
    """Mark the rows that a new split takes: stratified by label, whole groups only.

    Within each label the groups are ordered by a digest of their text and the first ones are
    taken, so that a row keeps its split when other rows come or go: the order of the file and
    the number of rows do not matter, and no seed has to be remembered.

    Args:
        rows: Rows with columns `key` (the group) and `label`.
        share: Share of each label's groups, in (0, 1); at least one where a label has two.
        salt: Another salt, another split.

    Returns:
        Boolean, one value a row.
    """
    groups = rows.groupby("key", sort=False)["label"].agg(_most_common).reset_index()
    groups["order"] = [
        hashlib.sha256(f"{salt}:{key}".encode()).hexdigest() for key in groups["key"]
    ]
    taken: set[str] = set()
    for _, members in groups.groupby("label", sort=True, dropna=False):
        count = len(members)
        number = min(max(math.floor(count * share + 0.5), 1), count - 1) if count > 1 else 0
        taken.update(members.sort_values("order")["key"].head(number))
    return rows["key"].isin(taken)


def _most_common(labels: pandas.Series) -> str:
    """One label stands for a group whose rows disagree; ties go to the first in order."""
    counts = labels.fillna("").value_counts()
    return str(min(counts.index[counts == counts.max()]))


def assign_splits(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Give every row its split.

    Args:
        rows: Rows with `key`, `label` and `split`, which holds the file that a row came from:
            'train', and 'validation' or 'test' where the user has given such files.

    Returns:
        The rows with their split; a row of train or validation whose text also stands in test, or
        of train whose text stands in validation, becomes 'left-out': the test split is never
        trained on, nor is the split that stops the training.
    """
    rows = rows.copy()
    given = set(rows["split"])
    for split, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if split not in given:
            candidates = rows["split"] == "train"
            taken = split_off(rows[candidates], share, split)
            rows.loc[taken.index[taken], "split"] = split
    test = set(rows.loc[rows["split"] == "test", "key"])
    leaks = rows["split"].isin(["train", "validation"]) & rows["key"].isin(test)
    rows.loc[leaks, "split"] = "left-out"
    validation = set(rows.loc[rows["split"] == "validation", "key"])
    leaks = (rows["split"] == "train") & rows["key"].isin(validation)
    rows.loc[leaks, "split"] = "left-out"
    return rows
