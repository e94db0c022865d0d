"""From a folder of class folders, or a table of image paths, to a first pipeline file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetuning.advice import Size, advise
from finetuning.config import Columns
from finetuning.images import measure_image, read
from finetuning.places import locate
from finetuning.snapshots import PREDICTED, RESERVED
from flows.guessing import guess_label, list_labels, look_at, may_be_slice, quote, refuse, show
from tasks.data_state import DATA

if TYPE_CHECKING:
    import pandas

BASE = "microsoft/resnet-18"
BASE_SIZE = Size(None, 11_000_000)
BASE_SIDE = 224  # pixels that the base model was trained on
ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm"),
)
SPLITS = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
LOOKED_AT = 200  # images that are opened
SMALLEST_INPUT = 64  # pixels: the base model halves an image five times
MOST_SLICES = 3


@dataclass(frozen=True)
class ImageGuess:
    """What a folder or a table seems to hold."""

    files: Mapping[str, str]
    """Key of the pipeline file's data (train, validation, test) -> name in the new folder."""
    copied: Mapping[str, Path]
    """Name in the new folder -> the file to copy there."""
    columns: Mapping[str, str]
    """The columns image and label."""
    slices: tuple[str, ...]
    counts: dict[str, int]
    """Label -> rows, the most frequent first."""
    side: int
    """Pixels that 95 % of the images stay below on their longer side."""
    unread: tuple[str, ...]
    """Of the images that were opened, those that cannot be read, each with the reason."""
    looked_at: int
    missing: int
    """Paths of the table that lead to no file."""


def find_image_column(table: pandas.DataFrame) -> str | None:
    """The column whose values are paths of images, by their endings."""
    for name in table.columns:
        filled = table[name].dropna()
        if len(filled) and filled.str.lower().str.endswith(ENDINGS).mean() > 0.9:
            return str(name)
    return None


def guess_folder(folder: Path) -> ImageGuess:
    """Look at a folder of class folders, or of splits that hold those.

    Raises:
        InputError: It holds no images in class folders, or those of one label only.
    """
    files = _find_splits(folder)
    columns = Columns.model_validate({})
    labels: list[str] = []
    paths: list[str] = []
    for name in files.values() or ["."]:
        for path, label in read(folder, name, "--data", columns)[1]:
            if locate(folder, str(path)) is None:
                remedy = "Copy the file there: links that lead out of the folder are not followed."
                raise refuse(f"the link {show(str(path))}", remedy)
            paths.append(str(path))
            labels += [str(label)] if name in (".", "train") else []
    if len(set(labels)) < 2:
        found = f"images of one label only, {show(labels[0])}"
        raise refuse(found, "Classification needs a folder for each of at least 2 labels.")
    inside = "" if files else "train/"
    return ImageGuess(
        files or {"train": "train"},
        {f"{inside}{path}": folder / path for path in paths},
        {"image": columns.image, "label": columns.label},
        (),
        _count(labels),
        *_look_at_images(folder, paths),
        missing=0,
    )


def _find_splits(folder: Path) -> dict[str, str]:
    """Key of the pipeline file's data -> folder that holds its class folders; often none."""
    names = {path.name for path in folder.iterdir() if path.is_dir()}
    # A class may be named train, too: of railways.
    if "train" not in names or not any(path.is_dir() for path in (folder / "train").iterdir()):
        return {}
    found = {key: [name for name in known if name in names] for key, known in SPLITS.items()}
    return {"train": "train"} | {key: there[0] for key, there in found.items() if there}


def guess_table(source: Path, table: pandas.DataFrame, image: str) -> ImageGuess:
    """Look at a table of image paths, which are relative to the folder that it lies in.

    Raises:
        InputError: No column looks like a label, or the paths lead out of the folder or nowhere.
    """
    if image in (*RESERVED, *PREDICTED):
        found = f"the column {show(image)} with paths of images"
        raise refuse(found, "Rename it: Tunesmith uses that name itself.")
    columns = {str(name): look_at(table[name], str(name)) for name in table.columns}
    others = [one for name, one in columns.items() if name != image and name not in RESERVED]
    label = guess_label(others, columns)
    slices = [
        one.name
        for one in others
        if one.name != label.name and one.distinct >= 2 and may_be_slice(table, one, label)
    ]
    paths = list(dict.fromkeys(table[image].dropna()))
    strange = [one for one in paths if locate(source.parent, one) is None]
    if strange:
        remedy = f"Write paths that are relative to {source.parent}, and lead to files inside it."
        raise refuse(f"{len(strange)} paths such as {show(strange[0])}", remedy)
    there = [one for one in paths if (source.parent / one).is_file()]
    if not there:
        remedy = f"Paths are relative to the table's folder, {source.parent}."
        raise refuse(f"no image at any path of {show(image)}, such as {show(paths[0])}", remedy)
    file = f"train{source.suffix.lower()}"
    return ImageGuess(
        {"train": file},
        {file: source, **{one: source.parent / one for one in there}},
        {"image": image, "label": label.name},
        tuple(slices[:MOST_SLICES]),
        _count([str(value) for value in table[label.name].dropna()]),
        *_look_at_images(source.parent, there),
        missing=len(paths) - len(there),
    )


def _count(labels: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0])))


def _look_at_images(place: Path, paths: Sequence[str]) -> tuple[int, tuple[str, ...], int]:
    """Pixels of the longer side, images that cannot be read, and images that were opened."""
    chosen = paths[:: max(1, len(paths) // LOOKED_AT)]
    measured = {path: measure_image(place, path) for path in chosen}
    unread = tuple(f"{show(path)} ({one.fault})" for path, one in measured.items() if one.fault)
    found = measured.values()
    sides = sorted(max(one.width, one.height or 0) for one in found if one.width is not None)
    if not sides:
        remedy = f"Give images, such as {', '.join(ENDINGS[:4])}."
        raise refuse(f"files that are no images, such as {show(paths[0])}", remedy)
    return sides[int(0.95 * (len(sides) - 1))], unread, len(chosen)


def write_image_pipeline(name: str, source: str, guess: ImageGuess) -> str:
    """The pipeline file's text: every guess with its reason, to be checked."""
    rows = sum(guess.counts.values())
    strategy, epochs, rate = advise("image-classification", rows, len(guess.counts), BASE_SIZE)
    largest, most = next(iter(guess.counts.items()))
    share = most / rows
    # The nearest multiple of 32 that is not below the images: the base model halves five times.
    side = min(BASE_SIDE, max(SMALLEST_INPUT, -(-guess.side // 32) * 32))
    missing = [key for key in ("validation", "test") if key not in guess.files]
    split, verb = " and ".join(missing), "is" if len(missing) == 1 else "are"
    lines = [
        f"# Made by `tunesmith init` from {show(source)}, {rows} images to learn from.",
        '# Lines with "check" are guesses.',
        f"name: {quote(name)}",
        "problem: image-classification",
        "data:",
        f"  path: {DATA}/{quote(name)}",
        *(f"  {key}: {quote(file)}" for key, file in guess.files.items()),
        *([f"  # {split} {verb} split off train, stratified by label"] if split else []),
        f"  columns: {{image: {quote(guess.columns['image'])}, "
        f"label: {quote(guess.columns['label'])}}}"
        + ("  # check" if "." in guess.files["train"] else "  # what class folders become"),
        "  labels: null  # learned from the data; as found here, with their images:",
        *list_labels(guess.counts),
        f"  slices: [{', '.join(map(quote, guess.slices))}]  # evaluated value by value",
        "model:",
        f"  base: {BASE}  # 11 million parameters, trained on photographs; downloaded once.",
        "  # Without a network, a folder with config.json and model.safetensors, or from nothing:",
        "  # base: package:finetuning/architectures/resnet20, with strategy: {kind: scratch}",
        "strategy:",
        f"  kind: {strategy.value}  # {strategy.reason}",
        "training:",
        f"  epochs: {epochs.value}  # {epochs.reason}",
        f"  learning_rate: {rate.value:.1e}  # {rate.reason}",
        f"  image_size: {side}  # check: 95 % of the images have at most {guess.side} pixels a "
        f"side; the base model was trained on {BASE_SIDE}",
        "  augmentation: {shift: 0.1}  # check: flip: true, where a mirrored image keeps its label",
        "gate:",
        "  metric: accuracy",
        *(["  # One label prevails: macro_f1 may say more than accuracy."] if share > 0.8 else []),
        f"  minimum: {min(round(share, 2), 0.99):.2f}  # {show(largest)} holds {share:.1%} of the "
        "images: always answering it scores this. Raise it.",
    ]
    return "\n".join(lines) + "\n"
