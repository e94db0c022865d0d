"""What other libraries say of what is meant to be so is not heard, and all else is."""

import logging
import warnings

import pytest
from transformers.utils import logging as transformers_logging

from finetuning.models import build, load, save
from finetuning.quiet import adapting_quietly, loading_quietly


@pytest.fixture
def talkative():
    """Transformers that tells of warnings and draws bars, as it does unless told."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_warning()
    transformers_logging.enable_progress_bar()
    yield
    transformers_logging.set_verbosity(before)


def test_a_model_that_was_saved_without_its_pooler_loads_in_silence(
    bert_folder, tmp_path, talkative, caplog, capfd
):
    """Opened by transformers alone, the same files bring a report of weights that are missing."""
    from transformers import AutoModel

    save(build(bert_folder, 2, 0), tmp_path, ("no", "yes"), 16)
    capfd.readouterr()
    load(tmp_path)
    build(tmp_path, 2, 0)
    assert (caplog.text, capfd.readouterr().err) == ("", "")
    AutoModel.from_pretrained(tmp_path)
    assert "pooler.dense.weight" in caplog.text
    assert "Loading weights" in capfd.readouterr().err


def test_transformers_speaks_again_afterwards(talkative):
    """Its verbosity and its bars are as they were, also behind an error."""
    with loading_quietly():
        assert transformers_logging.get_verbosity() == logging.ERROR
        assert not transformers_logging.is_progress_bar_enabled()
    with pytest.raises(ZeroDivisionError), loading_quietly():
        raise ZeroDivisionError
    assert transformers_logging.get_verbosity() == logging.WARNING
    assert transformers_logging.is_progress_bar_enabled()


def test_one_warning_is_not_heard_and_others_are():
    """That PEFT asks by an old name is nothing that a user can mend."""
    old = "`is_gradient_checkpointing` is deprecated and will be removed in v6."
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with adapting_quietly():
            warnings.warn(old, FutureWarning, stacklevel=1)
            warnings.warn("another name is deprecated", FutureWarning, stacklevel=1)
        warnings.warn(old, FutureWarning, stacklevel=1)
    assert [str(one.message) for one in heard] == ["another name is deprecated", old]
