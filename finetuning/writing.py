"""Writing on: the tokens that a language model puts after a text or a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.errors import Fault, InputError

if TYPE_CHECKING:
    from finetuning.blocks import BlockRows


@dataclass(frozen=True)
class Wishes:
    """What a caller asks for. temperature: 0 takes the most probable token each time."""

    tokens: int
    temperature: float
    seed: int


def read_wishes(parameters: Mapping[str, Any]) -> Wishes:
    """The parameters of `problem.Problem`, those left out at their default.

    Raises:
        InputError: One is below 0.
    """
    from finetuning.problems.causal_lm import PROBLEM

    given = {**PROBLEM.parameters, **parameters}
    faults = [
        Fault(name, str(given[name]), "Give a number that is at least 0.")
        for name in PROBLEM.parameters
        if not given[name] >= 0
    ]
    if faults:
        raise InputError(faults)
    return Wishes(int(given["max_new_tokens"]), float(given["temperature"]), int(given["seed"]))


def write(
    model: Any,
    description: Mapping[str, Any],
    rows: BlockRows,
    count: int,
    is_prompted: bool,
    wishes: Wishes,
) -> list[str]:
    """What follows each row of the table, up to the end-of-text token.

    Rows are written one by one, each with its own draws: what a row is answered depends on nothing
    but the row, the parameters and the model.

    Args:
        model: `language_models.LanguageModel`, in evaluation mode.
        description: Of the model; its folder holds the tokenizer.
        rows: The encoded table, `learning` off.
        count: Rows of the table.
        is_prompted: Whether a row is a prompt that its completion may follow, and not a text.
        wishes: What is asked for.

    Returns:
        Texts, `count` of them; empty ones where no token is asked for.
    """
    if wishes.tokens == 0:
        return [""] * count
    tokenizer = _open_tokenizer(description["folder"])
    written = []
    for row in range(count):
        before = find_context(rows, row, is_prompted)
        after = _generate(model.base, tokenizer, before, wishes)
        written.append(_read(tokenizer, before, after, is_prompted))
    return written


@cache
def _open_tokenizer(folder: str) -> Any:
    from finetuning.tokenization import load_tokenizer

    return load_tokenizer(Path(folder))


def find_context(rows: BlockRows, row: int, is_prompted: bool) -> np.ndarray:
    """The tokens that a row's completion follows: the last that fit in a block, int64, (tokens,).

    Args:
        rows: The encoded table, `learning` off.
        row: A row of the table.
        is_prompted: Whether tokens that are predicted are a completion, and do not belong to it.
    """
    windows = np.flatnonzero(rows.places == row)
    block = windows[0 if is_prompted else -1]
    span = slice(int(rows.offsets[block]), int(rows.offsets[block + 1]))
    tokens, learned = rows.tokens[span].astype(np.int64), rows.learned[span]
    return tokens[~learned] if is_prompted else tokens


def _generate(base: Any, tokenizer: Any, before: np.ndarray, wishes: Wishes) -> np.ndarray:
    """New tokens, with the keys and values of those before kept (transformers' `generate`)."""
    import torch
    from transformers import GenerationConfig

    positions = getattr(base.config, "max_position_embeddings", None)
    room = wishes.tokens if positions is None else min(wishes.tokens, positions - 1)
    if positions is not None:
        before = before[-(positions - room) :]
    is_drawn = wishes.temperature > 0
    # The base model's own settings, such as a penalty on repeats, are not the caller's.
    settings = GenerationConfig(
        max_new_tokens=room,
        do_sample=is_drawn,
        temperature=wishes.temperature if is_drawn else None,
        top_k=0 if is_drawn else None,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    given = torch.from_numpy(before)[None].to(base.device)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(wishes.seed)
        whole = base.generate(
            given, attention_mask=torch.ones_like(given), generation_config=settings
        )
    new: np.ndarray = whole[0, len(before) :].cpu().numpy()
    return new


def _read(tokenizer: Any, before: np.ndarray, after: np.ndarray, is_prompted: bool) -> str:
    """The new tokens as text: as they follow a text, or as a completion was encoded, by itself."""

    def decode(tokens: np.ndarray) -> str:
        text: str = tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    if is_prompted:
        return decode(after)
    # Some tokenizers drop a space before the first token, which belongs to the text here.
    begun, whole = decode(before), decode(np.concatenate([before, after]))
    return whole[len(begun) :] if whole.startswith(begun) else decode(after)
