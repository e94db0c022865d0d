"""From a table to a first pipeline file: each guess with its reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import yaml

from finetuning.advice import Size, advise
from finetuning.errors import Fault, InputError
from finetuning.snapshots import RESERVED
from tasks.data_state import DATA

if TYPE_CHECKING:
    import pandas

BASE = "sentence-transformers/all-MiniLM-L6-v2"
BASE_WIDTH = 384  # features a token
LABEL_NAMES = (
    *("label", "labels", "target", "class", "category", "intent", "sentiment", "topic"),
    *("emotion", "polarity", "tag", "queue", "department", "rating", "stars", "type", "y"),
)
# What is known of a text beside its label: taken for one only where nothing else can be.
SLICE_NAMES = (
    *("source", "channel", "language", "lang", "country", "region", "domain", "origin", "locale"),
    *("gender", "platform", "product", "version", "year", "month", "user", "id"),
)
TEXT_NAMES = (
    *("text", "sentence", "body", "message", "content", "review", "comment", "utterance"),
    *("query", "question", "description", "title", "subject", "tweet"),
)
MOST_LABELS = 1000
FEWEST_REPEATS = 4.0  # rows for each distinct value, before a column counts as one of labels
FEWEST_DISTINCT = 0.3  # share of distinct values, before a column counts as free text
MOST_SLICES, MOST_SLICE_VALUES, FEWEST_SLICE_ROWS = 3, 12, 20
FEWEST_LABEL_ROWS = 10  # below this a label's score is mostly chance
SHOWN = 40
_SAMPLE = 2000
# Possessive: else a number, a million spaces and a letter would take the square of a million.
_NUMBER = re.compile(r"\s*+[-+]?[\d.,]++([eE][-+]?\d++)?+\s*+%?\s*+")
_DATE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})\b")
_LETTER, _SPACE, _FOREIGN = map(re.compile, (r"[^\W\d_]", r"\s", r"[^\W\d_\x00-\x7f]"))


@dataclass(frozen=True)
class Column:
    """What is known of one column of the table."""

    name: str
    filled: int
    distinct: int
    characters: float
    free: float
    """Share of values that look like free text: letters and white space, or letters not ASCII."""
    numeric: bool
    dated: bool

    @property
    def share(self) -> float:
        """Share of distinct values."""
        return self.distinct / self.filled if self.filled else 0.0

    def rank(self, names: tuple[str, ...]) -> int:
        """Place of the column's name among telling names; their number where it tells nothing."""
        words = set(re.sub(r"([a-z])([A-Z])", r"\1 \2", self.name).lower().split())
        words |= set(re.split(r"[\W_]+", " ".join(words)))
        return next((place for place, name in enumerate(names) if name in words), len(names))


@dataclass(frozen=True)
class Guess:
    """What the table seems to hold."""

    text: Column
    label: Column
    texts: tuple[str, ...]
    """Other columns of free text."""
    others: tuple[str, ...]
    slices: tuple[str, ...]
    counts: dict[str, int]
    length: int
    """Characters that 95 % of the texts stay below."""


def show(value: str) -> str:
    """A value in one printable line, whatever it holds: a comment must not end within it."""
    return repr(value if len(value) <= SHOWN else f"{value[: SHOWN - 3]}...")


def guess_columns(table: pandas.DataFrame) -> Guess:
    """Guess which columns hold the text, the label, and values to evaluate one by one.

    Raises:
        InputError: The table does not look like one for text classification.
    """
    columns = {str(name): look_at(table[name], str(name)) for name in table.columns}
    if len(columns) == 1 and (mark := re.search(r"[;\t|,]", next(iter(columns)))):
        hint = f"The header holds {mark[0]!r}: is that the delimiter? .csv has ',' and .tsv tabs."
        raise refuse(f"a single column, {_list(columns)}", hint)
    usable = [one for one in columns.values() if one.name.strip() and one.name not in RESERVED]
    texts = _list_texts(usable)
    text = texts[0] if texts else _refuse_without_text(columns)
    label = guess_label([column for column in usable if column.name != text.name], columns)
    counts = {str(key): int(rows) for key, rows in table[label.name].value_counts().items()}
    others = [
        column.name
        for column in usable
        if column.name not in (text.name, label.name) and may_be_label(column)
    ]
    slices = [name for name in others if may_be_slice(table, columns[name], label)]
    lengths = table[text.name].dropna().str.len()
    return Guess(
        text,
        label,
        tuple(column.name for column in texts[1:] if column.name != label.name),
        tuple(others),
        tuple(slices[:MOST_SLICES]),
        dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        int(lengths.quantile(0.95)),
    )


def look_at(values: pandas.Series, name: str) -> Column:
    """What is to be known of a column."""
    filled = values.dropna()
    sample = filled.sample(min(len(filled), _SAMPLE), random_state=0) if len(filled) else filled

    def share(holds: Callable[[str], object]) -> float:
        return sum(bool(holds(value)) for value in sample) / max(len(sample), 1)

    return Column(
        name,
        filled=len(filled),
        distinct=int(filled.nunique()),
        characters=float(filled.str.len().mean()) if len(filled) else 0.0,
        free=share(_is_free),
        numeric=share(_NUMBER.fullmatch) > 0.9,
        dated=share(_DATE.match) > 0.9,
    )


def _is_free(value: str) -> bool:
    # Not one pattern: on a long value without white space it would take the square of its length.
    words = _LETTER.search(value) and _SPACE.search(value)
    return bool(words or _FOREIGN.search(value))


def _list_texts(usable: list[Column]) -> list[Column]:
    """The columns of free text, the likeliest first."""
    texts = [
        column
        for column in usable
        if column.share >= FEWEST_DISTINCT
        and not (column.numeric or column.dated)
        and (column.free >= 0.5 or column.rank(TEXT_NAMES) < len(TEXT_NAMES))
    ]
    return sorted(texts, key=lambda one: (one.free >= 0.5, one.characters), reverse=True)


def _refuse_without_text(columns: dict[str, Column]) -> NoReturn:
    hint = ""
    if reserved := [name for name in columns if name in RESERVED]:
        hint = f" Rename {reserved[0]!r}, if that is it: Tunesmith uses that name itself."
    remedy = "Text classification needs a column of free text whose values are mostly distinct."
    raise refuse(f"the columns {_list(columns)}", remedy + hint)


def may_be_label(column: Column) -> bool:
    """Whether a column has few, repeated values, as labels are."""
    named = column.rank(LABEL_NAMES) < len(LABEL_NAMES)
    fewest = FEWEST_REPEATS / 2 if named else FEWEST_REPEATS
    return (
        2 <= column.distinct <= MOST_LABELS
        and column.filled >= fewest * column.distinct
        and not column.dated
        # Ages and prices repeat too; ratings are few.
        and (named or not column.numeric or column.distinct <= 20)
    )


def _place_label(column: Column) -> tuple[int, bool, bool, int]:
    beside = column.rank(SLICE_NAMES) < len(SLICE_NAMES)
    return column.rank(LABEL_NAMES), beside, column.numeric, column.distinct


def guess_label(candidates: list[Column], columns: dict[str, Column]) -> Column:
    """The likeliest label among the candidates; all columns are named where there is none."""
    labels = [column for column in candidates if may_be_label(column)]
    if labels:
        return min(labels, key=_place_label)
    for column in candidates:
        if column.distinct == 1 and column.rank(LABEL_NAMES) < len(LABEL_NAMES):
            found = f"one label only in the column {column.name!r}"
            raise refuse(found, "Classification needs at least 2 labels.")
    seen = {name.lower() for name in columns}
    look = "something else than text classification"
    if {"question", "context"} <= seen:
        look = "question answering, but not with answers that stand in their contexts"
    elif any(one.numeric and one.rank(LABEL_NAMES) < len(LABEL_NAMES) for one in candidates):
        look = "regression: the numbers hardly repeat"
    remedy = (
        f"That looks like {look}. Classification needs a "
        f"column with few, repeated values (2 labels or more, {FEWEST_REPEATS:.0f} rows each)."
    )
    raise refuse(f"no label among the columns {_list(columns)}", remedy)


def refuse(found: str, remedy: str) -> InputError:
    """What is wrong with the data that was given."""
    return InputError([Fault("--data", found, remedy)])


def _list(columns: dict[str, Column]) -> str:
    """The columns with how far they repeat, at most ten of them."""
    said = [f"{show(one.name)} ({one.distinct} distinct)" for one in columns.values()]
    return ", ".join(said[:10]) + (f" and {len(said) - 10} more" if len(said) > 10 else "")


def may_be_slice(table: pandas.DataFrame, column: Column, label: Column) -> bool:
    """Whether a column has few values, all of them frequent, and is not the label once more."""
    if column.distinct > MOST_SLICE_VALUES or column.filled < len(table):
        return False
    pairs = len(table[[column.name, label.name]].dropna().drop_duplicates())
    # The label under another name is no slice: each label has one value of it, or each value one.
    names_label = pairs <= max(column.distinct, label.distinct)
    return not names_label and int(table[column.name].value_counts().min()) >= FEWEST_SLICE_ROWS


def write_pipeline(name: str, file: str, source: str, guess: Guess, rows: int) -> str:
    """The pipeline file's text: every guess with its reason, to be checked."""
    text, label = guess.text, guess.label
    strategy, epochs, rate = advise("text-classification", rows, label.distinct, Size(BASE_WIDTH))
    # English has about four characters a token; another language makes the guess too short.
    length = min(256, max(32, 2 ** math.ceil(math.log2(max(guess.length / 4, 1)))))
    largest, most = next(iter(guess.counts.items()))
    share = most / label.filled
    pair = [f"    # other free text: {', '.join(map(show, guess.texts))} (text_pair takes one)"]
    second = [f"    # other columns with few values: {', '.join(map(show, guess.others))}"]
    unbalanced = ["  # One label prevails: macro_f1 may say more than accuracy."]
    slices = ", ".join(map(quote, guess.slices))
    lines = [
        f"# Made by `tunesmith init` from {show(source)}, {rows} rows.",
        '# Lines with "check" are guesses.',
        f"name: {quote(name)}",
        f"problem: text-classification  # check: {show(label.name)} has few, repeated values",
        "data:",
        f"  path: {DATA}/{quote(name)}",
        f"  train: {file}  # validation and test are split off it, stratified by label",
        "  columns:",
        f"    text: {quote(text.name)}  # check: {show(text.name)} has {text.share:.0%} distinct "
        f"values, {text.characters:.0f} characters on average",
        f"    label: {quote(label.name)}  # check: {show(label.name)} has {label.distinct} "
        f"distinct values in {label.filled} rows",
        *(pair if guess.texts else []),
        *(second if guess.others else []),
        "  labels: null  # learned from the data; as found here, with their rows:",
        *list_labels(guess.counts),
        f"  slices: [{slices}]  # check: evaluated value by value; few values, all frequent",
        "model:",
        f"  base: {BASE}  # small, quick on a CPU, and made for English",
        "strategy:",
        f"  kind: {strategy.value}  # {strategy.reason}",
        "training:",
        f"  epochs: {epochs.value}  # {epochs.reason}",
        f"  learning_rate: {rate.value:.1e}  # {rate.reason}",
        f"  max_length: {length}  # 95 % of the texts have at most {guess.length} characters",
        "gate:",
        "  metric: accuracy",
        *(unbalanced if share > 0.8 else []),
        f"  minimum: {min(round(share, 2), 0.99):.2f}  # {show(largest)} holds {share:.1%} of the "
        "rows: always answering it scores this. Raise it.",
    ]
    return "\n".join(lines) + "\n"


def list_labels(counts: dict[str, int]) -> list[str]:
    """The labels with their rows, as comments of the pipeline file."""
    shown = [f"  #   {show(label)}: {rows}" for label, rows in list(counts.items())[:SHOWN]]
    more = len(counts) - len(shown)
    return [*shown, f"  #   and {more} more"] if more else shown


def quote(value: str) -> str:
    """The value as YAML that reads as this text, and not as a number or a truth value."""
    plain = re.fullmatch(r"[a-zA-Z][\w.-]*", value) and yaml.safe_load(value) == value
    if plain:
        return value
    return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=math.inf)).strip()
