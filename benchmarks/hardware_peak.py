"""Claim: how much of what this processor can multiply ResNet-50 and OpenVINO's products reach.

    python -m benchmarks.hardware_peak --work FOLDER [--turns 7] [--seconds 0.5]

The peak is that of the hardware, for fp32, bf16 and int8: `hardware_peak.c`, loops of FMA, AVX2,
VNNI, AVX512-BF16 and AMX that never leave the registers, one thread a processor, the best of the
kernels that the processor has. Beside it, by turns, stand the fastest matrix product that OpenVINO
was seen to run (what `thorax analyze` has as the roof of arithmetic), and ResNet-50 at 224 x 224.
Neither can pass the peak. It needs a C compiler.
"""

import argparse
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import result
from benchmarks.harness.side_by_side import (
    Bound,
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
from benchmarks.subjects import make_artifact
from thorax import artifact
from thorax.artifact import Precision
from thorax.devices import peak, timing
from thorax.devices.core import supports
from thorax.devices.engine import compile as compile_artifact

SOURCE: Final = Path(__file__).with_suffix(".c")
SIDE: Final = 224
PRECISIONS: Final = (Precision.FP32, Precision.BF16, Precision.INT8)
KERNELS: Final = {
    "fp32_fma_256": {"avx2", "fma"},
    "fp32_fma_512": {"avx512f"},
    "bf16_dp_512": {"avx512_bf16"},
    "bf16_amx": {"amx_bf16"},
    "int8_maddubs_256": {"avx2"},
    "int8_vnni_256": {"avx_vnni"},
    "int8_vnni_512": {"avx512_vnni"},
    "int8_amx": {"amx_int8"},
}
"""What the processor must have for each, as Linux calls it."""
GOAL: Final = 0.85
"""Of the fastest product OpenVINO was seen to run, ResNet-50 in int8."""
PEAK: Final = Bound(1.0, "nothing multiplies faster than loops that never leave the registers")


def build(folder: Path) -> Path:
    """Compile the loops and return the program.

    Raises:
        SystemExit: where there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("hardware_peak: there is no C compiler (cc or gcc); install one")
    program = folder / "hardware_peak"
    folder.mkdir(parents=True, exist_ok=True)
    words = [compiler, "-O2", "-pthread", str(SOURCE), "-o", str(program)]
    subprocess.run(words, check=True, capture_output=True, text=True)
    return program


def kernels(precision: str, instructions: Sequence[str]) -> list[str]:
    """Return the kernels of a precision that a processor with these instructions runs."""
    return [
        name
        for name, needed in KERNELS.items()
        if name.startswith(f"{precision}_") and needed <= {*instructions}
    ]


def fastest(program: Path, names: Sequence[str]) -> str:
    """Return the kernel of most operations a second, each tried shortly."""
    return max(names, key=lambda name: run(program, name, 0.2))


def run(program: Path, kernel: str, seconds: float) -> float:
    """Return operations a second of all threads."""
    done = subprocess.run(
        [program, kernel, str(seconds)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def best(program: Path, kernel: str, seconds: float) -> float:
    """Return operations a second of the best of as many windows as OpenVINO's product has."""
    return max(run(program, kernel, seconds) for _ in range(3))


def sides(
    program: Path, path: Path, precision: str, seconds: float
) -> tuple[list[Side], list[Comparison]]:
    """Return the peak, OpenVINO's product and ResNet-50 of a precision, and how they compare."""
    here = result.hardware()
    threads = int(here["processors"])
    kernel = fastest(program, kernels(precision, here["instructions"]))
    made = artifact.load(path)
    operations = 2 * made.card.macs
    element = "f32" if precision == "fp32" else precision

    def network() -> float:
        # Compiled for each turn: where its memory comes to lie is worth some percent.
        engine = compile_artifact(made, "CPU", hint="throughput")
        timing.images_per_s(engine, seconds)
        return timing.images_per_s(engine, seconds) * operations

    def side(
        name: str, operations_per_s: Callable[[], float], pixels: int | None, given: str
    ) -> Side:
        settings = Settings(
            threads, precision, pixels, given, process="own" if name == "hardware" else "shared"
        )
        return Side(f"{name}_{precision}", settings, lambda: _turn(operations_per_s))

    found = [
        side("hardware", lambda: best(program, kernel, seconds), None, kernel),
        side("openvino_product", lambda: peak.fastest_product(element), None, "matrices"),
        side("resnet50", network, SIDE, "uint8 tensor that stays"),
    ]
    return found, _comparisons(precision)


def _turn(made: Callable[[], float]) -> Turn:
    begin = time.perf_counter()
    gops = made() / 1e9
    return Turn(time.perf_counter() - begin, None, None, {"gops": gops})


def _comparisons(precision: str) -> list[Comparison]:
    def compare(first: str, second: str, meaning: str) -> Comparison:
        return Comparison(
            f"{first.replace('_', ' ')} over {second.replace('_', ' ')}, {precision}",
            f"{first}_{precision}",
            f"{second}_{precision}",
            meaning,
            quantity="gops",
            label="operations/s",
            differs=_differs(first, second),
            bound=PEAK if second == "hardware" else None,
            goal=GOAL if (first, second, precision) == _JUDGED else None,
        )

    share = "Share of the hardware's peak of {precision} that {what} reaches, 2 MACs a product."
    product = "the fastest matrix product that OpenVINO was seen to run"
    return [
        compare(
            "resnet50",
            "hardware",
            share.format(precision=precision, what="ResNet-50, an image a call,"),
        ),
        compare("openvino_product", "hardware", share.format(precision=precision, what=product)),
        compare(
            "resnet50",
            "openvino_product",
            f"Operations a second of ResNet-50, an image a call, in {precision} over those of "
            f"{product}, which is no peak: the network may pass it.",
        ),
    ]


def _differs(first: str, second: str) -> tuple[str, ...]:
    found = ("input",) if "resnet50" not in first else ("side", "input")
    return (*found, "process") if second == "hardware" else found


_JUDGED: Final = ("resnet50", "openvino_product", "int8")


def main() -> None:
    """Read argv, build, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    add_options(parser, turns=7, seconds=0.5)
    chosen = result.parse_args(parser)
    bench = SideBySide("hardware_peak", read_options(chosen))
    bench.require_quiet()
    program = build(chosen.work)
    made = make_artifact.make(
        chosen.work / f"side-{SIDE}", "resnet50", side=SIDE, count=80, precisions=PRECISIONS
    )
    comparisons: list[Comparison] = []
    for path, precision in zip(made, PRECISIONS, strict=True):
        if precision is Precision.BF16 and not supports("CPU", precision):
            continue
        taken, more = sides(program, path, precision.value, bench.options.seconds)
        bench.take_turns(taken)
        comparisons += more
    instructions = result.hardware()["instructions"]
    document = {
        "kernels": {
            precision.value: {
                name: best(program, name, bench.options.seconds) / 1e9
                for name in kernels(precision.value, instructions)
            }
            for precision in PRECISIONS
        }
    }
    bench.write(comparisons, document, packages=("thorax", "openvino", "numpy"))


if __name__ == "__main__":
    main()
