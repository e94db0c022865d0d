"""Text classification: a sentence, or a pair of sentences, and a label."""

from finetuning.problem import Problem

PROBLEM = Problem(
    kind="text-classification",
    shown="text",
    served="string",
    requires=("tokenizers",),
    parts={
        "reading": "finetuning.texts",
        "checking": "finetuning.text_expectations",
        "encoding": "finetuning.tokenization",
        "modelling": "finetuning.models",
        "comparing": "finetuning.baselines",
    },
)
