"""The roofs of a device: the fastest products that OpenVINO was seen to run, and bytes a second.

The two numbers of the roofline model (Williams, Waterman, Patterson, CACM 52(4), 2009). What is
measured of arithmetic is no peak of the hardware: OpenVINO's own kernels are timed, and a network
may pass them. `benchmarks/hardware_peak.c` measures the hardware.
"""

import math
import time
import timeit
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.artifact import Precision
from thorax.devices.core import physical_devices, supports
from thorax.devices.graph import compile_graph
from thorax.errors import UsageError
from thorax.processors import processors

ELEMENTS: Final = ("f32", "bf16", "int8")
"""Arithmetic that a roof is known of."""

_WINDOWS: Final = 3
_WINDOW_S: Final = 0.25
_CACHE: Final = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


@dataclass(frozen=True, slots=True)
class Peaks:
    """The roofs of a device.

    Operations are by element type, a multiply-accumulate being two; bytes are of memory, None where
    that is not known. `measured` are the numbers that were measured here, of arithmetic the fastest
    products seen; the others were given.
    """

    device: str
    operations_per_s: Mapping[str, float]
    bytes_per_s: float | None
    measured: tuple[str, ...] = ()


def find_peaks(
    device: str = "CPU",
    *,
    operations_per_s: Mapping[str, float] | None = None,
    bytes_per_s: float | None = None,
    measure: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> Peaks | None:
    """Return the roofs of a device: what is given, and the rest as measured here.

    Arithmetic is the better of chains of 1x1 convolutions and of matrix products that OpenVINO
    compiles, all streams busy, best of several windows, for each element type that the device has.
    Memory is a sum of two arrays into a third, as STREAM's (McCalpin, 1995): arrays of four times
    the last cache, all processors, best of several, three transfers a value. Where
    operations are given, by element type, no arithmetic is measured. Without `measure` what is not
    given stays unknown, None where nothing is given; `on_progress` is told what is being measured.

    Raises:
        DeviceError: `device-unknown`.
        UsageError: `peak-bandwidth` for a bandwidth that cannot be, `peak-device` for a device
            that is to be measured and whose memory is not this program's.
    """
    if bytes_per_s is not None and not 0 < bytes_per_s < math.inf:
        raise UsageError(
            "peak-bandwidth",
            f"--bandwidth-gb-s is {bytes_per_s / 1e9:g}; it must be above 0 and end",
        )
    parts = physical_devices(device)
    rates = dict(operations_per_s or {})
    missing = not rates or bytes_per_s is None
    if not measure or not missing:
        return Peaks(device, rates, bytes_per_s) if rates or bytes_per_s else None
    if set(parts) != {"CPU"}:
        raise UsageError(
            "peak-device",
            f"the peaks of {device} cannot be measured from here; give those of its data sheet "
            "with --peak-gops and --bandwidth-gb-s, or --no-measure",
        )
    tell = on_progress or (lambda _: None)
    measured: list[str] = []
    if not rates:
        for element in ELEMENTS:
            if element != "f32" and not supports("CPU", Precision(element)):
                continue
            tell(f"looking for the fastest product of {element}")
            rates[element] = fastest_product(element)
            measured.append(element)
    if bytes_per_s is None:
        tell("measuring the bandwidth of memory")
        bytes_per_s = measure_bandwidth()
        measured.append("bandwidth")
    return Peaks(device, rates, bytes_per_s, tuple(measured))


def fastest_product(element: str) -> float:
    """Return the operations a second of OpenVINO on the CPU in one of `ELEMENTS`: `find_peaks`."""
    return max(_rate(make(element), element) for make in (_convolutions, _products))


def measure_bandwidth(*, array_bytes: int | None = None) -> float:
    """Return the bytes a second of a triad over arrays too large for any cache."""
    threads = processors()
    values = (array_bytes or max(2**26, min(4 * _last_cache_bytes(), 2**28))) // 4
    a, b, c = (np.ones(values, np.float32) for _ in range(3))
    bounds = np.linspace(0, values, threads + 1).astype(int)

    def triad(index: int) -> None:
        part = slice(bounds[index], bounds[index + 1])
        # NumPy has no fused triad; an addition moves as many bytes and never waits for its sum.
        np.add(b[part], c[part], out=a[part])

    with ThreadPoolExecutor(threads) as pool:
        best = min(
            timeit.repeat(lambda: list(pool.map(triad, range(threads))), number=1, repeat=_WINDOWS)
        )
    return 3 * 4 * values / best


def _last_cache_bytes() -> int:
    try:
        text = _CACHE.read_text("ascii").strip()
    except OSError:
        return 2**25
    unit = {"K": 2**10, "M": 2**20}.get(text[-1], 1)
    return int(text.rstrip("KM")) * unit


@dataclass(frozen=True, slots=True)
class _Work:
    model: ov.Model
    operations: int


def _convolutions(element: str, *, channels: int = 512, side: int = 28, length: int = 4) -> _Work:
    """Return a chain of 1x1 convolutions [1,C,S,S] -> [1,C,S,S]."""
    value = image = ops.parameter([1, channels, side, side], np.float32)
    for index in range(length):
        weights = _weights((channels, channels, 1, 1), index, element)
        value = ops.convolution(_rounded(value, element), weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = ov.Model([_rounded(value, element)], [image])
    return _Work(model, 2 * length * channels**2 * side**2)


def _products(element: str, *, size: int = 1024, length: int = 2) -> _Work:
    """Return a chain of matrix products [N,N] x [N,N]."""
    value = matrix = ops.parameter([size, size], np.float32)
    for index in range(length):
        right = _weights((size, size), index, element)
        value = ops.matmul(_rounded(value, element), right, False, True)
    return _Work(ov.Model([_rounded(value, element)], [matrix]), 2 * length * size**3)


def _weights(shape: tuple[int, ...], seed: int, element: str) -> ov.Node:
    random = np.random.Generator(np.random.Philox(key=seed))
    if element != "int8":
        return ops.constant(random.normal(size=shape).astype(np.float32) / shape[1] ** 0.5)
    # As NNCF writes them: integers that a scale makes real.
    whole = ops.constant(random.integers(-63, 64, shape, np.int8))
    return ops.multiply(ops.convert(whole, np.float32), ops.constant(np.float32(1e-3)))


def _rounded(value: ov.Node, element: str) -> ov.Node:
    if element != "int8":
        return value
    low, high = ops.constant(np.float32(0)), ops.constant(np.float32(2.55))
    return ops.fake_quantize(value, low, high, low, high, 256)


def _rate(work: _Work, element: str) -> float:
    """Return the operations a second of the best window, all streams busy."""
    compute = "bf16" if element == "bf16" else "f32"
    compiled = compile_graph(work.model, "CPU", compute=compute, hint="throughput")
    streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    requests = ov.AsyncInferQueue(compiled, streams)
    given = np.random.default_rng(0).random(list(compiled.inputs[0].shape), np.float32)
    for request in requests:
        request.set_input_tensor(ov.Tensor(given))

    def rate(duration_s: float) -> float:
        done = 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < duration_s:
            requests.start_async()
            done += 1
        requests.wait_all()
        return done * work.operations / (time.perf_counter() - begin)

    rate(0.1)
    return max(rate(_WINDOW_S) for _ in range(_WINDOWS))
