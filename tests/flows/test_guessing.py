"""Guesses from a table: which column is what, and a file that says them whatever they hold."""

import pandas

from flows import beginning, guessing
from flows.guessing import guess_columns
from tests.flows.test_beginning import make_records


def test_names_and_labels_may_hold_anything():
    """Quotes, colons, line breaks and numbers in names and labels neither break nor change them."""
    odd = ["no", "1e5", "a: b # c", "quo\"te'", "line\nbreak", "\u2028x", "ünï 😀", "[x", "- y", ""]
    for text in odd[:-1]:
        records = make_records(
            body=None,
            queue=lambda number: odd[number % len(odd)] or None,
            **{text: lambda number: f"some free text {number}"},
        )
        guess = guess_columns(pandas.DataFrame(records, dtype=object))
        content = guessing.write_pipeline("x", "train.csv", "a\nb.csv", guess, len(records))
        beginning._check_content(content, {"text": text, "label": guess.label.name})
        assert guess.text.name == text


def test_a_label_is_found_by_its_name_before_its_shape():
    """A column named intent is the label, however few values others have; its twin is no slice."""
    records = make_records(
        rows=800,
        queue=None,
        intent=lambda number: f"intent {number % 40}",
        intent_id=lambda number: str(number % 40),
        priority=lambda number: str(number % 3),
    )
    guess = guess_columns(pandas.DataFrame(records, dtype=object))
    assert guess.label.name == "intent"
    assert "intent_id" not in guess.slices
    assert "priority" in guess.slices


def test_size_decides_the_epochs():
    """More rows, fewer epochs; the reason stands beside it."""
    guess = guess_columns(pandas.DataFrame(make_records(), dtype=object))
    for rows, epochs in ((5_000, 3), (5_001, 2), (20_000, 2), (20_001, 1)):
        content = guessing.write_pipeline("x", "train.csv", "x.csv", guess, rows)
        assert f"  epochs: {epochs}  # a rule of thumb" in content


def test_long_values_without_white_space_take_no_time():
    """A column of encoded files neither counts as free text nor costs the square of its length."""
    records = make_records(rows=20, file64=lambda _number: "aB3" * 200_000)
    records = [record | {"queue": "ab"[number % 2]} for number, record in enumerate(records)]
    guess = guess_columns(pandas.DataFrame(records, dtype=object))
    assert (guess.text.name, guess.label.name) == ("body", "queue")
