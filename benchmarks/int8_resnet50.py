"""Claim: INT8 ResNet-50 at 224 x 224 against the processor's peak, PyTorch and ONNX Runtime.

    python -m benchmarks.int8_resnet50 --work FOLDER [--turns 7] [--seconds 4]

One network, four ways, by turns in one process: the artifact that `thorax optimize --precision
int8` makes, run offline; PyTorch eager in FP32; ONNX Runtime's own static INT8 (QDQ, a scale a
channel, calibrated on the same drawings); and the largest INT8 matrix product, as `thorax analyze`
measures a device. PyTorch and ONNX Runtime get the batch of `BATCHES` that serves them best. Goals:
0.85 of the peak, 6 times PyTorch, 1.1 times ONNX Runtime.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from onnxruntime import quantization

from benchmarks import make_artifact
from benchmarks.result import median_ratio, table, write
from thorax import artifact
from thorax.artifact import Precision
from thorax.benchmark.scenarios import ScenarioOptions, run_scenario
from thorax.data.store import Store, open_store
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.peak import measure_peak
from thorax.images.preprocess import InputSpec
from thorax.training import checkpoint, networks

SIDE: Final = 224
BATCHES: Final = (1, 8)
GOALS: Final = {"int8 peak": 0.85, "torch fp32": 6.0, "onnxruntime int8": 1.1}

Timed = Callable[[float], float]
"""Runs for so many seconds and returns images per second."""


def timed(answer: Callable[[], object], images: int) -> Timed:
    """Return what times a call that answers so many images."""

    def measure(seconds: float) -> float:
        done, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            answer()
            done += images
        return done / elapsed

    return measure


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """The training drawings of a store, normalised, as ONNX Runtime asks for them."""

    def __init__(self, store: Store, spec: InputSpec) -> None:
        indices = store.select("train")
        self._rows = iter(
            networks.normalise(
                torch.from_numpy(store.images[index][None, None].copy()), spec
            ).numpy()
            for index in indices
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Return the next image by input name, None after the last."""
        return next(({"image": row} for row in self._rows), None)


def onnx_int8(run_folder: Path, store: Store, out: Path) -> Path:
    """Export the network and quantize it with ONNX Runtime's own tools."""
    loaded = checkpoint.load(run_folder)
    plain, small = out / "resnet50.onnx", out / "resnet50-int8.onnx"
    if not small.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                loaded.network.eval(),
                (torch.zeros(1, 1, SIDE, SIDE),),
                plain,
                dynamo=False,
                input_names=["image"],
                output_names=["logits"],
                dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
                opset_version=17,
            )
        ready = out / "resnet50-ready.onnx"
        quantization.quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            small,
            Calibration(store, loaded.card.input),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
        )
    return small


def peers(run_folder: Path, store: Store, out: Path) -> Iterator[tuple[str, int, Timed]]:
    """Yield each other way: its name, images of one call, and how to time it."""
    network = checkpoint.load(run_folder).network.eval()
    threads = onnxruntime.SessionOptions()
    threads.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        onnx_int8(run_folder, store, out), threads, providers=["CPUExecutionProvider"]
    )
    for batch in BATCHES:
        images = torch.zeros(batch, 1, SIDE, SIDE)

        def eager(images: torch.Tensor = images) -> None:
            with torch.inference_mode():
                network(images)

        def ort(images: torch.Tensor = images) -> None:
            session.run(None, {"image": images.numpy()})

        yield "torch fp32", batch, timed(eager, batch)
        yield "onnxruntime int8", batch, timed(ort, batch)


def main() -> None:
    """Read argv, make, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for store and models")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    options = parser.parse_args()
    paths = make_artifact.make(
        options.work,
        "resnet50",
        side=SIDE,
        count=80,
        precisions=(Precision.FP32, Precision.INT8),
    )
    store = open_store(options.work / f"store-{SIDE}")
    engine = compile_artifact(artifact.load(paths[1]), "CPU", hint="throughput")
    macs = engine.artifact.card.macs

    def ours(seconds: float) -> float:
        return run_scenario(engine, ScenarioOptions("offline", seconds)).images_per_s

    def peak(_: float) -> float:
        return measure_peak("int8") / (2 * macs)

    others = list(peers(options.work / f"run-resnet50-{SIDE}", store, options.work))
    best: dict[str, Timed] = {"thorax int8": ours, "int8 peak": peak}
    for name in ("torch fp32", "onnxruntime int8"):
        tried = [(measure(1.0), measure) for found, _, measure in others if found == name]
        best[name] = max(tried, key=lambda one: one[0])[1]
    speeds: dict[str, list[float]] = {name: [] for name in best}
    for turn in range(options.turns):
        order = list(best.items())
        for name, measure in order if turn % 2 == 0 else reversed(order):
            speeds[name].append(measure(options.seconds))
    ratios = {name: median_ratio(speeds["thorax int8"], speeds[name]) for name in GOALS}
    path = write(
        "int8_resnet50",
        {
            "side": SIDE,
            "macs": macs,
            "images_per_s": speeds,
            "ratios": ratios,
            "goals": GOALS,
            "reached": {name: ratios[name] >= goal for name, goal in GOALS.items()},
        },
    )
    rows = [
        (
            name,
            f"{statistics.median(values):.1f}",
            f"{ratios[name]:.2f}" if name in ratios else "",
            f"{GOALS[name]:g}" if name in GOALS else "",
        )
        for name, values in speeds.items()
    ]
    table("ResNet-50, 224 x 224, one CPU", ("way", "images/s", "thorax / it", "goal"), rows)
    print(path)


if __name__ == "__main__":
    main()
