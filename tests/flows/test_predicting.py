"""`tunesmith predict` as it is typed: words, JSON, exit codes, a kill, and all four problems."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas
import pyarrow
import pytest
from PIL import Image

from finetuning.tables import read_cells
from tasks import pyfunc_worker
from tests.finetuning.test_image_models import make_base
from tests.registered import add_version, begin_registry
from tests.scorers import register_light, register_model
from tests.support import call, call_json, make_environment


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_registry):
    """A project with the versions 1 (champion) and 2 of toys, and a model that is none of ours."""
    root = tmp_path_factory.mktemp("predicting")
    (root / "pipelines").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = begin_registry(root, empty_registry)
        for _ in range(2):
            register_light(root)
        add_version(client, root, name="strange")
        client.set_registered_model_alias("toys", "champion", "1")
        client.set_registered_model_alias("toys", "challenger", "2")
        yield root


@pytest.fixture
def table(project):
    """A table with a label of its own, an empty text, and one that the model does not take."""
    path = project / "in.csv"
    path.write_text("text,label\nshort,a\na long text,b\n,c\nexplode,d\n")
    return path


def test_the_champion_scores_a_table(project, table):
    """The contract of --json, and the output beside it."""
    result = call_json(project, "predict", "toys", "--input", "in.csv", "--output", "out.csv")
    assert result["status"] == "predicted"
    assert (result["model"], result["model_uri"]) == ("toys/1", "models:/toys/1")
    assert (result["rows"], result["unscored_rows"], result["kept_rows"]) == (4, 2, 0)
    assert result["labels"] == {"long": 1, "short": 1}
    assert result["columns"]["label"] == "predicted_label"
    assert result["rows_per_second"] > 0
    columns, rows = read_cells(project / "out.csv", "")
    assert columns == ["text", "label", "predicted_label", "score", "model", "fault"]
    assert rows[:3] == [
        ["short", "a", "short", "0.2", "toys/1", None],
        ["a long text", "b", "long", str(1 / 11), "toys/1", None],
        [None, "c", None, None, "toys/1", "text is empty"],
    ]
    assert "such a text" in rows[3][-1]


def test_a_version_scores_for_people(project, table):
    """What a person reads: the version, the rows without an answer, the renamed column."""
    words = ("--input", "in.csv", "--output", "out.jsonl", "--batch-rows", "3")
    said = call(project, "predict", "toys@challenger", *words).stdout
    assert "toys/2: 4 rows scored" in said
    assert "predicted_label" in said
    lines = (project / "out.jsonl").read_text().splitlines()
    assert {json.loads(line)["model"] for line in lines} == {"toys/2"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody",), "There is no model nobody"),
        (("strange/1",), "MODEL"),
        (("toys/9",), "It has the versions 1, 2"),
        (("toys", "--column", "text"), "--column KEY=VALUE"),
        (("toys", "--parameter", "seed=x"), "Give a number"),
        (("toys", "--parameter", "seed=1"), "nothing to set"),
        (("toys", "--batch-rows", "0"), "at least 1"),
        (("toys", "--column", "text", "--parameter", "seed=x"), "--column KEY=VALUE"),
        (("toys", "--column", "text", "--parameter", "seed=x"), "Give a number"),
    ],
)
def test_wrong_input_ends_with_code_2(project, table, words, said):
    """With the remedy, without a traceback; nothing is written."""
    result = call_json(
        project, "predict", *words, "--input", "in.csv", "--output", "no.csv", code=2
    )
    assert result["status"] == "invalid"
    assert said in result["error"]
    assert not (project / "no.csv").exists()


def test_all_that_is_wrong_is_said_at_once(project):
    """A model, an input and an output that are none have a fault each, and so have options."""

    def list_keys(*words):
        faults = call_json(project, "predict", *words, code=2)["faults"]
        return sorted(fault["key"] for fault in faults)

    nothing = ("--input", "no.csv", "--output", "no.txt")
    assert list_keys("nobody", *nothing) == ["--input", "--output", "MODEL"]
    assert list_keys("toys", *nothing, "--batch-rows", "0", "--parameter", "seed=1") == [
        "--batch-rows", "--input", "--output", "--parameter seed",
    ]  # fmt: skip
    there = ("--input", "in.csv", "--output", "no.txt", "--column", "txt=text")
    assert list_keys("toys", *there) == ["--column", "--output"]


def test_without_a_champion_the_challenger_is_named(project, table):
    """Nothing is chosen silently."""
    from tasks.registry import connect

    client = connect(project)
    client.delete_registered_model_alias("toys", "champion")
    try:
        words = ("--input", "in.csv", "--output", "no.csv")
        result = call_json(project, "predict", "toys", *words, code=2)
    finally:
        client.set_registered_model_alias("toys", "champion", "1")
    assert "toys@challenger" in result["faults"][0]["remedy"]


def test_a_file_that_holds_no_predictions_is_not_replaced(project, table):
    """A name mistyped costs nobody a table."""
    result = call_json(
        project, "predict", "toys", "--input", "in.csv", "--output", "in.csv", code=2
    )
    assert "--output" in result["error"]
    assert table.read_text().startswith("text,label\nshort,a\n")


def test_a_killed_command_goes_on(project):
    """SIGKILL between parts; the same command then ends with the bytes worked out by hand."""
    rows = "".join(f"text {n},{n}\n" for n in range(40))  # all longer than five letters
    (project / "long.csv").write_text("text,n\n" + rows)
    words = ("predict", "toys", "--input", "long.csv", "--batch-rows", "2", "--output")
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *words, "killed.csv"],
        cwd=project,
        env=make_environment() | {"TESTED_DELAY": "0.3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    parts, until = project / ".killed.csv.parts", time.monotonic() + 120
    while len(list(parts.glob("0*.parquet"))) < 3:
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (project / "killed.csv").exists()
    resumed = call_json(project, *words, "killed.csv")
    assert 6 <= resumed["kept_rows"] < 40
    whole = "".join(f"text {n},{n},long,{1 / len(f'text {n}')},toys/1,\n" for n in range(40))
    head = "text,n,label,score,model,fault\n"
    assert (project / "killed.csv").read_text() == head + whole
    assert not parts.exists()


class Here:
    """A worker in this process, where torch is imported already."""

    def __init__(self, scorer, parameters):
        import mlflow

        mlflow.set_tracking_uri(scorer.tracking_uri)
        self.model = mlflow.pyfunc.load_model(scorer.uri)
        self.parameters, self.has_answered, self.loading = parameters, False, 0.0

    def ask(self, table):
        """See `asking.Worker`."""
        answers, faults = pyfunc_worker.ask(self.model, table.to_pandas(), self.parameters or None)
        joined = pandas.concat(answers) if answers else None
        return None if joined is None else pyarrow.Table.from_pandas(joined), faults


def draw_images(folder):
    """A folder of four files, of which two are images."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(2):
        pixels = generator.integers(0, 256, (9, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    content = (folder / "0.png").read_bytes()
    (folder / "2.png").write_bytes(content[: len(content) // 2])
    (folder / "3.png").write_text("no image")
    return folder


def test_each_problem_is_answered_as_its_model_does(project, bert_folder, gpt2_folder, tmp_path):
    """Tiny models of all four, loaded in a process of their own: columns, order and faults."""
    text = ["a good film", None, "a bad film and a very dull plot"]
    words = [word or "" for word in text]
    (tmp_path / "pairs.jsonl").write_text(
        "".join(json.dumps({"a": one, "b": "it was fine"}) + "\n" for one in text)
    )
    (tmp_path / "asked.csv").write_text(
        "question,context\n"
        + "".join(f"{one},the film was good . the plot was bad\n" for one in words)
    )
    (tmp_path / "prompts.tsv").write_text("prompt\n" + "".join(f'"{one}"\n' for one in words))
    (tmp_path / "base").mkdir()
    resnet = make_base("resnet", tmp_path / "base")
    images = draw_images(tmp_path / "images")
    cases = {
        "pairs": ("text-classification", bert_folder, {"text": "a", "text_pair": "b"},
                  tmp_path / "pairs.jsonl", {"label", "score"}, 1, ()),
        "asked": ("question-answering", bert_folder, {"question": "question", "context": "context"},
                  tmp_path / "asked.csv", {"answer", "score"}, 1, ()),
        "tales": ("causal-lm", gpt2_folder, {"prompt": "prompt", "completion": "reply"},
                  tmp_path / "prompts.tsv", {"completion", "loss", "tokens"}, 1,
                  ("--parameter", "max_new_tokens=3")),
        "signs": ("image-classification", resnet, {"image": "image"},
                  images, {"label", "score"}, 2, ()),
    }  # fmt: skip
    for name, (kind, base, columns, given, answers, faults, more) in cases.items():
        register_model(project, name, kind, base, columns)
        output = tmp_path / f"{name}.parquet"
        result = call_json(
            project, "predict", f"{name}/1", "--input", str(given), "--output", str(output), *more
        )
        assert set(result["columns"]) == answers | {"model", "fault"}
        assert result["unscored_rows"] == faults
        found, rows = read_cells(output, "")
        table = [dict(zip(found, row, strict=True)) for row in rows]
        assert [row["fault"] is None for row in table].count(False) == faults
        if name == "signs":
            assert [row["image"] for row in table] == ["0.png", "1.png", "2.png", "3.png"]
            assert [row["fault"] for row in table[2:]] == [
                "damaged or cut off", "not an image of a known format",
            ]  # fmt: skip
        else:
            assert [row["fault"] is None for row in table] == [True, False, True]
        if name == "tales":
            assert table[0]["completion"]
