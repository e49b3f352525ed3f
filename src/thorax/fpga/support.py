"""Layers of a network that a bitstream runs, and why it does not run the others."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import openvino as ov

from thorax.errors import DeviceError
from thorax.fpga.architecture import Architecture
from thorax.fpga.bitstreams import BITSTREAMS, Bitstream, bitstreams_for
from thorax.fpga.card import FpgaCard

_PORTS: Final = ("Parameter", "Constant", "Result")
_ARRAY: Final = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
    "MatMul",
)  # fmt: skip
"""What the PE array computes, and the reason to have a card."""

_ACTIVATIONS: Final = (
    "Relu", "PRelu", "Clamp", "Elu", "Sigmoid", "Tanh", "Swish", "HSwish", "HSigmoid",
    "HardSigmoid", "Mish", "Gelu", "Exp", "SoftPlus", "Selu",
)  # fmt: skip
_POOLS: Final = ("MaxPool", "AvgPool", "ReduceMean")
_SCALES: Final = ("Add", "Subtract", "Multiply", "Divide")
_VIEWS: Final = ("Reshape", "Squeeze", "Unsqueeze", "Identity")
_SHOWN: Final = 5
"""Layers that an error names."""

_NAMED: Final = 3
"""Bitstreams that an error names."""


@dataclass(frozen=True, slots=True)
class Support:
    """Answer whether an overlay runs a layer, with the reason.

    `reason` is why not, in a few words; of what it runs, what part of the overlay does it.
    """

    supported: bool
    reason: str


def query(model: ov.Model, bitstream: Bitstream) -> dict[str, Support]:
    """Return by friendly name whether a bitstream runs each node of a model.

    Constants, and what is computed of nothing else, follow the first layer they feed, inputs
    likewise, and outputs the layer they come from. What is done to the pixels before the first
    layer counts as run: the plug-in's host part does it, as it did in 2018.
    """
    return _query(model, bitstream.architecture)


def out_of_range(model: ov.Model, architecture: Architecture) -> tuple[str, ...]:
    """Return the layers that an overlay would have to compute and cannot, each with the reason.

    They are those of its array, pools and activations; what else a host does is not among them.
    """
    answer = _query(model, architecture)
    kinds = (*_ARRAY, *_ACTIVATIONS, *_POOLS)
    return tuple(
        f"{node.get_friendly_name()} ({answer[node.get_friendly_name()].reason})"
        for node in model.get_ordered_ops()
        if node.get_type_name() in kinds and not answer[node.get_friendly_name()].supported
    )


def fitting(
    model: ov.Model, board: str | None = None, *, every: bool = False
) -> tuple[Bitstream, ...]:
    """Return the bitstreams that run every convolution of a model, the best first.

    Best is what runs most layers of all kinds, then what multiplies most in a second, then what was
    made for most networks, then the latest. The board is a name, None every board; `every` is
    whether all other layers must run too.
    """
    kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
    needed = [
        name for name, kind in kinds.items() if kind in _ARRAY or (every and kind not in _PORTS)
    ]
    ranked = []
    for index, (bitstream, answer) in enumerate(_answers(model, board)):
        if all(answer[name].supported for name in needed):
            count = sum(support.supported for support in answer.values())
            speed = bitstream.architecture.macs_per_cycle * bitstream.architecture.clock_hz
            ranked.append(((count, speed, len(bitstream.topologies), index), bitstream))
    return tuple(
        bitstream for _, bitstream in sorted(ranked, key=lambda pair: pair[0], reverse=True)
    )


def loaded_bitstream(card: FpgaCard, model: ov.Model, *, alone: bool = False) -> Bitstream:
    """Return the bitstream that a card is programmed with, to run a model.

    Where no other device shares the network, `alone`, only what runs every layer would do.

    Raises:
        DeviceError: `fpga-unprogrammed` when there is none, with those that would do.
    """
    if card.bitstream is not None:
        return card.bitstream
    raise DeviceError(
        "fpga-unprogrammed",
        f"{card.name} ({card.board.full_name}, simulated) is not programmed; "
        f"{_advice(card, model, alone)}",
    )


def require_layers(model: ov.Model, card: FpgaCard, answer: Mapping[str, Support]) -> None:
    """Refuse a model of which a card alone does not run every layer, as `query` answered.

    Raises:
        DeviceError: `fpga-layer`, with the layers, why, and what would do.
    """
    names = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    missing = [
        f"{name} ({answer[name].reason})"
        for name, node in names.items()
        if not answer[name].supported and node.get_type_name() not in _PORTS
    ]
    if not missing:
        return
    loaded = card.bitstream.name if card.bitstream else "no bitstream"
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    count = "1 layer" if len(missing) == 1 else f"{len(missing)} layers"
    raise DeviceError(
        "fpga-layer",
        f"{card.name} with {loaded} does not run {count}: {', '.join(missing[:_SHOWN])}{more}; "
        f"{_advice(card, model, alone=True)}",
    )


def _advice(card: FpgaCard, model: ov.Model, alone: bool) -> str:
    """Return what to do with a card that does not run a network as it is programmed."""
    board, advice = card.board.name, ""
    able = fitting(model, board, every=alone)
    if alone and not able:
        advice = f"{_lacking(model, board)}; use -d HETERO:{card.name},CPU"
        if card.bitstream is not None:
            return advice
        # It has to be programmed for that too.
        advice += "; "
        able = fitting(model, board)
    if not able:
        return f"{advice}no bitstream of a {board} runs all convolutions of this network"
    names = [bitstream.name for bitstream in able[:_NAMED]]
    what = "every layer" if alone and not advice else "its convolutions"
    return (
        f"{advice}bitstreams of a {board} that run {what}, the best first: "
        f"{', '.join(names)}: `thorax fpga program {card.name} {names[0]}`"
    )


def _lacking(model: ov.Model, board: str) -> str:
    """Return what keeps every bitstream of a board from running a network alone."""
    answers = [answer for _, answer in _answers(model, board)]
    kinds = dict.fromkeys(
        node.get_type_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() not in _PORTS
        and not any(answer[node.get_friendly_name()].supported for answer in answers)
    )
    return f"no bitstream of a {board} runs {', nor '.join(kinds) or 'all of these'} here"


def _answers(
    model: ov.Model, board: str | None
) -> Iterator[tuple[Bitstream, Mapping[str, Support]]]:
    """Yield each bitstream of a board, None for all, with its answers; equals answer once."""
    answers: dict[Architecture, dict[str, Support]] = {}
    for bitstream in BITSTREAMS.values() if board is None else bitstreams_for(board):
        same = {"precision": "fp11", "name": "", "source": "", "assumed": (), "calibrated": ()}
        key = bitstream.architecture.model_copy(update=same)
        if key not in answers:
            answers[key] = _query(model, key)
        yield bitstream, answers[key]


def _query(model: ov.Model, architecture: Architecture) -> dict[str, Support]:
    ordered = model.get_ordered_ops()
    order = {node.get_friendly_name(): number for number, node in enumerate(ordered)}
    constant = _constant_parts(ordered)
    pixels = _pixel_parts(ordered, constant)
    answer: dict[str, Support] = {}
    for node in ordered:
        name = node.get_friendly_name()
        if node.get_type_name() == "Result":
            source = node.input_value(0).get_node().get_friendly_name()
            if source in answer:
                answer[name] = Support(answer[source].supported, f"follows {source}")
        elif node.get_type_name() == "Parameter" or name in constant:
            continue
        elif name in pixels:
            answer[name] = Support(True, "pixels: by the host, as pre-processing")
        else:
            faults = list(_faults(node, architecture, constant))
            answer[name] = Support(not faults, "; ".join(faults) or _part(node))
    # Backwards, as a constant may feed what is computed of constants too.
    for node in reversed(ordered):
        name = node.get_friendly_name()
        if name in answer:
            continue
        users = [
            port.get_node().get_friendly_name()
            for output in node.outputs()
            for port in output.get_target_inputs()
        ]
        followed = [user for user in users if user in answer]
        if followed:
            first = min(followed, key=order.__getitem__)
            answer[name] = Support(answer[first].supported, f"follows {first}")
        else:
            answer[name] = Support(False, "no layer uses it")
    return {node.get_friendly_name(): answer[node.get_friendly_name()] for node in ordered}


def _constant_parts(ordered: list[ov.Node]) -> set[str]:
    """Return the constants and what is computed of nothing else, as weights that are widened."""
    names: set[str] = set()
    for node in ordered:
        sources = [value.get_node().get_friendly_name() for value in node.input_values()]
        inner = bool(sources) and all(source in names for source in sources)
        if node.get_type_name() == "Constant" or (inner and node.get_type_name() != "Result"):
            names.add(node.get_friendly_name())
    return names


def _pixel_parts(ordered: list[ov.Node], constant: Collection[str]) -> set[str]:
    """Return what only converts, scales and shifts the pixels of an input."""
    names: set[str] = set()
    for node in ordered:
        kind = node.get_type_name()
        sources = [
            value.get_node()
            for value in node.input_values()
            if value.get_node().get_friendly_name() not in constant
        ]
        if kind in ("Convert", *_SCALES) and len(sources) == 1:
            (source,) = sources
            if source.get_type_name() == "Parameter" or source.get_friendly_name() in names:
                names.add(node.get_friendly_name())
    return names


def _part(node: ov.Node) -> str:
    """Return what part of an overlay a layer occupies."""
    kind = node.get_type_name()
    if kind in _ARRAY:
        return "PE array"
    if kind in _POOLS:
        return "pooling kernel"
    if kind in _ACTIVATIONS:
        return "activation kernel"
    if kind == "LRN":
        return "normalisation kernel"
    if kind in ("Concat", *_VIEWS):
        return "moves no value"
    return "adder"


def _faults(node: ov.Node, architecture: Architecture, constant: Collection[str]) -> Iterator[str]:
    if node.get_output_partial_shape(0).is_dynamic:
        yield "size not fixed"
        return
    if not node.get_output_element_type(0).is_real():
        yield f"{node.get_output_element_type(0).to_string()}: not floating point"
        return
    yield from _kind_faults(node, architecture, constant)
    yield from _size_faults(node, architecture)


def _kind_faults(
    node: ov.Node, architecture: Architecture, constant: Collection[str]
) -> Iterator[str]:
    kind = node.get_type_name()
    if kind in _ARRAY:
        yield from _array_faults(node, architecture, constant)
    elif kind in _ACTIVATIONS:
        if kind not in architecture.ranges.activations:
            yield f"{kind}: not in this bitstream"
        yield from _rank_faults(node)
    elif kind in _POOLS:
        yield from _pool_faults(node, architecture)
    elif kind in _SCALES:
        yield from _arithmetic_faults(node, constant)
    elif kind == "Concat":
        yield from _concat_faults(node)
    elif kind in _VIEWS:
        yield from _view_faults(node)
    elif kind == "LRN":
        if not architecture.auxiliary.norm_k:
            yield "LRN: not in this bitstream"
        yield from _rank_faults(node)
    elif kind == "Softmax" and architecture.auxiliary.softmax:
        yield from _rank_faults(node)
    elif str(node.get_type_info().version_id).startswith("opset"):
        yield f"{kind}: not in this bitstream"
    else:
        yield f"{kind}: custom or unknown layer"


def _concat_faults(node: ov.Node) -> Iterator[str]:
    if len(node.get_output_shape(0)) != 4:
        yield "not 4 dimensions"
    elif node.get_attributes()["axis"] not in (1, -3):
        yield "joins along an axis that is not the channels"


def _rank_faults(node: ov.Node) -> Iterator[str]:
    """Yield what is wrong with a tensor that is neither maps nor what a full connection answers."""
    if len(node.get_output_shape(0)) not in (2, 4):
        yield "not 4 dimensions"


def _size_faults(node: ov.Node, architecture: Architecture) -> Iterator[str]:
    ranges = architecture.ranges
    shape = list(node.get_output_shape(0))
    if len(shape) != 4:
        return
    _, channels, height, width = shape
    if channels > ranges.max_channels:
        yield f"{channels} channels: at most {ranges.max_channels}"
    if height > ranges.max_height or width > ranges.max_width:
        yield f"map {height}x{width}: at most {ranges.max_height}x{ranges.max_width}"


def _array_faults(
    node: ov.Node, architecture: Architecture, constant: Collection[str]
) -> Iterator[str]:
    kind, ranges = node.get_type_name(), architecture.ranges
    if node.input_value(1).get_node().get_friendly_name() not in constant:
        yield "weights are not constant"
        return
    if kind == "MatMul":
        if len(node.get_input_shape(0)) != 2:
            yield "not 2 dimensions"
        if node.get_attributes()["transpose_a"]:
            yield "input is transposed"
        return
    if len(node.get_input_shape(0)) != 4:
        yield "not 4 dimensions"
        return
    attributes = node.get_attributes()
    kernel = list(node.get_input_shape(1))[-2:]
    strides, dilations = list(attributes["strides"]), list(attributes["dilations"])
    if max(kernel) > ranges.max_kernel:
        yield f"kernel {_by(kernel)}: at most {_by([ranges.max_kernel] * 2)}"
    if kind.endswith("BackpropData"):
        allowed = ranges.deconvolution_strides
        if not allowed:
            yield f"{kind}: not in this bitstream"
        elif any(stride not in allowed for stride in strides):
            yield f"stride {_by(strides)}: {', '.join(map(str, allowed))} alone"
    elif max(strides) > ranges.max_stride:
        yield f"stride {_by(strides)}: at most {ranges.max_stride}"
    if max(dilations) > ranges.max_dilation:
        yield f"dilation {_by(dilations)}: at most {ranges.max_dilation}"


def _pool_faults(node: ov.Node, architecture: Architecture) -> Iterator[str]:
    shape = list(node.get_input_shape(0))
    if len(shape) != 4:
        yield "not 4 dimensions"
        return
    if node.get_type_name() == "ReduceMean":
        axes = node.input_value(1).get_node()
        data = axes.get_data() if axes.get_type_name() == "Constant" else []
        if {int(axis) % 4 for axis in data} != {2, 3}:
            yield "not the mean of whole maps"
        return
    attributes, window = node.get_attributes(), architecture.ranges.max_pool_window
    kernel = list(attributes["kernel"])
    whole = node.get_type_name() == "AvgPool" and kernel == shape[2:]
    if max(kernel) > window and not whole:
        yield f"pooling window {_by(kernel)}: at most {_by([window] * 2)}"
    if max(attributes.get("dilations", [1])) > 1:
        yield "pooling window with gaps"


def _arithmetic_faults(node: ov.Node, constant: Collection[str]) -> Iterator[str]:
    kind, shape = node.get_type_name(), list(node.get_output_shape(0))
    yield from _rank_faults(node)
    constants = [
        index
        for index, value in enumerate(node.input_values())
        if value.get_node().get_friendly_name() in constant
    ]
    if not constants:
        if kind != "Add":
            yield f"{kind} of two maps: not in this bitstream"
        elif any(list(node.get_input_shape(index)) != shape for index in (0, 1)):
            yield "sum of maps of unlike sizes"
        elif len(shape) != 4:
            yield "not 4 dimensions"
        return
    given = list(node.get_input_shape(constants[0]))
    aligned = [1] * (len(shape) - len(given)) + given
    if any(size != 1 for axis, size in enumerate(aligned) if axis != 1):
        yield f"{kind} of a constant that differs within a map"
    if kind in ("Subtract", "Divide") and constants[0] == 0:
        yield f"{kind} from a constant: not in this bitstream"


def _view_faults(node: ov.Node) -> Iterator[str]:
    """Yield what keeps a change of shape from leaving maps, or channels alone, as they lie."""
    before, after = list(node.get_input_shape(0)), list(node.get_output_shape(0))
    plain = (2, 4)
    if len(before) not in plain or len(after) not in plain:
        yield "not 4 dimensions"
    elif before[0] != after[0] or (len(after) == 4 and before != after and after[2:] != [1, 1]):
        yield "moves values between maps"


def _by(sizes: list[int]) -> str:
    return "x".join(map(str, sizes))
