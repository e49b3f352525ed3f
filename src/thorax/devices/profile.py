"""Time of each kernel of a compiled graph, by the device's own counters."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.devices.graph import compile_graph

WINDOW_S: Final = 1.0
"""How long a graph is run for each of the two figures, seconds."""

_FEWEST: Final = 3
"""Runs that are made however long one takes."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Times of a graph and its kernels, one inference at a time.

    Attributes:
        inference_s: of one inference with no counters on, median, seconds.
        kernels_s: of each kernel that ran, by the name that `list_kernels` gives it, median.
        runs: how many inferences the kernels were counted over.
    """

    inference_s: float
    kernels_s: Mapping[str, float]
    runs: int


def profile(
    model: ov.Model,
    device: str,
    inputs: Sequence[npt.NDArray[Any]],
    *,
    compute: str = "f32",
    window_s: float = WINDOW_S,
) -> Profile:
    """Run a graph on one stream, without counters and then with them.

    Args:
        model: of static shapes.
        device: as `compile_graph` takes it.
        inputs: one array for each input, in order.
        compute: arithmetic of floating-point layers.
        window_s: how long each of the two is run.

    Raises:
        DeviceError: as `compile_graph`.
    """
    fed = dict(enumerate(inputs))
    plain = compile_graph(model, device, compute=compute).create_infer_request()
    whole_s = _times(lambda: plain.infer(fed, share_inputs=True), window_s)
    counted = compile_graph(model, device, compute=compute, counters=True).create_infer_request()
    rows: list[dict[str, float]] = []

    def run() -> None:
        counted.infer(fed, share_inputs=True)
        rows.append(
            {
                row.node_name: row.real_time.total_seconds()
                for row in counted.profiling_info
                if str(row.status) == "Status.EXECUTED"
            }
        )

    runs = len(_times(run, window_s))
    steady = rows[-runs:]
    kernels_s = {
        name: float(np.median([row.get(name, 0.0) for row in steady])) for name in steady[0]
    }
    return Profile(float(np.median(whole_s)), kernels_s, runs)


def _times(run: Callable[[], object], window_s: float) -> list[float]:
    """Return how long each run took, seconds; the first, which warms up, is not among them."""
    run()
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < _FEWEST or time.perf_counter() - begin < window_s:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken
