"""Rows as the snapshot hands them on, and what validating them finds."""

import hashlib
import unicodedata

import pandas

from finetuning.config import Data
from tasks.validation import validate_rows


def digest(text):
    """The key that the snapshot gives a text."""
    normal = unicodedata.normalize("NFKC", text or "").casefold().split()
    return hashlib.sha256(" ".join(normal).encode("utf-8", "replace")).hexdigest()


def snapshot(rows):
    """Rows of (split, text, label, further columns as a mapping) as the snapshot hands them on."""
    made = [
        {
            "file": "test.csv" if split == "test" else "train.csv",
            "row": number,
            "split": split,
            "key": digest(text),
            "text": text,
            "label": label,
            **dict(*more),
        }
        for number, (split, text, label, *more) in enumerate(rows, start=1)
    ]
    return pandas.DataFrame(made, dtype=object)


def sound():
    """26 rows without a fault: 10 for each class in train, 2 and 1 of each in the others."""
    return [
        (split, f"{word} number {split} {position}", label)
        for split, size in (("train", 10), ("validation", 2), ("test", 1))
        for label, word in (("pro", "good"), ("con", "bad"))
        for position in range(size)
    ]


def settings(**changes):
    """A data section."""
    return Data.model_validate({"path": "data/x", **changes})


def validated(*rows, **changes):
    """The report on the sound rows with others behind."""
    return validate_rows(snapshot([*sound(), *rows]), settings(**changes))


def failures(report):
    """Names of what failed, with the count of rows."""
    return {item.name: item.unexpected_count for item in report.outcomes if not item.success}
