"""The problems that a pipeline file can name, and the columns that each reads."""

from typing import Literal

Problem = Literal["text-classification", "image-classification"]
# The keys of data.columns that a problem reads.
ROLES: dict[str, tuple[str, ...]] = {
    "text-classification": ("text", "text_pair", "label"),
    "image-classification": ("image", "label"),
}
