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
    taken: the order of the file does not matter, no seed has to be remembered, and when groups
    come or go at most as many others change their split, those next to the boundary.

    Args:
        rows: Rows with columns `key` (the group) and `label`.
        share: Share of each label's groups, in (0, 1); at least one where a label has two.
        salt: Another salt, another split.

    Returns:
        Boolean, one value a row.
    """
    groups = _label_groups(rows)
    groups["order"] = [
        hashlib.sha256(f"{salt}:{key}".encode()).hexdigest() for key in groups["key"]
    ]
    taken: set[str] = set()
    for _, members in groups.groupby("label", sort=True, dropna=False):
        count = len(members)
        number = min(max(math.floor(count * share + 0.5), 1), count - 1) if count > 1 else 0
        taken.update(members.sort_values("order")["key"].head(number))
    return rows["key"].isin(taken)


def _label_groups(rows: pandas.DataFrame) -> pandas.DataFrame:
    """One label stands for a group whose rows disagree: the most common, ties to the first."""
    texts = rows[["key", "label"]].fillna("")
    counts = texts.groupby(["key", "label"]).size().reset_index(name="count")
    ordered = counts.sort_values(["count", "label"], ascending=[False, True])
    return ordered.drop_duplicates("key")[["key", "label"]]


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
