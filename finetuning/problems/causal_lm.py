"""Causal language modelling: texts that a model continues, or prompts that it completes."""

from finetuning.problem import Problem

PROBLEM = Problem(
    kind="causal-lm",
    shown=("prompt", "text"),
    served="string",
    answers={"completion": "string", "loss": "double", "tokens": "long"},
    requires=("tokenizers",),
    parts={
        "reading": "finetuning.passages",
        "checking": "finetuning.passage_expectations",
        "encoding": "finetuning.block_encoding",
        "modelling": "finetuning.language_models",
        "scoring": "finetuning.token_scoring",
        "comparing": "finetuning.language_baselines",
    },
    head="pretrained",
    # A completion is an input too: where it is given, the model says what it thinks of it.
    targets=(),
    optional=("completion",),
    parameters={"max_new_tokens": 64, "temperature": 0.0, "seed": 0},
    judged={"max_new_tokens": 0},
)
