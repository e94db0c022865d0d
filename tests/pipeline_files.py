"""Pipeline files that tests write, and what is wrong with them."""

import pytest

from finetuning.errors import InputError
from finetuning.pipelines import load_pipeline

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
