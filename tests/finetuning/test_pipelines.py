"""Pipeline files: right ones load, wrong ones say all that is wrong, nothing else is raised."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from finetuning.config import Pipeline
from finetuning.errors import InputError
from finetuning.pipelines import (
    find_pipeline,
    find_root,
    flatten,
    list_pipelines,
    load_pipeline,
)
from finetuning.sources import find_base
from tests.pipeline_files import SMALL, faults_of, load, write

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_smallest_file_has_the_documented_defaults(tmp_path):
    """Four keys are enough; the rest is what the design document says."""
    pipeline = load(tmp_path, SMALL)
    assert pipeline.data.train == "train.csv"
    assert pipeline.data.test is None
    assert (pipeline.data.columns.text, pipeline.data.columns.label) == ("text", "label")
    assert pipeline.strategy.kind == "probe-then-tune"
    assert (pipeline.training.epochs, pipeline.training.batch_size) == (3, 32)
    assert pipeline.training.learning_rate == 5e-5
    assert (pipeline.gate.metric, pipeline.gate.promote) == ("accuracy", "manual")


def test_all_faults_are_listed_at_once(tmp_path):
    """Six mistakes in four sections give six faults: key, value found, remedy."""
    faults = faults_of(
        tmp_path,
        """\
name: Reviews!
problem: text-classification
data: {trian: a.csv, labels: [a, a]}
model: {base: m, dropout: 1.5}
training: {epochs: 0}
""",
    )
    assert set(faults) == {
        "name", "data.path", "data.trian", "data.labels", "model.dropout", "training.epochs",
    }  # fmt: skip
    assert faults["name"].found == '"Reviews!"'
    assert "lower-case" in faults["name"].remedy
    assert faults["data.path"].found == "nothing"
    assert "required" in faults["data.path"].remedy
    assert "Did you mean train?" in faults["data.trian"].remedy
    assert faults["model.dropout"].found == "1.5"
    assert "less than 1" in faults["model.dropout"].remedy
    assert faults["training.epochs"].found == "0"
    assert "Passes over the training split" in faults["training.epochs"].remedy


@pytest.mark.parametrize(
    ("key", "near"),
    [("training.learning_rte", "learning_rate"), ("gate.minimun", "minimum"), ("modle", "model")],
)
def test_an_unknown_key_suggests_a_near_one(tmp_path, key, near):
    """A misspelt key, at any depth, is answered with the one that was meant."""
    fault = faults_of(tmp_path, SMALL, f"{key}=1")[key]
    assert f"Did you mean {near}?" in fault.remedy
    assert "Known here:" in fault.remedy


def test_overrides_reach_any_depth(tmp_path):
    """--set changes existing keys, makes missing sections, and reads values as YAML."""
    pipeline = load(
        tmp_path,
        SMALL,
        "training.epochs=1",
        "data.columns.text_pair=title",
        "strategy={kind: freeze, groups: 2}",
        "strategy.groups=3",
        "data.slices=[source]",
        "training.early_stopping=null",
        "name=a=b",
        "name=other",
    )
    assert pipeline.training.epochs == 1
    assert pipeline.data.columns.text_pair == "title"
    assert (pipeline.strategy.kind, pipeline.strategy.groups) == ("freeze", 3)
    assert pipeline.data.slices == ("source",)
    assert pipeline.training.early_stopping is None
    assert pipeline.name == "other"


def test_overrides_and_file_are_faulted_together(tmp_path):
    """Wrong overrides do not hide what is wrong with the file."""
    faults = faults_of(
        tmp_path, SMALL + "gate: {minimum: 2}\n", "epochs", "name.x=1", "training.epochs=["
    )
    assert {"--set", "--set name.x", "gate.minimum"} <= set(faults)
    assert "KEY=VALUE" in faults["--set"].remedy
    assert any(key.startswith("training.epochs, line 1") for key in faults)


def test_an_override_that_is_not_utf8_is_a_fault(tmp_path):
    """A byte that the shell passed on undecoded is the user's input, not a crash."""
    assert "model.base" in faults_of(tmp_path, SMALL, "model.base=\udcff")


@pytest.mark.parametrize("text", ["5e-5", "5.0e-5", "+5E-05", ".5e-4", "0.00005"])
def test_exponents_are_numbers(tmp_path, text):
    """YAML 1.1 reads 5e-5 as text; here it is the number."""
    pipeline = load(tmp_path, SMALL + f"training: {{learning_rate: {text}}}\n")
    assert pipeline.training.learning_rate == pytest.approx(5e-5, abs=0)


@pytest.mark.parametrize("labels", ["[yes, no]", "[true, false]", "[a, null]", "[[a], [b]]"])
def test_labels_that_yaml_reads_as_something_else_are_refused(tmp_path, labels):
    """`yes` and `no` without quotes are truth values in YAML, never the labels 'True', 'False'."""
    assert "quotes" in faults_of(tmp_path, SMALL, f"data.labels={labels}")["data.labels"].remedy


def test_labels_are_text(tmp_path):
    """Numbers are taken as the text that stands in the table."""
    assert load(tmp_path, SMALL, "data.labels=[1, 2, 'no']").data.labels == ("1", "2", "no")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("strategy.kind=freeze", "strategy"),
        ("strategy={kind: head, groups: 1}", "strategy"),
        ("data.columns.label=text", "data.columns"),
        ("data.expectations=[{expect: value_set}]", "data.expectations[0].expect"),
        ("training.seed=4294967296", "training.seed"),
        ("model.base=", "model.base"),
        ("problem=translation", "problem"),
    ],
)
def test_values_that_do_not_fit_are_faulted_by_key(tmp_path, override, key):
    """Each rule of the file names the key that it is about."""
    assert set(faults_of(tmp_path, SMALL, override)) == {key}


def test_expectations_keep_their_arguments(tmp_path):
    """Keys beside `expect` and `severity` go to the expectation."""
    content = "data.expectations=[{expect: ExpectX, column: a, value_set: [b], severity: warning}]"
    (expectation,) = load(tmp_path, SMALL, content).data.expectations
    assert expectation.arguments == {"column": "a", "value_set": ["b"]}
    assert expectation.severity == "warning"


def test_a_byte_order_mark_does_not_matter(tmp_path):
    """Windows editors write one."""
    assert load(tmp_path, b"\xef\xbb\xbf" + SMALL.encode()).name == "reviews"


@pytest.mark.parametrize("name", list_pipelines(REPOSITORY))
def test_the_repository_s_own_pipelines_load(name):
    """What is shipped is right, and its file bears its name."""
    assert load_pipeline(find_pipeline(REPOSITORY, name)).name == name


def test_the_repository_has_a_pipeline():
    """Otherwise the test above would test nothing."""
    assert "reviews" in list_pipelines(REPOSITORY)


def test_every_field_of_the_schema_is_described():
    """Editors show these descriptions, and the faults quote them."""
    schema = Pipeline.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    fields = {
        f"{section['title']}.{name}": field
        for section in sections
        for name, field in section["properties"].items()
    }
    assert len(fields) > 30
    for name, field in fields.items():
        # A field that says no more than its section does is described there.
        section = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
        assert field.get("description") or section.get("description"), name
    closed = [section["title"] for section in sections if not section["additionalProperties"]]
    assert set(closed) == {section["title"] for section in sections} - {"Expectation"}


def test_nothing_of_a_pipeline_can_be_changed(tmp_path):
    """A resolved file stays what was digested."""
    pipeline = load(tmp_path, SMALL)
    with pytest.raises(ValueError, match="frozen"):
        pipeline.training.epochs = 5


def test_pipelines_are_found_by_name_and_by_path(tmp_path):
    """A name is looked up in pipelines/, a path is taken as it is, and the rest is listed."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    path = write(folder, SMALL)
    (folder / "b.yml").write_text(SMALL)
    (folder / "notes.txt").write_text("")
    assert list_pipelines(tmp_path) == ["b", "reviews"]
    assert find_pipeline(tmp_path, "reviews") == path
    assert find_pipeline(tmp_path, "b") == folder / "b.yml"
    assert find_pipeline(tmp_path, str(path)) == path
    with pytest.raises(InputError, match="b, reviews"):
        find_pipeline(tmp_path, "review")
    with pytest.raises(InputError, match="no such file"):
        find_pipeline(tmp_path, "pipelines/none.yaml")
    with pytest.raises(InputError, match="none here yet"):
        find_pipeline(folder, "reviews")
    assert find_root(folder) == tmp_path


def test_flatten_joins_keys_by_dots():
    """An empty mapping stays a value, so that nothing is lost."""
    nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}}
    assert flatten(nested) == {"a.b": 1, "a.c.d": [2], "e": {}}


@pytest.mark.parametrize("problem", ["text-classification", "image-classification"])
def test_a_resolved_file_is_a_pipeline_file(tmp_path, problem):
    """What a run keeps, with every default written out, is the same pipeline read again."""
    pipeline = load(tmp_path, SMALL.replace("text-classification", problem))
    again = yaml.safe_dump(pipeline.model_dump(mode="json"))
    assert load(tmp_path, again) == pipeline


@pytest.mark.parametrize(
    ("problem", "metric"),
    [
        ("text-classification", "accuracy"),
        ("image-classification", "accuracy"),
        ("question-answering", "f1"),
        ("causal-lm", "perplexity"),
    ],
)
def test_the_gate_decides_on_the_problems_own_metric(problem, metric):
    """Unless told: with a gate section that is silent about it, and without one."""
    for gate in ({}, {"gate": {"minimum": 0.5}}):
        file = {"name": "toy", "problem": problem, "data": {"path": "data/x"}} | gate
        assert Pipeline.model_validate(file | {"model": {"base": "b"}}).gate.metric == metric


def test_a_ceiling_may_be_above_one_where_less_is_better():
    """A perplexity of 20 is no share; an accuracy is."""
    file = {"name": "toy", "data": {"path": "data/x"}, "model": {"base": "b"}}
    gate = {"gate": {"minimum": 20}}
    chosen = Pipeline.model_validate(file | gate | {"problem": "causal-lm"})
    assert chosen.gate.minimum == 20
    with pytest.raises(ValidationError, match="a share is at most 1"):
        Pipeline.model_validate(file | gate | {"problem": "text-classification"})
    with pytest.raises(ValidationError, match="name perplexity or word_perplexity"):
        Pipeline.model_validate(file | {"problem": "causal-lm", "gate": {"metric": "accuracy"}})


@pytest.mark.parametrize("name", list_pipelines(REPOSITORY))
def test_shipped_files_load(name):
    """Each is named as its model, and its folder is one of the samples'."""
    from tasks.sample import FOLDERS

    pipeline = load_pipeline(find_pipeline(REPOSITORY, name))
    assert pipeline.name == name
    assert pipeline.data.path == FOLDERS[name]
    if not pipeline.strategy.reads_weights:
        assert find_base(pipeline.model.base, None, REPOSITORY, weights=False) is not None
