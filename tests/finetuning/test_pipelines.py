"""Pipeline files: right ones load, wrong ones say all that is wrong, nothing else is raised."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetuning.config import Pipeline
from finetuning.errors import InputError
from finetuning.pipelines import (
    LARGEST_FILE,
    find_pipeline,
    find_root,
    flatten,
    list_pipelines,
    load_pipeline,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = """\
name: reviews
problem: text-classification
data: {path: data/reviews}
model: {base: some/model}
"""


def write(folder, content):
    """A pipeline file with this content."""
    path = folder / "reviews.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(folder, content, *overrides):
    """A pipeline file with this content, loaded."""
    return load_pipeline(write(folder, content), overrides)


def faults_of(folder, content, *overrides):
    """What is wrong with it: key -> fault."""
    with pytest.raises(InputError) as caught:
        load(folder, content, *overrides)
    return {fault.key: fault for fault in caught.value.faults}


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


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SMALL + "name: again\n", "'name' stands twice"),
        (SMALL + "gate: {minimum: 0.1, minimum: 0.2}\n", "'minimum' stands twice"),
        (BOMB, "aliases are not allowed"),
        ("a: &a {b: *a}\n", "aliases are not allowed"),
        ("!!python/object:os.system {}\n", "python/object"),
        ("name: !!python/object/apply:os.system ['touch here']\n", "python/object"),
        ("name: !!python/name:os.system\n", "python/name"),
        (b"name: \xff\xfe\n", "not UTF-8"),
        ("name: b\xe4r\n".encode("latin-1"), "not UTF-8"),
        ("name: x\n".encode("utf-16"), "not UTF-8"),
        ("- name: reviews\n", "list"),
        ("reviews\n", "str"),
        ("", "NoneType"),
        ("# nothing but a comment\n", "NoneType"),
        ("\0", "unacceptable character"),
        ("name: [\n", "expected the node content"),
        ("name: r\n\tproblem: x\n", "cannot start any token"),
        ("a: " + "[" * 5000, "recursion"),
        ("? [a, b]\n: 1\n", "a key must be a single word"),
        ("? {a: 1}\n: 1\n", "a key must be a single word"),
        ("a: !!bool maybe\n", "maybe"),
        ("a: !!int ''\n", "index"),
        ("a: !!timestamp x\n", "groupdict"),
        ("!!map [1]\n", "unpack"),
        ("a: 2026-99-99\n", "month"),
        ('name: "\\ud800"\n', "no text"),
        ('name: "a\\0b"\n', "no text"),
        ("a: !!binary gA==\n", "binary"),
        ("a: 0x" + "F" * 5000 + "\n", "20000 bits"),
        ("--- {}\n--- {}\n", "another document"),
    ],
)
def test_what_is_no_pipeline_file_is_an_input_error(tmp_path, content, said):
    """Every kind of unreadable file is the user's input, named with the file."""
    with pytest.raises(InputError) as caught:
        load(tmp_path, content)
    assert said in str(caught.value)
    assert caught.value.faults[0].key.startswith("reviews.yaml")
    assert caught.value.exit_code == 2


def test_a_fault_names_line_and_column(tmp_path):
    """The second `name` is in the fifth line."""
    assert "reviews.yaml, line 5, column 1" in faults_of(tmp_path, SMALL + "name: again\n")


def test_a_huge_file_is_refused_unread(tmp_path):
    """One byte more than the largest is too much; the size is said."""
    filler = "#" * (LARGEST_FILE + 1 - len(SMALL))
    with pytest.raises(InputError, match="1000001 bytes"):
        load(tmp_path, SMALL + filler)
    assert load(tmp_path, (SMALL + filler)[:LARGEST_FILE]).name == "reviews"


def test_odd_values_are_shown_in_the_fault(tmp_path):
    """Dates as keys, infinities and long texts all end in a readable fault."""
    faults = faults_of(
        tmp_path,
        SMALL
        + "strategy: {kind: {2020-01-01: 1}}\ntraining: {learning_rate: .inf}\n"
        + f"gate: {{metric: {'x' * 500}}}\n",
    )
    assert "2020" in faults["strategy.kind"].found
    assert faults["training.learning_rate"].found == "Infinity"
    assert len(faults["gate.metric"].found) == 80


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


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.dates() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8) | st.integers() | st.dates(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = [
    *flatten(yaml.safe_load(SMALL)),
    "data", "data.columns", "data.labels", "data.slices", "data.expectations", "data.columns.text",
    "model", "model.dropout", "strategy", "strategy.kind", "strategy.groups", "training",
    "training.epochs", "training.learning_rate", "gate", "gate.minimum", "gate.promote",
]  # fmt: skip


def load_or_fault(path, overrides=()):
    """A pipeline or an InputError that can be printed; anything else fails the test."""
    try:
        assert isinstance(load_pipeline(path, overrides), Pipeline)
    except InputError as error:
        faults = error.faults
    else:
        return
    assert faults
    assert all(fault.key and fault.found and fault.remedy for fault in faults)


property_test = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@property_test
@given(text=st.text(max_size=60) | st.text("{}[]:,-?&*!|>'\"%@ \nab01.e_~<=#", max_size=60))
def test_random_text_never_raises_anything_else(tmp_path, text):
    """Whatever stands in the file or after --set, it loads or is an InputError."""
    path = write(tmp_path, text.encode("utf-8", "surrogatepass"))
    load_or_fault(path)
    write(tmp_path, SMALL)
    load_or_fault(path, [text, f"model.base={text}", f"{text}=1"])


@property_test
@given(values=st.dictionaries(st.sampled_from(KEYS), JSON_VALUES, max_size=3))
def test_random_values_never_raise_anything_else(tmp_path, values):
    """Values of any type at any key: they load or are an InputError."""
    content = yaml.safe_load(SMALL)
    for key, value in values.items():
        place = content
        *parents, last = key.split(".")
        for parent in parents:
            inner = place.get(parent)
            place[parent] = place = inner if isinstance(inner, dict) else {}
        place[last] = value
    load_or_fault(write(tmp_path, yaml.safe_dump(content, allow_unicode=True)))


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
