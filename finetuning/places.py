"""Paths that come from outside: a name leads to something inside its folder, or nowhere."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

# A file of DVC's cache is named by its content; DVC may check files out as links to it.
_CACHED = re.compile(r".*/files/md5/[0-9a-f]{2}/[0-9a-f]{30}")


def locate(folder: Path, name: str) -> Path | None:
    """The place that a relative name means in a folder, whether or not something is there.

    Returns:
        None where it is absolute, has a part `..`, can be no file's name, or leads out of the
        folder by a link; a link into DVC's cache does not count as leading out.
    """
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or "\0" in name:
        return None
    place = folder / plain
    try:
        target = place.resolve()
    except (OSError, RuntimeError, UnicodeEncodeError):  # a circle of links, half a character
        return None
    if target.is_relative_to(folder.resolve()) or _CACHED.fullmatch(target.as_posix()):
        return place
    return None
