"""Splits: stratified, whole groups, the same for the same texts wherever they stand."""

import hashlib

import pandas
import pytest

from finetuning import splits
from finetuning.splits import assign_splits, digest_text, find_fewest, split_off


def make(labels, split="train", prefix="text"):
    """Rows with one group each: label -> how many."""
    rows = [
        {"key": digest_text(f"{prefix} {label} {number}"), "label": label, "split": split}
        for label, count in labels.items()
        for number in range(count)
    ]
    return pandas.DataFrame(rows)


def by_key(rows):
    """Key -> split."""
    return dict(zip(rows["key"], rows["split"], strict=True))


def test_each_label_gives_its_share():
    """A fifth of 100, 50 and 11 for the test; a tenth of the rest for validation."""
    rows = assign_splits(make({"a": 100, "b": 50, "c": 11}))
    counts = rows.groupby(["label", "split"]).size().to_dict()
    assert counts == {
        ("a", "test"): 20, ("a", "validation"): 8, ("a", "train"): 72,
        ("b", "test"): 10, ("b", "validation"): 4, ("b", "train"): 36,
        ("c", "test"): 2, ("c", "validation"): 1, ("c", "train"): 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "taken"), [(1, 0), (2, 1), (3, 1), (7, 1), (8, 2), (12, 2), (13, 3)]
)
def test_small_labels(count, taken):
    """A single row is trained on; two or more give at least one and keep at least one."""
    assert split_off(make({"a": count}), 0.2, "test").sum() == taken
    assert split_off(make({"a": count}), 0.99, "test").sum() == max(count - 1, 0)


def test_which_rows_are_taken_is_frozen():
    """The first fifth by SHA-256 of salt and key: another machine and another year agree."""
    rows = make({"a": 10})
    taken = rows["key"][split_off(rows, 0.2, "test")]
    order = sorted(rows["key"], key=lambda key: hashlib.sha256(f"test:{key}".encode()).hexdigest())
    assert set(taken) == set(order[:2])
    assert list(taken.index) == [4, 5]
    assert set(rows["key"][split_off(rows, 0.2, "validation")]) != set(taken)


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_fewest_rows_are_just_enough(rows):
    """Split, as many leave every split enough; one fewer does not."""
    count = find_fewest(rows)
    for number, enough in ((count, True), (count - 1, False)):
        counts = assign_splits(make({"a": number}))["split"].value_counts()
        found = min(int(counts.get(split, 0)) for split in ("train", "validation", "test"))
        assert (found >= rows) == enough


def test_no_text_crosses():
    """Repeated texts, spelt differently and labelled differently, go together."""
    texts = [f"A text, number {number % 40}" for number in range(200)]
    rows = pandas.DataFrame(
        {
            "key": [
                digest_text(text.upper() + " " * (number % 3)) for number, text in enumerate(texts)
            ],
            "label": ["a" if number % 3 else "b" for number in range(200)],
            "split": "train",
        }
    )
    result = assign_splits(rows)
    assert result["key"].nunique() == 40
    assert result.groupby("key")["split"].nunique().max() == 1
    assert (result["split"] == "left-out").sum() == 0
    assert (result["split"] == "test").sum() == 40  # eight groups of five


def test_a_group_that_disagrees_counts_for_its_most_common_label():
    """Of ten groups two have both labels: one counts for b by two to one, one for a by the tie."""
    rows = make({"a": 5, "b": 3})
    more = [("p", "bab"), ("q", "ba")]
    tied = [{"key": digest_text(k), "label": x, "split": "train"} for k, xs in more for x in xs]
    rows = pandas.concat([rows, pandas.DataFrame(tied)], ignore_index=True)
    taken = rows[split_off(rows, 0.5, "test")]
    labels = rows.groupby("key")["label"].agg(lambda own: own.value_counts().sort_index().idxmax())
    assert labels[digest_text("p")] == "b"
    assert labels[digest_text("q")] == "a"
    for label, count in (("a", 3), ("b", 2)):
        groups = sorted(
            labels.index[labels == label],
            key=lambda key: hashlib.sha256(f"test:{key}".encode()).hexdigest(),
        )
        assert set(taken["key"]) & set(groups) == set(groups[:count])


def test_parts_of_the_keys_are_numbered_as_one(monkeypatch):
    """Keys of several lengths, some at a time; one that is missing is an empty one."""
    rows = make({"a": 9, "b": 9})
    rows["key"] = [*(f"{'k' * number}" for number in range(17)), None]
    whole = assign_splits(rows)["split"].tolist()
    monkeypatch.setattr(splits, "KEYS_AT_ONCE", 2)
    assert assign_splits(rows)["split"].tolist() == whole
    assert assign_splits(rows.astype("str"))["split"].tolist() == whole
    assert whole[0] == whole[17]


def test_order_does_not_matter():
    """Shuffled rows keep their splits."""
    rows = make({"a": 60, "b": 40, "c": 1})
    shuffled = rows.sample(frac=1, random_state=1)
    assert by_key(assign_splits(shuffled)) == by_key(assign_splits(rows))
    assert list(assign_splits(shuffled).index) == list(shuffled.index)


@pytest.mark.parametrize("added", [1, 5, 50])
def test_added_rows_move_at_most_as_many_others(added):
    """Rows that arrive push at most their own number over the test boundary, other labels none."""
    rows = make({"a": 500, "b": 300})
    more = pandas.concat([rows, make({"a": added}, prefix="new")], ignore_index=True)
    before, after = (set(each["key"][split_off(each, 0.2, "test")]) for each in (rows, more))
    moved = (before ^ after) & set(rows["key"])
    assert len(moved) <= added
    assert moved.isdisjoint(rows.loc[rows["label"] == "b", "key"])


def test_given_test_texts_leave_train():
    """A text of the given test file is not trained on: left out, not moved."""
    rows = pandas.concat(
        [make({"a": 20}), make({"a": 3}, "test"), make({"a": 5}, "test", "other")],
        ignore_index=True,
    )
    result = assign_splits(rows)
    assert list(result["split"][:3]) == ["left-out"] * 3
    assert list(result["split"][20:]) == ["test"] * 8
    assert (result["split"] == "validation").sum() == 1  # two of 20 drawn, one of them leaves too
    assert set(result["split"][3:20]) == {"train", "validation"}


def test_given_validation_and_test_are_kept():
    """Test wins over validation, validation over train; nothing is drawn from the files given."""
    rows = pandas.concat(
        [make({"a": 4}), make({"a": 3}, "validation"), make({"a": 2}, "test")], ignore_index=True
    )
    assert list(assign_splits(rows)["split"]) == [
        *["left-out"] * 3, "train", *["left-out"] * 2, "validation", "test", "test",
    ]  # fmt: skip


def test_the_given_rows_are_not_changed():
    """The caller's table stays as it was."""
    rows = make({"a": 10})
    assign_splits(rows)
    assert set(rows["split"]) == {"train"}


def test_rows_without_label_are_split_too():
    """Validation finds them later; here they are one more label."""
    rows = make({"a": 10}).assign(label=None)
    assert (assign_splits(rows)["split"] == "test").sum() == 2


def test_digest_text_is_of_the_normalised_text():
    """Worked out by hand; a pair is not the two texts run together."""
    assert digest_text(" A\tb ") == hashlib.sha256(b"a b").hexdigest()[:32]
    assert digest_text(None) == digest_text("")
    assert digest_text("a", "b") == hashlib.sha256(b"a\x1fb").hexdigest()[:32]
    assert digest_text("ab", "") != digest_text("a", "b")
    assert digest_text("\ud800") != digest_text("")
