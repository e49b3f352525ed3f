"""Modelled time and power of what simulated cards run of a network: computed, never measured.

A card is handed one subgraph after another. Each passes six steps, those that OpenVINO's FPGA
plug-in counted in 2018: the host converts, a link carries, the overlay executes, and back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import openvino as ov

from thorax.devices.counters import Counter
from thorax.devices.partition import Partition
from thorax.fpga.architecture import Architecture
from thorax.fpga.boards import Draw, draw
from thorax.fpga.card import FpgaCard
from thorax.fpga.overlay import Bound, Estimate, estimate
from thorax.fpga.plugin import is_fpga
from thorax.fpga.workload import WorkloadLayer, describe
from thorax.results.partition import LINK_BYTES
from thorax.results.shared import Modelled, PlusMeasured, Stage

STEPS: Final = (
    "1. input preprocessing (mean data/FPGA)",
    "2. input transfer to DDR",
    "3. FPGA execute time",
    "4. output transfer from DDR",
    "5. FPGA output postprocessing",
    "6. softmax/copy",
)
"""Rows of a subgraph on a card, by the names that OpenVINO's FPGA plug-in gave them (OpenVINO 2018
to 2020, Optimization Guide and Heterogeneous Plugin)."""

_EXECUTE: Final = 2
_HOST: Final = (0, 4, 5)
"""Steps that a processor of the host does."""

_STAGES: Final = {
    "preprocess": (0,), "to DDR": (1,), "execute": (2,), "from DDR": (3,), "postprocess": (4, 5),
}  # fmt: skip
"""Which steps make a stage of the pipeline. The runtime of FPGA AI Suite has the same five and runs
them on threads of their own, so that the card is never idle (Altera, PCIe-based Design Example User
Guide, "Infer Request class")."""

_INPUT, _OUTPUT = 3 * 224 * 224, 1000
"""Values that GoogLeNet v1 takes and answers, whose counters the Optimization Guide prints:
129, 201, 3808, 55, 7 and 2 us. But for the third, all constants below are *calibrated* on them."""

_LINK_BYTES_PER_S: Final = LINK_BYTES * (_INPUT - _OUTPUT) / (201e-6 - 55e-6)
"""Of a transfer, 2.0e9 bytes/s: *calibrated*. A quarter of the 7.9e9 bytes/s of the PAC's PCIe Gen3
x8 (Arria 10 Avalon-ST Interface for PCIe, document 683647), and *assumed* of every board."""

_TRANSFER_S: Final = 55e-6 - LINK_BYTES * _OUTPUT / _LINK_BYTES_PER_S
"""That each transfer takes beside its bytes, 54 us: *calibrated*."""

_CONVERT_S: Final = 129e-6 / _INPUT
"""Of a value from the layout and type of the host to those of a card, 0.86 ns: *calibrated*, and
*assumed* to be the same on the way back."""

_POSTPROCESS_S: Final = 7e-6 - _OUTPUT * _CONVERT_S
"""Beside the values that come back, 6 us: *calibrated*."""

_COPY_BYTES_PER_S: Final = 10e9
"""Of a copy within the memory of the host: *assumed*."""

_COPY_S: Final = 2e-6 - 4 * _OUTPUT / _COPY_BYTES_PER_S
"""Of a copy beside its bytes, 1.6 us: *calibrated*."""


@dataclass(frozen=True, slots=True)
class Offload:
    """One subgraph of a network, which a card runs in one go.

    `number` is that of the subgraph, as counters give it; the card, which is programmed, computes
    the layers in order. `input_values` and `output_values` are those of one image, of each tensor
    that goes to the card and that comes back.
    """

    number: int
    card: FpgaCard
    layers: tuple[WorkloadLayer, ...]
    input_values: tuple[int, ...]
    output_values: tuple[int, ...]

    @property
    def architecture(self) -> Architecture:
        """Of the overlay that the card is programmed with."""
        assert self.card.bitstream is not None, "partition refuses a card without"
        return self.card.bitstream.architecture


@dataclass(frozen=True, slots=True)
class OffloadTime:
    """Modelled time of one subgraph on a card, for one inference.

    `steps_s` are the seconds of each of `STEPS`; the estimate is of the overlay.
    """

    offload: Offload
    steps_s: tuple[float, ...]
    estimate: Estimate

    @property
    def total_s(self) -> float:
        """Seconds from the tensors on the host to the answers there."""
        return sum(self.steps_s)


def find_offloads(
    model: ov.Model, split: Partition, cards: Mapping[str, FpgaCard]
) -> tuple[Offload, ...]:
    """Return what simulated cards run of a network.

    The model is as before anything was put in that imitates the arithmetic of cards, no two layers
    of one name (`thorax.devices.partition.set_apart`); layers that the split does not know are
    constant. Cards are by the names that the split calls them.

    Raises:
        ModelError: as `describe`.
    """
    given, answered = _tensors(model, {row.name: row.subgraph for row in split.rows})
    return tuple(
        Offload(
            subgraph.number,
            cards[subgraph.device],
            describe(model, subgraph.layers),
            tuple(given.get(subgraph.number, {}).values()),
            tuple(answered.get(subgraph.number, {}).values()),
        )
        for subgraph in split.subgraphs
        if subgraph.device in cards and subgraph.layers
    )


_Tensors = dict[int, dict[tuple[str, int], int]]
"""Values for one image of each tensor, which is a port of a node, by subgraph."""


def _tensors(model: ov.Model, numbers: Mapping[str, int]) -> tuple[_Tensors, _Tensors]:
    """Return what each subgraph takes from outside and what it answers."""
    given: _Tensors = {}
    answered: _Tensors = {}
    for node in model.get_ordered_ops():
        taker = numbers.get(node.get_friendly_name())
        for port in node.input_values():
            source = port.get_node()
            maker = numbers.get(source.get_friendly_name())
            if taker is None or maker is None:
                continue
            key = source.get_friendly_name(), port.get_index()
            values = int(np.prod(list(port.get_shape())[1:]))
            outside = source.get_type_name() == "Parameter"
            if node.get_type_name() == "Result":
                if not outside:
                    answered.setdefault(maker, {})[key] = values
            elif outside or maker != taker:
                given.setdefault(taker, {})[key] = values
                if not outside:
                    answered.setdefault(maker, {})[key] = values
    return given, answered


def model_offload(offload: Offload, *, batch: int = 1) -> OffloadTime:
    """Return the modelled time of a subgraph, for one inference of `batch` images."""
    overlay = estimate(offload.layers, offload.architecture, batch=batch)
    given, answered = (
        [batch * count for count in values]
        for values in (offload.input_values, offload.output_values)
    )
    steps_s = (
        _CONVERT_S * sum(given),
        sum(map(_transfer_s, given)),
        overlay.latency_s,
        sum(map(_transfer_s, answered)),
        sum(_POSTPROCESS_S + _CONVERT_S * count for count in answered),
        sum(_COPY_S + 4 * count / _COPY_BYTES_PER_S for count in answered),
    )
    return OffloadTime(offload, steps_s, overlay)


def forecast(
    offloads: Sequence[Offload],
    *,
    batch: int = 1,
    others_s: float | None = None,
    side_by_side: int = 1,
) -> Modelled:
    """Return what cards would do with their subgraphs.

    The rate is that with as many inferences on their way as keep the slowest stage of the cards
    busy, the power that of the boards of all cards at that rate, None where no source gives one of
    them. Offloads, not empty, are as `find_offloads` returns them, of inferences of `batch` images.
    `others_s` is the measured time of one inference in the layers of other devices, seconds, 0
    where they have none, None where it was not measured; it enters `plus_measured` alone.
    `side_by_side` is how many inferences the other devices ran at once when that was measured.
    """
    parts = tuple(model_offload(offload, batch=batch) for offload in offloads)
    stages = []
    cards = {part.offload.card.name: part.offload.card for part in parts}
    for name in cards:
        steps_s = [
            sum(part.steps_s[step] for part in parts if part.offload.card.name == name)
            for step in range(len(STEPS))
        ]
        stages += [
            Stage(
                name=f"{name} {stage}",
                time_s=sum(steps_s[step] for step in places),
                origin="modelled",
            )
            for stage, places in _STAGES.items()
        ]
    images_per_s = batch / max(stage.time_s for stage in stages)
    latency_s = sum(part.total_s for part in parts)
    plus_measured = None
    if others_s:
        slowest = max(stages, key=lambda stage: stage.time_s)
        stage_s = others_s / side_by_side
        plus_measured = PlusMeasured(
            measured_s=others_s,
            stage_s=stage_s,
            images_per_s=batch / max(slowest.time_s, stage_s),
            latency_s=latency_s + others_s,
            bound_by=slowest.name if slowest.time_s >= stage_s else "other devices",
        )
    drawn = {name: _draw(parts, name, images_per_s) for name in cards}
    return _modelled(
        stages,
        images_per_s=images_per_s,
        latency_s=latency_s,
        plus_measured=plus_measured,
        watts=[power.power_w for power in drawn.values()],
        source=_source(parts, drawn, others_s),
    )


def _modelled(
    stages: Sequence[Stage],
    *,
    images_per_s: float,
    latency_s: float,
    plus_measured: PlusMeasured | None,
    watts: Sequence[float | None],
    source: str,
) -> Modelled:
    published = [power_w for power_w in watts if power_w is not None]
    power_w = sum(published) if len(published) == len(watts) else None
    return Modelled(
        images_per_s=images_per_s,
        latency_s=latency_s,
        power_w=power_w,
        images_per_s_per_w=images_per_s / power_w if power_w else None,
        bound_by=max(stages, key=lambda stage: stage.time_s).name,
        stages=tuple(stages),
        plus_measured=plus_measured,
        source=source,
    )


def _draw(parts: Sequence[OffloadTime], card: str, images_per_s: float) -> Draw:
    """Return what the board of a card draws while it computes its layers of so many images."""
    offloads = [part.offload for part in parts if part.offload.card.name == card]
    macs = sum(layer.macs for offload in offloads for layer in offload.layers)
    return draw(offloads[0].card.board, offloads[0].architecture, macs * images_per_s)


def join(forecasts: Sequence[Modelled], *, left_out: Sequence[str] = ()) -> Modelled:
    """Return what several engines would do side by side: rates and watts added.

    The engines share no card; what devices beside them that have none, `left_out`, would add is not
    counted.
    """
    if len(forecasts) == 1 and not left_out:
        return forecasts[0]
    sentences = dict.fromkeys(single.source for single in forecasts)
    together = [single.plus_measured or single for single in forecasts]
    counted = [single.plus_measured for single in forecasts if single.plus_measured]
    plus_measured = (
        PlusMeasured(
            measured_s=max(other.measured_s for other in counted),
            stage_s=max(other.stage_s for other in counted),
            images_per_s=sum(single.images_per_s for single in together),
            latency_s=max(single.latency_s for single in together),
            bound_by=max(counted, key=lambda other: other.latency_s).bound_by,
        )
        if counted
        else None
    )
    beside = f" What {', '.join(left_out)} would add is not counted." if left_out else ""
    return _modelled(
        [stage for single in forecasts for stage in single.stages],
        images_per_s=sum(single.images_per_s for single in forecasts),
        latency_s=max(single.latency_s for single in forecasts),
        plus_measured=plus_measured,
        watts=[single.power_w for single in forecasts],
        source=f"{' '.join(sentences)} Rates of {len(forecasts)} added.{beside}",
    )


def count(
    parts: Sequence[OffloadTime],
    network: Partition,
    measured_split: Partition,
    measured: Sequence[Counter],
    *,
    layers: bool = False,
) -> list[Counter]:
    """Return the counters of an engine: steps of cards as modelled, layers of others as measured.

    What the emulation took for the layers of a card is left out: it says nothing of the card. The
    parts are every subgraph that a card runs; rows are in the order of the subgraphs of `network`,
    and have their numbers. `measured_split` is the same in the subgraphs that were measured,
    `measured` as the engine counted them; `layers` adds what each layer of a card takes of its
    execute time.
    """
    devices = {subgraph.number: subgraph.device for subgraph in measured_split.subgraphs}
    numbers = {row.name: row.subgraph for row in network.rows}
    among = {row.subgraph: numbers[row.name] for row in measured_split.rows if row.name in numbers}
    others: dict[int, list[Counter]] = {}
    for row in measured:
        # Without HETERO there is one subgraph, which no counter names.
        device = devices[row.subgraph or 0]
        if not is_fpga(device):
            number = numbers.get(row.name, among.get(row.subgraph or 0, len(network.subgraphs)))
            others.setdefault(number, []).append(replace(row, subgraph=number, device=device))
    modelled = {part.offload.number: part for part in parts}
    rows: list[Counter] = []
    for number in range(len(network.subgraphs) + 1):
        if number in modelled:
            rows += _steps(modelled[number], layers=layers)
        rows += others.get(number, [])
    return rows


def _steps(part: OffloadTime, *, layers: bool) -> list[Counter]:
    """Return the six rows of a subgraph, the layers after the one that they share."""
    offload, architecture = part.offload, part.offload.architecture

    def row(name: str, real_s: float, *, host: bool = False, **more: str) -> Counter:
        return Counter(
            name=name,
            type=more.get("type", ""),
            kernel=more.get("kernel", ""),
            status="EXECUTED",
            real_s=real_s,
            cpu_s=real_s if host else 0.0,
            subgraph=offload.number,
            origin="modelled",
            device=offload.card.name,
            part_of=more.get("part_of"),
        )

    def kernel(bound: Bound) -> str:
        precision = architecture.precision
        return precision if bound is Bound.NONE else f"{precision} {bound.value}-bound"

    rows = []
    for step, (name, real_s) in enumerate(zip(STEPS, part.steps_s, strict=True)):
        overlay = architecture.name if step == _EXECUTE else ""
        rows.append(row(name, real_s, host=step in _HOST, kernel=overlay))
        if layers and step == _EXECUTE:
            rows += [
                row(
                    estimate.layer.name,
                    estimate.cycles * part.estimate.batch / architecture.clock_hz,
                    type=estimate.layer.type,
                    kernel=kernel(estimate.bound),
                    part_of=name,
                )
                for estimate in part.estimate.layers
            ]
    return rows


def _transfer_s(values: int) -> float:
    return _TRANSFER_S + LINK_BYTES * values / _LINK_BYTES_PER_S


def _source(parts: Sequence[OffloadTime], drawn: Mapping[str, Draw], others_s: float | None) -> str:
    """Return what the figures rest on, a sentence each."""
    sentences = []
    for part in parts:
        card, architecture = part.offload.card, part.offload.architecture
        bitstream = f", bitstream {card.bitstream.name}," if card.bitstream else ""
        marks = [
            f"{kind}: {', '.join(fields)}"
            for kind, fields in (
                ("calibrated", architecture.calibrated),
                ("assumed", architecture.assumptions),
            )
            if fields
        ]
        power = drawn[card.name].source or "power of the board not published"
        sentences.append(
            f"Cycles of {architecture.name}{bitstream} at {architecture.clock_hz / 1e6:g} MHz"
            f"{' (' + '; '.join(marks) + ')' if marks else ''} on {card.board.full_name}; {power}."
        )
    sentences.append(
        "Transfers and the host's steps calibrated on the counters of GoogLeNet v1 in OpenVINO's"
        " Optimization Guide (2018-2020); assumed: 2 bytes a value, one link whatever the board,"
        " copies at 10 GB/s, as long for a value on its way back."
    )
    if others_s is None:
        sentences.append("Layers of other devices are not counted.")
    elif others_s:
        sentences.append("Layers of other devices were measured here and count apart.")
    return " ".join(dict.fromkeys(sentences))
