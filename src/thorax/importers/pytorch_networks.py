"""Networks of PyTorch that a state dict is loaded into, by name."""

import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from thorax.devices.extensions import look_here
from thorax.errors import ModelError, UsageError
from thorax.training import networks, weight_names
from thorax.training.weight_names import Match
from thorax.training.weights_file import Weights

_CIFAR: Final = re.compile(r"resnet(20|32|44|56|110|1202)-cifar")
_HEADS: Final = {"resnet": "fc", "densenet": "classifier", "vgg": "classifier"}
_STEMS: Final = {"resnet": "conv1", "densenet": "features.conv0", "vgg": "features.0"}

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


def build(topology: str | None, weights: Weights, path: Path) -> tuple[nn.Module, str]:
    """Return the network of a name with the weights of a state dict, and how their names matched.

    The weights say channels and classes. The name is one of `NAMES`, or `module:function` of the
    user's own, which is called without arguments and answers an nn.Module; the module is looked for
    on Python's path and in the current folder. The names are matched by `weight_names.match`, whose
    explanation is empty where they are the network's own.

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
        state = network.state_dict()
        linear = [n for n, value in state.items() if value.ndim == 2 and n.endswith(".weight")]
        head = linear[-1].removesuffix(".weight") if linear else None
        matched = _matched(weights, state, head, path)
    else:
        network, matched = _named(topology, weights, path)
    _fill(network, matched.tensors, path)
    return network, matched.explain(weights.place)


def _matched(weights: Weights, names: Iterable[str], head: str | None, path: Path) -> Match:
    try:
        return weight_names.match(weights.tensors, names, head)
    except weight_names.MatchError as error:
        raise _misfit(path, str(error), error.advice) from error


def _named(topology: str, weights: Weights, path: Path) -> tuple[nn.Module, Match]:
    cifar = _CIFAR.fullmatch(topology)
    if cifar is not None:
        depth = int(cifar[1])
        with torch.device("meta"):
            names = CifarResNet(depth, classes=1, channels=1).state_dict()
        matched = _matched(weights, names, "linear", path)
        stem = _weight(matched, "conv1.weight", 4, topology, path)
        classes = len(_weight(matched, "linear.weight", 2, topology, path))
        return (
            CifarResNet(depth, classes=classes, channels=stem.shape[1], width=len(stem)),
            matched,
        )
    if topology not in networks.TOPOLOGIES:
        raise UsageError(
            "model-topology",
            f"--topology is {topology!r}; allowed are {', '.join(NAMES)}, or module:function",
        )
    family = next(name for name in _HEADS if topology.startswith(name))
    with torch.device("meta"):
        names = networks.build(topology, classes=1, channels=1).state_dict()
    matched = _matched(weights, names, _HEADS[family], path)
    stem = _weight(matched, f"{_STEMS[family]}.weight", 4, topology, path)
    head = _weight(matched, f"{_HEADS[family]}.weight", 2, topology, path)
    width = len(stem) / 64 if family == "resnet" else 1.0
    if not 0 < width <= 1:
        raise _misfit(path, "holds, wider than the topology, conv1.weight")
    network = networks.build(topology, classes=len(head), channels=stem.shape[1], width=width)
    return network, matched


def _weight(matched: Match, name: str, axes: int, topology: str, path: Path) -> Tensor:
    value = matched.tensors.get(name)
    if value is None:
        near = weight_names.nearest(name, matched.remaining)
        raise _misfit(path, f"lacks, for {topology}, {name}{near}")
    if value.ndim != axes:
        raise _misfit(path, f"holds, with {value.ndim} axes instead of {axes}, {name}")
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
    for what, advice, names in (
        (
            "lacks",
            "",
            [
                name
                for name in state
                if name not in tensors and not name.endswith(weight_names.COUNTER)
            ],
        ),
        (
            "holds, in another shape than the network,",
            "",
            [
                f"{name} {tuple(value.shape)} for {tuple(state[name].shape)}"
                for name, value in tensors.items()
                if value.shape != state[name].shape
            ],
        ),
        (
            "holds, without finite numbers,",
            "give a checkpoint from before the training went astray",
            [
                name
                for name, value in tensors.items()
                if value.is_floating_point() != state[name].is_floating_point()
                or not bool(torch.isfinite(value).all())
            ],
        ),
    ):
        if names:
            raise _misfit(path, f"{what} {weight_names.listed(names)}", advice)
    network.load_state_dict(state | dict(tensors))


def _misfit(path: Path, what: str, advice: str = "") -> ModelError:
    usual = "give the --topology that it was saved from"
    return ModelError("model-weights", f"{path.name} {what}; {advice or usual}")
