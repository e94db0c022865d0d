"""Numbers agree with their nouns."""

import pytest

from finetuning.numerals import count


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1000, "1,000 files")]
)
def test_one_is_singular(number, said):
    """And nothing else is."""
    assert count(number, "file") == said
