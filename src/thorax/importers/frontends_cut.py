"""Cuts of a TensorFlow graph, made before conversion: the frontend loses names of inner layers."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import openvino as ov
from openvino.frontend import InputModel

from thorax.errors import UsageError
from thorax.importers.options import ImportOptions
from thorax.importers.wire import fields


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of a GraphDef: what it does and whose answers it takes."""

    kind: str
    inputs: tuple[str, ...]


def cut_graph(model: InputModel, path: Path, asked: ImportOptions) -> dict[str, str]:
    """Let a graph begin and end where it was asked to.

    Args:
        model: as the frontend loaded it; changed in place.
        path: of the frozen graph.
        asked: `begins` and `ends` name layers, or tensors as `layer:0`.

    Returns:
        what the new inputs are to be called, by the name of their tensor.

    Raises:
        UsageError: `mo-name`.
    """
    if not asked.begins and not asked.ends:
        return {}
    nodes = _nodes(path)
    if asked.ends:
        ends = [_answer(name, nodes) for name in asked.ends]
        model.override_all_outputs([model.get_place_by_tensor_name(one) for one in ends])
    begins = {}
    for name in asked.begins:
        tensor, called = _entered(name, nodes)
        if nodes[tensor.rpartition(":")[0]].kind != "Placeholder":
            begins[tensor] = called
    if begins:
        own = [place for place in model.get_inputs() if place.get_names()[0] not in begins]
        model.override_all_inputs([*map(model.get_place_by_tensor_name, begins), *own])
    return begins


def name_inputs(model: ov.Model, begins: Mapping[str, str]) -> None:
    """Call the inputs that a cut made what they are called after any cut."""
    for port in model.inputs:
        for tensor, called in begins.items():
            if tensor in port.get_names():
                port.get_node().set_friendly_name(called)


def _nodes(path: Path) -> dict[str, _Node]:
    nodes = {}
    for part in fields(memoryview(path.read_bytes())):
        if part.number != 1:
            continue
        # NodeDef: name = 1, op = 2, input = 3; ^ marks what must only have run before.
        texts = [(one.number, one.text()) for one in fields(part.data()) if one.number in (1, 2, 3)]
        values = {number: text for number, text in texts if number != 3}
        inputs = [text for number, text in texts if number == 3 and not text.startswith("^")]
        nodes[values.get(1, "")] = _Node(values.get(2, ""), tuple(map(_tensor, inputs)))
    return nodes


def _tensor(name: str) -> str:
    return name if re.search(r":\d+$", name) else f"{name}:0"


def _answer(name: str, nodes: Mapping[str, _Node]) -> str:
    if name in nodes:
        return f"{name}:0"
    match = re.fullmatch(r"(.+):\d+", name)
    if match is not None and match[1] in nodes:
        return name
    match = re.fullmatch(r"(\d+):(.+)", name)
    if match is not None and match[2] in nodes:
        return f"{match[2]}:{match[1]}"
    raise _unknown(name, nodes)


def _entered(name: str, nodes: Mapping[str, _Node]) -> tuple[str, str]:
    """Return the tensor that a new input takes the place of, and what that input is called."""
    match = re.fullmatch(r"(\d+):(.+)", name)
    layer, place = (match[2], int(match[1])) if match and name not in nodes else (name, None)
    if layer in nodes and nodes[layer].kind != "Placeholder":
        fed = [
            one
            for port, one in enumerate(nodes[layer].inputs)
            if (nodes[one.rpartition(":")[0]].kind != "Const" if place is None else port == place)
        ]
        if not fed:
            raise UsageError("mo-port", f"{name!r} takes no values that could be fed")
        return fed[0], f"{layer}/placeholder_port_{place or 0}"
    tensor = _answer(name, nodes)
    return tensor, "{}/placeholder_out_port_{}".format(*tensor.rsplit(":", 1))


def _unknown(name: str, nodes: Mapping[str, _Node]) -> UsageError:
    bare = re.sub(r"^\d+:|:\d+$", "", name)
    near = difflib.get_close_matches(bare, list(nodes), n=3, cutoff=0.4) or list(nodes)[-3:]
    return UsageError(
        "mo-name", f"the model has no layer or tensor {name!r}; near it are {', '.join(near)}"
    )
