"""Extractive question answering: a question, a context, and the part of it that answers."""

from finetuning.problem import Problem

PROBLEM = Problem(
    kind="question-answering",
    shown=("question",),
    served="string",
    answers={"answer": "string", "score": "double"},
    requires=("tokenizers",),
    parts={
        "reading": "finetuning.squad",
        "checking": "finetuning.question_expectations",
        "encoding": "finetuning.question_encoding",
        "modelling": "finetuning.question_models",
        "scoring": "finetuning.span_scoring",
        "comparing": "finetuning.question_baselines",
    },
    head="fresh",
    targets=("answers",),
)
