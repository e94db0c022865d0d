"""What each row of a table becomes by itself, and the pool that keeps it, so that it is made once.

Encoding has two steps. The first makes pieces: what a row gives whichever rows stand beside it, and
what takes the time. The second joins pieces to the rows of a split. So pieces that were kept give
the very same rows as pieces that are made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import pandas

DIGEST = 32  # bytes of a row's digest
KIND = f"S{DIGEST}"  # of an array of them
ROWS_AT_ONCE = 50_000  # that are made, or whose places are counted, together
_DIGESTS = "digests"
_OFFSETS = "offsets of "


Digests = Sequence[bytes] | np.ndarray  # of rows, 32 bytes each


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
    for name, first in sources[0].values.items():
        starts, lengths = np.empty(len(place), np.int64), np.empty(len(place), np.int64)
        for index, pieces in enumerate(sources):
            own, known = source == index, pieces.offsets[name]
            starts[own] = known[place[own]]
            lengths[own] = known[place[own] + 1] - starts[own]
        offsets[name] = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        values[name] = np.empty((int(offsets[name][-1]), *first.shape[1:]), first.dtype)
        for begin in range(0, len(place), ROWS_AT_ONCE):
            rows = slice(begin, begin + ROWS_AT_ONCE)
            for index in np.unique(source[rows]):
                own = np.flatnonzero(source[rows] == index) + begin
                target = _spread(offsets[name][:-1][own], lengths[own])
                values[name][target] = sources[index].values[name][
                    _spread(starts[own], lengths[own])
                ]
    return Pieces(values, offsets)


def _spread(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places of all items of spans, end to end."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - lengths), lengths))


@dataclass(frozen=True)
class Pool:
    """Pieces of different rows, found by the rows' digests.

    digests: of all rows that it has, in order, (rows,) of 32 bytes. places: index of each one's
    source, and its row in there, (rows, 2). made: how many of the rows that were asked for had to
    be made. kept: how many had not.
    """

    sources: tuple[Pieces, ...] = ()
    digests: np.ndarray = field(default_factory=lambda: np.empty(0, KIND))
    places: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int32))
    made: int = 0
    kept: int = 0

    def complete(self, rows: pandas.DataFrame, digests: Digests, maker: Maker) -> Pool:
        """The pool with the pieces of all these rows; only those that it lacks are made.

        Args:
            rows: Rows of the table.
            digests: Theirs, as the maker gives them.
            maker: The encoder.
        """
        asked = np.asarray(digests, KIND)
        lacking = np.flatnonzero(~self._find(asked)[1])
        if self.sources and not len(lacking):
            return replace(self, made=0, kept=len(asked))
        wanted = asked if len(lacking) == len(asked) else asked[lacking]  # no copy of all of them
        different, first = np.unique(wanted, return_index=True)
        order = np.argsort(first)  # the rows' own, so that parts of the table are read in turn
        chosen = lacking[first[order]]
        sources, places = list(self.sources), np.empty((len(order), 2), np.int32)
        for begin in range(0, max(len(chosen), 1), ROWS_AT_ONCE):
            part = chosen[begin : begin + ROWS_AT_ONCE]
            fresh = maker.cut(_take(rows, part), "encoding")
            if sources and sources[0].values.keys() != fresh.values.keys():
                return Pool().complete(rows, asked, maker)
            own = order[begin : begin + ROWS_AT_ONCE]
            places[own] = np.stack([np.full(len(part), len(sources)), np.arange(len(part))], 1)
            sources.append(fresh)
        known = different
        if len(self.digests):
            where = np.searchsorted(self.digests, different)
            known = np.insert(self.digests, where, different)
            places = np.insert(self.places, where, places, axis=0)
        return Pool(tuple(sources), known, places, len(lacking), len(asked) - len(lacking))

    def select(self, digests: Digests) -> Pieces:
        """The pieces of rows in this order; every one must be there.

        Raises:
            KeyError: One is not.
        """
        found, there = self._find(np.asarray(digests, KIND))
        if not there.all():
            raise KeyError("a row that the pool does not have")
        chosen = self.places[found]
        return gather(self.sources, chosen[:, 0], chosen[:, 1])

    def _find(self, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each digest stands or would stand among the pool's, and whether it is there."""
        found = np.searchsorted(self.digests, asked)
        inside = np.minimum(found, max(len(self.digests) - 1, 0))
        if not len(self.digests):
            return inside, np.zeros(len(asked), bool)
        there = np.empty(len(asked), bool)
        for start in range(0, len(asked), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            there[part] = self.digests[inside[part]] == asked[part]
        return inside, there


def _take(rows: pandas.DataFrame, places: np.ndarray) -> pandas.DataFrame:
    """Some rows, in their order: pyarrow copies all of a column to take from any place in it."""
    first, end = (places[0], places[-1] + 1) if len(places) else (0, 0)
    return rows.iloc[first:end].iloc[places - first]


def save_pool(pool: Pool, digests: Digests, folder: Path) -> None:
    """Write the pieces of some rows, each once, as arrays without pickle."""
    different = np.unique(np.asarray(digests, KIND))
    pieces = pool.select(different)
    arrays = {_DIGESTS: different.view(np.uint8).reshape(-1, DIGEST)}
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
    digests = np.array(arrays.pop(_DIGESTS)).view(KIND).reshape(-1)
    offsets = {
        name.removeprefix(_OFFSETS): np.asarray(arrays.pop(name))
        for name in list(arrays)
        if name.startswith(_OFFSETS)
    }
    rows = np.arange(len(digests), dtype=np.int32)
    return Pool((Pieces(arrays, offsets),), digests, np.stack([np.zeros_like(rows), rows], 1))
