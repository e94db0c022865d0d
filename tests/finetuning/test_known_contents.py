"""What was found out about files is found out once."""

import pytest

from finetuning.known_contents import Memory


def test_a_known_content_is_not_looked_at():
    """Before or now; what is not asked for any more is not carried on."""
    first = Memory()
    assert first.recall(b"one", lambda: [1]) == [1]
    assert first.recall(b"one", lambda: [2]) == [1]
    assert first.recall(b"two", lambda: [3]) == [3]
    assert (first.made, len(first.now)) == (2, 2)
    second = Memory(first.now)
    assert second.recall(b"two", lambda: pytest.fail("it is known")) == [3]
    assert (second.made, len(second.now)) == (0, 1)


def test_what_fails_is_not_remembered():
    """The next run tries again."""
    memory = Memory()

    def fail():
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        memory.recall(b"one", fail)
    assert (memory.made, memory.now) == (0, {})
