"""Prediction tables of any content: a verdict or faults."""

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from flows.judging import judge_tables
from tests.fuzzing.survival import survive
from tests.fuzzing.values import CELLS, JSON, encoded, splice

METRICS = st.sampled_from(
    ("accuracy", "macro_f1", "expected_calibration_error", "perplexity", "word_perplexity", "cost")
)
SOUND = [
    b"id,label,prediction,score,source\n1,pro,pro,0.9,web\n2,con,pro,0.6,mail\n3,con,con,1,web\n",
    b"id,label,prediction,loss,tokens,words,cost\n1,a,a,0.5,3,2,1e3\n2,b,b,1.5,4,2,-1\n",
    b'{"id": 1, "label": "a", "prediction": "b", "score": NaN}\n',
]
CELL = st.sampled_from(("a", "b", "1", "0", "0.5", "-1", "nan", "inf", "1e308", "")) | CELLS
HEADER = st.lists(
    st.sampled_from(
        ("id", "label", "prediction", "score", "loss", "tokens", "words", "cost", "source")
    ),
    min_size=1,
    max_size=9,
    unique=True,
)


def judge(folder, contents, name, metric, rules):
    """Judge two tables, the second of which may be the first."""
    first, second = folder / f"first{name}", folder / f"second{name}"
    first.write_bytes(contents[0])
    second.write_bytes(contents[-1])
    verdict = judge_tables(first, second, metric, False, 0, rules)
    assert verdict["promote"] is True
    return json.dumps(verdict, allow_nan=False)


def table(header, rows):
    """A csv file's bytes, each row with an id of its own unless there is no such column."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(header)
    for number, row in enumerate(rows):
        cells = (row * 9)[: len(header)]
        writer.writerow(
            [number if name == "id" else cell for name, cell in zip(header, cells, strict=True)]
        )
    return file.getvalue().encode("utf-8", "ignore")


@given(
    contents=st.lists(
        st.binary(max_size=80) | encoded(st.text(max_size=80)) | splice(SOUND),
        min_size=1,
        max_size=2,
    ),
    name=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
    metric=METRICS,
)
def test_any_bytes_are_judged_or_a_fault(tmp_path, contents, name, metric):
    """Damaged tables and none."""
    survive(judge, tmp_path, contents, name, metric, {})


@given(
    header=HEADER,
    rows=st.lists(st.lists(CELL, min_size=1, max_size=9), min_size=1, max_size=12),
    others=st.lists(st.lists(CELL, min_size=1, max_size=9), min_size=1, max_size=12),
    same=st.booleans(),
    metric=METRICS,
)
def test_any_cells_are_judged_or_a_fault(tmp_path, header, rows, others, same, metric):
    """Numbers that are none, labels that nobody has, one row, all rows alike."""
    contents = [table(header, rows), table(header, rows if same else others)]
    survive(judge, tmp_path, contents, ".csv", metric, {})


@given(
    rules=st.dictionaries(
        st.sampled_from(("minimum", "against_champion", "margin", "alpha", "slices")),
        JSON | st.floats(0, 1) | st.just(8e-223),
        max_size=3,
    ),
    metric=METRICS | st.text(max_size=9),
)
def test_any_rules_judge_or_are_a_fault(tmp_path, rules, metric):
    """Sound tables under any options."""
    survive(judge, tmp_path, SOUND[:1], ".csv", metric, rules)
