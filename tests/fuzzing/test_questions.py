"""Questions of any shape: rows and places in their contexts, or faults."""

import json

from hypothesis import given
from hypothesis import strategies as st

from finetuning.answers import find_first, read_answers
from finetuning.config import Data
from finetuning.snapshots import spell_out, take_snapshot
from flows.writing_guessing import guess_file
from tests.finetuning.test_squad import DOCUMENT
from tests.fuzzing.survival import survive
from tests.fuzzing.values import CELLS, JSON, NUMBERS, splice

ANY = st.none() | CELLS | JSON
ANSWER = st.fixed_dictionaries({}, optional={"text": ANY, "answer_start": NUMBERS | ANY})
QUESTION = st.fixed_dictionaries(
    {},
    optional={
        "question": CELLS | ANY,
        "id": ANY,
        "answers": st.lists(ANSWER, max_size=3) | ANY,
        "is_impossible": ANY,
    },
)
PARAGRAPH = st.fixed_dictionaries(
    {}, optional={"context": CELLS | ANY, "qas": st.lists(QUESTION, max_size=3) | ANY}
)
ARTICLE = st.fixed_dictionaries(
    {}, optional={"title": ANY, "paragraphs": st.lists(PARAGRAPH, max_size=3) | ANY}
)
DOCUMENTS = st.one_of(
    JSON,
    st.lists(ARTICLE | QUESTION | JSON, max_size=3),
    st.fixed_dictionaries({"data": st.lists(ARTICLE | QUESTION, max_size=3) | JSON}),
)


def read(folder, content):
    """Read a file of questions as a run and `init` do, and every answer of it."""
    path = folder / "a.json"
    path.write_bytes(content)
    data = Data(path="data/x", train="a.json")
    rows = spell_out(take_snapshot(folder, data, "question-answering"))
    for cell, context in zip(rows["answers"], rows["context"], strict=True):
        find(cell, context)
    return guess_file(path)


def find(cell, context):
    """The place of a cell's first answer, which must be where the answer stands."""
    answers = read_answers(cell)
    if answers is None:
        return None
    assert len(answers.texts) == len(answers.starts)
    place = find_first(answers, context or "")
    if place is not None:
        found = context[place.start : place.end]
        assert found in {text.strip() for text in answers.texts}
    return place


@given(document=DOCUMENTS)
def test_any_document_is_questions_or_a_fault(tmp_path, document):
    """SQuAD's keys with values of any shape."""
    survive(read, tmp_path, json.dumps(document, default=str).encode())


@given(data=st.data())
def test_a_damaged_document_is_questions_or_a_fault(tmp_path, data):
    """A sound file, cut, doubled and mixed."""
    survive(read, tmp_path, data.draw(splice([json.dumps(DOCUMENT).encode()])))


@given(
    cell=st.none()
    | CELLS
    | st.text("[]{}():,'\"0123 textanswer_start-+\\\n", max_size=80)
    | st.builds(json.dumps, st.lists(ANSWER, max_size=3) | ANSWER, default=st.just(str))
    | st.builds(repr, st.lists(ANSWER, max_size=3) | ANSWER),
    context=st.none() | CELLS,
)
def test_any_cell_is_answers_or_none(cell, context):
    """JSON, what Python prints, and anything between."""
    survive(find, cell, context)
