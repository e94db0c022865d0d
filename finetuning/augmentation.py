"""Random changes of training images, as tensor operations; drawn from torch's generator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from finetuning.config import Augmentation

WHITE = 255.0


def augment(images: Tensor, settings: Augmentation) -> Tensor:
    """Flip, turn, shift and brighten each image by its own draw.

    Args:
        images: (batch, channels, side, side), 0 to 255.
        settings: The pipeline file's training.augmentation.

    Returns:
        fp32 of the same shape where anything is asked for, else the images themselves. What comes
        in from beyond an edge repeats the edge.
    """
    moved = settings.shift or settings.rotation
    if settings.flip:
        mirrored = torch.rand(len(images)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if moved:
        images = _move(images.float(), settings.shift, settings.rotation)
    if settings.brightness:
        factors = 1 + settings.brightness * _draw(len(images))
        images = (images.float() * factors[:, None, None, None]).clamp(0, WHITE)
    return images


def mix(images: Tensor, labels: Tensor, classes: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018, arXiv 1710.09412): each image and target with another of the batch.

    Args:
        images: (batch, channels, side, side), 0 to 255.
        labels: (batch,) class numbers.
        classes: Number of classes.
        alpha: Both parameters of the Beta distribution that one share a batch is drawn from.

    Returns:
        The images, fp32, and each class's share, (batch, classes).
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    other = torch.randperm(len(images))
    targets = functional.one_hot(labels, classes).float()
    images = images.float()
    return (
        share * images + (1 - share) * images[other],
        share * targets + (1 - share) * targets[other],
    )


def _draw(count: int) -> Tensor:
    """Uniform between -1 and 1, (count,)."""
    return torch.rand(count) * 2 - 1


def _move(images: Tensor, shift: float, rotation: float) -> Tensor:
    """Turn each image around its middle, then shift it."""
    angle = _draw(len(images)) * math.radians(rotation)
    cosine, sine = angle.cos(), angle.sin()
    # In affine_grid's coordinates a side is 2 long.
    across, down = (2 * shift * _draw(len(images)) for _ in range(2))
    rows = torch.stack([cosine, -sine, across, sine, cosine, down], dim=1)
    grid = functional.affine_grid(
        rows.view(-1, 2, 3), list(images.shape), align_corners=False
    )  # (batch, side, side, 2)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
