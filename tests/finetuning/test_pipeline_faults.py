"""What is no pipeline file, and whatever else may stand in one: it loads or is an InputError."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetuning.config import Pipeline
from finetuning.errors import InputError
from finetuning.pipelines import LARGEST_FILE, flatten, load_pipeline
from tests.pipeline_files import SMALL, faults_of, load, write

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
        ("reviews\n", "found a text without any key"),
        ("", "found an empty file"),
        ("# nothing but a comment\n", "found a file without any key"),
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
    with pytest.raises(InputError, match="200001 bytes"):
        load(tmp_path, SMALL + filler)
    assert load(tmp_path, (SMALL + filler)[:LARGEST_FILE]).name == "reviews"


def test_a_check_of_our_own_ends_with_its_remedy(tmp_path):
    """What the key is for stands behind pydantic's faults, which say no remedy, and there alone."""
    faults = faults_of(tmp_path, SMALL, "strategy.kind=freeze", "training.epochs=0")
    remedy = "Strategy freeze needs groups: how many stay frozen."
    assert faults["strategy"].remedy == remedy
    assert faults["training.epochs"].remedy.endswith("Passes over the training split.")


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
