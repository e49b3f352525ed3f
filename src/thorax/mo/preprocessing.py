"""Preprocessing inside a graph: layout, colour order, mean, scale.

The order is that of the Model Optimizer: input -> reversed channels -> minus mean -> divided by
scale -> the network, so that mean and scale are in the channel order the network was trained with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
from openvino.preprocess import PrePostProcessor

_STEP_NAMES: Final = {
    "Gather": "reverse", "Subtract": "mean", "Multiply": "scale", "Divide": "scale",
    "Transpose": "layout",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Steps:
    """What comes between what a caller feeds and what the network takes.

    `layout` has the letters of the axes as the caller feeds them, "" where nobody named them,
    `order` the axes of the caller's array in the order that the network has them, () as it is. To
    `reverse` is to turn RGB into BGR, or back. `mean` is subtracted and by `scale` is divided, one
    number or one a channel, in the units that are fed; () is none. `element` is OpenVINO's name of
    the type that is fed, "" for the network's own.
    """

    layout: str = ""
    order: tuple[int, ...] = ()
    reverse: bool = False
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    element: str = ""

    @property
    def channel(self) -> int:
        """Axis of the channels in what the caller feeds."""
        return self.layout.index("C")

    @property
    def nothing(self) -> bool:
        """Whether values reach the network as they are fed."""
        return not (self.order or self.reverse or self.mean or self.scale or self.element)

    def words(self) -> str:
        """Return what is done, for people."""
        inside = "".join(self.layout[axis] for axis in self.order)
        parts = [
            "channels reversed" if self.reverse else "",
            f"minus {_text(self.mean)}" if self.mean else "",
            f"divided by {_text(self.scale)}" if self.scale else "",
            f"turned to {inside}" if self.order else "",
        ]
        return ", ".join(part for part in parts if part)

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what the network sees of an array, computed by NumPy in double precision."""
        if self.nothing:
            return values
        seen = np.flip(values, self.channel) if self.reverse else values
        if self.mean:
            seen = seen - self._spread(self.mean)
        if self.scale:
            seen = seen / self._spread(self.scale)
        if self.order:
            seen = seen.transpose(self.order)
        plain = self.mean or self.scale or self.element
        return np.ascontiguousarray(seen, np.float32 if plain else values.dtype)

    def _spread(self, numbers: tuple[float, ...]) -> npt.NDArray[np.float64]:
        if len(numbers) == 1:
            return np.array(numbers[0], np.float64)
        shape = [1] * len(self.layout)
        shape[self.channel] = -1
        return np.array(numbers, np.float64).reshape(shape)


def prepend(model: ov.Model, index: int, steps: Steps) -> None:
    """Put the steps between an input of a graph, which keeps name and place, and its users."""
    old = model.get_parameters()[index]
    inner = "".join(steps.layout[axis] for axis in steps.order) or steps.layout
    if steps.layout:
        old.set_layout(ov.Layout(inner))
    if steps.nothing:
        return
    # In a graph of its own: building moves transpositions about, and names with them.
    before = _preprocessor(old, steps, inner)
    name = old.get_friendly_name()
    for node in before.get_ordered_ops():
        if step := _STEP_NAMES.get(node.get_type_name()):
            node.set_friendly_name(f"{name}/{step}")
    fed, (result,) = before.get_parameters()[0], before.get_results()
    fed.set_friendly_name(name)
    fed.output(0).set_names(old.output(0).get_names())
    for user in old.output(0).get_target_inputs():
        user.replace_source_output(result.input_value(0))
    model.replace_parameter(index, fed)


def _preprocessor(old: ov.Node, steps: Steps, inner: str) -> ov.Model:
    """Return a graph from what is fed to what a parameter of a network takes."""
    taken = ops.parameter(old.get_partial_shape(), old.get_element_type())
    builder = PrePostProcessor(ov.Model([ops.result(taken)], [taken]))
    port = builder.input()
    if steps.element:
        port.tensor().set_element_type(getattr(ov.Type, steps.element))
    if steps.layout:
        port.tensor().set_layout(ov.Layout(steps.layout))
        port.model().set_layout(ov.Layout(inner))
    process = port.preprocess()
    if steps.mean or steps.scale:
        process.convert_element_type(ov.Type.f32)
    if steps.reverse:
        process.reverse_channels()
    for values, change in ((steps.mean, process.mean), (steps.scale, process.scale)):
        if values:
            change(values[0] if len(values) == 1 else list(values))
    return builder.build()


def append_layout(model: ov.Model, index: int, order: Sequence[int], layout: str) -> None:
    """Let an output answer with its axes in another order, under the name it has."""
    result = model.get_results()[index]
    value = result.input_value(0)
    names = value.get_names()
    turned = ops.transpose(value, ops.constant(np.array(order)))
    turned.set_friendly_name(f"{value.get_node().get_friendly_name()}/layout")
    value.set_names(set())
    turned.output(0).set_names(names)
    result.input(0).replace_source_output(turned.output(0))
    result.set_layout(ov.Layout(layout))


def _text(numbers: tuple[float, ...]) -> str:
    words = ",".join(f"{number:g}" for number in numbers)
    return words if len(numbers) == 1 else f"[{words}]"
