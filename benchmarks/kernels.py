"""Where training on a CPU departs from torch's own kernels: attention, and dropout.

    python benchmarks/kernels.py

Attention by plain matrix products (transformers' `eager`) beside the fused kernel (`sdpa`), in one
training step, forward and backward, of models of random weights: three blocks in the shapes of
MiniLM, BERT, a small GPT-2 and a small Llama, as many tokens at once as the loop has, with and
without dropout, which is drawn as the loop draws it. Dropout alone is `finetuning.dropout` beside
torch's, forward and backward, on as many tokens of 384 numbers. Milliseconds of processor time,
medians of rounds in which all sides take turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from finetuning.devices import Device, Precision, computing
from finetuning.dropout import drop, quick_dropout
from finetuning.training import TOKENS_AT_ONCE

LENGTHS = (128, 256, 384, 512)
PROBABILITIES = (0.1, 0.0)
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp32")
SIDES = {"plain": "eager", "fused": "sdpa"}
BLOCKS, WORDS, WIDTH = 3, 1000, 384
MILLISECONDS = 1000


def build_model(kind: str, attention: str, probability: float) -> nn.Module:
    """A model of random weights in the shape of a known one, with three blocks."""
    from transformers import AutoModel, BertConfig, GPT2Config, LlamaConfig

    size = {"MiniLM": 384, "BERT": 768}.get(kind)
    config: Any
    if size is not None:
        config = BertConfig(
            vocab_size=WORDS, hidden_size=size, num_hidden_layers=BLOCKS, num_attention_heads=12,
            intermediate_size=4 * size, hidden_dropout_prob=probability,
            attention_probs_dropout_prob=probability,
        )  # fmt: skip
    elif kind == "GPT-2":
        config = GPT2Config(
            vocab_size=WORDS, n_embd=WIDTH, n_layer=BLOCKS, n_head=6, resid_pdrop=probability,
            embd_pdrop=probability, attn_pdrop=probability,
        )  # fmt: skip
    else:
        config = LlamaConfig(
            vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=BLOCKS, num_attention_heads=6,
            intermediate_size=1024, attention_dropout=probability,
        )  # fmt: skip
    config._attn_implementation = attention
    model: nn.Module = AutoModel.from_config(config)
    return model.train()


def take_turns(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each side; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            started = time.process_time()
            run()
            if number:
                found[name].append((time.process_time() - started) * MILLISECONDS)
    return {name: round(statistics.median(times), 1) for name, times in found.items()}


def compare_attention(kind: str, rounds: int) -> dict[str, dict[str, float]]:
    """Both sides of one kind of model, for each length, precision and probability."""
    report = {}
    for probability in PROBABILITIES:
        models = {
            side: build_model(kind, attention, probability) for side, attention in SIDES.items()
        }
        for precision, length in itertools.product(PRECISIONS, LENGTHS):
            device = Device("cpu", "CPU", precision)
            tokens = torch.randint(WORDS, (TOKENS_AT_ONCE // length, length))
            mask = torch.ones_like(tokens)
            mask[0, -length // 8 :] = 0  # or a model would leave the mask out

            def step(
                model: nn.Module, tokens: Tensor = tokens, mask: Tensor = mask,
                device: Device = device,
            ) -> None:  # fmt: skip
                with computing(device), quick_dropout(device.kind):
                    states = model(input_ids=tokens, attention_mask=mask).last_hidden_state
                states.float().square().mean().backward()
                model.zero_grad()

            sides = {
                side: (lambda model=model, step=step: step(model)) for side, model in models.items()
            }
            named = f"dropout {probability}, {precision}, {length} tokens"
            report[named] = take_turns(sides, rounds)
    return report


def compare_dropout(rounds: int) -> dict[str, dict[str, float]]:
    """Both ways of dropping in both precisions."""
    report = {}
    for kind in (torch.bfloat16, torch.float32):
        states = torch.randn(TOKENS_AT_ONCE, WIDTH, dtype=kind, requires_grad=True)

        def run(way: Callable[[Tensor, float], Tensor], states: Tensor = states) -> None:
            torch.autograd.grad(way(states, PROBABILITIES[0]).sum(), states)

        sides = {
            "ours": lambda run=run: run(drop),
            "torch": lambda run=run: run(nn.functional.dropout),
        }
        report[str(kind).removeprefix("torch.")] = take_turns(sides, rounds)
    return report


def main() -> None:
    """Run all of it and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"dropout": compare_dropout(10 * arguments.rounds)}
    for kind in ("MiniLM", "BERT", "GPT-2", "Llama"):
        report[kind] = compare_attention(kind, arguments.rounds)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
