"""What networks ask of a cluster: products of an image, bytes of the gradients, and when they come.

Counted from the published architectures of a classifier of 14 findings on three channels of 224 x
224: He et al., 1512.03385, table 1, with the stride in the 3x3 convolution; Huang et al.,
1608.06993, table 1; Simonyan and Zisserman, 1409.1556, table 1, configuration D.
"""

import difflib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from thorax.errors import UsageError

_CLASSES: Final = 14
_SIDE: Final = 224
_FLOAT_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class GradientLayer:
    """A part of a network.

    Attributes:
        parameters: numbers that are learned.
        macs: products of one image.
    """

    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What one update of a network asks for.

    Attributes:
        name: of the topology.
        macs: products of a forward pass of one image; 0 if not known.
        gradient_bytes: what every rank sends.
        profile: share of the gradients that are there by a share of the backward pass, ascending,
            both from (0, 0) to (1, 1); straight lines between.
    """

    name: str
    macs: int
    gradient_bytes: float
    profile: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 1.0))

    def ready(self, share: float) -> float:
        """Return by which share of the backward pass so much of the gradients is there, 0-1."""
        last = (0.0, 0.0)
        for bytes_share, time_share in self.profile:
            if share <= bytes_share:
                width = bytes_share - last[0]
                part = (share - last[0]) / width if width else 1.0
                return last[1] + part * (time_share - last[1])
            last = (bytes_share, time_share)
        return 1.0


def _convolution(inputs: int, outputs: int, kernel: int, side: int) -> GradientLayer:
    """A convolution and its batch norm, which adds two numbers a channel."""
    products = inputs * outputs * kernel * kernel
    return GradientLayer(products + 2 * outputs, products * side * side)


def _linear(inputs: int, outputs: int) -> GradientLayer:
    return GradientLayer(inputs * outputs + outputs, inputs * outputs)


def _resnet50() -> list[GradientLayer]:
    layers = [_convolution(3, 64, 7, _SIDE // 2)]
    inputs, side = 64, _SIDE // 4
    for stage, depth in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for index in range(depth):
            before = side
            if index == 0 and stage:
                side //= 2
            layers.append(_convolution(inputs, width, 1, before))
            layers.append(_convolution(width, width, 3, side))
            layers.append(_convolution(width, 4 * width, 1, side))
            if index == 0:
                layers.append(_convolution(inputs, 4 * width, 1, side))
            inputs = 4 * width
    return [*layers, _linear(inputs, _CLASSES)]


def _densenet121() -> list[GradientLayer]:
    growth = 32
    layers = [_convolution(3, 2 * growth, 7, _SIDE // 2)]
    width, side = 2 * growth, _SIDE // 4
    depths = (6, 12, 24, 16)
    for number, depth in enumerate(depths, start=1):
        for _ in range(depth):
            # Batch norm comes first here: it has the width of the inputs.
            squeeze = _convolution(width, 4 * growth, 1, side)
            layers.append(GradientLayer(squeeze.parameters + 2 * width, squeeze.macs))
            widen = _convolution(4 * growth, growth, 3, side)
            layers.append(GradientLayer(widen.parameters - 2 * growth, widen.macs))
            width += growth
        if number < len(depths):
            halve = _convolution(width, width // 2, 1, side)
            layers.append(GradientLayer(halve.parameters - width + 2 * width, halve.macs))
            width, side = width // 2, side // 2
    return [*layers, GradientLayer(2 * width, 0), _linear(width, _CLASSES)]


def _vgg16(*, classic: bool, norm: bool) -> list[GradientLayer]:
    layers, inputs, side = [], 3, _SIDE
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            products = _convolution(inputs, width, 3, side)
            # A bias of each channel where there is no batch norm, both where there is one.
            extra = width if norm else -width
            layers.append(GradientLayer(products.parameters + extra, products.macs))
            inputs = width
        side //= 2
    if not classic:
        return [*layers, _linear(inputs, _CLASSES)]
    sizes = (inputs * side * side, 4096, 4096, _CLASSES)
    return [*layers, *map(_linear, sizes[:-1], sizes[1:])]


def workload_of(name: str, layers: Sequence[GradientLayer]) -> Workload:
    """Return what layers ask for; gradients are there in their reverse order, as time goes."""
    parameters = sum(layer.parameters for layer in layers)
    macs = sum(layer.macs for layer in layers)
    profile, ready, elapsed = [(0.0, 0.0)], 0, 0
    for layer in reversed(layers):
        ready += layer.parameters
        elapsed += layer.macs
        profile.append((ready / parameters, elapsed / macs))
    return Workload(name, macs, float(parameters * _FLOAT_BYTES), tuple(profile))


_COUNTED: Final[MappingProxyType[str, Callable[[], list[GradientLayer]]]] = MappingProxyType(
    {
        "resnet50": _resnet50,
        "densenet121": _densenet121,
        "vgg16": lambda: _vgg16(classic=False, norm=False),
        "vgg16_bn": lambda: _vgg16(classic=False, norm=True),
        "vgg16-classic": lambda: _vgg16(classic=True, norm=False),
    }
)

TOPOLOGIES: Final = tuple(_COUNTED)
"""`vgg16` ends in a global mean and one linear layer, `vgg16-classic` in three of them."""


@functools.cache
def find_workload(name: str) -> Workload:
    """Return what a topology asks for.

    Raises:
        UsageError: `plan-topology` for a name that is none, with the nearest.

    Example:
        >>> round(find_workload("resnet50").gradient_bytes / 1e6, 1)
        94.1
    """
    if name not in _COUNTED:
        near = difflib.get_close_matches(name, TOPOLOGIES, n=1, cutoff=0.0)[0]
        raise UsageError(
            "plan-topology",
            f"topology is {name!r}; the nearest is {near}; allowed are {', '.join(TOPOLOGIES)}",
        )
    return workload_of(name, _COUNTED[name]())
