"""Claim: how far the cycle model lies from published speeds that nobody here knew before.

    python -m benchmarks.fpga_predictions

Every figure of `benchmarks.fpga_published` was known when the model was written. Here the order is
the other way round. The model of commit `MODEL` stood first; then, before any figure was looked
up, `predictions` of it were written to the result file and committed: every shipped architecture of
the FPGA AI Suite and every network of the tests, at the clock that the vendor's estimator assumes
and at the clock that the IP Reference Manual says the design reached (release 2023.1, from whose
areas the architectures were deduced). That is the one to be judged by, since the manual's figures
are of designs as they were built; the other is told. Only then were `PUBLISHED` figures looked up.
"""

from dataclasses import asdict, dataclass
from typing import Final

from tests.fpga import networks

from benchmarks.result import RESULTS, table
from thorax.files.atomic import write_text
from thorax.fpga.architecture import find_architecture
from thorax.fpga.overlay import estimate
from thorax.fpga.workload import describe

MODEL: Final = "f5d083c1b83ed739df60856b917d6a9d9a3fcad1"
"""Commit of the model and its architectures, before the figures were looked up."""

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

RESULT: Final = RESULTS / "fpga_predictions_model_2026-12-01.json"


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


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def main() -> None:
    """Print and write."""
    import json

    found = predictions()
    table(
        "What the model says, before it is compared",
        ("network", "architecture", "at the built clock", "at the estimator's"),
        [
            (one.network, one.architecture, f"{one.images_per_s:.4g}",
             f"{one.estimator_images_per_s:.4g}")
            for one in found
        ],
    )  # fmt: skip
    document = {
        "claim": "fpga_predictions",
        "modelled": True,
        "model": MODEL,
        "predictions": [asdict(one) for one in found],
    }
    write_text(RESULT, json.dumps(document, indent=2, allow_nan=False) + "\n")
    print(RESULT)


if __name__ == "__main__":
    main()
