"""What is expected of images: each fault in the row that has it, and none in sound rows."""

import pandas

from finetuning.config import Columns, Data
from finetuning.image_expectations import list_expectations, prepare
from finetuning.images import LARGEST_IMAGE
from tasks.validation import validate_rows

SOUND = {"width": "40", "height": "30", "mode": "colour", "contrast": "200", "fault": None}


def make_row(number, split, label, **changes):
    """A row as the snapshot hands it on, of an image without a fault but these."""
    measured = {f"image.{name}": value for name, value in (SOUND | changes).items()}
    return {
        "file": "train", "row": number, "split": split, "key": f"key {number}",
        "image": f"{label}/{number}.png", "label": label, **measured,
    }  # fmt: skip


def make_rows(*changes):
    """Sound rows, 12 for each of two labels in train and 2 in each other split; then the others."""
    places = [("train", 12), ("validation", 2), ("test", 2)]
    sound = [(split, label) for split, count in places for label in "ab" for _ in range(count)]
    rows = [make_row(number, split, label) for number, (split, label) in enumerate(sound, 1)]
    rows += [
        make_row(len(sound) + number, "train", "a", **change)
        for number, change in enumerate(changes, 1)
    ]
    return pandas.DataFrame(rows, dtype=object)


def failures(*changes):
    """What fails where these rows stand beside sound ones: name -> (severity, rows)."""
    data = Data.model_validate({"path": "data/x"})
    report = validate_rows(make_rows(*changes), data, "image-classification")
    return {
        item.name: (item.severity, item.unexpected_count)
        for item in report.outcomes
        if not item.success
    }


def test_sound_images_pass():
    """Every expectation is asked, and none fails."""
    assert failures() == {}
    assert len(list_expectations(Data(path="data/x"))) > 10


def test_each_fault_is_found_where_it_is():
    """The row that is too small, too long, of one colour, or grey among colour."""
    for change, name in (
        ({"width": "7", "height": "9"}, "image has at least 8 pixels a side"),
        ({"width": "121"}, "no image is more than 4 times longer than wide, or wider than long"),
        ({"contrast": "0"}, "image is not of one colour throughout"),
    ):
        assert failures(change) == {name: ("warning", 1)}
    assert list(failures({"mode": "grey"})) == ["images are all grey or all in colour"]


def test_a_bomb_and_unreadable_images_are_critical():
    """One huge image stops a run; unreadable ones do where they are more than one in a hundred."""
    bomb = f"more than {LARGEST_IMAGE:,} pixels"
    nothing = {"width": None, "height": None, "mode": None, "contrast": None}
    found = failures({"fault": bomb, **nothing})
    assert {severity for severity, _ in found.values()} == {"critical"}
    assert list(found) == ["no image has more than 50,000,000 pixels"]
    found = failures({"fault": "damaged or cut off", **nothing})
    assert ("critical", 1) in found.values()
    assert all("can be read" in name for name in found)


def test_what_is_shown_names_the_file_and_its_fault():
    """A row is found again by its path."""
    nothing = {"width": None, "height": None, "mode": None, "contrast": None}
    rows = make_rows({"fault": "damaged or cut off", **nothing})
    prepared = prepare(rows, Columns.model_validate({}))
    assert prepared["tunesmith.unreadable"].dropna().tolist() == ["a/33.png: damaged or cut off"]
    assert prepared["tunesmith.too large"].isna().all()
    assert prepared["tunesmith.ratio"].tolist()[0] == 40 / 30
