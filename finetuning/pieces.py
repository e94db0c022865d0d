"""What each row of a table becomes by itself, and the pool that keeps it, so that it is made once.

Encoding has two steps. The first makes pieces: what a row gives whichever rows stand beside it, and
what takes the time. The second joins pieces to the rows of a split. So pieces that were kept give
the very same rows as pieces that are made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import pandas

DIGEST = 32  # bytes of a row's digest
_DIGESTS = "digests"
_OFFSETS = "offsets of "


@dataclass(frozen=True)
class Pieces:
    """Arrays of all rows end to end, under the names that their encoder gives them.

    values: (items, ...). offsets: under the same names, int64, (rows + 1,), where each row begins.
    """

    values: Mapping[str, np.ndarray]
    offsets: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.offsets.values()))) - 1

    def split(self, name: str) -> list[list[int]]:
        """One array row by row, as lists."""
        values, offsets = self.values[name], self.offsets[name]
        cuts = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        return [values[start:end].tolist() for start, end in cuts]


class Maker(Protocol):
    """What makes pieces of rows: an encoder."""

    def digest(self, rows: pandas.DataFrame) -> list[bytes]:
        """SHA-256 of all that `cut` reads of each row."""

    def cut(self, rows: pandas.DataFrame, title: str) -> Pieces:
        """The pieces of each row, which depend on nothing but that row."""


def digest_cells(rows: pandas.DataFrame, columns: Sequence[str]) -> list[bytes]:
    """SHA-256 of some cells of each row; a missing cell, or column, is an empty one."""
    present = [rows[name].fillna("") if name in rows else [""] * len(rows) for name in columns]
    return [_digest([str(cell) for cell in cells]) for cells in zip(*present, strict=True)]


def _digest(cells: list[str]) -> bytes:
    digest = hashlib.sha256()
    for cell in cells:
        content = cell.encode("utf-8", "surrogatepass")
        # With its length before it, no cell can reach into the next.
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def gather(sources: Sequence[Pieces], source: np.ndarray, place: np.ndarray) -> Pieces:
    """The pieces of chosen rows, in that order.

    Args:
        sources: Where they are; all have the same names.
        source: Index of each row's source, (rows,).
        place: The row in that source, (rows,).
    """
    values, offsets = {}, {}
    for name in sources[0].values:
        starts, lengths = np.empty(len(place), np.int64), np.empty(len(place), np.int64)
        for index, pieces in enumerate(sources):
            own, known = source == index, pieces.offsets[name]
            starts[own] = known[place[own]]
            lengths[own] = known[place[own] + 1] - starts[own]
        offsets[name] = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        first = sources[0].values[name]
        joined = np.empty((int(offsets[name][-1]), *first.shape[1:]), first.dtype)
        for index, pieces in enumerate(sources):
            own = source == index
            taken = _spread(starts[own], lengths[own])
            joined[_spread(offsets[name][:-1][own], lengths[own])] = pieces.values[name][taken]
        values[name] = joined
    return Pieces(values, offsets)


def _spread(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places of all items of spans, end to end."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - lengths), lengths))


@dataclass(frozen=True)
class Pool:
    """Pieces of different rows, found by the rows' digests.

    made: how many of the rows that were asked for had to be made. kept: how many had not.
    """

    sources: tuple[Pieces, ...] = ()
    places: Mapping[bytes, tuple[int, int]] | None = None
    made: int = 0
    kept: int = 0

    def complete(self, rows: pandas.DataFrame, digests: Sequence[bytes], maker: Maker) -> Pool:
        """The pool with the pieces of all these rows; only those that it lacks are made.

        Args:
            rows: Rows of the table.
            digests: Theirs, as the maker gives them.
            maker: The encoder.
        """
        known = dict(self.places or {})
        missing: dict[bytes, int] = {}
        for row, digest in enumerate(digests):
            if digest not in known:
                missing.setdefault(digest, row)
        made = sum(digest in missing for digest in digests)
        if self.sources and not missing:
            return Pool(self.sources, known, 0, len(digests))
        fresh = maker.cut(rows.iloc[list(missing.values())], "encoding")
        if self.sources and self.sources[0].values.keys() != fresh.values.keys():
            return Pool().complete(rows, digests, maker)
        index = len(self.sources)
        known |= {digest: (index, place) for place, digest in enumerate(missing)}
        return Pool((*self.sources, fresh), known, made, len(digests) - made)

    def select(self, digests: Sequence[bytes]) -> Pieces:
        """The pieces of rows in this order; every one must be there."""
        places = self.places or {}
        chosen = np.array([places[digest] for digest in digests], np.int64).reshape(-1, 2)
        return gather(self.sources, chosen[:, 0], chosen[:, 1])


def save_pool(pool: Pool, digests: Sequence[bytes], folder: Path) -> None:
    """Write the pieces of some rows, each once, as arrays without pickle."""
    different = sorted(set(digests))
    pieces = pool.select(different)
    arrays = {_DIGESTS: np.frombuffer(b"".join(different), np.uint8).reshape(-1, DIGEST)}
    arrays |= pieces.values
    arrays |= {f"{_OFFSETS}{name}": offsets for name, offsets in pieces.offsets.items()}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def load_pool(folder: Path) -> Pool:
    """Read what `save_pool` wrote; what is large is read where it is needed.

    Raises:
        OSError: A file is gone.
        ValueError: A file is no such array.
    """
    arrays = {
        path.stem: np.load(path, mmap_mode="r", allow_pickle=False)
        for path in sorted(folder.glob("*.npy"))
    }
    raw = arrays.pop(_DIGESTS).tobytes()
    offsets = {
        name.removeprefix(_OFFSETS): np.asarray(arrays.pop(name))
        for name in list(arrays)
        if name.startswith(_OFFSETS)
    }
    rows = range(0, len(raw), DIGEST)
    places = {raw[start : start + DIGEST]: (0, place) for place, start in enumerate(rows)}
    return Pool((Pieces(arrays, offsets),), places)
