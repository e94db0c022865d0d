"""Convolutional networks that transformers lacks: VGG, and the small ResNets made for CIFAR.

A base model of these is a folder as transformers writes one: config.json with `model_type` and
`architecture`, and model.safetensors with the names of torchvision's VGG, or of the CIFAR ResNets
of akamaster/pytorch_resnet_cifar10. Their classifiers are not read: the features are the last
convolutions' outputs, which the head sees averaged over the image.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from finetuning.errors import wrong

# Simonyan and Zisserman 2015, arXiv 1409.1556, table 1: convolutions a stage.
VGG_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (64, 128, 256, 512, 512)
# He et al. 2016, arXiv 1512.03385, section 4.2: blocks a stage are (depth - 2) / 6.
RESNET_DEPTHS = (20, 32, 44, 56, 110)
RESNET_WIDTHS = (16, 32, 64)
ARCHITECTURES = {
    **{f"vgg{depth}{norm}": "vgg" for depth in VGG_DEPTHS for norm in ("", "_bn")},
    **{f"resnet{depth}": "cifar-resnet" for depth in RESNET_DEPTHS},
}
WEIGHTS = "model.safetensors"
UNREAD = ("classifier.", "linear.", "fc.")  # the classifiers of the networks as published
WRAPPED = "module."  # what torch's DataParallel puts before each name


class Configuration:
    """What config.json says of a network, with what transformers and PEFT ask a model's for."""

    def __init__(self, content: dict[str, Any], hidden_size: int) -> None:
        self.content = dict(content)
        self.model_type: str = content["model_type"]
        self.hidden_size = hidden_size  # features of the last layer

    def to_dict(self) -> dict[str, Any]:
        """As it stands in config.json."""
        return dict(self.content)


class VGG(nn.Module):
    """The convolutions of a VGG, with torchvision's names."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        depth, _, norm = config["architecture"].removeprefix("vgg").partition("_")
        self.config = Configuration(config, VGG_WIDTHS[-1])
        layers: list[nn.Module] = []
        stages: list[tuple[str, ...]] = []
        channels = config["num_channels"]
        for count, width in zip(VGG_DEPTHS[int(depth)], VGG_WIDTHS, strict=True):
            start = len(layers)
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if norm else []
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2, 2))
            stages.append(tuple(f"features.{number}." for number in range(start, len(layers))))
        self.features = nn.Sequential(*layers)
        self.block_prefixes = tuple(stages)
        _initialise(self)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """(batch, channels, side, side) -> last_hidden_state, (batch, 512, side/32, side/32)."""
        # An image of fewer than 32 pixels a side would have nothing left after five halvings.
        smallest = 2 ** len(self.block_prefixes)
        if pixel_values.shape[-1] < smallest:
            pixel_values = functional.interpolate(pixel_values, size=(smallest, smallest))
        return SimpleNamespace(last_hidden_state=self.features(pixel_values))

    def save_pretrained(self, folder: Path, **_: Any) -> None:
        """Write config.json and model.safetensors."""
        _save(self, folder)


class CifarBlock(nn.Module):
    """Two convolutions beside a shortcut that has no parameters (option A of the paper)."""

    def __init__(self, inward: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.missing = stride, (width - inward) // 2

    def forward(self, states: Tensor) -> Tensor:
        """(batch, inward, side, side) -> (batch, width, side/stride, side/stride)."""
        output = functional.relu(self.bn1(self.conv1(states)))
        output = self.bn2(self.conv2(output))
        if self.missing:
            kept = states[:, :, :: self.stride, :: self.stride]
            states = functional.pad(kept, (0, 0, 0, 0, self.missing, self.missing))
        return functional.relu(output + states)


class CifarResNet(nn.Module):
    """A ResNet of three stages for images of about 32 pixels a side."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        blocks = (int(config["architecture"].removeprefix("resnet")) - 2) // 6
        self.config = Configuration(config, RESNET_WIDTHS[-1])
        first = RESNET_WIDTHS[0]
        self.conv1 = nn.Conv2d(config["num_channels"], first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        inward = first
        for number, width in enumerate(RESNET_WIDTHS, 1):
            stage = [
                CifarBlock(inward if one == 0 else width, width, 2 if number > 1 and not one else 1)
                for one in range(blocks)
            ]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            inward = width
        self.block_prefixes = tuple(
            (f"layer{number}.{one}.",)
            for number in range(1, len(RESNET_WIDTHS) + 1)
            for one in range(blocks)
        )
        _initialise(self)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """(batch, channels, side, side) -> last_hidden_state, (batch, 64, side/4, side/4)."""
        states = functional.relu(self.bn1(self.conv1(pixel_values)))
        for number in range(1, len(RESNET_WIDTHS) + 1):
            states = self.get_submodule(f"layer{number}")(states)
        return SimpleNamespace(last_hidden_state=states)

    def save_pretrained(self, folder: Path, **_: Any) -> None:
        """Write config.json and model.safetensors."""
        _save(self, folder)


def read_own(folder: Path) -> dict[str, Any] | None:
    """The configuration of a base model of one of these architectures; None for any other's.

    Raises:
        InputError: The architecture is none of these.
    """
    content: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    if content.get("model_type") not in set(ARCHITECTURES.values()):
        return None
    name = content.get("architecture")
    if ARCHITECTURES.get(str(name)) != content["model_type"]:
        known = [one for one, kind in ARCHITECTURES.items() if kind == content["model_type"]]
        raise wrong("config.json: architecture", str(name), f"Give one of {', '.join(known)}.")
    return {"num_channels": 3, **content}


def build_own(folder: Path, config: dict[str, Any], scratch: bool = False) -> nn.Module:
    """The network of a configuration, with the folder's weights or with fresh ones.

    Raises:
        InputError: The weights are not those of the architecture.
    """
    from safetensors.torch import load_file

    network = (VGG if config["model_type"] == "vgg" else CifarResNet)(config)
    if scratch:
        return network
    weights = {
        name.removeprefix(WRAPPED): value for name, value in load_file(folder / WEIGHTS).items()
    }
    weights = {name: value for name, value in weights.items() if not name.startswith(UNREAD)}
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise wrong("model.base", folder.name, f"Its weights do not fit: {reason}") from None
    # Weights from before BatchNorm counted its batches lack that count, which nothing here reads.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        found = ", ".join([f"no {name}" for name in missing[:3]] + unexpected[:3])
        remedy = f"Its weights are not those of {config['architecture']}: {found}."
        raise wrong("model.base", folder.name, remedy)
    return network


def _initialise(network: nn.Module) -> None:
    """As torchvision and the paper (He et al. 2015, arXiv 1502.01852) do it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _save(network: nn.Module, folder: Path) -> None:
    from safetensors.torch import save_file

    Path(folder).mkdir(parents=True, exist_ok=True)
    config = cast(Any, network).config.to_dict()
    (Path(folder) / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    weights = {
        name: value.detach().contiguous().cpu() for name, value in network.state_dict().items()
    }
    save_file(weights, Path(folder) / WEIGHTS)
