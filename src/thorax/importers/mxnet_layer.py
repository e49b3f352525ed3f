"""One layer of an MXNet network, as what builds it sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.errors import ModelError
from thorax.importers import layers
from thorax.importers.mxnet_symbol import Attributes

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer to build.

    Attributes:
        name: of the layer.
        attributes: what is written of it.
        inputs: values it takes, in MXNet's order.
        weights: those of the values that are parameters, None at the others' places.
    """

    name: str
    attributes: Attributes
    inputs: tuple[ov.Output, ...]
    weights: tuple[Array | None, ...]

    def data(self, slot: int = 0) -> ov.Output:
        """Return a value it takes."""
        if slot >= len(self.inputs):
            raise self.damaged(f"takes {len(self.inputs)} values and needs {slot + 1}")
        return self.inputs[slot]

    def weight(self, slot: int, shape: tuple[int, ...] | None = None) -> Array:
        """Return a parameter it takes, in a shape that is known."""
        self.data(slot)
        weight = self.weights[slot]
        if weight is None:
            raise self.attributes.unsupported(f"computes its parameter {slot} instead of having it")
        if shape is not None and (
            weight.ndim != len(shape)
            or any(
                wanted not in (-1, found) for wanted, found in zip(shape, weight.shape, strict=True)
            )
        ):
            raise ModelError(
                "model-weights",
                f"layer {self.name} has a parameter {slot} of shape {weight.shape}, not {shape}; "
                "the .params file is of another network",
            )
        return np.asarray(weight, np.float32)

    def shape(self, slot: int = 0) -> tuple[int, ...]:
        """Return the shape of a value it takes, where that is known."""
        shape = self.data(slot).get_partial_shape()
        if shape.is_dynamic:
            raise self.unshaped(shape)
        return tuple(int(axis.get_length()) for axis in shape)

    def rank(self, slot: int = 0) -> int:
        """Return how many axes a value has."""
        return len(self.data(slot).get_partial_shape())

    def axis(self, value: int, rank: int | None = None) -> int:
        """Return an axis counted from the front."""
        count = self.rank() if rank is None else rank
        if not -count <= value < count:
            raise self.damaged(f"names axis {value} of {count}")
        return value % count

    def unshaped(self, shape: ov.PartialShape) -> ModelError:
        """Return the error of a layer that is to take what has no known shape."""
        return ModelError(
            "model-input",
            f"layer {self.name} needs the shape of what it takes, {shape}; give the input a fixed "
            "shape",
        )

    def damaged(self, why: str) -> ModelError:
        """Return the error of a layer that no MXNet would run."""
        return ModelError("model-unreadable", f"layer {self.name} {why}")


Build = Callable[[Layer], "ov.Output | Sequence[ov.Output]"]


def named(node: ov.Node, layer: Layer) -> ov.Output:
    """Give the last node of a layer the layer's name, and return its value."""
    return layers.named(node, layer.name)
