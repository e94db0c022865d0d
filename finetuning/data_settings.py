"""The pipeline file's `data`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from finetuning.sections import Section

Severity = Literal["critical", "warning"]


class Columns(Section):
    """Which columns of the table hold what; each problem reads those of its own."""

    text: str = Field("text", min_length=1, description="Column that holds the text.")
    text_pair: str | None = Field(
        None, description="Column that holds the second text of a pair, or null."
    )
    question: str = Field("question", min_length=1, description="Column that holds the question.")
    context: str = Field(
        "context", min_length=1, description="Column that holds the text that answers stand in."
    )
    answers: str = Field(
        "answers",
        min_length=1,
        description="Column that holds the answers: texts and where each begins in the context.",
    )
    prompt: str | None = Field(
        None, description="Column that holds what a completion follows; read instead of text."
    )
    completion: str | None = Field(
        None, description="Column that holds the completion of a prompt; it alone is learned."
    )
    image: str = Field(
        "image", min_length=1, description="Column that holds the image's path in the data folder."
    )
    label: str = Field("label", min_length=1, description="Column that holds the label.")

    @model_validator(mode="after")
    def _check_distinct(self) -> Columns:
        named = [name for name in (self.text, self.text_pair, self.label) if name is not None]
        if len(set(named)) != len(named):
            raise ValueError("text, text_pair and label must be different columns")
        if len({self.question, self.context, self.answers}) < 3:
            raise ValueError("question, context and answers must be different columns")
        if (self.prompt is None) != (self.completion is None) or (
            self.prompt is not None and self.prompt == self.completion
        ):
            raise ValueError("prompt and completion must both be named, as different columns")
        return self


class Expectation(BaseModel):
    """One expectation of the user's own, beside the built-in ones of the problem."""

    model_config = ConfigDict(frozen=True, extra="allow")

    expect: str = Field(
        pattern=r"^Expect[A-Za-z]+$",
        description="Name of a Great Expectations class, such as ExpectColumnValuesToBeInSet.",
    )
    severity: Severity = Field(
        "critical", description="critical stops the run with exit code 3; warning is reported."
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys that go to the Great Expectations class."""
        return dict(self.model_extra or {})


class Data(Section):
    """Where the labelled rows are, and what is expected of them."""

    path: str = Field(min_length=1, description="The data set's folder, inside data/.")
    train: str = Field(
        "train.csv",
        min_length=1,
        description="Training table: csv, tsv, jsonl or parquet; for images also a folder that "
        "holds a folder a label.",
    )
    validation: str | None = Field(
        None,
        description="Validation table or folder; null splits it off train, stratified and grouped.",
    )
    test: str | None = Field(
        None, description="Test table or folder; null splits it off before anything else sees it."
    )
    columns: Columns = Field(
        default_factory=lambda: Columns.model_validate({}), description="Which columns hold what."
    )
    labels: tuple[str, ...] | None = Field(
        None, min_length=2, description="Allowed labels in order; null learns them from train."
    )
    slices: tuple[str, ...] = Field(
        (), description="Columns whose values are evaluated one by one."
    )
    expectations: tuple[Expectation, ...] = Field(
        (), description="Expectations beside the built-in ones of the problem."
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _read_labels_as_text(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        for item in value:
            if isinstance(item, bool) or not isinstance(item, str | int | float):
                raise ValueError(
                    f"{item!r} is no label; put labels in quotes, because YAML reads yes, no, on, "
                    "off, true and false as truth values, and null as nothing"
                )
        return tuple(str(item) for item in value)

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("a label stands twice: name each once")
        return value
