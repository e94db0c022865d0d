"""Images as arrays, and what is changed in them while training."""

import io
import json
import sys
from types import ModuleType

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from finetuning.augmentation import augment, mix
from finetuning.config import Augmentation, Columns, Training
from finetuning.errors import InputError
from finetuning.pixels import (
    PREPROCESSOR,
    ImageInput,
    ImageRows,
    load_rows,
    open_encoder,
    read_input,
    save_rows,
    vary,
)  # fmt: skip

COLUMNS = Columns.model_validate({})


def write_model(folder, config, preprocessor=None):
    """A base model's folder as far as an encoder reads it."""
    (folder / "config.json").write_text(json.dumps(config))
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def to_bytes(pixels):
    """A PNG file's bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def encode_one(folder, pixels, **training):
    """One image's array, as the served model would encode it."""
    encoder = open_encoder(folder, COLUMNS, Training.model_validate(training))
    return encoder.encode(pandas.DataFrame({"image": [to_bytes(pixels)]}), np.array([-1])).pixels[0]


@pytest.mark.parametrize(
    ("config", "preprocessor", "expected"),
    [
        ({}, None, (224, (0.485, 0.456, 0.406))),
        ({"image_size": 32}, None, (32, (0.485, 0.456, 0.406))),
        ({"image_size": 32}, {"size": 64, "image_mean": [0.5] * 3}, (64, (0.5,) * 3)),
        ({}, {"size": {"height": 48, "width": 48}}, (48, (0.485, 0.456, 0.406))),
        ({}, {"size": {"shortest_edge": 96}}, (96, (0.485, 0.456, 0.406))),
        ({"num_channels": 1}, None, (224, (0.5,))),
    ],
)
def test_a_model_s_input_is_read_from_its_files(tmp_path, config, preprocessor, expected):
    """The preprocessor's word before the configuration's, ImageNet's where there is none."""
    found = read_input(write_model(tmp_path, config, preprocessor))
    assert (found.side, found.mean) == expected


def test_an_image_is_scaled_to_a_square(tmp_path):
    """Halved, each pixel is a mean of its neighbours, most of it of its own four."""
    write_model(tmp_path, {"image_size": 8, "num_channels": 1})
    pixels = np.repeat(np.repeat(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8), 2, 0), 4, 1)
    found = encode_one(tmp_path, pixels)
    assert found.shape == (1, 8, 8)
    np.testing.assert_allclose(found[0, 1:-1, 1:-1], pixels[2:-2:2, 4:-4:4], atol=1)
    assert encode_one(tmp_path, pixels, image_size=16).shape == (1, 16, 16)


def test_grey_and_colour_fit_the_model(tmp_path):
    """Grey stands three times for a colour model; colour becomes grey for a grey one."""
    grey = np.full((8, 8), 100, np.uint8)
    write_model(tmp_path, {"image_size": 8})
    assert encode_one(tmp_path, grey).tolist() == np.full((3, 8, 8), 100).tolist()
    write_model(tmp_path, {"image_size": 8, "num_channels": 1})
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    assert encode_one(tmp_path, red).tolist() == np.full((1, 8, 8), 60).tolist()  # 0.299 of 200


def test_a_served_model_reads_no_files(tmp_path):
    """A path in a request is refused, even of an image that is there; so is damage, by its row."""
    write_model(tmp_path, {"image_size": 8})
    (tmp_path / "a.png").write_bytes(to_bytes(np.zeros((8, 8), np.uint8)))
    encoder = open_encoder(tmp_path, COLUMNS, Training.model_validate({}))
    for cell, said in ((str(tmp_path / "a.png"), "give the bytes"), (b"x", "known format")):
        with pytest.raises(ValueError, match=f"row 1: .*{said}"):
            encoder.encode(pandas.DataFrame({"image": [cell]}), np.array([-1]))


def test_encoded_images_can_be_kept(tmp_path):
    """What is read is what was written, and an encoder opened on what it saved is the same."""
    rows = ImageRows(np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4), np.array([1, 0]))
    save_rows(rows, tmp_path / "rows.safetensors")
    found = load_rows(tmp_path / "rows.safetensors")
    np.testing.assert_array_equal(found.pixels, rows.pixels)
    assert found.labels.tolist() == [1, 0]
    write_model(tmp_path, {"image_size": 8})
    encoder = open_encoder(tmp_path, COLUMNS, Training.model_validate({"image_size": 40}))
    encoder.save(tmp_path)
    assert open_encoder(tmp_path, COLUMNS, Training.model_validate({})).input == encoder.input


def make_images(count=6, side=9):
    """Images of noise."""
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def settings(**changes):
    """Augmentation settings."""
    return Augmentation.model_validate(changes)


def test_nothing_is_changed_unasked():
    """The very images, to the byte; and rows are varied by what the pipeline file says."""
    images = make_images()
    assert augment(images, settings()) is images
    rows = ImageRows(images.numpy(), np.zeros(6, np.int64))
    training = Training.model_validate({"augmentation": {"flip": True}})
    assert vary(rows, training).augmentation == settings(flip=True)


def test_flip_mirrors_some():
    """Each image is itself or its mirror image, and both occur."""
    images = make_images(40)
    found = augment(images, settings(flip=True))
    same = (found == images).flatten(1).all(1)
    mirrored = (found == images.flip(-1)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 0 < int(mirrored.sum()) < 40


def test_a_shift_moves_by_at_most_its_share():
    """The centre of a bright square moves, by at most a tenth of the side."""
    images = torch.zeros(50, 1, 40, 40)
    images[:, :, 16:24, 16:24] = 255
    found = augment(images, settings(shift=0.1))[:, 0]
    centres = (found.sum(1) * torch.arange(40)).sum(1) / found.sum((1, 2))
    moved = (centres - 19.5).abs()
    assert float(moved.max()) <= 4.01
    assert float(moved.max()) > 2


def test_half_a_turn_by_hand(monkeypatch):
    """Turned by 180 degrees an image is mirrored both ways."""
    monkeypatch.setattr("finetuning.augmentation._draw", torch.ones)
    images = make_images()
    found = augment(images, settings(rotation=180))
    torch.testing.assert_close(found, images.flip(-1).flip(-2).float(), atol=0.05, rtol=0)


def test_brightness_by_hand(monkeypatch):
    """Brightened by a fifth, and never above white."""
    monkeypatch.setattr("finetuning.augmentation._draw", torch.ones)
    images = torch.tensor([100.0, 250.0]).view(2, 1, 1, 1)
    found = augment(images, settings(brightness=0.2)).flatten().tolist()
    assert found == pytest.approx([120.0, 255.0])


def test_mixup_mixes_images_as_it_mixes_targets():
    """Images that are their own class number stay the mean of their targets."""
    labels = torch.arange(6)
    images = labels.view(6, 1, 1, 1).to(torch.uint8)
    found, targets = mix(images, labels, 6, 1.0)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    torch.testing.assert_close(targets @ torch.arange(6.0), found.flatten())
    assert int((targets > 0).sum(1).max()) == 2


def test_a_draw_depends_on_the_generator_alone():
    """The same seed, the same batch; another seed, another one."""
    rows = ImageRows(
        make_images().numpy(), np.arange(6), settings(shift=0.2, rotation=20, mixup=0.5, flip=True)
    )
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        batch, targets = rows.draw(np.array([5, 0, 2]), 6)
        drawn.append((batch["pixel_values"], targets))
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0][0], drawn[2][0])
    assert drawn[0][1].shape == (3, 6)


TIMM = {
    "architecture": "resnet18",
    "pretrained_cfg": {"input_size": [1, 64, 64], "mean": [0.3], "std": [0.2]},
}


def test_what_a_model_of_timm_takes(tmp_path, monkeypatch):
    """Its config.json says it one level deeper; what a preprocessor says goes before."""
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    assert read_input(tmp_path) == ImageInput(64, (0.3,), (0.2,))
    (tmp_path / PREPROCESSOR).write_text(json.dumps({"size": {"height": 96}}))
    assert read_input(tmp_path).side == 96


def test_timm_that_cannot_be_imported_is_said(tmp_path, monkeypatch):
    """Before anything is encoded, with the reason and the ways out."""
    monkeypatch.setitem(sys.modules, "timm", None)
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    with pytest.raises(InputError) as caught:
        read_input(tmp_path)
    assert "'resnet18'" in str(caught.value)
    assert "import of timm halted" in str(caught.value)
    assert "Install the extra 'vision'" in str(caught.value)


def test_rows_without_the_digest_of_their_pixels_are_no_rows(tmp_path):
    """Were a missing column as good as an empty one, every image would be taken for the first."""
    encoder = open_encoder(write_model(tmp_path, {"image_size": 8}), COLUMNS, Training())
    with pytest.raises(KeyError):
        encoder.digest(pandas.DataFrame({"image": ["a.png", "b.png"]}))
