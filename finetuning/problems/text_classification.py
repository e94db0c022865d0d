"""Text classification: a sentence, or a pair of sentences, and a label."""

from finetuning.problem import Problem

PROBLEM = Problem(
    kind="text-classification",
    shown=("text",),
    served="string",
    answers={"label": "string", "score": "double"},
    requires=("tokenizers",),
    parts={
        "reading": "finetuning.texts",
        "checking": "finetuning.text_expectations",
        "encoding": "finetuning.tokenization",
        "modelling": "finetuning.models",
        "scoring": "finetuning.class_scoring",
        "comparing": "finetuning.baselines",
    },
)
