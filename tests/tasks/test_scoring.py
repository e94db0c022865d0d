"""Scoring in parts: order, faults, what a kill leaves, and no more than a part in memory."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pytest

from finetuning.errors import InputError, TunesmithError
from finetuning.tables import read_cells
from tasks import scoring, scoring_jobs
from tasks.asking import open_worker
from tasks.scorers import Scorer
from tests.support import make_environment

SCORER = Scorer(
    name="toys",
    version="3",
    digest="d",
    roles={"text": "text"},
    optional=(),
    served="string",
    answers={"label": "string", "score": "double"},
    settings={},
    tracking_uri="sqlite:///none.db",
)


class Fake:
    """A worker in this process: the label is the text's upper case, the score its length."""

    def __init__(self, limit=None):
        self.asked, self.limit, self.has_answered, self.loading = [], limit, False, 0.0

    def ask(self, table):
        """Answers, as `Worker.ask` gives them; after `limit` tables comes a power cut."""
        if len(self.asked) == self.limit:
            raise KeyboardInterrupt
        texts = table["text"].to_pylist()
        self.asked.append(texts)
        taken = [text for text in texts if "explode" not in text]
        faults = {at: "ValueError: no" for at, text in enumerate(texts) if "explode" in text}
        scores = [float("nan") if text == "nan" else float(len(text)) for text in taken]
        columns = {"label": [text.upper() for text in taken], "score": scores}
        return (pyarrow.table(columns) if taken else None), faults


def score(folder, monkeypatch, texts, fake=None, rows=2, scorer=SCORER, **given):
    """Score a table of texts; the result, and the rows of the output."""
    fake = fake or Fake()
    monkeypatch.setattr(scoring_jobs, "find_scorer", lambda *_: scorer)
    monkeypatch.setattr(scoring, "open_worker", lambda *_: contextlib.nullcontext(fake))
    table = folder / "in.csv"
    table.write_text("n,text\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(texts)))
    output = folder / "out.csv"
    job = scoring_jobs.plan_job(folder, "toys", table, output, batch_rows=rows, **given)
    result = scoring.conclude(job, scoring.score(job, [].append))
    return result, read_cells(output, "")[1]


def test_rows_stay_in_order_and_bear_the_version(tmp_path, monkeypatch):
    """Every input row once, with its own answer, whatever part it was in."""
    texts = ["e", "dd", "ccc", "bb", "aaaaa"]
    result, rows = score(tmp_path, monkeypatch, texts)
    assert rows == [
        [str(n), text, text.upper(), str(float(len(text))), "toys/3", None]
        for n, text in enumerate(texts)
    ]
    assert (result["rows"], result["unscored_rows"], result["kept_rows"]) == (5, 0, 0)
    assert result["labels"] == {"AAAAA": 1, "BB": 1, "CCC": 1, "DD": 1, "E": 1}


def test_no_part_is_larger_than_asked_and_a_fault_drops_no_row(tmp_path, monkeypatch):
    """Counted by what the model is asked; empty texts are not asked."""
    fake = Fake()
    texts = ["a", "", "explode", "b", "  ", "nan", "c"]
    result, rows = score(tmp_path, monkeypatch, texts, fake, rows=3)
    assert fake.asked == [["a", "explode"], ["b", "nan"], ["c"]]
    assert [row[2] for row in rows] == ["A", None, None, "B", None, None, "C"]
    faults = [row[5] for row in rows]
    assert faults[1] == faults[4] == "text is empty"
    assert faults[2] == "the model does not take it: ValueError: no"
    assert "not finite" in faults[5]
    assert [faults[at] for at in (0, 3, 6)] == [None] * 3
    assert result["unscored_rows"] == 4


def test_what_was_scored_before_a_kill_is_not_scored_again(tmp_path, monkeypatch):
    """Cut off after two parts, and made whole: the same bytes as without; nothing is left."""
    texts = [f"text {n}" for n in range(9)]
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, monkeypatch, texts, Fake(limit=2))
    assert not (tmp_path / "out.csv").exists()
    second = Fake()
    result, _ = score(tmp_path, monkeypatch, texts, second)
    assert [len(asked) for asked in second.asked] == [2, 2, 1]
    assert result["kept_rows"] == 4
    other = tmp_path / "other"
    other.mkdir()
    score(other, monkeypatch, texts)
    assert (other / "out.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.csv"]


@pytest.mark.parametrize("what", ["model", "settings", "rows"])
def test_parts_of_something_else_are_scored_again(tmp_path, monkeypatch, what):
    """Another version, another size of the parts, and other rows, those alone."""
    texts = [f"text {n}" for n in range(8)]
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, monkeypatch, texts, Fake(limit=3))
    fake, changed = Fake(), {}
    if what == "model":
        changed["scorer"] = Scorer(**{**vars(SCORER), "version": "4"})
    if what == "settings":
        changed["rows"] = 3
    if what == "rows":
        texts[1] = "changed"
    result, rows = score(tmp_path, monkeypatch, texts, fake, **changed)
    assert result["kept_rows"] == (4 if what == "rows" else 0)
    assert [row[1] for row in rows] == texts
    assert rows[1][2] == texts[1].upper()


def test_a_model_that_takes_no_row_ends_the_job(tmp_path, monkeypatch):
    """It is the model's fault then; after a row that it took it is the rows'."""
    with pytest.raises(TunesmithError, match="ValueError: no"):
        score(tmp_path, monkeypatch, ["explode", "explode", "fine"])
    result, _ = score(tmp_path, monkeypatch, ["fine", "ok", "explode", "explode"])
    assert result["unscored_rows"] == 2


def test_columns_can_be_named_and_what_is_missing_is_said(tmp_path, monkeypatch):
    """All faults at once, with the columns that are there."""
    _, rows = score(tmp_path, monkeypatch, ["a"], columns={"text": "n"})
    assert rows[0][2] == "0"
    with pytest.raises(InputError) as caught:
        score(tmp_path, monkeypatch, ["a"], columns={"text": "body", "txt": "n"})
    assert [fault.key for fault in caught.value.faults] == ["--column", "--column text"]
    assert "n, text" in caught.value.faults[1].remedy


def test_settings_are_checked_by_the_version(tmp_path):
    """A name that it has not, a fraction where a whole number is due, and one below 0."""
    scorer = Scorer(
        **{**vars(SCORER), "settings": {"max_new_tokens": "long", "temperature": "double"}}
    )
    taken = scorer.check_settings({"max_new_tokens": 4.0, "temperature": 1.0})
    assert taken == {"max_new_tokens": 4, "temperature": 1.0}
    assert type(taken["max_new_tokens"]) is int
    with pytest.raises(InputError) as caught:
        scorer.check_settings({"max_new_tokens": 1.5, "temperature": -1.0, "top": 1.0})
    assert len(caught.value.faults) == 3


@pytest.fixture(scope="module")
def light(tmp_path_factory, empty_registry):
    """A scorer of a registered model that needs no torch."""
    from tasks.scorers import find_scorer
    from tests.registered import begin_registry
    from tests.scorers import register_light

    root = tmp_path_factory.mktemp("light")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        begin_registry(root, empty_registry)
        register_light(root)
        return find_scorer(root, "toys/1")


def test_the_worker_answers_table_by_table(light, monkeypatch):
    """In a fresh process; rows that the model does not take are found, a death is said."""
    monkeypatch.setattr("os.environ", make_environment())
    with open_worker(light, {}) as worker:
        texts = ["short", "a long text", "explode", "tiny", "explode too", "x"]
        answers, faults = worker.ask(pyarrow.table({"text": texts}))
        assert answers["label"].to_pylist() == ["short", "long", "short", "short"]
        assert answers["score"].to_pylist() == [1 / 5, 1 / 11, 1 / 4, 1.0]
        assert faults == {2: "ValueError: such a text", 4: "ValueError: such a text"}
        answers, faults = worker.ask(pyarrow.table({"text": ["explode"]}))
        assert (answers, list(faults)) == (None, [0])
        answers, _ = worker.ask(pyarrow.table({"text": ["again"]}))
        assert answers["label"].to_pylist() == ["short"]
        with pytest.raises(TunesmithError, match="ended with code 7"):
            worker.ask(pyarrow.table({"text": ["die"]}))
    assert worker.process.poll() is not None


def test_a_model_that_does_not_load_is_said(light):
    """The reason in one line."""
    gone = Scorer(**{**vars(light), "version": "9"})
    with open_worker(gone, {}) as worker, pytest.raises(TunesmithError, match="does not load"):
        worker.ask(pyarrow.table({"text": ["a"]}))


def test_no_process_is_started_where_nothing_is_asked(light):
    """All parts may be there already."""
    with open_worker(light, {}) as worker:
        assert worker.process is None


def test_an_image_that_changed_is_scored_again(tmp_path):
    """A part knows the size and time of each image that its rows name."""
    job = SimpleNamespace(
        is_of_images=True,
        columns={"image": "path"},
        source=SimpleNamespace(columns=("path",), folder=tmp_path),
    )
    Path(tmp_path, "a.png").write_bytes(b"x")
    before = scoring._mark_images(job, [["a.png"], ["none.png"], [None]])
    assert before["none.png"] == before["None"] == "none"
    Path(tmp_path, "a.png").write_bytes(b"xy")
    assert scoring._mark_images(job, [["a.png"]])["a.png"] != before["a.png"]
