"""Claim: computing as the overlay does, in FP11, takes a CPU at most 1.35 times what FP32 takes.

    python -m benchmarks.fpga_emulation_cost --work FOLDER [--artifact FOLDER] [--turns 60]

ResNet-50 at 224 x 224, one image at a time on every core. The network's every convolution, residual
sum and linear layer quantizes what enters it to blocks of 16 channels and has folded weights; the
same artifact in plain FP32 takes turns with it. The figure is the median of the ratios of the
turns. Without `--artifact`, one is made.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov

from benchmarks.make_artifact import make
from benchmarks.result import median_ratio, table, write
from thorax import artifact
from thorax.artifact import Precision
from thorax.devices.graph import compile_graph
from thorax.fpga.emulation import array_layers, emulate

GOAL: Final = 1.35
BLOCK: Final = 16
TOPOLOGY: Final = "resnet50"
SIDE: Final = 224


def kernels(compiled: ov.CompiledModel) -> dict[str, int]:
    """Return how many kernels of each type run."""
    found: dict[str, int] = {}
    for node in compiled.get_runtime_model().get_ops():
        kind = node.get_rt_info()["layerType"].astype(str)
        if kind not in ("Const", "Input", "Output"):
            found[kind] = found.get(kind, 0) + 1
    return dict(sorted(found.items()))


def main() -> None:
    """Make or take the artifact, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--artifact", type=Path, help="of ResNet-50, fp32, 224 pixels")
    parser.add_argument("--turns", type=int, default=60)
    options = parser.parse_args()
    made = options.artifact
    if made is None:
        wanted = (Precision.FP32,)
        made = make(options.work, TOPOLOGY, side=SIDE, count=80, precisions=wanted)[0]
    found = artifact.load(made)
    plain = ov.Core().read_model(found.xml)
    lowered = plain.clone()
    layers = array_layers(lowered)
    added = emulate(lowered, layers, precision="fp11", block=BLOCK)
    requests: dict[str, ov.InferRequest] = {}
    kinds: dict[str, Any] = {}
    for name, graph in (("fp32", plain), ("fp11", lowered)):
        compiled = compile_graph(graph)
        requests[name], kinds[name] = compiled.create_infer_request(), kernels(compiled)
    shape = list(plain.inputs[0].get_shape())
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    times: dict[str, list[float]] = {name: [] for name in requests}
    for turn in range(-5, options.turns):
        order = list(requests) if turn % 2 == 0 else list(requests)[::-1]
        for name in order:
            start = time.perf_counter()
            requests[name].infer({0: image}, share_inputs=True)
            if turn >= 0:
                times[name].append(time.perf_counter() - start)
    ratio = median_ratio(times["fp11"], times["fp32"])
    path = write(
        "fpga_emulation_cost",
        {
            "network": found.card.topology,
            "side": int(shape[-1]),
            "block": BLOCK,
            "layers": len(layers),
            "nodes_added": len(added),
            "latency_s": {name: statistics.median(own) for name, own in times.items()},
            "turns_s": times,
            "kernels": kinds,
            "ratio": ratio,
            "goal": GOAL,
            "reached": ratio <= GOAL,
        },
    )
    rows = [
        (name, f"{1e3 * statistics.median(own):.1f}", f"{1e3 * min(own):.1f}")
        for name, own in times.items()
    ]
    table(f"{found.card.topology}, {shape[-1]} px", ("", "median ms", "least ms"), rows)
    print(f"fp11 takes {ratio:.3f} times fp32, median of {options.turns} ratios; goal {GOAL}")
    print(path)


if __name__ == "__main__":
    main()
