"""Where a network begins and ends: cuts and frozen inputs, by the names of its layers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError, UsageError
from thorax.importers.layers import CONVOLUTIONS
from thorax.importers.tensorflow import unknown_layer
from thorax.mo.flags import Entry

_CHANNELS_FIRST: Final = (
    *CONVOLUTIONS,
    *("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "BatchNormInference"),
)
"""Operations whose images always have their channels second."""

_RESHAPING: Final = ("Reshape", "Unsqueeze", "Squeeze", "Broadcast", "Tile", "Gather")
"""Operations that may make other axes of an image's."""

_PART: Final = re.compile(r"[A-Za-z0-9]+_\d+")
"""Name that OpenVINO gives a node nobody named."""


def cut(model: ov.Model, entries: Sequence[Entry], outputs: Sequence[str]) -> ov.Model:
    """Return the part of a network, which is changed, between the places that are named.

    An entry that names an input is that input; one that names a layer puts a new input before it,
    `0:layer` before its first port alone, and `layer:0` one in place of what it answers. Inputs
    come in the order of the entries, then those left that the outputs still need. No entries leave
    the inputs alone, no outputs the outputs.

    Raises:
        UsageError: `mo-name`, `mo-port`, `mo-value`.
        ModelError: `mo-apart` where no path leads from an input to the outputs.
    """
    results = _ends(model, outputs)
    placed: list[ov.Node] = []
    for entry in entries:
        placed += _enter(model, entry)
    needed = _needed(results)
    parameters = [node for node in placed if node in needed]
    names = {node.get_friendly_name() for node in parameters}
    rest = [node for node in model.get_parameters() if node in needed]
    parameters += [node for node in rest if node.get_friendly_name() not in names]
    lost = [node.get_friendly_name() for node in placed if node not in needed]
    if lost or not parameters:
        what = f"input {lost[0]!r}" if lost else "any input"
        raise ModelError(
            "mo-apart",
            f"no path leads from {what} to {', '.join(outputs) or 'the outputs'}; "
            "choose another --input or --output",
        )
    return ov.Model(results, parameters, model.get_friendly_name())


def find_input(model: ov.Model, name: str) -> int:
    """Return which input a name means: its own, or that of the layer that a cut put it before.

    Raises:
        UsageError: `mo-name`.
    """
    nodes = [port.get_node() for port in model.inputs]
    for index, node in enumerate(nodes):
        if is_called(node, name):
            return index
    names = [
        each for node in nodes for each in (node.get_friendly_name(), *node.output(0).get_names())
    ]
    raise UsageError(
        "mo-name", f"{name!r} is no input; these are: {', '.join(dict.fromkeys(names))}"
    )


def is_called(node: ov.Node, name: str) -> bool:
    """Return whether an input has this name, itself or of the layer that a cut put it before."""
    own = node.get_friendly_name()
    names = {own, *node.output(0).get_names()}
    layer, _, index = own.rpartition("/placeholder_")
    match = re.fullmatch(r"(port|out_port)_(\d+)", index)
    if match is None:
        # TensorFlow's readers name an input by its tensor, `data:0`.
        bare = {each.removesuffix(":0") for each in names}
        names |= bare | {f"{each}:0" for each in bare} | {f"0:{each}" for each in bare}
    else:
        number = match[2]
        names |= {layer, f"{number}:{layer}" if match[1] == "port" else f"{layer}:{number}"}
    return name in names


def find_output(model: ov.Model, name: str) -> list[ov.Output]:
    """Return what a layer answers, or the tensor of that name; `layer:1` is its second answer.

    Raises:
        UsageError: `mo-name`, `mo-port`.
    """
    layers, tensors = _index(model)
    if name in layers:
        return list(layers[name].outputs())
    if name in tensors:
        return [tensors[name]]
    if (place := _port_of(name, layers)) is not None:
        layer, port, _ = place
        return [_port(layers[layer].outputs(), port, name)]
    raise _unknown(name, [*layers, *tensors])


def _port_of(name: str, layers: Mapping[str, ov.Node]) -> tuple[str, int, bool] | None:
    """Return layer and port of `0:layer` or `layer:0`, and whether it is before the layer."""
    before, after = re.fullmatch(r"(\d+):(.+)", name), re.fullmatch(r"(.+):(\d+)", name)
    if before and before[2] in layers:
        return before[2], int(before[1]), True
    return (after[1], int(after[2]), False) if after and after[1] in layers else None


def channels_first(value: ov.Output) -> bool:
    """Return whether a value is an image with its channels before its rows.

    Convolutions and poolings here take them so; of a framework that has channels last, they stand
    between transpositions, which the reader moves past what works on each element alone.
    """
    shape = value.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) not in (4, 5):
        return False
    node = value.get_node()
    kind, rank = node.get_type_name(), len(shape)
    if kind in _CHANNELS_FIRST:
        return True
    if kind == "Parameter":
        return str(node.get_layout()) in ("[N,C,H,W]", "[N,C,D,H,W]")
    if kind == "Transpose":
        order = node.input_value(1).get_node()
        if order.get_type_name() != "Constant":
            return False
        return list(order.data) == [0, rank - 1, *range(1, rank - 1)]
    alike = [each for each in node.input_values() if each.get_partial_shape().rank == shape.rank]
    moving = [each for each in alike if each.get_node().get_type_name() != "Constant"]
    return kind not in _RESHAPING and bool(moving) and channels_first(moving[0])


def _ends(model: ov.Model, outputs: Sequence[str]) -> list[ov.Node]:
    if not outputs:
        return list(model.get_results())
    results = []
    for name in outputs:
        ports = find_output(model, name)
        for index, port in enumerate(ports):
            node = port.get_node()
            if node.get_type_name() == "Result":
                port = node.input_value(0)
            called = name if len(ports) == 1 else f"{name}:{index}"
            if not port.get_names():
                port.set_names({called})
            elif called not in _index(model)[1]:
                port.add_names({called})
            end = ops.result(port)
            end.set_friendly_name(f"{called}/sink_port_0")
            results.append(end)
    return results


def _enter(model: ov.Model, entry: Entry) -> list[ov.Node]:
    """Put in what an entry asks for; return the inputs that it leaves."""
    sources, users, name = _place(model, entry.name)
    parameters = []
    for number, (source, targets) in enumerate(zip(sources, users, strict=True)):
        old = source.get_node()
        whole = old.get_type_name() == "Parameter" and "/placeholder_out_" in name
        if entry.value is not None:
            node = ops.constant(_frozen(entry, source))
            node.set_friendly_name(f"{old.get_friendly_name()}/frozen")
            value = node.output(0)
        elif whole:
            parameters.append(old)
            continue
        else:
            node = ops.parameter(source.get_partial_shape(), source.get_element_type())
            if channels_first(source):
                node.set_layout(ov.Layout("NC" + "DHW"[5 - len(source.get_partial_shape()) :]))
            called = name if len(sources) == 1 else f"{name[:-1]}{number}"
            node.set_friendly_name(called)
            node.output(0).set_names({called})
            parameters.append(node)
            value = node.output(0)
        if value.get_element_type() != source.get_element_type():
            value = ops.convert(value, source.get_element_type().to_string()).output(0)
        for target in targets:
            target.replace_source_output(value)
    return parameters


def _place(model: ov.Model, name: str) -> tuple[list[ov.Output], list[list[ov.Input]], str]:
    """Return the values to be replaced, who takes each, and what the new input is called."""
    layers, tensors = _index(model)
    for node in model.get_parameters():
        if is_called(node, name):
            source = node.output(0)
            return [source], [list(source.get_target_inputs())], f"{name}/placeholder_out_port_0"
    if name in layers and layers[name].get_type_name() != "Parameter":
        sources, users = _boundary(layers[name])
        return sources, users, f"{name}/placeholder_port_0"
    place = _port_of(name, layers)
    if name in layers or name in tensors:
        replaced = layers[name].output(0) if name in layers else tensors[name]
        called = f"{name}/placeholder_out_port_0"
    elif place is None:
        raise _unknown(name, [*layers, *tensors])
    else:
        layer, port, is_before = place
        node = layers[layer]
        if is_before and node.get_type_name() != "Parameter":
            sources, users = _boundary(node)
            if len(_parts(node)) == 1:
                sources = [each.get_source_output() for each in node.inputs()]
                users = [[each] for each in node.inputs()]
            source = _port(sources, port, name)
            return [source], [users[port]], f"{layer}/placeholder_port_{port}"
        replaced = _port(node.outputs(), port, name)
        called = f"{layer}/placeholder_out_port_{port}"
    return [replaced], [list(replaced.get_target_inputs())], called


def _boundary(layer: ov.Node) -> tuple[list[ov.Output], list[list[ov.Input]]]:
    """Return what enters a layer that is not a weight, and where it enters.

    A framework's layer may be several nodes here, of which the last bears its name.
    """
    parts = _parts(layer)
    sources: list[ov.Output] = []
    users: list[list[ov.Input]] = []
    for node in parts:
        for port in node.inputs():
            value = port.get_source_output()
            inputs = {node.get_type_name() for node in _needed([value.get_node()])}
            if value.get_node() in parts or "Parameter" not in inputs:
                continue
            if value in sources:
                users[sources.index(value)].append(port)
            else:
                sources.append(value)
                users.append([port])
    if not sources:
        raise UsageError(
            "mo-port", f"{layer.get_friendly_name()!r} takes no values that could be fed"
        )
    return sources, users


def _parts(layer: ov.Node) -> dict[ov.Node, None]:
    """Return a layer and the nodes that only serve it and that its framework does not know."""
    parts = {layer: None}
    pending = [layer]
    while pending:
        for value in pending.pop().input_values():
            node = value.get_node()
            users = [
                user.get_node() for port in node.outputs() for user in port.get_target_inputs()
            ]
            if node not in parts and _unnamed(node, layer) and all(each in parts for each in users):
                parts[node] = None
                # Its own sources may have waited for it.
                pending += parts
    return parts


def _unnamed(node: ov.Node, layer: ov.Node) -> bool:
    if node.get_type_name() == "Parameter" or any(port.get_names() for port in node.outputs()):
        return False
    name = node.get_friendly_name()
    return name.startswith(f"{layer.get_friendly_name()}/") or (
        _PART.fullmatch(name) is not None and name.rpartition("_")[0] == node.get_type_name()
    )


def _needed(ends: Iterable[ov.Node]) -> set[ov.Node]:
    seen = set(ends)
    pending = list(seen)
    while pending:
        for value in pending.pop().input_values():
            node = value.get_node()
            if node not in seen:
                seen.add(node)
                pending.append(node)
    return seen


def _frozen(entry: Entry, source: ov.Output) -> npt.NDArray[Any]:
    assert entry.value is not None
    kind = getattr(ov.Type, entry.element) if entry.element else source.get_element_type()
    values = np.array(entry.value).astype(kind.to_dtype())
    shape: tuple[int, ...] | None = entry.shape
    if shape is None and source.get_partial_shape().is_static:
        shape = tuple(source.get_shape())
    if shape is None:
        return values if values.size > 1 else values.reshape(())
    if values.size not in (1, int(np.prod(shape))):
        raise UsageError(
            "mo-value",
            f"{entry.name!r} is frozen to {values.size} values; its shape {list(shape)} takes "
            f"{int(np.prod(shape))}, or 1 for all",
        )
    return np.broadcast_to(values.reshape(shape if values.size > 1 else ()), shape)


def _index(model: ov.Model) -> tuple[dict[str, ov.Node], dict[str, ov.Output]]:
    layers: dict[str, ov.Node] = {}
    tensors: dict[str, ov.Output] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Result":
            continue
        layers.setdefault(node.get_friendly_name(), node)
        for port in node.outputs():
            for name in port.get_names():
                tensors.setdefault(name, port)
    return layers, tensors


def _port(ports: Sequence[ov.Output], index: int, name: str) -> ov.Output:
    if index >= len(ports):
        raise UsageError("mo-port", f"{name!r}: the layer has ports 0 to {len(ports) - 1}")
    return ports[index]


def _unknown(name: str, names: Sequence[str]) -> UsageError:
    return unknown_layer(name, [each for each in dict.fromkeys(names) if not _PART.fullmatch(each)])
