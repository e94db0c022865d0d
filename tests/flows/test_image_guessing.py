"""`tunesmith init` for images: class folders, splits, tables of paths, and what is none of them."""

from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from finetuning.errors import InputError
from finetuning.images import read
from finetuning.pipelines import load_pipeline
from finetuning.snapshots import take_snapshot
from flows.beginning import begin_pipeline, describe_beginning
from tasks import versioning
from tests.support import begin_repository

pytestmark = pytest.mark.usefixtures("own_dvc")


@pytest.fixture
def root(tmp_path):
    """An empty project in a git repository."""
    return begin_repository(tmp_path / "project")


def draw(path, number, size=(40, 30)):
    """An image that no other number has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def make_folder(place, **classes):
    """A folder of class folders with so many images each."""
    for label, count in classes.items():
        for number in range(count):
            draw(place / label / f"{number}.png", crc32(f"{place}/{label}/{number}".encode()))
    return place


def load(root, name):
    """The pipeline that was made, whose data is versioned."""
    pipeline = load_pipeline(root / "pipelines" / f"{name}.yaml")
    assert versioning.resolve(root, pipeline.data.path).committed
    return pipeline


def refusal(root, data):
    """What the refusal says; nothing may be made by it."""
    with pytest.raises(InputError) as caught:
        begin_pipeline(root, "signs", data)
    assert not (root / "pipelines").exists()
    assert not (root / "data").exists()
    return str(caught.value)


def test_class_folders_become_a_pipeline(root, tmp_path):
    """They are copied under train/, and the file's guesses are what was found."""
    source = make_folder(tmp_path / "photos", cat=12, dog=24)
    (source / "cat" / "Thumbs.db").write_bytes(b"x")
    result = begin_pipeline(root, "signs", source)
    assert (result["labels"], result["rows"]) == ({"dog": 24, "cat": 12}, 36)
    pipeline = load(root, "signs")
    assert pipeline.problem == "image-classification"
    assert (pipeline.data.train, pipeline.data.test) == ("train", None)
    assert pipeline.training.image_size == 64
    assert pipeline.gate.minimum == 0.67
    rows = read(root / "data/signs", "train", "data.train", pipeline.data.columns)[1]
    assert len(rows) == 36
    copied = root / "data/signs/train/cat/3.png"
    assert copied.read_bytes() == (source / "cat/3.png").read_bytes()
    snapshot = take_snapshot(root / "data/signs", pipeline.data, pipeline.problem)
    assert set(snapshot["split"]) == {"train", "validation", "test"}
    assert "image  'image', 36 rows" in describe_beginning(result)
    written = (root / "pipelines/signs.yaml").read_text()
    assert "  # validation and test are split off train, stratified by label\n" in written


def test_splits_are_taken_as_they_are(root, tmp_path):
    """Folders train, val and test that hold class folders; labels are counted in train alone."""
    for split, count in (("train", 10), ("val", 2), ("test", 3)):
        make_folder(tmp_path / "photos" / split, cat=count, dog=count)
    result = begin_pipeline(root, "signs", tmp_path / "photos")
    assert result["labels"] == {"cat": 10, "dog": 10}
    data = load(root, "signs").data
    assert (data.train, data.validation, data.test) == ("train", "val", "test")
    assert len(versioning.hash_folder(root, "data/signs")) == 30


def test_a_class_may_be_named_train(root, tmp_path):
    """Where it holds images itself."""
    make_folder(tmp_path / "vehicles", train=10, car=10)
    result = begin_pipeline(root, "signs", tmp_path / "vehicles")
    assert result["labels"] == {"car": 10, "train": 10}
    assert (root / "data/signs/train/train/0.png").is_file()


def test_a_table_of_paths_becomes_a_pipeline(root, tmp_path):
    """Its images come along under their own paths; what is missing or damaged is said."""
    lines = ["photo,camera,class"]
    for number in range(60):
        draw(tmp_path / "photos" / "raw" / f"{number}.jpg", number, (300, 200))
        lines.append(f"raw/{number}.jpg,{'ab'[number % 3 == 0]},{'cd'[number % 2]}")
    (tmp_path / "photos/raw/59.jpg").write_bytes(b"damaged")
    (tmp_path / "photos/unused.jpg").write_bytes(b"x")
    lines.append("raw/gone.jpg,a,c")
    (tmp_path / "photos/list.csv").write_text("\n".join(lines) + "\n")
    result = begin_pipeline(root, "signs", tmp_path / "photos/list.csv")
    assert result["columns"] == {"image": "photo", "label": "class"}
    assert "paths that lead to no file: 1 (validation will name them)" in result["messages"]
    said = "1 of 60 files looked at cannot be read as an image: 'raw/59.jpg' (not an image of"
    assert any(message.startswith(said) for message in result["messages"])
    pipeline = load(root, "signs")
    assert (pipeline.data.train, pipeline.data.slices) == ("train.csv", ("camera",))
    assert (pipeline.data.columns.image, pipeline.data.columns.label) == ("photo", "class")
    assert pipeline.training.image_size == 224
    files = versioning.hash_folder(root, "data/signs")
    assert len(files) == 61
    assert {"train.csv", "raw/0.jpg"} < files.keys()
    snapshot = take_snapshot(root / "data/signs", pipeline.data, pipeline.problem)
    assert int(snapshot["image.fault"].notna().sum()) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [("/photos/{}.png", "relative"), ("../{}.png", "inside it"), ("x/{}.png", "no image at any")],
)
def test_paths_that_lead_elsewhere_are_refused(root, tmp_path, path, said):
    """Absolute ones, those that leave the table's folder, and those that lead nowhere."""
    lines = [f"{path.format(number)},{'ab'[number % 2]}" for number in range(20)]
    (tmp_path / "list.csv").write_text("\n".join(["image,label", *lines]))
    assert said in refusal(root, tmp_path / "list.csv")


def test_a_column_with_a_name_of_ours_is_refused(root, tmp_path):
    """The first run could not read it."""
    (tmp_path / "list.csv").write_text("file,label\n" + "a.png,x\nb.png,y\n" * 10)
    assert "Rename it" in refusal(root, tmp_path / "list.csv")


def test_folders_that_hold_nothing_to_learn_are_refused(root, tmp_path):
    """Empty, loose images, one label alone, and files that are no images."""
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "loose" / "1.png", 1)
    make_folder(tmp_path / "one", cat=3)
    for label in ("a", "b"):
        (tmp_path / "texts" / label).mkdir(parents=True)
        (tmp_path / "texts" / label / "1.txt").write_text("some text")
    for name, said in (
        ("empty", "one folder a label"), ("loose", "one folder a label"),
        ("one", "at least 2 labels"), ("texts", "no images, such as 'a/1.txt'"),
    ):  # fmt: skip
        assert said in refusal(root, tmp_path / name)


@pytest.mark.parametrize("linked", ["cat/secret.png", "owl"])
def test_links_that_lead_out_are_not_copied(root, tmp_path, linked):
    """A file or a whole class that is a link to elsewhere is named; nothing is made."""
    source = make_folder(tmp_path / "photos", cat=12, dog=12)
    outside = make_folder(tmp_path / "private", owl=3) / "owl"
    target = outside / "0.png" if linked.endswith(".png") else outside
    (source / linked).symlink_to(target)
    assert "links that lead out of the folder" in refusal(root, source)


def test_a_table_that_names_a_link_out_is_refused(root, tmp_path):
    """As one with `..` in it."""
    source = make_folder(tmp_path / "photos", cat=12, dog=12)
    (source / "out.png").symlink_to(make_folder(tmp_path / "private", owl=1) / "owl" / "0.png")
    rows = [f"{label}/{number}.png,{label}" for label in ("cat", "dog") for number in range(12)]
    (source / "list.csv").write_text("\n".join(["image,label", "out.png,cat", *rows]))
    assert "1 paths such as 'out.png'" in refusal(root, source / "list.csv")
