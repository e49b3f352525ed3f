"""A graph made ready for simulated cards: split, with their arithmetic in it, and compiled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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


@dataclass(frozen=True, slots=True)
class Placement:
    """A graph whose every node names its device.

    The model has the cards' arithmetic put in. `partition` is who runs what in the subgraphs that
    HETERO makes of this graph, `network` in those that a card would run: what was put in to imitate
    its arithmetic makes HETERO cut more often. `cards` are the simulated ones that run part of it,
    `arithmetic` is what each device that does computes in, by name; `offloads` are what the cards
    run, to model their time by.
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

    The model, of static shapes, is not changed; `device` is as `partition` takes it, `numerics`
    what the cards compute in, `state` the file of their state.

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

    Configuration is `common` to every device, `shared` by the whole, or of `each` single device by
    name. A core may be given; None takes the process's core of the cards.

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
    count = compiled.get_property("HETERO_NUMBER_OF_SUBMODELS")
    expected = len(placed.partition.subgraphs)
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
