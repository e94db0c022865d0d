"""Addresses as they may be shown: without the password that may stand in them."""

from __future__ import annotations

import re


def hide_password(text: str) -> str:
    """A text without the names and passwords of the addresses in it."""
    return re.sub(r"(?<=://)[^/\s@]*@", "", text)
