"""What a served model takes and answers, as MLflow's signature."""

from finetuning.problem import find_problem
from tasks.logged_model import sign


def describe(schema):
    """Name -> type, and whether it must be given."""
    return {spec.name: (spec.type.name, spec.required) for spec in schema.inputs}


def test_classifier_takes_text_and_no_settings():
    """Every column must be given; there is nothing to set."""
    signature = sign(find_problem("text-classification"), {"text": "body"})
    assert describe(signature.inputs) == {"body": ("string", True)}
    assert describe(signature.outputs) == {"label": ("string", True), "score": ("double", True)}
    assert signature.params is None


def test_language_model_needs_no_completion():
    """The prompt must be given; a completion to be scored may, and how much is written."""
    inputs = {"prompt": "question", "completion": "reply"}
    signature = sign(find_problem("causal-lm"), inputs)
    assert describe(signature.inputs) == {
        "question": ("string", True), "reply": ("string", False),
    }  # fmt: skip
    assert list(describe(signature.outputs)) == ["completion", "loss", "tokens"]
    settings = {spec.name: (spec.dtype.name, spec.default) for spec in signature.params.params}
    assert settings == {
        "max_new_tokens": ("long", 64), "temperature": ("double", 0.0), "seed": ("long", 0),
    }  # fmt: skip
