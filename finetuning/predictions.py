"""Prediction tables: read, held against each other, and cut into slices.

A table has the columns id, label and prediction, or id and what a measure reads that knows of no
labels, such as loss and tokens. score (the model's confidence), tokens, words, and any column that
a measure reads are numbers; any other column can be a slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from finetuning.cells import list_names
from finetuning.errors import Fault, InputError
from finetuning.measures import LABEL, PREDICTION, SCORE, TOKENS, WORDS, Measure
from finetuning.tables import read_table

if TYPE_CHECKING:
    import pandas

ID = "id"
LABELS = (LABEL, PREDICTION)
NUMBERS = (SCORE, TOKENS, WORDS)
MOST_VALUES = 50  # a column with more different values is no slice
FEWEST_ROWS_A_VALUE = 10  # on average, below which a column tells rows apart, not groups
LONGEST_VALUE = 100  # characters; longer ones are free text
NOTHING = "(empty)"  # the slice of the rows that have no value
SHOWN = 3


@dataclass(frozen=True)
class Slices:
    """Columns whose values are judged one by one."""

    columns: tuple[str, ...]
    missing: tuple[str, ...] = ()  # the champion's table has them, the candidate's has not
    passed_over: dict[str, str] = field(default_factory=dict)  # column -> why it is no slice


def read_pair(
    candidate: Path, champion: Path, measure: Measure
) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Read two prediction tables; the champion's rows come in the candidate's order.

    Raises:
        InputError: A table cannot be read, lacks a column, a cell or an id, holds a number that is
            none, or the two do not speak of the same rows and labels; all faults are listed.
    """
    faults: list[Fault] = []
    tables: list[pandas.DataFrame] = []
    for key, path in (("CANDIDATE", candidate), ("CHAMPION", champion)):
        try:
            table = read_table(path, key)
            tables.append(check_table(table, key, path.name, measure))
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    first, second = tables
    return align(first, second, measure)


def check_table(table: pandas.DataFrame, key: str, name: str, measure: Measure) -> pandas.DataFrame:
    """One table with its numbers as numbers.

    Raises:
        InputError: As `read_pair`.
    """
    # A measure's column that only one table lacks is for the gate to refuse.
    required = (ID, *LABELS) if measure.reads_labels else (ID,)
    absent = [column for column in required if column not in table.columns]
    if absent:
        known = list_names([*table.columns])
        needed = "id, label and prediction" if measure.reads_labels else "an id"
        remedy = f"A prediction table has {needed}; this one has {known}."
        raise InputError([Fault(f"{key}.{column}", f"none in {name}", remedy) for column in absent])
    faults = []
    for column in required:
        empty = [int(place) for place in table.index[table[column].isna()]]
        if empty:
            found = f"{len(empty)} empty cells in {name}, {_list_rows(empty)}"
            faults.append(Fault(f"{key}.{column}", found, f"Give every row its {column}."))
    twice = list(table[ID][table[ID].duplicated() & table[ID].notna()].unique())
    if twice:
        found = f"{len(twice)} ids more than once in {name}: {_list_some(twice)}"
        faults.append(Fault(f"{key}.{ID}", found, "Give every row an id of its own."))
    numbers = dict.fromkeys(c for c in (*NUMBERS, *measure.columns) if c in table.columns)
    checked = table.copy()
    for column in numbers:
        values = [_read_number(cell) for cell in table[column]]
        wrong = [place for place, value in enumerate(values) if not math.isfinite(value)]
        if wrong:
            found = f"{len(wrong)} cells in {name} that are no finite number, {_list_rows(wrong)}"
            remedy = f"Every row needs a {column}: predict those rows again, or drop the column."
            faults.append(Fault(f"{key}.{column}", found, remedy))
        elif column == SCORE and SCORE in measure.columns:
            faults += _check_confidence(values, f"{key}.{column}", name)
        checked[column] = values
    if faults:
        raise InputError(faults)
    return checked


def align(
    candidate: pandas.DataFrame, champion: pandas.DataFrame, measure: Measure
) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Both tables in the candidate's order.

    Raises:
        InputError: They have not the same ids, a row's label or slice differs, or a model answers
            with labels that no row has.
    """
    faults = []
    ids = set(candidate[ID]), set(champion[ID])
    for key, more, less in (("CHAMPION", 0, 1), ("CANDIDATE", 1, 0)):
        lacking = sorted(ids[more] - ids[less])
        if lacking:
            found = f"{len(lacking)} rows of the other table missing: {_list_some(lacking)}"
            remedy = "Score both models on the same rows: they are compared row by row."
            faults.append(Fault(f"{key}.{ID}", found, remedy))
    if faults:
        raise InputError(faults)
    first = candidate.reset_index(drop=True)
    second = champion.set_index(ID, drop=False).loc[candidate[ID]].reset_index(drop=True)
    labelled = [LABEL] if LABEL in first.columns and LABEL in second.columns else []
    faults += _compare_columns(first, second, labelled, "Score both on the same labels.")
    if measure.reads_labels:
        faults += _check_predictions(first, second)
    slices = choose_slices(first, second, measure)
    shared = [column for column in slices.columns if column in second.columns]
    faults += _compare_columns(first, second, shared, "A row's slice must be the same in both.")
    if faults:
        raise InputError(faults)
    return first, second


def choose_slices(
    candidate: pandas.DataFrame, champion: pandas.DataFrame, measure: Measure
) -> Slices:
    """The columns that are slices: few different values, each with a fair number of rows.

    A column of fractions, of long texts, of one value, of more than MOST_VALUES values, or with
    fewer than FEWEST_ROWS_A_VALUE rows a value on average tells no groups apart.
    """
    own = {ID, *LABELS, *NUMBERS, *measure.columns, measure.name}
    passed_over, chosen = {}, []
    for column in dict.fromkeys([*candidate.columns, *champion.columns]):
        if column in own:
            continue
        why = _explain_no_slice((candidate if column in candidate else champion)[column])
        if why:
            passed_over[column] = why
        else:
            chosen.append(column)
    missing = tuple(column for column in chosen if column not in candidate.columns)
    present = tuple(column for column in chosen if column in candidate.columns)
    return Slices(present, missing, passed_over)


def _explain_no_slice(values: pandas.Series) -> str | None:
    filled = values.dropna().astype(str)
    different = filled.unique()
    if len(different) < 2:
        return "one value only"
    if len(different) > MOST_VALUES:
        return f"{len(different)} different values, more than {MOST_VALUES}"
    if any(len(value) > LONGEST_VALUE for value in different):
        return "free text"
    numbers = [_read_number(value) for value in different]
    if all(math.isfinite(number) for number in numbers) and not all(
        number.is_integer() for number in numbers
    ):
        return "fractions"
    if len(filled) < FEWEST_ROWS_A_VALUE * len(different):
        return f"fewer than {FEWEST_ROWS_A_VALUE} rows a value"
    return None


def _compare_columns(
    first: pandas.DataFrame, second: pandas.DataFrame, columns: Sequence[str], remedy: str
) -> list[Fault]:
    faults = []
    for column in columns:
        both = first[column].fillna(NOTHING), second[column].fillna(NOTHING)
        differ = first[ID][both[0] != both[1]]
        if len(differ):
            found = f"{len(differ)} rows with another {column}, ids {_list_some(list(differ))}"
            faults.append(Fault(f"CHAMPION.{column}", found, remedy))
    return faults


def _check_predictions(first: pandas.DataFrame, second: pandas.DataFrame) -> list[Fault]:
    labels = set(first[LABEL])
    folded = {_fold(label) for label in labels}
    faults = []
    for key, table in (("CANDIDATE", first), ("CHAMPION", second)):
        answers = sorted(set(table[PREDICTION]))
        # A label that no row has may be a rare one; one that is spelled otherwise is none.
        misspelt = [one for one in answers if one not in labels and _fold(one) in folded]
        where = f"where the labels are {_list_some(sorted(labels))}"
        remedy = "Write predictions with the names that the labels have."
        if not labels & set(answers):
            found = f"only {_list_some(answers)}, {where}"
            faults.append(Fault(f"{key}.{PREDICTION}", found, remedy))
        elif misspelt:
            found = f"{_list_some(misspelt)}, {where}"
            faults.append(Fault(f"{key}.{PREDICTION}", found, remedy))
    return faults


def _fold(label: str) -> str:
    return str(label).strip().casefold()


def _check_confidence(values: Sequence[float], key: str, name: str) -> list[Fault]:
    wrong = [place for place, value in enumerate(values) if not 0 <= value <= 1]
    if not wrong:
        return []
    found = f"{len(wrong)} cells in {name} that are no probability, {_list_rows(wrong)}"
    remedy = "Calibration is measured on the probability of the answer, from 0 to 1: write that."
    return [Fault(key, found, remedy)]


def _read_number(cell: object) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return math.nan


def _list_rows(places: Sequence[int]) -> str:
    shown = ", ".join(str(place + 1) for place in places[:SHOWN])
    return f"{'row' if len(places) == 1 else 'rows'} {shown}{', ...' * (len(places) > SHOWN)}"


def _list_some(values: Sequence[str]) -> str:
    shown = ", ".join(repr(value) for value in values[:SHOWN])
    return f"{shown}{', ...' * (len(values) > SHOWN)}"
