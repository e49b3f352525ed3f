"""Classifying a folder against its parts one after the other, on the same processors.

    python -m benchmarks.classify_end_to_end --work FOLDER [--turns 7] [--count 128]

The parts are to read and decode every file on all processors, then to infer as many images with
all streams busy. `classify` does both at once, and prepares, collects and writes findings besides:
0.90 of the parts' speed is the goal. It may be faster than them, as one part fills what the other
leaves idle; what it cannot pass is the processor time of the parts shared out over all processors.
That is the bound, as a ratio: wall-clock time of the parts x processors / their processor time.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.result import filled_folder, parse_args
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
from benchmarks.subjects.images import folder_of
from thorax import artifact
from thorax.artifact import Precision
from thorax.devices import timing
from thorax.devices.describe import describe
from thorax.devices.engine import compile as compile_artifact
from thorax.images.preprocess import prepare
from thorax.images.radiograph import Radiograph, read
from thorax.inference.classify import ClassifyOptions, classify
from thorax.inference.sources import find_files

GOAL: Final = 0.90
SIDE: Final = 224
WARM_UP_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Clock:
    """Wall-clock and processor time since it was made, seconds."""

    begin_s: float = field(default_factory=time.perf_counter)
    begin_cpu_s: float = field(default_factory=time.process_time)

    def times_s(self) -> tuple[float, float]:
        return time.perf_counter() - self.begin_s, time.process_time() - self.begin_cpu_s


def _on_all(
    pool: ThreadPoolExecutor, work: Callable[[Any], object], things: Iterable[Any]
) -> tuple[float, float]:
    """Return the times of work on every thing, all threads busy."""
    clock = _Clock()
    for _ in pool.map(work, things):
        pass
    return clock.times_s()


def _forget(file: Path) -> None:
    read(file)


def parts(
    model: Path, files: list[Path], decoded: list[Radiograph], pool: ThreadPoolExecutor,
    seconds: float,
) -> Turn:  # fmt: skip
    """Return one turn of reading all files and then inferring as many images.

    What preparing as many takes is told beside it and is no part of the time.
    """
    # Compiled for each turn, as `classify` does: where its memory comes to lie is worth some
    # percent.
    engine = compile_artifact(artifact.load(model), hint="throughput")
    timing.keep_busy(engine, [timing.noise_batch(1, SIDE)], WARM_UP_S)
    spec = engine.artifact.card.input
    read_s, read_cpu_s = _on_all(pool, _forget, files)
    prepare_s, prepare_cpu_s = _on_all(
        pool, lambda number: prepare(decoded[number % len(decoded)], spec), range(len(files))
    )
    images = [prepare(one, spec)[None] for one in decoded]
    clock = _Clock()
    load = timing.keep_busy(engine, images, seconds)
    _, infer_cpu_s = clock.times_s()
    share = len(files) / load.inferences
    return Turn(
        read_s + load.window_s * share,
        read_cpu_s + infer_cpu_s * share,
        len(files),
        {
            "read_s": read_s,
            "infer_s": load.window_s * share,
            "prepare_s": prepare_s,
            "prepare_cpu_s": prepare_cpu_s,
        },
    )


def whole(model: Path, folder: Path, count: int) -> Turn:
    """Return one turn of `classify`, from the first file to the last finding."""
    clock = _Clock()
    done = classify(model, [folder], ClassifyOptions(keep_all=False))
    _, cpu_s = clock.times_s()
    assert done.images_per_s is not None
    # Compiling the graph, which `classify` does before its window, is in its processor time.
    return Turn(count / done.images_per_s, cpu_s, count)


def main() -> None:
    """Read argv, measure in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument(
        "--images", type=filled_folder, help="1024x1024 radiographs; default: phantoms"
    )
    parser.add_argument("--count", type=int, default=128, help="files of one turn")
    add_options(parser, turns=7, seconds=3)
    chosen = parse_args(parser)
    bench = SideBySide("classify_end_to_end", read_options(chosen))
    bench.require_quiet()
    (model,) = make_artifact.make(
        chosen.work / f"side-{SIDE}", "resnet50", side=SIDE, count=80, precisions=(Precision.FP32,)
    )
    engine = compile_artifact(artifact.load(model), hint="throughput")
    processors = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(processors) as pool:
        folder = folder_of(chosen.count, Path(scratch) / "images", chosen.images)
        files = list(find_files([folder]))
        decoded = [read(file) for file in files[:8]]
        settings = Settings(
            processors,
            engine.precision.value,
            SIDE,
            "PNG files of 1024 x 1024",
            process="shared",
            more={"streams": engine.streams},
        )
        sides = [
            Side("classify", settings, lambda: whole(model, folder, len(files))),
            Side(
                "parts",
                settings,
                lambda: parts(model, files, decoded, pool, bench.options.seconds),
            ),
        ]
        for side in sides:
            side.measure()
        bench.take_turns(sides)
    idle = statistics.median(
        processors * turn["wall_s"] / turn["cpu_s"] for turn in bench.turns["parts"]
    )
    comparison = Comparison(
        "classify over reading, then inferring",
        "classify",
        "parts",
        "Images a second of `thorax classify` on a folder, which reads, prepares, infers and "
        "writes at once, over reading all of it and then inferring; of its processor time, with "
        "compiling the graph among it.",
        bound=Bound(idle, "processor time of both parts, shared out over all processors"),
        goal=GOAL,
    )
    document = {
        **dict(describe(engine)),
        "source": "phantoms" if chosen.images is None else chosen.images.name,
        "images": chosen.count,
    }
    bench.write([comparison], document)


if __name__ == "__main__":
    main()
