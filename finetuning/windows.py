"""Questions with their contexts as token ids: a long context in windows that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.batching import collate
from finetuning.progress import track

if TYPE_CHECKING:
    import torch

TEXTS_A_CALL = 1000
NOWHERE = -1  # characters of a token that is not the context's, and of an answer that is not there


@dataclass(frozen=True)
class Windows:
    """Windows end to end; every question has one at least.

    tokens, types, offsets and states are those of `batching.EncodedRows`. starts and ends: int64,
    (rows,), the answer's first and last token, counted in the window; both 0, the first token,
    where the window does not hold the whole of it. sources: int64, (rows,), the table's row. spans:
    int32, (rows, 2), where the question's answer stands in the context, in characters, whichever
    window holds it; `NOWHERE` where there is none. places: int32, (all tokens, 2), likewise where
    each token stands.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    sources: np.ndarray
    spans: np.ndarray
    places: np.ndarray
    types: np.ndarray | None = None
    states: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def labels(self) -> np.ndarray:
        """No window has a class: -1, (rows,)."""
        return np.full(len(self), -1, np.int64)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each window, (rows,)."""
        return np.diff(self.offsets)

    def take(self, chosen: np.ndarray) -> Windows:
        """Some of the windows, in the order in which they are named; without states."""
        lengths = self.lengths[chosen]
        places = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in chosen]
        tokens = np.concatenate([np.empty(0, np.int64), *places])
        own = {name: getattr(self, name)[chosen] for name in ("starts", "ends", "sources", "spans")}
        return Windows(
            tokens=self.tokens[tokens],
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            places=self.places[tokens],
            types=None if self.types is None else self.types[tokens],
            **own,
        )

    def collate(self, chosen: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """As `batching.collate`, and allowed, (batch, length): where an answer may begin or end.

        That is in the context, and on the first token, which says that there is no answer.
        """
        import torch

        batch = collate(self, chosen)
        allowed = np.zeros(batch["input_ids"].shape, bool)
        for place, row in enumerate(chosen):
            own = self.places[self.offsets[row] : self.offsets[row + 1], 0]
            allowed[place, : len(own)] = own != NOWHERE
        allowed[:, 0] = True
        return {**batch, "allowed": torch.from_numpy(allowed)}

    def draw(
        self,
        chosen: Sequence[int] | np.ndarray,
        classes: int,  # noqa: ARG002 - every problem's rows are called alike
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """A training batch as `collate` gives it, and the answers' ends, (batch, 2) int64."""
        import torch

        targets = np.stack([self.starts[chosen], self.ends[chosen]], axis=1)
        return self.collate(chosen), torch.from_numpy(targets)


def save_rows(rows: Windows, path: Path) -> None:
    """Write windows as one safetensors file."""
    from safetensors.numpy import save_file

    arrays = {field.name: getattr(rows, field.name) for field in fields(rows)}
    del arrays["states"]
    save_file({name: array for name, array in arrays.items() if array is not None}, path)


def load_rows(path: Path) -> Windows:
    """Read what `save_rows` wrote."""
    from safetensors.numpy import load_file

    return Windows(**load_file(path))


@dataclass(frozen=True)
class Text:
    """A text's tokens. ids: int32, (tokens,). places: int32, (tokens, 2), in characters."""

    ids: np.ndarray
    places: np.ndarray

    def cut(self, start: int, size: int) -> Text:
        """Some of its tokens."""
        return Text(self.ids[start : start + size], self.places[start : start + size])


@dataclass(frozen=True)
class Frame:
    """What a tokenizer puts around a pair of texts, as a pair of texts of its own would show it.

    before, between, after: token ids. types: token types of before, first text, between, second
    text, after; None where the model has none.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int, int, int, int] | None

    @property
    def size(self) -> int:
        """How many tokens it has."""
        return len(self.before) + len(self.between) + len(self.after)


def find_frame(tokenizer: Any) -> Frame:
    """Read the frame from a pair that is encoded."""
    encoded = tokenizer("a", "a")
    ids, parts = encoded["input_ids"], encoded.sequence_ids(0)
    first = [place for place, part in enumerate(parts) if part == 0]
    second = [place for place, part in enumerate(parts) if part == 1]
    cuts = (0, first[0], first[-1] + 1, second[0], second[-1] + 1, len(ids))
    pieces = [tuple(ids[start:end]) for start, end in pairwise(cuts)]
    types = encoded.get("token_type_ids")
    if types is not None:
        # A part of no tokens has no type: any will do.
        types = tuple(types[min(start, len(ids) - 1)] for start in cuts[:-1])
    return Frame(pieces[0], pieces[2], pieces[4], types)


def tokenize(tokenizer: Any, texts: Sequence[str], title: str) -> dict[str, Text]:
    """Each different text's tokens, without special ones; contexts repeat in most data."""
    different = list(dict.fromkeys(texts))
    found: dict[str, Text] = {}
    starts = range(0, len(different), TEXTS_A_CALL)
    for start in track(starts, title, len(starts)):
        some = different[start : start + TEXTS_A_CALL]
        encoded = tokenizer(
            some, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        for text, ids, places in zip(
            some, encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            shaped = np.asarray(places, np.int32).reshape(-1, 2)
            found[text] = Text(np.asarray(ids, np.int32), shaped)
    return found


@dataclass(frozen=True)
class Window:
    """One window: the arrays of `Windows`, of one row and apart from that."""

    tokens: np.ndarray
    places: np.ndarray
    types: np.ndarray | None
    start: int
    end: int


def cut_windows(
    question: Text, context: Text, span: tuple[int, int], frame: Frame, limit: int, stride: int
) -> Iterator[Window]:
    """A question with its context, in windows of at most `limit` tokens.

    A question takes at most half of the room, and windows overlap by at most half of theirs.

    Args:
        question: Its tokens.
        context: Its tokens; they may be none.
        span: Where the answer stands in the context, in characters; (NOWHERE, NOWHERE) without one.
        frame: What stands around the two.
        limit: Longest window in tokens.
        stride: By how many tokens of the context windows overlap.
    """
    question = question.cut(0, (limit - frame.size) // 2)
    room = limit - frame.size - len(question.ids)
    step = room - min(stride, room // 2)
    first, last = _find_tokens(context, span)
    lead = len(frame.before) + len(question.ids) + len(frame.between)
    for begin in range(0, max(len(context.ids) - (room - step), 1), step):
        piece = context.cut(begin, room)
        holds = begin <= first <= last < begin + room
        yield Window(
            tokens=np.concatenate(
                [frame.before, question.ids, frame.between, piece.ids, frame.after]
            ).astype(np.int32),
            places=np.pad(
                piece.places, ((lead, len(frame.after)), (0, 0)), constant_values=NOWHERE
            ),
            types=_repeat_types(frame, len(question.ids), len(piece.ids)),
            start=lead + first - begin if holds else 0,
            end=lead + last - begin if holds else 0,
        )


def _find_tokens(context: Text, span: tuple[int, int]) -> tuple[int, int]:
    """The first and last token that have a character of the span; (-1, -1) where none has."""
    if span[0] == NOWHERE:
        return -1, -1
    first = int(np.searchsorted(context.places[:, 1], span[0], side="right"))
    last = int(np.searchsorted(context.places[:, 0], span[1], side="left")) - 1
    return (first, last) if first <= last else (-1, -1)


def _repeat_types(frame: Frame, question: int, context: int) -> np.ndarray | None:
    if frame.types is None:
        return None
    counts = (len(frame.before), question, len(frame.between), context, len(frame.after))
    return np.repeat(np.asarray(frame.types, np.int8), counts)


def join(windows: Sequence[Sequence[Window]], spans: Sequence[tuple[int, int]]) -> Windows:
    """Windows of all questions, in order, as arrays.

    Args:
        windows: Those of each question.
        spans: Where each question's answer stands, see `cut_windows`.
    """
    flat = [window for own in windows for window in own]
    counts = [len(own) for own in windows]
    lengths = [len(window.tokens) for window in flat]
    typed = bool(flat) and flat[0].types is not None
    nothing = np.empty(0, np.int32)
    rows = Windows(
        tokens=np.concatenate([nothing, *(window.tokens for window in flat)]),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        starts=np.array([window.start for window in flat], np.int64),
        ends=np.array([window.end for window in flat], np.int64),
        sources=np.repeat(np.arange(len(counts)), counts),
        spans=np.repeat(np.asarray(spans, np.int32).reshape(-1, 2), counts, axis=0),
        places=np.concatenate([nothing.reshape(0, 2), *(window.places for window in flat)]),
    )
    types = np.concatenate(
        [window.types for window in flat if window.types is not None] or [nothing]
    )
    return replace(rows, types=types.astype(np.int8)) if typed else rows
