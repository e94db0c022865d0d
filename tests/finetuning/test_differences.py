"""Which rows differ between two tables, against counts made by hand."""

import pandas

from finetuning.differences import compare_rows, compare_values, find_added, find_new


def table(*rows):
    """Rows as (key, label, split); the text is the key."""
    frame = pandas.DataFrame(rows, columns=["key", "label", "split"])
    return frame.assign(text=frame["key"])


def test_rows_are_matched_by_their_text():
    """One added, one removed, one relabelled, one moved; the one that stayed is none of them."""
    before = table(("stays", "a", "train"), ("goes", "a", "train"), ("turns", "a", "train"),
                   ("moves", "b", "train"))  # fmt: skip
    after = table(("moves", "b", "test"), ("turns", "b", "train"), ("comes", "b", "train"),
                  ("stays", "a", "train"))  # fmt: skip
    found = compare_rows(before, after)
    assert (found.added, found.removed, found.relabelled, found.moved) == (1, 1, 1, 1)
    assert (found.before, found.after) == (4, 4)
    assert found.examples == {
        "added": ["'comes' (b)"],
        "removed": ["'goes' (a)"],
        "relabelled": ["'turns' (a -> b)"],
    }


def test_repeated_texts_are_counted_row_by_row():
    """Three rows a, a, b become a, b, b, b: one is relabelled and one is added."""
    before = table(*(("t", name, "train") for name in "aab"))
    after = table(*(("t", name, "train") for name in "abbb"))
    found = compare_rows(before, after)
    assert (found.added, found.removed, found.relabelled) == (1, 0, 1)
    back = compare_rows(after, before)
    assert (back.added, back.removed, back.relabelled) == (0, 1, 1)


def test_the_same_rows_in_another_order_are_the_same():
    """Order counts for nothing; a missing label is a label."""
    before = table(("one", "a", "train"), ("two", None, "train"))
    found = compare_rows(before, before.iloc[::-1])
    assert not found
    assert compare_rows(before, before.assign(label=["a", "b"])).relabelled == 1


def test_new_rows_are_those_with_new_texts():
    """A text that stood before is not new, however it is labelled."""
    before, after = table(("one", "a", "train")), table(("one", "b", "train"), ("two", "a", "test"))
    assert list(find_new(before, after)["key"]) == ["two"]


def test_added_rows_are_those_that_are_counted():
    """Rows a, a, b become c, b, b, b, a: of the text one is relabelled, and two are added."""
    before = table(*(("t", name, "train") for name in "aab"))
    after = table(*(("t", name, "train") for name in "cbbba"), ("new", "a", "test"))
    found = find_added(before, after)
    assert len(found) == compare_rows(before, after).added == 3
    # One a and one b stood there; the other a became c.
    assert list(zip(found["key"], found["label"], strict=True)) == [
        *(("t", "b"), ("t", "b"), ("new", "a")),
    ]
    assert find_added(after, before).empty


def test_values_are_said_with_before_and_after():
    """A key that one side lacks is absent there; what is ignored is not looked at."""
    found = compare_values({"a": 1, "b": 2, "c": [1]}, {"a": 1, "b": 3, "d": "new"}, ["c"])
    assert [str(one) for one in found] == ["b: 2 -> 3", "d: (absent) -> new"]
