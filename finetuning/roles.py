"""The problems that a pipeline file can name, the columns that each reads, and its metrics."""

from typing import Literal

Problem = Literal["text-classification", "question-answering", "causal-lm", "image-classification"]
# The keys of data.columns that a problem reads.
ROLES: dict[str, tuple[str, ...]] = {
    "text-classification": ("text", "text_pair", "label"),
    "question-answering": ("question", "context", "answers"),
    "causal-lm": ("text", "prompt", "completion"),
    "image-classification": ("image", "label"),
}
Metric = Literal[
    "accuracy",
    "macro_f1",
    "expected_calibration_error",
    "f1",
    "exact_match",
    "perplexity",
    "word_perplexity",
]
CALIBRATION: Metric = "expected_calibration_error"  # of answers that have a score
# What the test split and the baselines are scored by; the gate decides on the first unless told.
METRICS: dict[str, tuple[Metric, ...]] = {
    "text-classification": ("accuracy", "macro_f1"),
    "question-answering": ("f1", "exact_match"),
    "causal-lm": ("perplexity", "word_perplexity"),
    "image-classification": ("accuracy", "macro_f1"),
}
SHARES = ("accuracy", "macro_f1", CALIBRATION, "f1", "exact_match")  # metrics that are at most 1


def list_metrics(problem: str) -> tuple[Metric, ...]:
    """The metrics that a problem's gate can decide on; none where there is no such problem."""
    own = METRICS.get(problem, ())
    return (*own, CALIBRATION) if "label" in ROLES.get(problem, ()) else own
