"""Which layers of a network a bitstream runs, and why it does not run the others."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import openvino as ov

from thorax.errors import DeviceError
from thorax.fpga.architecture import Architecture
from thorax.fpga.bitstreams import BITSTREAMS, Bitstream, bitstreams_for
from thorax.fpga.card import Card

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
_SCALES: Final = ("Add", "Subtract", "Multiply", "Divide")
_VIEWS: Final = ("Reshape", "Squeeze", "Unsqueeze", "Identity")
_SHOWN: Final = 5
"""Layers and bitstreams that an error names."""

SpatialAxes: Final = ({2, 3}, {-2, -1})


@dataclass(frozen=True, slots=True)
class Support:
    """Whether an overlay runs a layer.

    Attributes:
        supported: that it does.
        reason: why not, in a few words; of what it runs, what part of the overlay does it.
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


def fitting(model: ov.Model, board: str | None = None) -> tuple[Bitstream, ...]:
    """Return the bitstreams that run every convolution of a model, the best first.

    Best is what runs most layers of all kinds, then what multiplies most in a second, then the
    latest.

    Args:
        model: a network.
        board: name of a board; None takes every board's.
    """
    asked: dict[Architecture, tuple[bool, int]] = {}
    ranked = []
    candidates = BITSTREAMS.values() if board is None else bitstreams_for(board)
    for place, one in enumerate(candidates):
        key = one.architecture.model_copy(update={"precision": "fp11", "name": ""})
        if key not in asked:
            answer = _query(model, key)
            kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
            asked[key] = (
                all(answer[name].supported for name, kind in kinds.items() if kind in _ARRAY),
                sum(support.supported for support in answer.values()),
            )
        runs, count = asked[key]
        if runs:
            speed = one.architecture.macs_per_cycle * one.architecture.clock_hz
            ranked.append(((count, speed, place), one))
    return tuple(one for _, one in sorted(ranked, key=lambda pair: pair[0], reverse=True))


def loaded_bitstream(card: Card, model: ov.Model) -> Bitstream:
    """Return the bitstream that a card is programmed with, to run a model.

    Raises:
        DeviceError: `fpga-unprogrammed` when there is none, with those that would do.
    """
    if card.bitstream is not None:
        return card.bitstream
    raise DeviceError(
        "fpga-unprogrammed",
        f"{card.name} ({card.board.full_name}, simulated) is not programmed; "
        f"{_advice(card, model)}",
    )


def require_layers(model: ov.Model, card: Card, answer: Mapping[str, Support]) -> None:
    """Refuse a model of which a card alone does not run every layer.

    Args:
        model: the network.
        card: programmed.
        answer: of `query`.

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
    raise DeviceError(
        "fpga-layer",
        f"{card.name} with {loaded} does not run {len(missing)} layers: "
        f"{', '.join(missing[:_SHOWN])}{more}; give them to another device, as "
        f"HETERO:{card.name},CPU; or {_advice(card, model)}",
    )


def _advice(card: Card, model: ov.Model) -> str:
    names = [one.name for one in fitting(model, card.board.name)]
    if not names:
        return f"no bitstream of a {card.board.name} runs all convolutions of this network"
    return (
        f"bitstreams of a {card.board.name} that run its convolutions, the best first: "
        f"{', '.join(names[:_SHOWN])}: `thorax fpga program {card.name} {names[0]}`"
    )


def _query(model: ov.Model, architecture: Architecture) -> dict[str, Support]:
    ordered = model.get_ordered_ops()
    constant = _constant_parts(ordered)
    pixels = _pixel_parts(ordered, constant)
    answer: dict[str, Support] = {}
    for node in ordered:
        name = node.get_friendly_name()
        if node.get_type_name() == "Result":
            source = node.input_value(0).get_node()
            answer[name] = _follows(source, answer[source.get_friendly_name()])
        elif node.get_type_name() == "Parameter" or name in constant:
            continue
        elif name in pixels:
            answer[name] = Support(True, "pixels: by the host, as pre-processing")
        else:
            faults = list(_faults(node, architecture, constant))
            answer[name] = Support(not faults, "; ".join(faults) or _part(node))
    # Backwards, as what a constant feeds may be computed of constants too.
    for node in reversed(ordered):
        if node.get_friendly_name() not in answer:
            users = node.output(0).get_target_inputs()
            user = min((one.get_node() for one in users), key=ordered.index, default=None)
            if user is None:
                answer[node.get_friendly_name()] = Support(True, "feeds nothing")
            else:
                answer[node.get_friendly_name()] = _follows(user, answer[user.get_friendly_name()])
    return answer


def _follows(other: ov.Node, support: Support) -> Support:
    return Support(support.supported, f"follows {other.get_friendly_name()}")
