"""Train, validation and test: made before anything is looked at, and never crossed by a text."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from finetuning.tables import normalise

if TYPE_CHECKING:
    import numpy as np
    import pandas

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
KEYS_AT_ONCE = 10_000  # that are held as Python's objects


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
    import pandas

    groups, keys, labels = _number(rows)
    return pandas.Series(_take(groups, keys, labels, share, salt), rows.index)


def _number(rows: pandas.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row's group as a number, the groups' keys, and each row's label in the labels' order."""
    import numpy as np
    import pandas

    # As bytes of one width, because pyarrow takes a gigabyte to number millions of texts.
    parts = [
        np.array(
            [key.encode() for key in rows["key"].iloc[start : start + KEYS_AT_ONCE].fillna("")]
        )
        for start in range(0, len(rows), KEYS_AT_ONCE)
    ]
    keys = np.concatenate([np.empty(0, "S1"), *parts])
    del parts
    order = np.argsort(keys)
    keys = keys[order]
    is_first = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
    groups = np.empty(len(keys), np.int32)
    groups[order] = np.cumsum(is_first) - 1
    labels = pandas.factorize(rows["label"].fillna(""), sort=True)[0]
    return groups, keys[is_first], labels.astype(np.int32)


def _take(
    groups: np.ndarray, keys: np.ndarray, labels: np.ndarray, share: float, salt: str
) -> np.ndarray:
    """The rows of a new split, as `split_off` has them, (rows,) bool."""
    import numpy as np

    labels = _label_groups(groups, labels, len(keys))
    present = np.flatnonzero(labels >= 0)
    order = np.empty(len(keys), "S32")  # bytes sort as their hexadecimals do
    for place in present:
        order[place] = hashlib.sha256(b"%b:%b" % (salt.encode(), keys[place])).digest()
    taken = np.zeros(len(keys), bool)
    for label in np.unique(labels[present]):
        members = np.flatnonzero(labels == label)
        number = _count_taken(len(members), share)
        taken[members[np.argsort(order[members])[:number]]] = True
    return np.asarray(taken[groups])


def _count_taken(count: int, share: float) -> int:
    """How many of a label's groups a new split takes."""
    return min(max(math.floor(count * share + 0.5), 1), count - 1) if count > 1 else 0


def find_fewest(rows: int) -> int:
    """The fewest rows, no two alike and without labels, of which every split gets so many."""
    count = 3 * rows
    while True:
        test = _count_taken(count, TEST_SHARE)
        validation = _count_taken(count - test, VALIDATION_SHARE)
        if min(test, validation, count - test - validation) >= rows:
            return count
        count += 1


def _label_groups(groups: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """One label stands for a group whose rows disagree: the most common, ties to the first.

    Args:
        groups: Number of each row's group, (rows,).
        labels: Number of each row's label, in the labels' order, (rows,).
        count: Number of groups.

    Returns:
        Number of each group's label, (count,); -1 where no row is of the group.
    """
    import numpy as np

    chosen = np.full(count, -1, np.int32)
    chosen[groups] = labels
    disagree = np.zeros(count, bool)
    disagree[groups[labels != chosen[groups]]] = True
    some = disagree[groups]
    pairs, counts = np.unique(
        np.stack([groups[some], labels[some]], axis=1), axis=0, return_counts=True
    )
    # Of what is written to one place more than once, the last stays: the best.
    best = np.lexsort((-pairs[:, 1], counts))
    chosen[pairs[best, 0]] = pairs[best, 1]
    return chosen


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
    import numpy as np

    rows, (groups, keys, labels) = rows.copy(), _number(rows)
    given = set(rows["split"].unique())
    for split, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if split not in given:
            places = np.flatnonzero(rows["split"] == "train")
            taken = places[_take(groups[places], keys, labels[places], share, split)]
            rows.loc[rows.index[taken], "split"] = split
    for split, others in (("test", ("train", "validation")), ("validation", ("train",))):
        known = np.zeros(len(keys), bool)
        known[groups[rows["split"] == split]] = True
        leaks = rows["split"].isin(others) & known[groups]
        rows.loc[leaks, "split"] = "left-out"
    return rows
