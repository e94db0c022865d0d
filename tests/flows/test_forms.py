"""The form of a deployment: it begins with the values of the file, and sends what was set."""

from __future__ import annotations

import pytest

from finetuning.pipelines import load_pipeline
from flows.forms import list_changes, make_form

FILE = """
name: toy
problem: text-classification
data: {path: data/toy}
model: {base: bases/toy, dropout: 0.1}
training: {early_stopping: null, learning_rate: 3e-3}
gate: {slices: {max_drop: 0.2}}
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A pipeline file with values of its own, one of them a null where null is not the default."""
    file = tmp_path_factory.mktemp("forms") / "toy.yaml"
    file.write_text(FILE, "utf-8")
    return load_pipeline(file)


@pytest.fixture(scope="module")
def own():
    """The flow's parameters as Prefect derives them from its signature."""
    from prefect.utilities.callables import parameter_schema

    from flows.finetune import finetune

    return parameter_schema(finetune).model_dump()


def test_form_begins_with_the_files_values(own, pipeline):
    """Fields begin as the file has them; what is null there is empty, not the type's default."""
    form = make_form(own, pipeline)
    assert form["properties"]["pipeline"]["default"] == "toy"
    assert "root" not in form["properties"]
    training = form["definitions"]["Training"]["properties"]
    assert training["learning_rate"]["default"] == 0.003
    assert "default" not in training["early_stopping"]
    assert "early_stopping" not in form["properties"]["training"]["default"]
    assert form["properties"]["gate"]["default"]["slices"] == {"max_drop": 0.2}
    assert form["definitions"]["SliceLimit"]["properties"]["max_drop"]["default"] == 0.2


@pytest.mark.parametrize("served", [True, False], ids=["a pipeline's", "any flow's"])
def test_no_field_is_a_choice_with_null(own, pipeline, served):
    """A choice with null would be sent although nobody made it, and go before the file's value."""
    form = make_form(own, pipeline if served else None)
    fields = [form["properties"]]
    fields += [section["properties"] for section in form["definitions"].values()]
    for section in fields:
        for name, field in section.items():
            assert {"type": "null"} not in field.get("anyOf", ()), name
            assert field.get("default", ...) is not None, name
            assert field["title"], name
            assert "$ref" not in field, name
    assert own["properties"]["reason"]["default"] is None  # what it was made from stays


def test_empty_and_null_fields_are_accepted(own, pipeline):
    """Prefect takes a form with fields left empty, and a null that was sent by a script."""
    from prefect.utilities.schema_tools.validation import validate

    form = make_form(own, pipeline)
    sent = {"pipeline": "toy", "training": {"learning_rate": 0.002}, "reason": None}
    for training in ({}, {"early_stopping": None}, {"early_stopping": 3}):
        values = sent | {"training": sent["training"] | training}
        assert validate(values, form, allow_none_with_default=True) == []
    wrong = sent | {"training": {"early_stopping": "soon"}}
    assert len(validate(wrong, form, raise_on_error=False, allow_none_with_default=True)) == 1


def test_changes_are_what_was_set():
    """Of a section only what was set goes before the file, a null that was set too."""
    from finetuning.config import Gate, Training

    training = Training(learning_rate=0.002, early_stopping=None)
    gate = Gate.model_validate({"slices": {"max_drop": 0.1}})
    assert list_changes(training=training, gate=gate, model=None) == [
        "training.early_stopping=null",
        "training.learning_rate=0.002",
        "gate.slices.max_drop=0.1",
    ]
