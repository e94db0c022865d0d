"""Silence where another library speaks of what is meant to be so."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

CHECKPOINTING = r"`is_gradient_checkpointing` is deprecated"  # how transformers' warning begins


@contextmanager
def loading_quietly() -> Iterator[None]:
    """While it lasts transformers tells of errors alone, and draws no bars.

    Models are saved without their poolers, which no head reads: of each that is opened it would
    report weights that are missing, and advise to train the model.
    """
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def adapting_quietly() -> Iterator[None]:
    """While it lasts nobody hears that PEFT asks a model by a name that transformers gives up."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", CHECKPOINTING, FutureWarning)
        yield
