"""Classifying a folder against the sum of its parts, on the same processors.

Reading keeps every processor busy at `decode` images/s, the network at `infer` images/s; one after
the other they give 1 / (1/decode + 1/infer), and `classify`, which does both at once and prepares
and collects besides, is to reach 0.90 of that. What preparing takes is told apart. The same ratio
of processor time says what is wasted, even on a machine that others use meanwhile.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result
from benchmarks.images import folder_of
from thorax import artifact
from thorax.benchmark.scenarios import ScenarioOptions, run_scenario
from thorax.devices.describe import describe
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.images.preprocess import InputSpec, prepare
from thorax.images.radiograph import Radiograph, read
from thorax.inference.classify import ClassifyOptions, classify
from thorax.inference.predictor import Predictor, find_files

GOAL = 0.90
_CPU_IMAGES = 64


def _rate(work: Callable[[Any], object], things: Iterable[Any], threads: int) -> float:
    """Return things / wall-clock window with all threads busy."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(time.sleep, [0.01] * threads))
        begin = time.perf_counter()
        count = sum(1 for _ in pool.map(work, things))
        return count / (time.perf_counter() - begin)


def _cpu_s(work: Callable[[], object], images: int) -> float:
    """Return the processor time of an image, s."""
    begin = time.process_time()
    work()
    return (time.process_time() - begin) / images


def _forget(file: Path) -> None:
    read(file)


def _turn(
    engine: Engine, model: Path, folder: Path, decoded: list[Radiograph], seconds: float
) -> dict[str, float]:
    """Return images/s of each part and of the whole, measured one after the other."""
    spec: InputSpec = engine.artifact.card.input
    processors = len(os.sched_getaffinity(0))
    files = list(find_files([folder]))
    images = [prepare(one, spec) for one in decoded]
    decode = _rate(_forget, files[: max(len(files) // 2, 1)], processors)
    infer = run_scenario(engine, ScenarioOptions("offline", seconds), images=images).images_per_s
    whole = classify(model, [folder], ClassifyOptions(keep_all=False)).images_per_s
    preparing = _rate(lambda one: prepare(one, spec), decoded * 20, processors)
    parts = 1 / (1 / decode + 1 / infer)
    some, stack = files[:_CPU_IMAGES], np.concatenate(images)
    indices = np.arange(_CPU_IMAGES) % len(stack)
    cpu_s = {
        "decode_cpu_s": _cpu_s(lambda: _rate(_forget, some, processors), len(some)),
        "infer_cpu_s": _cpu_s(lambda: engine.infer_many(stack, indices), len(indices)),
        "classify_cpu_s": _cpu_s(
            lambda: deque(Predictor(engine).stream(some), maxlen=0), len(some)
        ),
    }
    return {
        **cpu_s,
        "ratio_of_cpu": (cpu_s["decode_cpu_s"] + cpu_s["infer_cpu_s"]) / cpu_s["classify_cpu_s"],
        "decode_images_per_s": decode,
        "infer_images_per_s": infer,
        "prepare_images_per_s": preparing,
        "classify_images_per_s": whole,
        "parts_images_per_s": parts,
        "ratio": whole / parts,
        "ratio_with_prepare": whole * (1 / parts + 1 / preparing),
    }


def main() -> None:
    """Read argv, measure in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="artifact; see benchmarks.make_artifact")
    parser.add_argument("--images", type=Path, help="1024x1024 radiographs; default: phantoms")
    parser.add_argument("--count", type=int, default=256, help="files of one turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of inference alone, a turn")
    chosen = parser.parse_args()
    engine = compile_artifact(artifact.load(chosen.model), hint="throughput")
    with tempfile.TemporaryDirectory() as scratch:
        folder = folder_of(chosen.count, Path(scratch) / "images", chosen.images)
        decoded = [read(file) for file in list(find_files([folder]))[:8]]
        turns = []
        for number in range(chosen.turns):
            turns.append(_turn(engine, chosen.model, folder, decoded, chosen.seconds))
            print(
                f"turn {number + 1}: ratio {turns[-1]['ratio']:.3f}, "
                f"of processor time {turns[-1]['ratio_of_cpu']:.3f}",
                flush=True,
            )
    medians = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
    result.table(
        f"{describe(engine)['model']} on {chosen.count} files, {chosen.turns} turns (medians)",
        ("Step", "images/s", "ms/image"),
        [
            (name, f"{medians[key]:.1f}", f"{1e3 / medians[key]:.2f}")
            for name, key in (
                ("read alone", "decode_images_per_s"),
                ("prepare alone", "prepare_images_per_s"),
                ("infer alone", "infer_images_per_s"),
                ("read, then infer", "parts_images_per_s"),
                ("classify", "classify_images_per_s"),
            )
        ],
    )
    print(f"classify / (read, then infer): {medians['ratio']:.3f}, goal {GOAL:.2f} or more")
    print(f"the same with prepare among the parts: {medians['ratio_with_prepare']:.3f}")
    print(f"the same of processor time, without prepare: {medians['ratio_of_cpu']:.3f}")
    document = {
        **describe(engine),
        "source": "phantoms" if chosen.images is None else chosen.images.name,
        "images": chosen.count,
        "streams": engine.streams,
        "goal": GOAL,
        "median": medians,
        "turns": turns,
    }
    print(f"written: benchmarks/results/{result.write('classify_end_to_end', document).name}")


if __name__ == "__main__":
    main()
