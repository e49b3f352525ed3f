"""The arithmetic of the overlay inside an OpenVINO graph, of standard operations alone.

What enters a layer of the processing elements is brought to the block format, bit by bit as
`numerics.quantize` does it, and what leaves a card is rounded to binary16. The layers themselves,
and all that lies between, compute in FP32: neither the device's accumulators nor what it rounds
before pooling, scales and activations are imitated.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.errors import ModelError
from thorax.fpga.formats import Format, find_format
from thorax.fpga.numerics import Rounding, quantize, require_rounding
from thorax.fpga.quantizer import FlatMap, Quantizer

VERSION: Final = 1
"""Of the arithmetic: another one where any network may answer with other bits than before."""

AFFINITY: Final = "affinity"
"""Key of rt_info that says which device of HETERO runs a node."""

_KERNELS: Final[Mapping[str, int]] = {
    "Convolution": 1,
    "GroupConvolution": 2,
    "ConvolutionBackpropData": 0,
    "GroupConvolutionBackpropData": 1,
}
"""Axis of input channels in the weights of a layer."""
_AT_ONCE: Final = 1 << 20
"""Weights folded at a time: the reference computes in float64, in several arrays of that size."""
_GROUPED: Final = ("GroupConvolution", "GroupConvolutionBackpropData")
_PREPARATION: Final = (
    "Convert", "Multiply", "Divide", "Add", "Subtract", "Clamp", "Transpose", "Reshape", "Concat",
    "Gather", "Pad", "Interpolate",
)  # fmt: skip
"""What may lie between a network's input and its first layer without its being an image no more."""
_VIEWS: Final = ("Reshape", "Squeeze", "Unsqueeze", "Convert")
"""What leaves the values of a tensor in their order."""
_SIGNLESS: Final = ("Relu", "Sigmoid", "Abs", "SoftMax", "Softmax")
_KEEPS_SIGN: Final = (
    "MaxPool", "AvgPool", "Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "ReduceMean",
    "ReduceMax", "Convert", "Pad",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    """An input of a layer of the processing elements.

    The layer takes it at `port`; blocks do not cross `groups` of its channels. `flat` is the map
    that it holds as a row, None for a map, and for a row of channels; `affinity` that of the layer,
    None where none is set.
    """

    port: ov.Input
    groups: int
    flat: FlatMap | None
    affinity: str | None

    @property
    def key(self) -> tuple[str, int, int, FlatMap | None, str | None]:
        """What entries share that one quantizer serves."""
        source = self.port.get_source_output()
        name, output = source.get_node().get_friendly_name(), source.get_index()
        return name, output, self.groups, self.flat, self.affinity


def emulate(
    model: ov.Model,
    layers: Collection[str],
    *,
    precision: str | Format,
    block: int,
    rounding: Rounding = "faithful",
) -> tuple[str, ...]:
    """Make layers of a graph compute as the overlay does, in place.

    The weights of the layers named are folded and what enters them is quantized, once a tensor
    however many take it. A sum of two tensors is one of a layer's accumulators with what bypass
    filters bring: the operand that a layer named computes for it alone, the one behind most layers
    where both are such, stays as it is; the other is quantized. Sums with constants (biases) and
    other types of layers are left alone. Nodes that are added carry the affinity of the layer that
    they belong to. The model has static shapes and FP32 or FP16 weights; layers are friendly names,
    the precision is a format or its name, and `block` channels share an exponent, `c_vector`. See
    `Rounding`; what comes from a Parameter is an image. Returns the friendly names of the nodes
    that were added.

    Raises:
        ModelError: `fpga-shape` or `fpga-weights`.
        UsageError: `fpga-format`, `fpga-block` or `fpga-rounding`.
    """
    form = precision if isinstance(precision, Format) else find_format(precision)
    added = list(fold_weights(model, layers, precision=form, block=block, rounding=rounding))
    names = {node.get_friendly_name() for node in model.get_ops()}
    inserted: dict[tuple[str, int, int, FlatMap | None, str | None], ov.Output] = {}
    for entry in _entries(model, layers):
        source = entry.port.get_source_output()
        if entry.key not in inserted:
            _require_shape(source)
            quantizer = Quantizer(
                _unused(f"{source.get_node().get_friendly_name()}/{form.name}", names),
                entry.affinity,
                form,
                rounding=rounding,
                image=_is_image(source),
                signed=not _has_no_sign(source),
            )
            inserted[entry.key] = quantizer.insert(
                source, block=block, groups=entry.groups, flat=entry.flat
            )
            added += quantizer.names
        entry.port.replace_source_output(inserted[entry.key])
    return tuple(added)


def round_outputs(
    model: ov.Model, subgraphs: Mapping[str, int], layers: Collection[str]
) -> tuple[str, ...]:
    """Round what leaves a card's subgraphs to binary16, in which it is sent, in place.

    That is, as of `numerics`, the nearest, ties to even, 65504 at most and 0 below 2^-14. Pixels
    are left alone, which the host prepares, and so is what a quantizer takes, which rounds so
    itself. An output of the model keeps its names. The model has static shapes and affinities,
    after `emulate`; `subgraphs` is the number of the subgraph of each layer and output, `layers`
    are those that cards run, by friendly name. Returns the friendly names of the nodes that were
    added.
    """
    added: list[str] = []
    names = {node.get_friendly_name() for node in model.get_ops()}
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        for source in node.outputs() if name in layers else ():
            leaving = [
                port
                for port in source.get_target_inputs()
                if port.get_node().get_type_name() == "Result"
                or subgraphs.get(port.get_node().get_friendly_name(), subgraphs[name])
                != subgraphs[name]
            ]
            if not leaving or source.get_element_type() != ov.Type.f32 or _is_image(source):
                continue
            quantizer = Quantizer(
                _unused(f"{name}/sent", names),
                _affinity(node),
                find_format("fp16"),
                rounding="faithful",
                image=False,
                signed=not _has_no_sign(source),
            )
            half = quantizer.scalars(source)
            if any(port.get_node().get_type_name() == "Result" for port in leaving):
                tensor_names = source.get_names()
                source.set_names(set())
                half.set_names(tensor_names)
            for port in leaving:
                port.replace_source_output(half)
            added += quantizer.names
    return tuple(added)


def array_layers(model: ov.Model) -> tuple[str, ...]:
    """Return the layers that processing elements could run, in order: with weights, and sums."""
    return tuple(
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if _channel_axis(node) is not None or (node.get_type_name() == "Add" and _is_sum(node))
    )


def fold_weights(
    model: ov.Model,
    layers: Collection[str],
    *,
    precision: str | Format,
    block: int,
    rounding: Rounding = "faithful",
) -> tuple[str, ...]:
    """Round the weights of layers to blocks along their input channels, in place.

    Those of a fully connected layer that takes a map as a row are blocks of channels of one pixel.
    Every value is one of binary16, so that 16 bits store it exactly. The model's weights are FP32
    or FP16; layers, by friendly name, that have none are left alone; the rest is as `emulate` takes
    it. Returns the friendly names of the constants that took the place of others.

    Raises:
        ModelError: `fpga-weights` for weights that the graph computes.
        UsageError: `fpga-format`, `fpga-block` or `fpga-rounding`.
    """
    form = precision if isinstance(precision, Format) else find_format(precision)
    require_rounding(block, rounding)
    added = []
    for node in model.get_ordered_ops():
        axis = _channel_axis(node)
        if axis is None or node.get_friendly_name() not in layers:
            continue
        port = node.input(1)
        old = port.get_source_output().get_node()
        values = read_weights(node)
        by_channel = np.moveaxis(values, axis, 1)
        flat_map = _flat_map(node)
        channels = flat_map.unfold(by_channel) if flat_map else by_channel
        flat = channels.reshape(*channels.shape[:2], -1)
        folded = np.concatenate(
            [
                quantize(part, block=block, precision=form, rounding=rounding)
                for part in np.array_split(flat, min(len(flat), -(-flat.size // _AT_ONCE)))
            ]
        ).reshape(channels.shape)
        if flat_map:
            folded = flat_map.fold(folded)
        whole = np.moveaxis(folded, 1, axis)
        new = ov.op.Constant(np.ascontiguousarray(whole))
        shared = len(old.output(0).get_target_inputs()) > 1
        name = old.get_friendly_name()
        new.set_friendly_name(f"{node.get_friendly_name()}/{form.name}/weights" if shared else name)
        affinity = _affinity(node)
        if affinity is not None:
            new.get_rt_info()[AFFINITY] = affinity
        port.replace_source_output(new.output(0))
        added.append(new.get_friendly_name())
    return tuple(added)


def read_weights(layer: ov.Node) -> npt.NDArray[np.float32]:
    """Return the weights of a layer, widened where they are stored in 16 bits.

    Raises:
        ModelError: `fpga-weights` where they are no such constant.
    """
    constant = _constant(layer.input_value(1).get_node())
    if constant is None or constant.get_element_type() not in (ov.Type.f32, ov.Type.f16):
        raise ModelError(
            "fpga-weights",
            f"the weights of {layer.get_friendly_name()} are no fp32 or fp16 constant; give an "
            "artifact of fp32, fp16 or fp11",
        )
    return np.asarray(constant.data, np.float32)


def _channel_axis(node: ov.Node) -> int | None:
    """Return where the weights of a layer have input channels; None for a layer without weights."""
    kind = node.get_type_name()
    if kind in _KERNELS:
        return _KERNELS[kind]
    if kind != "MatMul" or len(node.input(0).get_partial_shape()) != 2:
        return None
    if _constant(node.input_value(1).get_node()) is None:
        return None
    return 1 if node.get_attributes()["transpose_b"] else 0


def _constant(node: ov.Node) -> ov.Node | None:
    """Return the constant that a node is, or widens."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


def _entries(model: ov.Model, layers: Collection[str]) -> list[_Entry]:
    """Return every input that the processing elements read, in the order of execution."""
    entries = []
    ordered = model.get_ordered_ops()
    order = {name: number for number, name in enumerate(_by_depth(ordered))}
    for node in ordered:
        if node.get_friendly_name() not in layers:
            continue
        groups = 1
        if node.get_type_name() in _GROUPED:
            groups = int(node.input(1).get_shape()[0])
        if _channel_axis(node) is not None:
            entries.append(_Entry(node.input(0), groups, _flat_map(node), _affinity(node)))
        elif node.get_type_name() == "Add":
            ports = _bypassed(node, layers, order)
            entries += [_Entry(port, 1, None, _affinity(node)) for port in ports]
    return entries


def _flat_map(node: ov.Node) -> FlatMap | None:
    """Return the map of more than one pixel that a fully connected layer takes as a row."""
    if node.get_type_name() != "MatMul":
        return None
    row = source = node.input_value(0)
    while source.get_node().get_type_name() in _VIEWS:
        source = source.get_node().input_value(0)
    last = source.get_node().get_type_name() == "Transpose"
    if last:
        order = _constant(source.get_node().input_value(1).get_node())
        if order is None or list(order.data) != [0, 2, 3, 1]:
            return None
        source = source.get_node().input_value(0)
    if any(value.get_partial_shape().is_dynamic for value in (row, source)):
        return None
    shape, values = list(source.get_shape()), list(row.get_shape())
    if len(shape) != 4 or values != [shape[0], shape[1] * shape[2] * shape[3]]:
        return None
    pixels = shape[2] * shape[3]
    return FlatMap(pixels, channels_last=last) if pixels > 1 else None


def _by_depth(ordered: Sequence[ov.Node]) -> list[str]:
    """Return the names of nodes, those behind more layers with weights later."""
    depths: dict[str, int] = {}
    for node in ordered:
        before = [depths[value.get_node().get_friendly_name()] for value in node.input_values()]
        counted = node.get_type_name() in _KERNELS
        depths[node.get_friendly_name()] = max(before, default=0) + counted
    return sorted(depths, key=depths.__getitem__)


def _bypassed(add: ov.Node, layers: Collection[str], order: Mapping[str, int]) -> list[ov.Input]:
    """Return the operands of a sum that are not the accumulators of the layer just before."""
    if not _is_sum(add):
        return []
    ports = list(add.inputs())
    kernels = [_accumulated(port, layers) for port in ports]
    last = max((order[name] for name in kernels if name is not None), default=None)
    return [
        port
        for port, name in zip(ports, kernels, strict=True)
        if name is None or order[name] != last
    ]


def _is_sum(add: ov.Node) -> bool:
    """Return whether it adds two tensors of 4 axes, not a bias."""
    values = add.input_values()
    return all(len(v.get_partial_shape()) == 4 and _constant(v.get_node()) is None for v in values)


def _accumulated(port: ov.Input, layers: Collection[str]) -> str | None:
    """Return the layer whose accumulators an operand is, its bias added; None if it is no such."""
    source = port.get_source_output()
    while len(source.get_target_inputs()) == 1:
        node = source.get_node()
        if node.get_type_name() in _KERNELS:
            name = str(node.get_friendly_name())
            return name if name in layers else None
        others = [value for value in node.input_values() if _constant(value.get_node()) is None]
        if node.get_type_name() != "Add" or len(others) != 1:
            return None
        source = others[0]
    return None


def _is_image(source: ov.Output) -> bool:
    node = source.get_node()
    if node.get_type_name() == "Parameter":
        return True
    others = [value for value in node.input_values() if _constant(value.get_node()) is None]
    return (
        node.get_type_name() in _PREPARATION
        and bool(others)
        and all(_is_image(value) for value in others)
    )


def _has_no_sign(source: ov.Output) -> bool:
    """Return whether a tensor is known to hold nothing below zero."""
    node = source.get_node()
    kind = node.get_type_name()
    if kind in _SIGNLESS:
        return True
    if kind == "Clamp":
        return float(node.get_attributes()["min"]) >= 0
    if kind == "Concat":
        return all(_has_no_sign(value) for value in node.input_values())
    return kind in _KEEPS_SIGN and _has_no_sign(node.input_value(0))


def _require_shape(source: ov.Output) -> None:
    shape = source.get_partial_shape()
    if shape.is_dynamic or len(shape) not in (2, 4):
        raise ModelError(
            "fpga-shape",
            f"{source.get_node().get_friendly_name()} is of shape {shape}; the overlay takes "
            "tensors of 4 axes, or of 2 before a fully connected layer, of known lengths",
        )


def _affinity(node: ov.Node) -> str | None:
    info: Any = node.get_rt_info()
    return str(info[AFFINITY].astype(str)) if AFFINITY in info else None


def _unused(name: str, names: set[str]) -> str:
    """Return a prefix that no other quantizer has."""
    unused, number = name, 1
    while unused in names:
        number += 1
        unused = f"{name}.{number}"
    names.add(unused)
    return unused
