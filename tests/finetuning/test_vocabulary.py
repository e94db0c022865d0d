"""Only the embeddings in use are trained, and the table comes back whole."""

import numpy as np
import torch

from finetuning.batching import EncodedRows, collate
from finetuning.models import build
from finetuning.vocabulary import narrow_vocabulary


def make_rows(*texts):
    """Encoded rows of token numbers."""
    lengths = [len(text) for text in texts]
    return EncodedRows(
        tokens=np.array([token for text in texts for token in text], np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=np.zeros(len(texts), np.int64),
    )


def test_narrow_table_gives_the_same_logits(bert_folder):
    """Rows renumbered for the narrow table mean what they meant."""
    model = build(bert_folder, 2, 0).eval()
    rows, checked = make_rows([2, 9, 12, 3], [2, 40, 3]), make_rows([2, 17, 3])
    expected = [model(**collate(one, range(len(one)))) for one in (rows, checked)]
    with narrow_vocabulary(model, rows, checked) as narrowed:
        # tokens 0 to 3 always, and 9, 12, 17, 40
        assert model.base.get_input_embeddings().num_embeddings == 8
        for one, logits in zip(narrowed, expected, strict=True):
            assert torch.equal(model(**collate(one, range(len(one)))), logits)


def test_used_rows_keep_what_they_learned_and_others_do_not_move(bert_folder):
    """What the narrow table learned is written back; the rest is the same to the bit."""
    model = build(bert_folder, 2, 0)
    before = model.base.get_input_embeddings().weight.detach().clone()
    rows = make_rows([2, 9, 3])
    with narrow_vocabulary(model, rows, rows), torch.no_grad():
        model.base.get_input_embeddings().weight += 1.0
    after = model.base.get_input_embeddings().weight.detach()
    used = [0, 1, 2, 3, 9]
    others = [token for token in range(len(before)) if token not in used]
    assert torch.equal(after[used], before[used] + 1.0)
    assert torch.equal(after[others], before[others])


def test_table_is_whole_again_after_a_failure(bert_folder):
    """An error while training leaves no narrow table behind."""
    model = build(bert_folder, 2, 0)
    size = model.base.get_input_embeddings().num_embeddings
    rows = make_rows([2, 9, 3])
    try:
        with narrow_vocabulary(model, rows, rows):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert model.base.get_input_embeddings().num_embeddings == size


def test_nothing_is_narrowed_where_padding_has_a_high_number(bert_folder):
    """A model that knows its padding token by a high number keeps its table."""
    model = build(bert_folder, 2, 0)
    model.base.config.pad_token_id = 50
    rows = make_rows([2, 9, 3])
    with narrow_vocabulary(model, rows, rows) as (same, _):
        assert same is rows
