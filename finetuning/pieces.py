"""What each row of a table becomes by itself, and the pool that keeps it, so that it is made once.

Encoding has two steps. The first makes pieces: what a row gives whichever rows stand beside it, and
what takes the time. The second joins pieces to the rows of a split. So pieces that were kept give
the very same rows as pieces that are made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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
        starts, offsets[name] = _find_spans(sources, source, place, name)
        lengths = np.diff(offsets[name])
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


def _find_spans(
    sources: Sequence[Pieces], source: np.ndarray, place: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Where chosen rows begin in their sources, (rows,), and end to end, (rows + 1,)."""
    starts, ends = np.empty(len(place), np.int64), np.zeros(len(place) + 1, np.int64)
    for index, pieces in enumerate(sources):
        own, known = np.flatnonzero(source == index), pieces.offsets[name]
        starts[own] = known[place[own]]
        ends[own + 1] = known[place[own] + 1] - starts[own]
    return starts, np.cumsum(ends, out=ends)


def _spread(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places of all items of spans, end to end."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(starts - (ends - lengths), lengths))


@dataclass(frozen=True)
class Pool:
    """Pieces of different rows, found by the rows' digests.

    digests: of all rows that it has, in order, (rows,) of 32 bytes. places: index of each one's
    source, and its row in there, (rows, 2). asked: which of them each row is that was asked for
    last, (rows asked for,). made: how many of those had to be made. kept: how many had not.
    """

    sources: tuple[Pieces, ...] = ()
    digests: np.ndarray = field(default_factory=lambda: np.empty(0, KIND))
    places: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int32))
    asked: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    made: int = 0
    kept: int = 0

    def complete(self, rows: pandas.DataFrame, maker: Maker) -> Pool:
        """The pool with the pieces of all these rows; only those that it lacks are made.

        Args:
            rows: Rows of the table.
            maker: The encoder.
        """
        different, first, asked = _tell_apart(rows, maker)
        there = self._has(different)
        made = int((~there)[asked].sum())
        kept = len(rows) - made
        if self.sources and not made:
            found = np.searchsorted(self.digests, different).astype(np.int32)
            return replace(self, asked=found[asked], made=0, kept=kept)
        first = first[~there]
        order = np.argsort(first)  # the rows' own, so that parts of the table are read in turn
        sources, places = list(self.sources), np.empty((len(order), 2), np.int32)
        for begin in range(0, max(len(order), 1), ROWS_AT_ONCE):
            own = order[begin : begin + ROWS_AT_ONCE]
            fresh = maker.cut(_take(rows, first[own]), "encoding")
            if sources and sources[0].values.keys() != fresh.values.keys():
                return Pool().complete(rows, maker)
            places[own] = np.stack([np.full(len(own), len(sources)), np.arange(len(own))], 1)
            sources.append(fresh)
        known = different
        if len(self.digests):
            where = np.searchsorted(self.digests, different[~there])
            known = np.insert(self.digests, where, different[~there])
            places = np.insert(self.places, where, places, axis=0)
            asked = np.searchsorted(known, different).astype(np.int32)[asked]
        return Pool(tuple(sources), known, places, asked, made, kept)

    def select(self, chosen: np.ndarray) -> Pieces:
        """The pieces of some of its rows, by their numbers, in that order."""
        source, place = self.places[chosen].T
        return gather(self.sources, source, place)

    def _has(self, asked: np.ndarray) -> np.ndarray:
        """Whether each of these digests, in order, is among the pool's."""
        there = np.zeros(len(asked), bool)
        for start in range(0, len(asked) if len(self.digests) else 0, ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            found = np.searchsorted(self.digests, asked[part])
            inside = np.minimum(found, len(self.digests) - 1)
            there[part] = self.digests[inside] == asked[part]
        return there


def _tell_apart(rows: pandas.DataFrame, maker: Maker) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digests of the different rows in order, where each is first, and which of them each row is.

    They are of 32 bytes, (different,); int64, (different,); int32, (rows,).
    """
    digests = np.empty(len(rows), KIND)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        digests[part] = maker.digest(rows.iloc[part])
    different, first, which = np.unique(digests, return_index=True, return_inverse=True)
    return different, first, which.astype(np.int32)


def _take(rows: pandas.DataFrame, places: np.ndarray) -> pandas.DataFrame:
    """Some rows, in their order: pyarrow copies all of a column to take from any place in it."""
    first, end = (places[0], places[-1] + 1) if len(places) else (0, 0)
    return rows.iloc[first:end].iloc[places - first]


def save_pool(pool: Pool, folder: Path) -> None:
    """Write the pieces of the rows that were asked for last, each once, without pickle."""
    kept = np.unique(pool.asked)
    source, place = pool.places[kept].T
    digests = pool.digests if len(kept) == len(pool.digests) else pool.digests[kept]
    arrays = {_DIGESTS: digests.view(np.uint8).reshape(-1, DIGEST)}
    with ExitStack() as stack:
        files = {}
        for name, first in pool.sources[0].values.items():
            offsets = _find_spans(pool.sources, source, place, name)[1]
            arrays[f"{_OFFSETS}{name}"] = offsets
            files[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
            header = {
                "descr": np.lib.format.dtype_to_descr(first.dtype),
                "fortran_order": False,
                "shape": (int(offsets[-1]), *first.shape[1:]),
            }
            np.lib.format.write_array_header_1_0(files[name], header)
        for begin in range(0, len(kept), ROWS_AT_ONCE):
            pieces = pool.select(kept[begin : begin + ROWS_AT_ONCE])
            for name, file in files.items():
                file.write(np.ascontiguousarray(pieces.values[name]).data)
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
    places = np.stack([np.zeros_like(rows), rows], 1)
    return Pool((Pieces(arrays, offsets),), digests, places, rows)
