"""Image classification: an image, from class folders or a table of paths, and a label."""

from finetuning.problem import Problem

PROBLEM = Problem(
    kind="image-classification",
    shown=("image",),
    served="binary",
    answers={"label": "string", "score": "double"},
    requires=("pillow",),
    parts={
        "reading": "finetuning.images",
        "checking": "finetuning.image_expectations",
        "encoding": "finetuning.pixels",
        "modelling": "finetuning.image_models",
        "scoring": "finetuning.class_scoring",
        "comparing": "finetuning.image_baselines",
    },
)
