"""Claim: the cycle model is within 15 % of published speeds, or the row says why not.

    python -m benchmarks.fpga_published

No row is a prediction: every figure was known when the model was written, and the model was looked
at beside it. Two clocks are calibrated, on one figure each; of every other row `came_of_it` says
what the figure had a part in, and `had_part` whether it had any: those are counted apart, for what
was made with a figure in view is no test by it. `benchmarks.fpga_predictions` has a figure that was
found after the model was frozen. Nothing is timed, so the result does not depend on the machine.

Where a source does not name the architecture, the one that stands for its time is taken, and the
row says so. Networks are the published ones without local response normalisation, which runs on the
way of other layers.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import openvino as ov

from benchmarks.harness.result import parse_args, table, write
from benchmarks.subjects import published_networks as networks
from thorax.fpga.architecture import find_architecture
from thorax.fpga.area import area
from thorax.fpga.overlay import Estimate, estimate
from thorax.fpga.search import FAMILIES, search
from thorax.fpga.workload import describe

GOAL: Final = 0.15

HOST_S: Final = (129 + 201 + 55 + 7 + 2) * 1e-6
"""What the host adds to one image of 224 x 224 in the counters of GoogLeNet that OpenVINO's
documentation shows: pre-processing, transfers, post-processing, copy."""

SLOWER_BYTES_PER_S: Final = 8e9
"""Of the memory of the board with an Agilex 7, if both published rates are to be hit."""

_DELL_2018: Final = "Dell EMC, Nov 2018: 2.44 images/s/W at 43 W"
_DELL_2019: Final = "Dell EMC, 2019: four cards 1251 images/s"
_MANUAL: Final = "IP Reference Manual 768974"
_EXAMPLES: Final = "Altera, design examples of FPGA AI Suite"


@dataclass(frozen=True, slots=True)
class Case:
    """A published figure beside that of the model.

    Attributes:
        what: network and quantity.
        architecture: that stands for the published one.
        unit: of both figures.
        published: by the source.
        modelled: by the cycle model.
        calibrated: whether the model was fitted to it.
        had_part: whether a size, rule or clock of the model came of the figure, or the figure
            follows from others of which one came.
        source: of the published figure.
        came_of_it: what came of the figure in the model.
        note: what the source leaves open, and why the model misses it.
    """

    what: str
    architecture: str
    unit: str
    published: float
    modelled: float
    calibrated: bool
    had_part: bool
    source: str
    came_of_it: str
    note: str = ""

    @property
    def how(self) -> str:
        """Where the modelled figure stands to the published one; none is a prediction."""
        if self.calibrated:
            return "calibrated"
        return f"known beforehand, {'had a part' if self.had_part else 'no part'}"

    @property
    def error(self) -> float:
        """Modelled over published, less one."""
        return self.modelled / self.published - 1


def modelled(
    network: Callable[[], ov.Model],
    architecture: str,
    *,
    batch: int = 1,
    clock_hz: float | None = None,
) -> Estimate:
    """Return the estimate of a network, at another clock where one is given."""
    found = find_architecture(architecture)
    if clock_hz is not None:
        found = found.model_copy(update={"clock_hz": clock_hz})
    return estimate(describe(network()), found, batch=batch)


def speeds() -> list[Case]:
    """Return the published speeds, the calibrated ones first; each figure once."""
    old, new = "8x48-fp11", "4x2x16x64-fp11"
    resnet_2019 = modelled(networks.resnet50, new)
    mobilenet = modelled(networks.mobilenet, "agx7-generic-fp16")
    agx7, agx5 = "agx7-performance-fp13", "agx7-performance-fp13"
    unknown = "architecture not named; 32x64 is deduced from the DSP blocks of release 2023.1"
    return [
        Case(
            "ResNet-50, 2018 PAC", old, "images/s", 104.9,
            modelled(networks.resnet50, old).images_per_s, True, True, _DELL_2018,
            "the clock of `8x48-fp11`, 281 MHz",
        ),
        Case(
            "ResNet-50, 2019 PAC", new, "images/s", 312.75, resnet_2019.images_per_s, True, True,
            _DELL_2019, "the clock of `4x2x16x64-fp11`, 243 MHz",
        ),
        Case(
            "GoogLeNet, FPGA execute time", old, "ms", 3.808,
            modelled(networks.googlenet, old).latency_s * 1e3, False, True,
            "OpenVINO 2018-2020, FPGA plug-in, performance counters",
            "columns and filters of `8x48-fp11` were assumed, and pools inside modules added, with "
            "it in view",
            "board, bitstream and clock not named",
        ),
        Case(
            "ResNet-50 latency with host, 2019 PAC", new, "ms", 4.0,
            (resnet_2019.latency_s + HOST_S) * 1e3, False, True, "Dell EMC, 2019",
            "nothing more: its rate is the calibrated one, its host the counters of the row above",
            "rounded by the source",
        ),
        Case(
            "GoogLeNet, batch 1", new, "images/s", 900,
            modelled(networks.googlenet, new).images_per_s, False, False, "arXiv 1807.06434",
            "nothing",
            "architecture, batch and clock not named; the clock is that of the 2019 PAC",
        ),
        Case(
            "MobileNetV1, Agilex 7", "agx7-generic-fp16", "images/s", 176,
            mobilenet.images_per_s, False, True, f"{_MANUAL}, 2024.2",
            "the rule of the depthwise kernel and its 16 channels; the array of 16 x 16, with its "
            "DSP blocks; the choice of its clock",
            "clock not named: 400 MHz, that of the vendor's estimator; the design reached 616 MHz",
        ),
        Case(
            "MobileNetV1, average DDR traffic", "agx7-generic-fp16", "MB/s", 2325,
            mobilenet.ddr_bytes_per_s / 1e6, False, True, f"{_MANUAL}, 2024.2",
            "as the row above, on which its rate rests",
            "stream buffer deduced from the M20K blocks",
        ),
        Case(
            "ResNet-50 at 400 MHz, Agilex 7", agx7, "images/s/MHz", 0.308,
            modelled(networks.resnet50_late, agx7, clock_hz=400e6).images_per_s / 400, False, True,
            _EXAMPLES, "that traffic of feature maps is modelled",
            f"{unknown}; bandwidth of its memory not published: 8 GB/s would hit both",
        ),
        Case(
            "ResNet-50 at 500 MHz, Agilex 7, the vendor's estimate", agx7, "images/s", 137.64,
            modelled(networks.resnet50_late, agx7, clock_hz=500e6).images_per_s, False, False,
            _EXAMPLES, "nothing", "as above; an estimate, not a measurement",
        ),
        Case(
            "ResNet-18 at 200 MHz, Agilex 5", agx5, "images/s", 218.7,
            modelled(networks.resnet18, agx5, clock_hz=200e6).images_per_s, False, False,
            _EXAMPLES, "nothing",
            "INT8 graph; architecture not published: 97 % of 2048 products would be used, so the "
            "real array is larger",
        ),
        Case(
            "AlexNet, batch 96", "8x48-winograd-fp16", "images/s", 1020,
            modelled(networks.alexnet, "8x48-winograd-fp16", batch=96).images_per_s, False, False,
            "arXiv 1701.03534", "nothing; sizes and clock are of the same paper",
            "stalls between phases and the input's transformation left out",
        ),
    ]  # fmt: skip


def areas() -> list[Case]:
    """Return the published areas; all but the last were fitted."""
    cases = []
    came = {"DSP": "vector sizes", "M20K": "depth of the stream buffer", "ALM": "fit of logic"}
    small = find_architecture("a10-small-fp11")
    plain = small.auxiliary.model_copy(update={"softmax": False})
    without = small.model_copy(update={"name": "a10-small-fp11, no softmax", "auxiliary": plain})
    for design, what, counts in (
        (find_architecture("a10-generic-fp16"), "A10_FP16_Generic", (162, 485, 25_600)),
        (find_architecture("a10-performance-fp16"), "A10_FP16_Performance", (1114, 1444, 79_700)),
        (without, "A10_Small_NoSoftmax", (80, 247, 14_900)),
        (small, "A10_Small_Softmax", (90, 255, 16_100)),
        (find_architecture("a10-generic-fp11"), "A10_Generic", (178, 598, 27_300)),
        (find_architecture("a10-performance-fp11"), "A10_Performance", (602, 910, 52_600)),
    ):
        taken = area(design)
        for unit, want, found in zip(
            ("DSP", "M20K", "ALM"), counts, (taken.dsp, taken.m20k, taken.alm), strict=True
        ):
            cases.append(
                Case(
                    what, design.name, unit, want, found, True, True, f"{_MANUAL}, 2023.1",
                    came[unit],
                )
            )  # fmt: skip
    taken = area(find_architecture("agx7-generic-fp13"))
    cases.append(
        Case(
            "AGX7_Generic", "agx7-generic-fp13", "M20K", 778, taken.m20k, False, False,
            f"{_MANUAL}, 2024.2", "nothing", "stream buffer as the handbook tells it",
        )
    )  # fmt: skip
    return cases


@dataclass(frozen=True, slots=True)
class Asides:
    """What docs/fpga.md says beside the rows, as the model has it.

    Attributes:
        pools_share: of the cycles of GoogLeNet on `8x48-fp11`, in pools that are passes of their
            own.
        googlenet_275_mhz: images/s on `4x2x16x64-fp11` at that clock, in batches of 8.
        googlenet_243_mhz: the same at the clock of the row.
        mobilenet_616_mhz: images/s at the clock that the manual says the design reached.
        mobilenet_616_mhz_error: over the published rate, less one.
        memory_bytes_per_s: that is assumed of the board with an Agilex 7.
        resnet50_bytes: to and from it, of an image.
        resnet50_memory_s: that they take.
        slower_bytes_per_s: memory that would hit both published rates of ResNet-50.
        slower_400_mhz: images/s of ResNet-50 with it.
        slower_500_mhz: the same at the other clock.
        slower_mobilenet: images/s of MobileNetV1 with it.
        resnet18_used: share of the products of 32 x 64 that the published rate of ResNet-18 makes.
    """

    pools_share: float
    googlenet_275_mhz: float
    googlenet_243_mhz: float
    mobilenet_616_mhz: float
    mobilenet_616_mhz_error: float
    memory_bytes_per_s: float
    resnet50_bytes: float
    resnet50_memory_s: float
    slower_bytes_per_s: float
    slower_400_mhz: float
    slower_500_mhz: float
    slower_mobilenet: float
    resnet18_used: float


def asides() -> Asides:
    """Return the figures that the text of docs/fpga.md has beside those of its rows."""
    rows = {(case.what, case.unit): case.published for case in speeds()}
    pools = modelled(networks.googlenet, "8x48-fp11")
    batches = [
        modelled(networks.googlenet, "4x2x16x64-fp11", batch=8, clock_hz=clock_hz).images_per_s
        for clock_hz in (275e6, 243e6)
    ]
    fast = modelled(networks.mobilenet, "agx7-generic-fp16", clock_hz=616e6).images_per_s
    memory = find_architecture("agx7-performance-fp13").memory
    bandwidth = memory.bank_bytes_per_s * memory.efficiency
    moved = modelled(networks.resnet50_late, "agx7-performance-fp13").ddr_bytes
    macs = sum(layer.macs for layer in describe(networks.resnet18()))
    array = find_architecture("agx7-performance-fp13").macs_per_cycle
    return Asides(
        pools_share=sum(row.cycles for row in pools.layers if row.layer.kind == "pool")
        / pools.cycles,
        googlenet_275_mhz=batches[0],
        googlenet_243_mhz=batches[1],
        mobilenet_616_mhz=fast,
        mobilenet_616_mhz_error=fast / rows["MobileNetV1, Agilex 7", "images/s"] - 1,
        memory_bytes_per_s=bandwidth,
        resnet50_bytes=moved,
        resnet50_memory_s=moved / bandwidth,
        slower_bytes_per_s=SLOWER_BYTES_PER_S,
        slower_400_mhz=_slower(networks.resnet50_late, "agx7-performance-fp13", 400e6),
        slower_500_mhz=_slower(networks.resnet50_late, "agx7-performance-fp13", 500e6),
        slower_mobilenet=_slower(networks.mobilenet, "agx7-generic-fp16", 400e6),
        resnet18_used=rows["ResNet-18 at 200 MHz, Agilex 5", "images/s"] * macs / (array * 200e6),
    )


def _slower(network: Callable[[], ov.Model], architecture: str, clock_hz: float) -> float:
    """Return images/s where the memory of the board has the bandwidth that hits both figures."""
    found = find_architecture(architecture)
    memory = found.memory.model_copy(
        update={"bank_bytes_per_s": SLOWER_BYTES_PER_S, "efficiency": 1.0}
    )
    changed = found.model_copy(update={"clock_hz": clock_hz, "memory": memory})
    return estimate(describe(network()), changed).images_per_s


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found for a network.

    Attributes:
        network: name.
        family: of devices.
        architecture: name.
        images_per_s: modelled.
        dsp: DSP blocks, modelled.
        m20k: memory blocks, modelled.
        alm: logic modules, modelled.
    """

    network: str
    family: str
    architecture: str
    images_per_s: float
    dsp: int
    m20k: int
    alm: int


def searched() -> list[Found]:
    """Return the fastest architecture in FP11 of some networks and both families."""
    found = []
    for name in ("ResNet-50", "VGG16", "GoogLeNet", "MobileNetV1"):
        layers = describe(networks.NETWORKS[name]())
        for family in FAMILIES:
            best = search(layers, family)
            speed, taken = estimate(layers, best).images_per_s, area(best)
            found.append(Found(name, family, best.name, speed, taken.dsp, taken.m20k, taken.alm))
    return found


def searched_lines(found: Sequence[Found]) -> list[str]:
    """Return the rows of the second table in docs/fpga.md."""
    return [
        f"| {one.network} | {one.family} | `{one.architecture}` | {one.images_per_s:,.0f} | "
        f"{one.dsp:,} | {one.m20k:,} | {one.alm:,} |"
        for one in found
    ]


def lines(cases: Sequence[Case]) -> list[str]:
    """Return the rows of the table in docs/fpga.md."""
    return [
        f"| {case.what} | `{case.architecture}` | {case.published:g} {case.unit} | "
        f"{_figure(case.modelled)} | {case.error:+.1%} | "
        f"{case.how} | {case.came_of_it} | {case.source} |"
        for case in cases
    ]


def area_lines(cases: Sequence[Case]) -> list[str]:
    """Return the rows of the table of areas in docs/fpga.md: each error in brackets."""
    designs = dict.fromkeys((case.what, case.architecture) for case in cases)
    rows = []
    for what, architecture in designs:
        cells = {
            case.unit: f"{case.modelled:,.0f} ({case.error:+.1%})"
            for case in cases
            if case.what == what
        }
        figures = " | ".join(cells.get(unit, "") for unit in ("DSP", "M20K", "ALM"))
        (how,) = {case.how for case in cases if case.what == what}
        how = "fitted" if how == "calibrated" else how
        rows.append(f"| {what} | `{architecture}` | {figures} | {how} |")
    return rows


def sentence(cases: Sequence[Case]) -> str:
    """Return what docs/fpga.md says of the errors of speeds: those with a part apart."""
    without, having = (counted(cases, had_part=had_part) for had_part in (False, True))
    return (
        f"Of the {without.rows} figures of which nothing came, {without.within_goal} lie within "
        f"{GOAL * 100:.0f} %; of the {having.rows} that had a part in the model, "
        f"{having.within_goal} do."
    )


@dataclass(frozen=True, slots=True)
class Count:
    """How many figures were known beforehand, and within the goal."""

    rows: int
    within_goal: int


def counted(cases: Sequence[Case], *, had_part: bool) -> Count:
    """Return the count of figures, not calibrated, that had a part in the model, or had none."""
    errors = [
        abs(case.error) for case in cases if not case.calibrated and case.had_part is had_part
    ]
    return Count(len(errors), sum(error <= GOAL for error in errors))


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rehearsal = parse_args(parser).rehearsal
    cases, resources = speeds(), areas()
    table(
        "The model against published figures",
        ("figure", "architecture", "published", "modelled", "error", "how"),
        [
            (
                case.what,
                case.architecture,
                f"{case.published:g} {case.unit}",
                _figure(case.modelled),
                f"{case.error:+.1%}",
                case.how,
            )
            for case in (*cases, *resources)
        ],
    )
    print(sentence(cases))
    found = searched()
    for line in (*lines(cases), *area_lines(resources), *searched_lines(found)):
        print(line)
    written = write(
        "fpga_published",
        {
            "goal": GOAL,
            "calibrated": sum(case.calibrated for case in cases),
            "had_part": asdict(counted(cases, had_part=True)),
            "nothing_came": asdict(counted(cases, had_part=False)),
            "cases": [
                {**asdict(case), "error": case.error, "how": case.how}
                for case in (*cases, *resources)
            ],
            "asides": asdict(asides()),
            "searched": [asdict(one) for one in found],
        },
        rehearsal=rehearsal,
        modelled=True,
    )
    print("written:", written)


if __name__ == "__main__":
    main()
