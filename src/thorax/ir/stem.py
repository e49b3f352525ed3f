"""A first convolution over several channels that takes the one grey channel."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.devices.engine import INPUT
from thorax.devices.process_core import open_core
from thorax.ir.head import constant

BORDER: Final = "border"
"""Added to a convolution's name: the map that shifts before it add to its answer."""

_Channels = npt.NDArray[np.float32]
_Map = npt.NDArray[np.float64]

_AXES: Final = (2, 3)
"""Height and width."""


@dataclass(frozen=True, slots=True)
class _Entrance:
    """What enters the convolution: scale [C] times the grey image within zeros, plus a map.

    The map, `shift`, is [1,C,H,W] of the size that enters; `begin` and `end` are rows and columns
    before and behind the image.
    """

    scale: _Map
    shift: _Map
    begin: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)

    def after(self, node: ov.Node) -> "_Entrance | None":
        """Return what it is behind a layer; None behind one that does more than scale and pad."""
        match node.get_type_name():
            case "Multiply" | "Divide" | "Add" | "Subtract":
                return self._arithmetic(node)
            case "Gather":
                return self._gathered(node)
            case "Pad":
                return self._padded(node)
        return None

    def _arithmetic(self, node: ov.Node) -> "_Entrance | None":
        kind, index = node.get_type_name(), 1
        values = constant(node.input_value(1))
        if values is None:
            values, index = constant(node.input_value(0)), 0
        if values is None or list(node.get_output_shape(0)) != list(self.shift.shape):
            return None
        numbers = np.asarray(values, np.float64)
        if kind in ("Add", "Subtract"):
            # A mean image is as good as a mean of each channel.
            if kind == "Add":
                return replace(self, shift=self.shift + numbers)
            if index == 1:
                return replace(self, shift=self.shift - numbers)
            return replace(self, scale=-self.scale, shift=numbers - self.shift)
        if (kind == "Divide" and index == 0) or not _per_channel(numbers, len(self.scale)):
            return None
        if kind == "Divide":
            numbers = 1 / numbers
        each = np.broadcast_to(numbers, (1, len(self.scale), 1, 1))
        return replace(self, scale=self.scale * each.ravel(), shift=self.shift * each)

    def _gathered(self, node: ov.Node) -> "_Entrance | None":
        indices, axis = constant(node.input_value(1)), constant(node.input_value(2))
        if indices is None or indices.ndim != 1 or axis is None or axis.ravel()[0] not in (1, -3):
            return None
        order = indices.astype(int)
        return replace(self, scale=self.scale[order], shift=self.shift[:, order])

    def _padded(self, node: ov.Node) -> "_Entrance | None":
        begin, end = (constant(node.input_value(index)) for index in (1, 2))
        filled = constant(node.input_value(3)) if len(node.inputs()) > 3 else np.zeros(1)
        if begin is None or end is None or filled is None:
            return None
        pads = [(int(a), int(b)) for a, b in zip(begin.ravel(), end.ravel(), strict=True)]
        # A Pad may cut off too, and then what is left no longer lies within zeros.
        if node.get_attributes()["pad_mode"] != "constant" or len(pads) != 4:
            return None
        if any(pads[0]) or any(pads[1]) or min(map(min, pads)) < 0:
            return None
        (top, bottom), (left, right) = pads[2:]
        return replace(
            self,
            shift=np.pad(self.shift, pads, constant_values=float(filled.ravel()[0])),
            begin=(self.begin[0] + top, self.begin[1] + left),
            end=(self.end[0] + bottom, self.end[1] + right),
        )


def _per_channel(values: _Map, channels: int) -> bool:
    """Return whether a factor of [1,C,H,W] is the same all over a channel."""
    shape = (1,) * (4 - values.ndim) + values.shape
    return len(shape) == 4 and shape[0] == 1 and shape[1] in (1, channels) and shape[2:] == (1, 1)


def fold_grey_stem(
    model: ov.Model, scale: _Channels, shift: _Channels
) -> tuple[_Channels, _Channels]:
    """Let a first convolution over C equal grey channels take one, if there is such a convolution.

    Channels that are scaled and shifted alike need only the sum of the kernels. Where they differ
    the scale goes into the kernels; and as zero padding comes after normalisation, what the shifts
    add is not a constant but a constant map. Layers between that scale or shift channels, reorder
    them or pad go the same way.

    The one input is float [1,C,S,S], scale and shift before it float32 [C]. Returned is what of
    them is still to be applied before the convolution, float32 [C], [1] or, when both are inside
    it, [0].
    """
    match = _first_convolution(model)
    if match is None:
        return scale, shift
    layers, conv, weight = match
    alike = bool(np.ptp(scale) == 0 and np.ptp(shift) == 0)
    # Outside the kernel, one scale and shift leave it as it was trained, and need no map.
    outside = _behind(model, layers, np.ones_like(scale), np.zeros_like(shift)) if alike else None
    outside = outside if outside is not None and not outside.shift.any() else None
    entrance = outside or _behind(model, layers, scale, shift)
    if entrance is None:
        return scale, shift
    _replace(model, conv, weight, entrance)
    return (scale[:1], shift[:1]) if outside else (scale[:0], shift[:0])


def _first_convolution(
    model: ov.Model,
) -> tuple[list[ov.Node], ov.Node, npt.NDArray[np.float32]] | None:
    """Return the layers before the first convolution, which follow one another, it and its kernel.

    None where the image goes two ways, or the kernel is computed.
    """
    value = model.inputs[0].get_node().output(0)
    layers: list[ov.Node] = []
    while True:
        users = list(value.get_target_inputs())
        if len(users) != 1:
            return None
        node = users[0].get_node()
        if node.get_type_name() == "Convolution":
            weight = constant(node.input_value(1))
            return None if weight is None or users[0].get_index() else (layers, node, weight)
        if len(node.outputs()) != 1:
            return None
        layers.append(node)
        value = node.output(0)


def _behind(
    model: ov.Model, layers: list[ov.Node], scale: _Channels, shift: _Channels
) -> _Entrance | None:
    shape = tuple(model.inputs[0].get_shape())
    whole = np.broadcast_to(shift.astype(np.float64)[None, :, None, None], shape)
    entrance: _Entrance | None = _Entrance(scale.astype(np.float64), whole)
    for node in layers:
        entrance = entrance.after(node) if entrance is not None else None
    return entrance


def _replace(
    model: ov.Model, conv: ov.Node, weight: npt.NDArray[np.float32], entrance: _Entrance
) -> None:
    parameter = model.inputs[0].get_node()
    name, attributes = conv.get_friendly_name(), conv.get_attributes()
    side = [int(d) for d in model.inputs[0].get_shape()]
    single = ops.parameter([side[0], 1, *side[2:]], np.float32, name=INPUT)
    strides, dilations = attributes["strides"], attributes["dilations"]
    # Shapes are fixed, so that what `auto_pad` comes to stands in the pads.
    own_begin, own_end = list(attributes["pads_begin"]), list(attributes["pads_end"])
    begin = [pad + more for pad, more in zip(own_begin, entrance.begin, strict=True)]
    end = [pad + more for pad, more in zip(own_end, entrance.end, strict=True)]
    scaled = weight.astype(np.float64) * entrance.scale[:, None, None]
    kernel = scaled.sum(axis=1, keepdims=True).astype(np.float32)
    folded = ops.convolution(single, ops.constant(kernel), strides, begin, end, dilations)
    folded.set_friendly_name(name)
    result = folded
    if entrance.shift.any():
        shifted = ops.constant(entrance.shift[:1].astype(np.float32))
        still = ops.convolution(
            shifted, ops.constant(weight), strides, own_begin, own_end, dilations
        )
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = open_core().compile_model(ov.Model([still], []), "CPU", hint)
        border = np.array(compiled([])[0])
        if not any([*begin, *end]) and not np.ptp(entrance.shift, axis=_AXES).any():
            border = border[:, :, :1, :1].copy()
        result = ops.add(folded, ops.constant(border))
        result.set_friendly_name(f"{name}/{BORDER}")
    for user in conv.output(0).get_target_inputs():
        user.replace_source_output(result.output(0))
    model.add_parameters([single])
    model.remove_parameter(parameter)
