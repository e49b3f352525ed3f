"""Claim: ResNet-50 at 224 x 224 in fp32, bf16 and int8 against each peer of the same precision.

    python -m benchmarks.resnet50_peers --work FOLDER [--turns 7] [--seconds 3] [--sides A,B,...]
        [--choices-of RESULT]

One trained network. Thorax runs the artifacts of `thorax optimize`, all streams busy. The peers are
set as their own documentation asks on this processor: PyTorch eager, channels last and compiled by
inductor with frozen weights, in fp32 and bf16, and in torchao's static INT8; ONNX Runtime in fp32
and in its own static INT8; OpenVINO by its asynchronous queue and by benchmark_app, on the graphs
of the artifacts. Each side has processes of its own, one a turn, the same threads, and the batch
and instances of a small set that serve it best. Goals: 6 times PyTorch eager fp32 (of processors
with VNNI), 1.1 times ONNX Runtime's INT8.
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

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
    require_alike,
)
from benchmarks.harness.side_process import SideProcess, fastest
from benchmarks.subjects import make_artifact, peers
from benchmarks.subjects.peers import BATCHES, Choice, Network
from thorax import artifact
from thorax.artifact import Precision
from thorax.data.store import Store, open_store
from thorax.devices.core import supports

SIDE: Final = 224
WARM_UP_S: Final = 1.0
PRECISIONS: Final = (Precision.FP32, Precision.BF16, Precision.INT8)
GOALS: Final = {
    ("thorax_int8", "torch_fp32"): 6.0,
    ("thorax_int8", "onnxruntime_int8"): 1.1,
}
SAME: Final = Bound(
    1.0, "both run the same graph in the same OpenVINO on the same threads, batch and streams"
)
BYTES: Final = "uint8 tensor that stays"
FLOATS: Final = "float32 tensor that stays, normalised before"
PACKAGES: Final = ("thorax", "openvino", "nncf", "torch", "torchao", "onnxruntime", "numpy")
CALIBRATION: Final = "calibration.npy"
TITLES: Final = {
    "torch": "PyTorch eager",
    "torch_channels_last": "PyTorch eager, channels last",
    "torch_compiled": "PyTorch compiled",
    "onnxruntime": "ONNX Runtime",
    "openvino_queue": "OpenVINO's queue",
    "benchmark_app": "benchmark_app",
}
"""Of the peers, by the name of a side without its precision."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the sides run: the network, artifacts by precision, graphs of ONNX, what was set."""

    network: Network
    artifacts: Mapping[str, Path]
    onnx: Mapping[str, Path]
    quantized: Mapping[str, object]


def make(work: Path) -> Made:
    """Train, optimize and export what is not there yet."""
    made = work / f"side-{SIDE}"
    paths = make_artifact.make(made, "resnet50", side=SIDE, count=80, precisions=PRECISIONS)
    run, out = made / f"run-resnet50-{SIDE}", work / "peers"
    out.mkdir(exist_ok=True)
    raw, images = _images(open_store(made / f"store-{SIDE}"), run)
    np.save(out / "raw.npy", raw[: max(BATCHES)])
    np.save(out / "images.npy", images[: max(BATCHES)])
    np.save(out / CALIBRATION, images)
    onnx = {"fp32": out / "fp32.onnx", "int8": out / "int8.onnx"}
    from thorax.training import checkpoint

    peers.export(checkpoint.load(run).network, SIDE, onnx["fp32"])
    quantized = peers.quantize(onnx["fp32"], images, onnx["int8"])
    threads = int(result.hardware()["processors"])
    network = Network(run, out / "images.npy", out / "raw.npy", threads)
    names = (precision.value for precision in PRECISIONS)
    return Made(network, dict(zip(names, paths, strict=True)), onnx, quantized)


def _images(store: Store, run: Path) -> tuple[Any, Any]:
    """Return the images of the train split as bytes and normalised, [N,1,S,S]."""
    import torch

    from thorax.training import checkpoint, networks

    raw = store.images[store.select("train")][:, None].copy()
    spec = checkpoint.load(run).card.input
    return raw, networks.normalise(torch.from_numpy(raw), spec).numpy()


def absent() -> dict[str, str]:
    """Return the peers that are not here, and why."""
    reasons = {}
    if not supports("CPU", Precision.BF16):
        reasons["bf16"] = "this processor computes no bf16"
    refusal = peers.onnxruntime_bf16_refusal()
    if refusal is not None:
        reasons["onnxruntime_bf16"] = f"its CPU provider has no convolution in bf16: {refusal}"
    if shutil.which("g++") is None:
        reasons["torch_compiled"] = "inductor needs g++, which is not here"
    return reasons


def side_processes(made: Made, missing: Mapping[str, str]) -> dict[str, tuple[Any, ...]]:
    """Return how the process of each side is made, by name: a function and its arguments."""
    network = made.network
    found: dict[str, tuple[Any, ...]] = {}
    for precision in ("fp32", "bf16", "int8"):
        if precision in missing:
            continue
        path = made.artifacts[precision]
        compute = artifact.load(path).card.precision.compute
        found[f"thorax_{precision}"] = (peers.thorax, network, path)
        found[f"openvino_queue_{precision}"] = (
            peers.openvino_queue, network, path / artifact.XML, compute,
        )  # fmt: skip
        if precision in made.onnx:
            found[f"onnxruntime_{precision}"] = (
                peers.onnxruntime, network, made.onnx[precision],
            )  # fmt: skip
        if precision == "int8":
            if "torch_compiled" not in missing:
                calibration = network.images.with_name(CALIBRATION)
                found["torch_compiled_int8"] = (peers.pytorch_int8, network, calibration)
            continue
        if precision == "fp32":
            found["torch_fp32"] = (peers.pytorch, network, precision, "contiguous", False)
        layouts = (network, precision, "channels_last")
        found[f"torch_channels_last_{precision}"] = (peers.pytorch, *layouts, False)
        if "torch_compiled" not in missing:
            found[f"torch_compiled_{precision}"] = (peers.pytorch, *layouts, True)
    return found


def choices_of(path: Path | None) -> dict[str, Choice]:
    """Return the batch and instances of the sides of which an earlier result tells both."""
    if path is None:
        return {}
    sides = json.loads(path.read_text("utf-8"))["sides"]
    settings = {name: side["settings"] for name, side in sides.items()}
    return {
        name: Choice(own["batch"], own["more"]["instances"])
        for name, own in settings.items()
        if "instances" in own["more"]
    }


def _settings(name: str, threads: int, process: SideProcess) -> Settings:
    own = name.startswith(("thorax", "openvino"))
    return Settings(
        threads=threads,
        precision=name.rpartition("_")[2],
        side=SIDE,
        input=BYTES if own else FLOATS,
        batch=process.batch,
        batch_choice="fastest of a probe",
        warm_up_s=WARM_UP_S,
        more={
            **{key: value for key, value in process.more.items() if key != "first_answer"},
            "amx": _amx(process.more["kernels"]),
            "chosen_of": peers.OPENVINO_CHOICE if own else peers.BATCH_CHOICE,
        },
    )


def _amx(kernels: Sequence[str] | str) -> bool | None:
    """Return whether any convolution runs on AMX; None where the library does not tell."""
    return None if isinstance(kernels, str) else any("amx" in name for name in kernels)


def _program(made: Made, precision: str, seconds: float) -> Side:
    """Return benchmark_app on the graph of a precision, at the batch that serves it best."""
    path = made.artifacts[precision]
    compute = artifact.load(path).card.precision.compute
    requests: dict[int, float] = {}

    def run(seconds: float, batch: int) -> Turn:
        turn = peers.benchmark_app(path / artifact.XML, compute, seconds, batch=batch)
        requests[batch] = turn.more["requests"]
        return turn

    batch = fastest({size: partial(run, batch=size) for size in BATCHES}, lambda size: size)
    settings = Settings(
        threads=made.network.threads,
        precision=precision,
        side=SIDE,
        input="filled by the program",
        batch=batch,
        batch_choice="fastest of a probe",
        more={
            "options": f"-hint throughput -infer_precision {compute} -b {batch}",
            "instances": int(requests[batch]),
            "chosen_of": peers.OPENVINO_CHOICE,
        },
    )
    return Side(f"benchmark_app_{precision}", settings, lambda: run(seconds, batch))


def comparisons(sides: Mapping[str, Settings]) -> list[Comparison]:
    """Return Thorax over each peer of its precision, and over two peers of another."""
    pairs = [
        (f"thorax_{precision}", f"{peer}_{precision}")
        for precision in ("fp32", "bf16", "int8")
        for peer in TITLES
    ]
    pairs += [("thorax_int8", name) for name in ("torch_fp32", "torch_channels_last_bf16")]
    pairs += [("thorax_int8", "torch_compiled_bf16"), ("thorax_bf16", "torch_fp32")]
    return [_comparison(*pair, sides) for pair in pairs if {*pair} <= {*sides}]


def _comparison(first: str, second: str, sides: Mapping[str, Settings]) -> Comparison:
    (_, _, ours), (peer, _, theirs) = first.rpartition("_"), second.rpartition("_")
    run = [(sides[name].batch, sides[name].more.get("instances")) for name in (first, second)]
    differs = ["precision"] if ours != theirs else []
    if peer != "openvino_queue":
        differs.append("input")
    if peer == "benchmark_app":
        differs.append("warm_up_s")
    return Comparison(
        f"Thorax {ours.upper()} over {TITLES[peer]} {theirs.upper()}",
        first,
        second,
        f"Images a second of ResNet-50 at {SIDE} px by the engine of Thorax in {ours}, over "
        f"those of {TITLES[peer]} in {theirs}, each at its best batch.",
        differs=tuple(differs),
        # benchmark_app asks from a loop in Python of its own: no bound holds what it leaves.
        bound=SAME if peer == "openvino_queue" and run[0] == run[1] else None,
        goal=GOALS.get((first, second)),
    )


def largest_difference(processes: Mapping[str, SideProcess]) -> dict[str, float]:
    """Return how far the probabilities of the first image are at most from those of fp32.

    They show that every side runs the same network.
    """
    answers = {name: np.array(process.more["first_answer"]) for name, process in processes.items()}
    fp32 = next(name for name in answers if name.endswith("_fp32"))
    return {name: float(np.abs(own - answers[fp32]).max()) for name, own in answers.items()}


def main() -> None:
    """Read argv, make, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for store and models")
    parser.add_argument("--sides", help="names, by commas; default: all that are here")
    parser.add_argument(
        "--choices-of",
        type=Path,
        metavar="RESULT",
        help="batch and instances as this earlier result has them; default: the fastest of a probe",
    )
    add_options(parser, turns=7, seconds=3)
    chosen = result.parse_args(parser)
    bench = SideBySide("resnet50_peers", read_options(chosen))
    bench.require_quiet()
    made, missing = make(chosen.work), absent()
    wanted = side_processes(made, missing)
    threads, seconds = made.network.threads, bench.options.seconds
    named = set(chosen.sides.split(",")) if chosen.sides else None
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "TORCHINDUCTOR_CACHE_DIR": str(chosen.work / "peers/inductor"),
    }
    choices = choices_of(chosen.choices_of)
    processes = {
        name: SideProcess(*words, environment=environment, choice=choices.get(name))
        for name, words in wanted.items()
        if named is None or name in named
    }
    sides = [
        process.side(name, _settings(name, threads, process), seconds)
        for name, process in processes.items()
    ]
    programs = [
        _program(made, precision, seconds)
        for precision in made.artifacts
        if precision not in missing and (named is None or f"benchmark_app_{precision}" in named)
    ]
    sides += programs
    compared = comparisons({side.name: side.settings for side in sides})
    for comparison in compared:
        require_alike(comparison, {side.name: side for side in sides})
    bench.take_turns(sides)
    document = {
        "side": SIDE,
        "macs": artifact.load(made.artifacts["fp32"]).card.macs,
        "onnxruntime_quantization": dict(made.quantized),
        "choices_of": chosen.choices_of.name if choices else None,
        "absent": missing,
        "largest_difference_to_fp32": largest_difference(processes),
    }
    bench.write(compared, document, packages=PACKAGES)


if __name__ == "__main__":
    main()
