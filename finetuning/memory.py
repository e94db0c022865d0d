"""What happens where a step does not fit into the memory: fewer rows at once, and why not fewer."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator
from contextlib import contextmanager

from finetuning.errors import ShortOfMemoryError
from finetuning.failures import recognise


class TooLargeError(Exception):
    """So many rows were too many for one pass forward and backward."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        super().__init__(f"{rows} rows at once are too many for the memory")


def lacks_memory(error: BaseException) -> bool:
    """Whether an error means that memory could not be had, on whatever device."""
    found = recognise(error)
    return found is not None and errno.ENOMEM in found[0].numbers


@contextmanager
def watch_memory(rows: int) -> Iterator[None]:
    """Turn a want of memory within the context into a `TooLargeError` of so many rows."""
    try:
        yield
    except TooLargeError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise TooLargeError(rows) from error
        raise


def halve(rows: int) -> int:
    """Half as many rows at once.

    Raises:
        ShortOfMemoryError: It was one already.
    """
    if rows > 1:
        return rows // 2
    raise ShortOfMemoryError(
        "the memory is full, with one row at a time already. What would help: a smaller "
        "training.max_length (training.image_size for images), more layers frozen "
        "(strategy.groups), or strategy.kind lora or head. training.batch_size does not matter here"
    )


def release_memory() -> None:
    """Give back what is held and not used; nothing of a model may be referred to any more.

    On a GPU too, no block is in use then, so that all of them go back whole: a process of its own
    would not begin with more.
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
