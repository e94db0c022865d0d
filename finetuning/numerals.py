"""Numbers with the noun that they count."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Such as 1 file, 2 files or 1,000 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
