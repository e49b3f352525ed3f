"""Claim: how far the cycle model, frozen before, lies from a published speed that was then found.

    python -m benchmarks.fpga_predictions

Every figure of `benchmarks.fpga_published` was known when the model was written. Here the order is
the other way round. The model of commit `MODEL` stood first; then, before any figure was looked
up, `predictions` of it were written to the file `WRITTEN_DOWN` and committed: every shipped
architecture of the FPGA AI Suite and every network of the tests, at the clock that the vendor's
estimator assumes and at the clock that the IP Reference Manual says the design reached (release
2023.1, from whose areas the architectures were deduced). That is the one to be judged by, since
figures are of designs as they were built; the other is told. Only then, after commit `FROZEN`, were
figures looked up.

One was found that names network, architecture file and clock, and that nobody here had used. It is
none of the rows that were written down: its clock is neither of the two, and its architecture is
not shipped here, so another stands for it. What is compared with it was computed after it was
found, by the model as it was frozen, at the clock of its source; nothing else is chosen afterwards,
but for the architecture, and the row says so. The tables of throughput in the IP Reference Manual,
for which the predictions stand ready, were not at hand but for the one row that the model knew.

The predictions stay in their file; a result has them again beside what is compared, and is refused
where the model no longer says them: a model that has changed since has seen the figures.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.harness.result import RESULTS, parse_args, table, write
from benchmarks.subjects import published_networks as networks
from thorax.fpga.architecture import find_architecture
from thorax.fpga.overlay import estimate
from thorax.fpga.workload import describe

MODEL: Final = (
    "Let the output writer and the filter cache count in the cycle model; refuse what it does not "
    "know"
)
"""First line of the commit of the model and its architectures, before figures were looked up."""

FROZEN: Final = "Write down what the cycle model says before published figures are looked up"
"""That of the commit of the predictions."""

GOAL: Final = 0.15
"""Error that is aimed at, as of `benchmarks.fpga_published`."""

BUILT_HZ: Final = {
    "a10-generic-fp16": 315e6,
    "a10-performance-fp16": 281e6,
    "a10-small-fp11": 353e6,
    "a10-generic-fp11": 283e6,
    "a10-performance-fp11": 300e6,
    "agx7-generic-fp16": 600e6,
    "agx7-generic-fp13": 600e6,
    "agx7-performance-fp13": 600e6,
}
"""fMAX of the IP Reference Manual 768974, 2023.1, s. 2.2; that of the last two is not in the
excerpt that was at hand and taken as that of the other designs for Agilex 7."""

NETWORKS: Final = {**networks.NETWORKS, "ResNet-50 v1.5": networks.resnet50_late}

WRITTEN_DOWN: Final = RESULTS / "fpga_predictions_model_2026-12-01.json"
"""The predictions as they were committed, which nothing writes again."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of a network on an architecture, at two clocks, before it is compared.

    Attributes:
        architecture: as shipped.
        network: as the tests build it.
        clock_hz: that the design reached.
        images_per_s: at that clock, one image at a time.
        estimator_hz: that the vendor's estimator assumes.
        estimator_images_per_s: at that clock.
    """

    architecture: str
    network: str
    clock_hz: float
    images_per_s: float
    estimator_hz: float
    estimator_images_per_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published figure that was looked up after the model was frozen, beside the model's.

    Attributes:
        network: as the tests build it.
        architecture: shipped, which stands for the published one.
        clock_hz: of the source.
        published: images/s of the overlay alone, by the source.
        modelled: images/s by the frozen model, at that clock.
        error: modelled over published, less one.
        utilization: of the products of the array, modelled.
        written_down: whether it is one of the predictions, or computed once the figure was known.
        source: document and section.
        note: what the source leaves open.
    """

    network: str
    architecture: str
    clock_hz: float
    published: float
    modelled: float
    error: float
    utilization: float
    written_down: bool
    source: str
    note: str


def comparisons() -> list[Comparison]:
    """Return every figure that was found, beside what the frozen model says of it."""
    network, name, clock_hz, published = "ResNet-50 v1.5", "agx7-generic-fp13", 326.8177e6, 31.168
    overlay = find_architecture(name).model_copy(update={"clock_hz": clock_hz})
    made = estimate(describe(NETWORKS[network]()), overlay)
    said = made.images_per_s
    return [
        Comparison(
            network=network,
            architecture=name,
            clock_hz=clock_hz,
            published=published,
            modelled=_short(said),
            error=round(said / published - 1, 5),
            utilization=_short(made.utilization),
            written_down=clock_hz in {BUILT_HZ[name], find_architecture(name).clock_hz},
            source="FPGA AI Suite 2026.1.1 Installation Guide (a user's, in a public repository), "
            "G4-G6: resnet-50-tf on AGX5_Generic.arch, Agilex 5 E-Series Modular Development Kit, "
            "IP throughput as dla_benchmark measured it",
            note="none of the rows that were written down, which are at 600 and 400 MHz: computed "
            "once the figure was found, at its clock, by the frozen model; AGX5_Generic is taken "
            "to be of the sizes of AGX7_Generic; memory of that board not named",
        )
    ]


def lines(found: list[Comparison]) -> list[str]:
    """Return the rows of the table of what was compared in docs/fpga.md."""
    return [
        f"| {one.network} at {one.clock_hz / 1e6:.1f} MHz, Agilex 5 | `{one.architecture}` | "
        f"{one.published:g} images/s | {one.modelled:.4g} | {one.error:+.1%} | {one.source} |"
        for one in found
    ]


def predictions() -> list[Prediction]:
    """Return what the model says of every network on every architecture."""
    found = []
    for network, build in NETWORKS.items():
        layers = describe(build())
        for name, built_hz in BUILT_HZ.items():
            assumed = find_architecture(name)
            built = assumed.model_copy(update={"clock_hz": built_hz})
            found.append(
                Prediction(
                    architecture=name,
                    network=network,
                    clock_hz=built_hz,
                    images_per_s=_short(estimate(layers, built).images_per_s),
                    estimator_hz=assumed.clock_hz,
                    estimator_images_per_s=_short(estimate(layers, assumed).images_per_s),
                )
            )
    return found


def written_down() -> list[Prediction]:
    """Return the predictions as they were committed before figures were looked up."""
    document = json.loads(WRITTEN_DOWN.read_text("utf-8"))
    return [Prediction(**one) for one in document["predictions"]]


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rehearsal = parse_args(parser).rehearsal
    found, compared = predictions(), comparisons()
    if found != written_down():
        raise SystemExit(f"the model no longer says what {WRITTEN_DOWN.name} has: no prediction")
    table(
        "What was written down before figures were looked up, and could not be compared",
        ("network", "architecture", "at the built clock", "at the estimator's"),
        [
            (one.network, one.architecture, f"{one.images_per_s:.4g}",
             f"{one.estimator_images_per_s:.4g}")
            for one in found
        ],
    )  # fmt: skip
    for line in lines(compared):
        print(line)
    path = write(
        "fpga_predictions",
        {
            "model": MODEL,
            "frozen": FROZEN,
            "goal": GOAL,
            "written_down": WRITTEN_DOWN.name,
            "predictions": [asdict(one) for one in found],
            "compared": [asdict(one) for one in compared],
            "within_goal": sum(abs(one.error) <= GOAL for one in compared),
            "largest_error": max(abs(one.error) for one in compared),
        },
        rehearsal=rehearsal,
        modelled=True,
    )
    print("written:", path)


if __name__ == "__main__":
    main()
