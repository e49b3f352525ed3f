"""A graph made ready for simulated cards: split, with their arithmetic in it, and compiled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import openvino as ov

from thorax.devices.card_model import Offload, find_offloads
from thorax.devices.core import list_parts, openvino_name, simulates, thorax_name
from thorax.devices.partition import Partition, assign, partition, read_split, set_apart
from thorax.errors import DeviceError, last_line
from thorax.fpga.card import FpgaCard, find_card
from thorax.fpga.emulation import emulate, round_outputs
from thorax.fpga.plugin import open_cards

Numerics = Literal["bitstream", "fp32"]
"""What a simulated card computes in: the format of its bitstream, or float32, to be compared."""

_COUNT: Final = "HETERO_NUMBER_OF_SUBMODELS"


@dataclass(frozen=True, slots=True)
class Placement:
    """A graph whose every node names its device.

    Attributes:
        model: with the cards' arithmetic put in.
        device: the device string.
        partition: who runs what, in the subgraphs that HETERO makes of this graph.
        network: who runs what, in the subgraphs that a card would run: what was put in to imitate
            its arithmetic makes HETERO cut more often.
        cards: simulated cards that run part of it, by name.
        arithmetic: what each device that runs part of it computes in, by name.
        offloads: what the cards run, to model their time by.
    """

    model: ov.Model
    device: str
    partition: Partition
    network: Partition
    cards: Mapping[str, FpgaCard]
    arithmetic: Mapping[str, str]
    offloads: tuple[Offload, ...]


def place(
    model: ov.Model,
    device: str,
    *,
    numerics: Numerics = "bitstream",
    state: Path | None = None,
) -> Placement:
    """Make a graph ready for a device string that names simulated cards.

    Args:
        model: of static shapes; it is not changed.
        device: as `partition` takes it.
        numerics: what the cards compute in.
        state: file of the cards' state.

    Raises:
        DeviceError, ModelError: as `partition`.
    """
    plain = model.clone()
    set_apart(plain)
    split = partition(plain, device, state=state)
    ready = plain.clone()
    assign(ready, split)
    cards: dict[str, FpgaCard] = {}
    arithmetic: dict[str, str] = {}
    for part in dict.fromkeys(subgraph.device for subgraph in split.subgraphs):
        arithmetic[part] = "f32"
        if not simulates(part):
            continue
        card = cards[part] = find_card(part, state)
        assert card.bitstream is not None
        if numerics == "bitstream":
            overlay = card.bitstream.architecture
            layers = {row.name for row in split.rows if row.device == part}
            emulate(ready, layers, precision=overlay.precision, block=overlay.c_vector)
            arithmetic[part] = overlay.precision
    if numerics == "bitstream":
        numbers = {row.name: row.subgraph for row in split.rows}
        round_outputs(ready, numbers, {row.name for row in split.rows if row.device in cards})
    assign(ready, split)
    offloads = find_offloads(plain, split, cards)
    return Placement(ready, device, read_split(ready, split), split, cards, arithmetic, offloads)


def target(device: str) -> str:
    """Return a device string in OpenVINO's names, each device once."""
    head, colon, _ = device.partition(":")
    names = [openvino_name(part) for part in list_parts(device)]
    return f"{head}:{','.join(names)}" if colon else names[0]


def compile_placed(
    placed: Placement,
    common: Mapping[str, Any],
    shared: Mapping[str, Any],
    *,
    each: Mapping[str, Mapping[str, Any]] | None = None,
    core: ov.Core | None = None,
) -> ov.CompiledModel:
    """Compile what was made ready.

    Args:
        placed: as `place` returned it.
        common: configuration of every device.
        shared: configuration of the whole.
        each: configuration of single devices, by name.
        core: that compiles; None takes the process's core of the cards.

    Raises:
        DeviceError: `device-compile`, `fpga-openvino`, `fpga-selftest`, or `fpga-subgraphs` where
            OpenVINO cut the graph at other places than the partition says.
    """
    core = core or open_cards()
    # A card's format is put into a graph that float32 computes exactly.
    properties = {
        openvino_name(part): {
            **common, **_of(part, each or {}), "INFERENCE_PRECISION_HINT": "f32"
        }
        for part in list_parts(placed.device)
    }  # fmt: skip
    named = target(placed.device)
    try:
        if named in properties:
            return core.compile_model(placed.model, named, {**shared, **properties[named]})
        config = {**shared, "DEVICE_PROPERTIES": properties}
        compiled = core.compile_model(placed.model, named, config)
    except RuntimeError as error:
        raise DeviceError("device-compile", f"{placed.device}: {last_line(error)}") from error
    count, expected = compiled.get_property(_COUNT), len(placed.partition.subgraphs)
    if count != expected:
        raise DeviceError(
            "fpga-subgraphs",
            f"{placed.device}: HETERO made {count} subgraphs where {expected} were worked out; "
            "report this, with the network",
        )
    return compiled


def _of(part: str, each: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what is configured of one device, whichever of its names that was done by."""
    chosen: dict[str, Any] = {}
    for name, properties in each.items():
        if list_parts(thorax_name(name)) == (part,):
            chosen.update(properties)
    return chosen
