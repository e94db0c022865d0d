"""Labelled images as arrays: decoded and scaled once, changed at random while training."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.errors import wrong
from finetuning.images import UnreadableImageError, digest_image, find_image, open_image
from finetuning.labels import balance, weigh_targets
from finetuning.pieces import Pieces, digest_cells
from finetuning.progress import track

if TYPE_CHECKING:
    import pandas
    import torch

    from finetuning.config import Augmentation, Columns, Training

# What an image costs, in the tokens that batches without gradients are cut by: 32 in a batch.
TOKENS_AN_IMAGE = 32
PREPROCESSOR = "preprocessor_config.json"  # transformers' name for it
DEFAULT_SIDE = 224  # pixels: what base models are trained on that do not say
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of its pixels


@dataclass(frozen=True)
class ImageInput:
    """What a model takes: squares of `side` pixels, and each channel's mean and deviation."""

    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def read_input(folder: Path) -> ImageInput:
    """What the model in a folder takes, as its preprocessor_config.json and config.json say.

    Raises:
        InputError: It is a model of timm, which cannot be imported here.
    """
    config, said = _read(folder / "config.json"), _read(folder / PREPROCESSOR)
    if isinstance(timm := config.get("pretrained_cfg"), dict):
        _check_timm(str(config.get("architecture")))
        config |= {
            "num_channels": config.get("num_channels") or (timm.get("input_size") or [3])[0],
            "image_size": (timm.get("input_size") or [None])[-1],
            "image_mean": timm.get("mean"),
            "image_std": timm.get("std"),
        }
    channels = int(config.get("num_channels", 3))
    mean, deviation = (values if channels == 3 else (0.5,) * channels for values in IMAGENET)
    return ImageInput(
        side=_find_side(said.get("size")) or _find_side(config.get("image_size")) or DEFAULT_SIDE,
        mean=tuple(said.get("image_mean") or config.get("image_mean") or mean),
        deviation=tuple(said.get("image_std") or config.get("image_std") or deviation),
    )


def _check_timm(architecture: str) -> None:
    try:
        importlib.import_module("timm")
    # A torchvision of another build than torch's raises whatever it likes at import.
    except Exception as error:
        reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
        remedy = (
            f"It is a model of timm, which cannot be imported here ({reason}). Install the extra "
            "'vision', with a torchvision of the same build as torch; or take a base of "
            "transformers, or a VGG or ResNet of package:finetuning/architectures."
        )
        raise wrong("model.base", architecture, remedy) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _find_side(size: Any) -> int | None:
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    if isinstance(size, list | tuple) and size:
        size = size[0]
    return int(size) if isinstance(size, int | float) else None


@dataclass(frozen=True)
class ImageRows:
    """Scaled images of one split.

    pixels: uint8, (rows, channels, side, side). labels: int64, (rows,), -1 where unknown.
    augmentation: what `draw` changes; None changes nothing. weights: fp32, (classes,), what a row
    of each class counts for. states: fp32, (rows, and the shape of one), what leaves the frozen
    layers where that is kept; none of the three is ever written to disk.
    """

    pixels: np.ndarray
    labels: np.ndarray
    augmentation: Augmentation | None = None
    weights: np.ndarray | None = None
    states: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """What each row costs, in tokens, (rows,)."""
        return np.full(len(self), TOKENS_AN_IMAGE)

    def take(self, chosen: np.ndarray) -> ImageRows:
        """Some of the rows, in the order in which they are named; without states."""
        few = replace(self, pixels=self.pixels[chosen], labels=self.labels[chosen])
        return replace(few, states=None)

    def collate(self, chosen: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """The chosen images as they are: pixel_values, (batch, channels, side, side) uint8.

        Where states are kept they come in the images' place, and pixel_values have no rows: so what
        lies below the kept layers has nothing to compute.
        """
        import torch

        places = np.asarray(chosen)
        if self.states is not None:
            none = torch.empty((0, *self.pixels.shape[1:]), dtype=torch.uint8)
            return {"pixel_values": none, "states": self.states[torch.from_numpy(places)]}
        return {"pixel_values": torch.from_numpy(self.pixels[places])}

    def draw(
        self, chosen: Sequence[int] | np.ndarray, classes: int
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """A training batch, see `problem.Rows.draw`; changed images are fp32, 0 to 255."""
        import torch

        from finetuning.augmentation import augment, mix

        batch = self.collate(chosen)
        targets = torch.from_numpy(self.labels[np.asarray(chosen)])
        if self.augmentation is not None:
            images = augment(batch["pixel_values"], self.augmentation)
            if self.augmentation.mixup:
                images, targets = mix(images, targets, classes, self.augmentation.mixup)
            batch = {"pixel_values": images}
        if self.weights is not None:
            targets = weigh_targets(targets, self.weights, classes)
        return batch, targets


def save_rows(rows: ImageRows, path: Path) -> None:
    """Write encoded rows as one safetensors file."""
    from safetensors.numpy import save_file

    save_file({"pixels": rows.pixels, "labels": rows.labels}, path)


def load_rows(path: Path) -> ImageRows:
    """Read what `save_rows` wrote."""
    from safetensors.numpy import load_file

    return ImageRows(**load_file(path))


def vary(rows: ImageRows, training: Training) -> ImageRows:
    """The training rows with the changes and weights that are asked for."""
    weights = None if training.class_weights == "none" else balance(rows.labels)
    changes = any(training.augmentation.model_dump().values())
    asked = training.augmentation if changes else None
    return replace(rows, augmentation=asked, weights=weights)


@dataclass(frozen=True)
class ImageEncoder:
    """Scales images to a model's input."""

    input: ImageInput
    column: str
    data: Path | None

    def encode(
        self,
        rows: pandas.DataFrame,
        labels: np.ndarray,
        title: str = "encoding",
        learning: bool = False,
    ) -> ImageRows:
        """See `problem.Encoder`.

        Raises:
            ValueError: An image cannot be read; with its place in the table.
        """
        return self.join(self.cut(rows, title), labels, learning)

    def digest(self, rows: pandas.DataFrame) -> list[bytes]:
        """See `pieces.Maker`; what an image becomes is known by the digest of its pixels."""
        # Without the column this must fail: all images would pass for one.
        return digest_cells(rows[["key"]], ["key"])

    def cut(self, rows: pandas.DataFrame, title: str = "encoding") -> Pieces:
        """Decode the images and scale each to a square, whatever its shape.

        A cell is a path in the data set's folder, or the bytes of an image file.

        Raises:
            ValueError: An image cannot be read, or its pixels are not those that its key was made
                of; with its place in the table.
        """
        channels, side = len(self.input.mean), self.input.side
        pixels = np.empty((len(rows), channels, side, side), np.uint8)
        cells = enumerate(rows[self.column])
        keys = rows["key"].tolist() if self.data is not None and "key" in rows else None
        for place, cell in track(cells, title, len(rows)):
            try:
                image = open_image(self._read_cell(cell))
                if keys is not None and digest_image(image) != keys[place]:
                    raise UnreadableImageError("it was changed since the data was read: run again")
            except UnreadableImageError as error:
                raise ValueError(f"{self.column}, row {place + 1}: {error}") from None
            image = image.convert("L" if channels == 1 else "RGB")
            scaled = np.asarray(image.resize((side, side), _BILINEAR))
            pixels[place] = scaled.reshape(side, side, channels).transpose(2, 0, 1)
        return Pieces({"pixels": pixels}, {"pixels": np.arange(len(rows) + 1)})

    def join(
        self,
        pieces: Pieces,
        labels: np.ndarray,
        learning: bool = False,  # noqa: ARG002 - learned from or answered, an image is the same
    ) -> ImageRows:
        """See `problem.Encoder`."""
        return ImageRows(pieces.values["pixels"], labels)

    def _read_cell(self, cell: Any) -> bytes:
        if isinstance(cell, bytes | bytearray):
            return bytes(cell)
        # Who calls a served model must not be able to have it read files.
        if self.data is None or not isinstance(cell, str):
            raise UnreadableImageError("give the bytes of an image file")
        return find_image(self.data, cell)

    def save(self, folder: Path) -> None:
        """Write the input as transformers' image processors read it."""
        content = {
            "do_resize": True,
            "size": {"height": self.input.side, "width": self.input.side},
            "resample": _BILINEAR,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.input.mean),
            "image_std": list(self.input.deviation),
        }
        (folder / PREPROCESSOR).write_text(json.dumps(content, indent=1), "utf-8")


_BILINEAR = 2  # Pillow's number; it averages over all pixels when it scales down


def open_encoder(
    folder: Path, columns: Columns, training: Training, data: Path | None = None
) -> ImageEncoder:
    """The encoder of a base model, or of a model that was trained from one."""
    taken = read_input(folder)
    if training.image_size is not None:
        taken = replace(taken, side=training.image_size)
    return ImageEncoder(taken, columns.image, data)


def find_usable(rows: pandas.DataFrame, columns: Columns) -> pandas.Series[bool]:
    """The rows whose image can be read."""
    return rows[columns.image].notna() & rows["image.fault"].isna()


def make_example(rows: pandas.DataFrame, columns: Columns, data: Path) -> pandas.DataFrame:
    """The rows with the images' bytes in place of their paths."""
    return rows.assign(**{columns.image: [find_image(data, path) for path in rows[columns.image]]})
