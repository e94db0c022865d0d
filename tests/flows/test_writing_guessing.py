"""`tunesmith init` for questions, texts and completions, and what is none of them."""

import json

import pytest

from finetuning.errors import InputError
from finetuning.pipelines import load_pipeline
from flows.beginning import begin_pipeline, describe_beginning
from tasks import versioning
from tests.support import begin_repository

pytestmark = pytest.mark.usefixtures("own_dvc")


@pytest.fixture
def root(tmp_path):
    """An empty project in a git repository."""
    return begin_repository(tmp_path / "project")


def write_rows(path, rows):
    """Rows as jsonl."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ask(number, answer=None):
    """A question whose answer stands in its context, unless another one is given."""
    answer = f"{number} metres" if answer is None else answer
    context = f"Tower {number} was built long ago and is {number} metres high."
    return {"question": f"How high is tower {number}?", "context": context, "answer": answer}


def make_squad(path, rows):
    """The questions in SQuAD's shape, a paragraph each."""
    paragraphs = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": str(number),
                    "question": row["question"],
                    "answers": [
                        {
                            "text": row["answer"],
                            "answer_start": row["context"].find(row["answer"]),
                        }
                    ],
                }
            ],
        }
        for number, row in enumerate(rows)
    ]
    path.write_text(json.dumps({"data": [{"title": "towers", "paragraphs": paragraphs}]}))
    return path


def begin(root, source, name="towers"):
    """What was made of a file: init's answer and the pipeline, whose data is versioned."""
    result = begin_pipeline(root, name, source)
    pipeline = load_pipeline(root / "pipelines" / f"{name}.yaml")
    assert versioning.resolve(root, pipeline.data.path).committed
    copied = root / pipeline.data.path / pipeline.data.train
    assert copied.read_bytes() == source.read_bytes()
    return result, pipeline


def test_squads_shape_becomes_a_pipeline(root, tmp_path):
    """The file is copied as it is; roles have the reader's names."""
    result, pipeline = begin(root, make_squad(tmp_path / "q.json", map(ask, range(30))))
    assert (pipeline.problem, pipeline.gate.metric) == ("question-answering", "f1")
    assert pipeline.data.train == "train.json"
    assert result["columns"] == {
        "question": "question",
        "context": "context",
        "answers": "answers",
    }
    assert (result["rows"], result["labels"], result["messages"][:-1]) == (30, {}, [])
    said = describe_beginning(result)
    assert "question 'question', 30 rows" in said
    assert "label" not in said


def test_a_table_of_questions_is_known_by_its_answers(root, tmp_path):
    """Columns may be named otherwise; answers that are missing or not found are counted."""
    rows = [ask(number) for number in range(20)] + [ask(20, ""), ask(21, "a mile")]
    rows = [
        {"Query": row["question"], "Passage": row["context"], "Answer": row["answer"]}
        for row in rows
    ]
    result, pipeline = begin(root, write_rows(tmp_path / "q.jsonl", rows))
    columns = pipeline.data.columns
    assert (columns.question, columns.context, columns.answers) == ("Query", "Passage", "Answer")
    assert "1 of 22 questions looked at have no answer in their context" in result["messages"][0]
    content = (root / "pipelines" / "towers.yaml").read_text()
    assert "5% of the questions looked at have no answer" in content  # 1 of 22


def test_answers_that_stand_nowhere_are_no_questions(root, tmp_path):
    """A json file is refused with what was found, and a table with what it looks like."""
    rows = [ask(number, f"another {number} thing") for number in range(30)]
    for source in (
        make_squad(tmp_path / "q.json", rows),
        write_rows(tmp_path / "q.jsonl", rows),
    ):
        with pytest.raises(InputError) as caught:
            begin_pipeline(root, "towers", source)
        assert "answers that stand in the" in str(caught.value)
        assert not (root / "data").exists()


def test_a_table_with_few_answers_stays_classification(root, tmp_path):
    """Yes and no stand in no context: a label, with question and context as texts."""
    rows = [ask(number, ("yes", "no")[number % 2]) for number in range(60)]
    rows = [{"label" if name == "answer" else name: row[name] for name in row} for row in rows]
    _, pipeline = begin(root, write_rows(tmp_path / "q.jsonl", rows))
    assert pipeline.problem == "text-classification"


def test_a_text_becomes_a_language_models_pipeline(root, tmp_path):
    """Its rows are the passages that the problem's reader cuts it into."""
    source = tmp_path / "tales.TXT"
    source.write_text("\n\n".join(f"Tale {number}. {'Once. ' * 300}" for number in range(19)))
    result, pipeline = begin(root, source)
    assert (pipeline.problem, pipeline.gate.metric) == ("causal-lm", "perplexity")
    assert (pipeline.data.train, result["rows"]) == ("train.txt", 19)
    assert "the smallest split has 2 rows" in result["messages"][0]
    assert "Some 369 passages would do, 19 are here" in result["messages"][0]


@pytest.mark.parametrize("rows", [1, 7, 18])
def test_texts_that_cannot_be_split_are_refused(root, tmp_path, rows):
    """As many passages as leave a split with fewer than two rows: what is here, what is needed."""
    source = tmp_path / "tales.txt"
    source.write_text("\n\n".join(f"Tale {number}. {'Once. ' * 300}" for number in range(rows)))
    with pytest.raises(InputError, match=rf"found {rows} passages?\. Give at least 19 passages"):
        begin_pipeline(root, "towers", source)
    assert not (root / "data").exists()


def test_prompts_that_are_the_same_are_one(root, tmp_path):
    """All completions of a prompt go into one split: thirty of one prompt cannot be split."""
    rows = [{"prompt": "Count.", "completion": f"One, {number}."} for number in range(30)]
    with pytest.raises(InputError, match=r"found 30 prompts.*19 prompts that differ"):
        begin_pipeline(root, "towers", write_rows(tmp_path / "told.jsonl", rows))


def test_prompts_and_completions_are_known_by_their_names(root, tmp_path):
    """Unless the completions are a few that repeat, which are labels."""
    rows = [{"instruction": f"Count to {n}.", "response": f"One, {n}."} for n in range(30)]
    _, pipeline = begin(root, write_rows(tmp_path / "told.jsonl", rows))
    columns = pipeline.data.columns
    assert (columns.prompt, columns.completion) == ("instruction", "response")
    rows = [row | {"response": ("yes", "no")[n % 2]} for n, row in enumerate(rows)]
    _, pipeline = begin(root, write_rows(tmp_path / "few.jsonl", rows), "few")
    assert pipeline.problem == "text-classification"
    assert pipeline.data.columns.label == "response"


@pytest.mark.parametrize("name", ["missing.json", "missing.txt"])
def test_a_file_that_is_not_there_is_said(root, tmp_path, name):
    """With its name, as for any table."""
    with pytest.raises(InputError, match=rf"/{name}'.*There is no such file"):
        begin_pipeline(root, "towers", tmp_path / name)
