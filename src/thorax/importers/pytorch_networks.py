"""Networks of PyTorch that a state dict is loaded into, by name."""

import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from thorax.devices.extensions import look_here
from thorax.errors import ModelError, UsageError
from thorax.training import networks

_CIFAR: Final = re.compile(r"resnet(20|32|44|56|110|1202)-cifar")
_COUNTER: Final = "num_batches_tracked"
"""Came with PyTorch 0.4.1; older files lack it."""
_DOTTED: Final = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)")
"""DenseNet files older than torchvision 0.2 call `norm1` `norm.1`; so do those it still serves."""
_HEADS: Final = {"resnet": "fc.weight", "densenet": "classifier.weight", "vgg": "classifier.weight"}

NAMES: Final = (*networks.TOPOLOGIES, "resnet20-cifar", "resnet32-cifar", "resnet44-cifar",
                "resnet56-cifar", "resnet110-cifar")  # fmt: skip


class _CifarBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.more = stride, width - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.more:
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, self.more // 2, self.more // 2))
        return torch.relu(y + x)


class CifarResNet(nn.Module):
    """ResNet for 32 x 32 pixels (He et al., CVPR 2016, section 4.2), shortcuts of option A.

    Keys conv1, bn1, layer1..3, linear. Option A has no weights: it takes every second pixel and
    adds channels of zeros, half of them before and half behind. Its depth is 6n + 2, the width that
    of the first stage, 16 in the paper.
    """

    def __init__(self, depth: int, *, classes: int, channels: int, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages, inputs = [], width
        for stage in range(3):
            blocks = []
            for block in range((depth - 2) // 6):
                stride = 2 if stage and not block else 1
                blocks.append(_CifarBlock(inputs, width << stage, stride))
                inputs = width << stage
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits float [N,K] from normalised float [N,C,S,S]."""
        x = torch.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return cast(Tensor, self.linear(x.mean(dim=(2, 3))))


def build(topology: str | None, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Return the network of a name with the weights of a state dict, which say its channels.

    The name is one of `NAMES`, or `module:function` of the user's own, which is called without
    arguments and answers an nn.Module; the module is looked for on Python's path and in the current
    folder.

    Raises:
        UsageError: `model-undescribed` without a topology, `model-topology` for one that is not
            there.
        ModelError: `model-weights` where the weights do not fit.
    """
    if topology is None:
        raise UsageError(
            "model-undescribed",
            f"{path.name} is a state dict, which does not say its layers; give --topology: "
            f"{', '.join(NAMES)}, or module:function of your own code",
        )
    if ":" in topology:
        network = _build_own(topology)
    else:
        network, tensors = _named(topology, tensors, path)
    _fill(network, tensors, path)
    return network


def _named(
    topology: str, tensors: Mapping[str, Tensor], path: Path
) -> tuple[nn.Module, Mapping[str, Tensor]]:
    cifar = _CIFAR.fullmatch(topology)
    if cifar is not None:
        stem = _weight(tensors, "conv1.weight", 4, topology, path)
        head = _weight(tensors, "linear.weight", 2, topology, path)
        depth, channels = int(cifar[1]), stem.shape[1]
        return CifarResNet(depth, classes=len(head), channels=channels, width=len(stem)), tensors
    if topology not in networks.TOPOLOGIES:
        raise UsageError(
            "model-topology",
            f"--topology is {topology!r}; allowed are {', '.join(NAMES)}, or module:function",
        )
    if topology.startswith("densenet"):
        dotted = {name: _DOTTED.fullmatch(name) for name in tensors}
        tensors = {
            f"{match[1]}{match[2]}" if (match := dotted[name]) else name: value
            for name, value in tensors.items()
        }
    family = next(name for name in _HEADS if topology.startswith(name))
    first = {"resnet": "conv1.weight", "densenet": "features.conv0.weight"}
    stem = _weight(tensors, first.get(family, "features.0.weight"), 4, topology, path)
    head = _weight(tensors, _HEADS[family], 2, topology, path)
    width = len(stem) / 64 if family == "resnet" else 1.0
    if not 0 < width <= 1:
        raise _misfit(path, "holds, wider than the topology,", ["conv1.weight"])
    network = networks.build(topology, classes=len(head), channels=stem.shape[1], width=width)
    return network, tensors


def _weight(
    tensors: Mapping[str, Tensor], name: str, axes: int, topology: str, path: Path
) -> Tensor:
    value = tensors.get(name)
    if value is None:
        raise _misfit(path, f"lacks, for {topology},", [name])
    if value.ndim != axes:
        raise _misfit(path, f"holds, with {value.ndim} axes instead of {axes},", [name])
    return value


def _build_own(topology: str) -> nn.Module:
    module, _, function = topology.partition(":")
    added = look_here()
    try:
        network = getattr(importlib.import_module(module), function)()
    except Exception as error:
        # The user's own code may raise anything at all.
        raise UsageError(
            "model-topology",
            f"--topology {topology} cannot be built: {type(error).__name__}: {error}; give "
            "module:function of a function without arguments, importable from here",
        ) from error
    finally:
        if added is not None:
            sys.path.remove(added)
    if not isinstance(network, nn.Module):
        raise UsageError(
            "model-topology",
            f"--topology {topology} answers a {type(network).__name__}, not an nn.Module",
        )
    return network


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    state = network.state_dict()
    fitting = {name: value for name, value in tensors.items() if name in state}
    for what, names in (
        ("lacks", [name for name in state if name not in tensors and not name.endswith(_COUNTER)]),
        ("holds, without a place in the network,", [name for name in tensors if name not in state]),
        (
            "holds, in another shape than the network,",
            [
                f"{name} {tuple(value.shape)} for {tuple(state[name].shape)}"
                for name, value in fitting.items()
                if value.shape != state[name].shape
            ],
        ),
        (
            "holds, without finite numbers,",
            [
                name
                for name, value in fitting.items()
                if value.is_floating_point() != state[name].is_floating_point()
                or not bool(torch.isfinite(value).all())
            ],
        ),
    ):
        if names:
            raise _misfit(path, what, names)
    network.load_state_dict(state | dict(tensors))


def _misfit(path: Path, what: str, names: Sequence[str]) -> ModelError:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ModelError(
        "model-weights",
        f"{path.name} {what} {', '.join(names[:3])}{more}; give the --topology that it was saved "
        "from",
    )
