"""Pipeline files of any content: a pipeline or faults, whoever wrote them."""

from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from finetuning.config import Pipeline
from finetuning.pipelines import flatten, load_pipeline
from tests.fuzzing.survival import survive
from tests.fuzzing.values import JSON, splice
from tests.pipeline_files import SMALL, write

FILES = [SMALL.encode()] + [
    path.read_bytes() for path in sorted(Path(__file__).parents[2].glob("pipelines/*.yaml"))
]
SIGNS = "{}[]:,-?&*!|>'\"%@ \nab01.e_~<=#"


def list_keys(section, prefix=""):
    """Every key of the pipeline file, with dots."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        yield f"{prefix}{name}"
        if isinstance(inner, type) and hasattr(inner, "model_fields"):
            yield from list_keys(inner, f"{prefix}{name}.")


KEYS = [*list_keys(Pipeline)]


def load(path, overrides=()):
    """The pipeline, which must be able to stand in JSON."""
    pipeline = load_pipeline(path, overrides)
    assert flatten(pipeline.model_dump(mode="json"))["name"] == pipeline.name


@given(text=st.text(max_size=200) | st.text(SIGNS, max_size=200) | st.binary(max_size=200))
def test_any_text_is_a_pipeline_or_a_fault(tmp_path, text):
    """Whatever stands in the file."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    survive(load, write(tmp_path, content))


@given(data=st.data())
def test_a_file_with_pieces_of_others_is_a_pipeline_or_a_fault(tmp_path, data):
    """Sound files, cut, doubled and mixed: deeper paths are reached than by chance."""
    survive(load, write(tmp_path, data.draw(splice(FILES))))


@given(values=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
def test_any_value_at_any_key_is_a_pipeline_or_a_fault(tmp_path, values):
    """Values of any type, at every key that there is."""
    content = yaml.safe_load(SMALL)
    for key, value in values.items():
        place = content
        *parents, last = key.split(".")
        for parent in parents:
            inner = place.get(parent)
            place[parent] = place = inner if isinstance(inner, dict) else {}
        place[last] = value
    survive(load, write(tmp_path, yaml.safe_dump(content, allow_unicode=True)))


@given(
    overrides=st.lists(
        st.text(max_size=30)
        | st.builds("{}={}".format, st.sampled_from(KEYS), st.text(SIGNS, max_size=30)),
        min_size=1,
        max_size=3,
    )
)
def test_any_override_is_a_pipeline_or_a_fault(tmp_path, overrides):
    """Whatever stands after --set."""
    survive(load, write(tmp_path, SMALL), overrides)
