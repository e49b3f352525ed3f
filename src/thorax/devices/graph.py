"""A bare graph compiled for a device, in the arithmetic asked for, and timed kernel by kernel."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.artifact import Precision
from thorax.devices.core import VIRTUAL, physical_devices, simulates, supports
from thorax.devices.placement import Numerics, compile_placed, place
from thorax.devices.process_core import open_core
from thorax.errors import DeviceError, last_line

WINDOW_S: Final = 1.0
"""How long a graph is run for each of the two figures, seconds."""

_FEWEST: Final = 3
"""Runs that are made however long one takes."""


def compile_graph(
    model: ov.Model,
    device: str = "CPU",
    *,
    compute: str = "f32",
    hint: str = "latency",
    counters: bool = False,
    numerics: Numerics = "bitstream",
) -> ov.CompiledModel:
    """Return a graph compiled for a device; floating-point layers compute as asked, or not at all.

    The model, of static shapes, is not changed; `device` is as `physical_devices` takes it,
    `compute` "f32" or "bf16", `hint` "latency" or "throughput". With `counters` every kernel is
    measured, at a small cost; numerics "fp32" leave the arithmetic of simulated cards out.

    Raises:
        DeviceError: `device-unknown`, `precision-unsupported` or `device-compile`; for a simulated
            card as `thorax.devices.placement.place`.
        ModelError: `fpga-shape`.
    """
    parts = physical_devices(device)
    for part in parts:
        if compute == "bf16" and not supports(part, Precision.BF16):
            raise DeviceError(
                "precision-unsupported",
                f"device {part} does not compute bf16 natively; name a device that does "
                "(`thorax devices` lists what each has)",
            )
    common = {"INFERENCE_PRECISION_HINT": compute}
    shared: dict[str, Any] = {"PERFORMANCE_HINT": hint.upper(), "PERF_COUNT": counters}
    if simulates(device):
        return compile_placed(place(model, device, numerics=numerics), common, shared)
    return compile_real(model, device, common, shared)


def compile_real(
    model: ov.Model, device: str, common: Mapping[str, Any], shared: Mapping[str, Any]
) -> ov.CompiledModel:
    """Compile a graph for devices none of which is simulated.

    The model, of static shapes, is not changed; `device` is as `physical_devices` takes it,
    `common` the configuration of every device, `shared` that of the whole.

    Raises:
        DeviceError: `device-unknown` or `device-compile`.
    """
    parts = physical_devices(device)
    if device.partition(":")[0] in VIRTUAL:
        head, _, rest = device.partition(":")
        # Named in full: HETERO alone takes no list, and AUTO leaves out what is not here.
        listed = device == "HETERO" or "-" in rest
        target = f"{head}:{','.join(parts)}" if listed else device
        config = {**shared, "DEVICE_PROPERTIES": dict.fromkeys(parts, common)}
    else:
        target, config = device, {**shared, **common}
    try:
        return open_core().compile_model(model, target, config)
    except RuntimeError as error:
        raise DeviceError("device-compile", f"{device}: {last_line(error)}") from error


@dataclass(frozen=True, slots=True)
class Profile:
    """Times of a graph and its kernels, one inference at a time.

    `inference_s` is of one inference with no counters on, `kernels_s` of each kernel that ran, by
    the name that `list_kernels` gives it: medians, seconds. Kernels were counted over `runs`
    inferences.
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

    The model has static shapes; the device is as `compile_graph` takes it, `inputs` one array for
    each input, in order, `compute` the arithmetic of floating-point layers, `window_s` how long
    each of the two is run.

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
