"""What a graph takes under the roofs of a device: each layer, and each precision.

The model is that of Williams, Waterman and Patterson (CACM 52(4), 2009): a layer of I operations
a byte runs at no more than min(peak, I x bandwidth). Every value and weight of a layer is taken
to cross memory once. A layer that was measured faster than that was fed by a cache: its bound is
of arithmetic alone. The roof of arithmetic that is measured is the fastest that OpenVINO was seen
to run, products and the layers of the run itself, so that no layer passes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from thorax.analysis.cost import GraphCost, LayerCost, cost_graph
from thorax.analysis.inputs import patterns
from thorax.artifact import Precision
from thorax.devices.core import list_devices, physical_devices
from thorax.devices.counters import list_kernels
from thorax.devices.graph import Profile, compile_graph, profile
from thorax.devices.peak import Peaks
from thorax.ir.open import OpenedModel
from thorax.results.analysis import (
    AnalyzeResult,
    DevicePeaks,
    KernelTime,
    LayerRoofline,
    PrecisionCost,
    TypeSums,
)

_COMPUTE_BYTES: Final = {"f32": 4, "bf16": 2, "f16": 2}

_STORED_BYTES: Final = {
    Precision.FP32: (4, 4),
    Precision.FP16: (2, 2),
    Precision.BF16: (2, 2),
    Precision.INT8: (1, 4),
    Precision.FP11: (2, 2),
}
"""Of a weight that is multiplied with, and of another constant."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The least time of a layer at the roofs of a device, which may be below its hardware's peak.

    `time_s` is the larger of `compute_s`, 2 MACs / peak of its arithmetic, and `memory_s`, bytes /
    bandwidth, None where no peak or bandwidth is known; `attainable_ops_per_s` is min(peak,
    intensity x bandwidth).
    """

    time_s: float
    compute_s: float | None
    memory_s: float | None
    attainable_ops_per_s: float | None

    @property
    def by(self) -> Literal["compute", "memory"]:
        """Which side bounds."""
        return "compute" if (self.compute_s or 0) >= (self.memory_s or 0) else "memory"


def intensity(macs: int, moved_bytes: int) -> float:
    """Return operations a byte: 2 MACs / bytes of weights, inputs and outputs."""
    return 2 * macs / moved_bytes if moved_bytes else 0.0


def bound(macs: int, moved_bytes: int, element: str, peaks: Peaks | None) -> Bound | None:
    """Return the roofline of one layer; None where nothing that it needs is known.

    The bytes moved are weights, inputs and outputs, the element a key of `peaks.operations_per_s`.
    """
    peak = None if peaks is None else peaks.operations_per_s.get(element)
    if peaks is None or (peak is None and macs):
        return None
    compute_s = memory_s = None
    roofs = []
    if peak is not None:
        compute_s = 2 * macs / peak
        roofs.append(peak)
    if peaks.bytes_per_s:
        memory_s = moved_bytes / peaks.bytes_per_s
        roofs.append(intensity(macs, moved_bytes) * peaks.bytes_per_s)
    sides = [side for side in (compute_s, memory_s) if side is not None]
    if not sides:
        return None
    return Bound(max(sides), compute_s, memory_s, min(roofs) if macs else None)


def analyze(
    opened: OpenedModel, device: str, peaks: Peaks | None, *, measure: bool = False
) -> AnalyzeResult:
    """Work and memory of each layer, its least time at the roofs, and what runs as one kernel.

    No peaks of the device leave bounds out; `measure` runs it, some seconds, to say how long each
    layer took.

    Raises:
        DeviceError: as `compile_graph`.
    """
    compiled = compile_graph(opened.model, device, compute=opened.compute)
    kernels = list_kernels(compiled)
    cost = cost_graph(opened.model, kernels, compute_bytes=_COMPUTE_BYTES[opened.compute])
    timed = None
    if measure:
        inputs = opened.model.inputs
        noise = [patterns(port, port.get_element_type(), count=4)[3] for port in inputs]
        timed = profile(opened.model, device, noise, compute=opened.compute)
    times = [None] * len(cost.layers) if timed is None else _times(cost.layers, kernels, timed)
    peaks = _seen(cost.layers, opened.compute, times, peaks)
    layers = tuple(
        _layer(layer, opened.compute, peaks, time_s)
        for layer, time_s in zip(cost.layers, times, strict=True)
    )
    sums = _sums("all", layers)
    shape = opened.model.inputs[0].get_shape()
    images = int(shape[0]) if len(shape) else 1
    result = AnalyzeResult(
        model=opened.name,
        digest=opened.card.digest if opened.card else None,
        device=device,
        precision=opened.precision,
        compute=opened.compute,
        input={port.any_name: tuple(port.get_shape()) for port in opened.model.inputs},
        macs=sums.macs,
        operations=sums.operations,
        parameters=sums.parameters,
        weight_bytes=sums.weight_bytes,
        moved_bytes=sums.moved_bytes,
        memory_bytes=sums.weight_bytes + cost.peak_activation_bytes,
        activation_bytes=sum(layer.output_bytes for layer in layers),
        peak_activation_bytes=cost.peak_activation_bytes,
        intensity=intensity(sums.macs, sums.moved_bytes),
        peaks=None if peaks is None else _peaks(peaks),
        bound_s=sums.bound_s,
        images_per_s_bound=images / sums.bound_s if sums.bound_s else None,
        measured_s=None,
        images_per_s_measured=None,
        attained=None,
        layers=layers,
        types=_types(layers),
        kernels=tuple(kernels),
        precisions=tuple(
            _precision(precision, cost, images, peaks) for precision in _precisions(device)
        ),
    )
    return result if timed is None else _with_run(result, timed, images)


def _times(
    layers: Sequence[LayerCost], kernels: Sequence[KernelTime], timed: Profile
) -> list[float | None]:
    """Return what each layer took: its kernel, and those that no other layer is named for."""
    taken = {layer.kernel.name for layer in layers if layer.kernel is not None}
    times: list[float | None] = []
    for layer in layers:
        names = {layer.name, *layer.fused}
        own = {layer.kernel.name} if layer.kernel is not None else set()
        own |= {
            kernel.name
            for kernel in kernels
            if kernel.name not in taken and names & {*kernel.layers}
        }
        taken |= own
        times.append(_some([timed.kernels_s.get(name) for name in own]))
    return times


def _seen(
    layers: Sequence[LayerCost],
    compute: str,
    times: Sequence[float | None],
    peaks: Peaks | None,
) -> Peaks | None:
    """Return the roofs with those that were measured raised to what a layer was seen to reach."""
    if peaks is None:
        return None
    rates = dict(peaks.operations_per_s)
    for layer, time_s in zip(layers, times, strict=True):
        element = _element(layer, compute)
        if time_s and element in peaks.measured:
            rates[element] = max(rates[element], 2 * layer.macs / time_s)
    return replace(peaks, operations_per_s=rates)


def _element(layer: LayerCost, compute: str) -> str:
    return "int8" if layer.quantized else compute


def _with_run(result: AnalyzeResult, timed: Profile, images: int) -> AnalyzeResult:
    """Return a result with what a run took beside its bound: `attained` is the share of it."""
    in_layers_s = sum(layer.measured_s or 0.0 for layer in result.layers)
    measured = {
        "measured_s": timed.inference_s,
        "images_per_s_measured": images / timed.inference_s,
        "attained": result.bound_s / timed.inference_s if result.bound_s else None,
        "measured_runs": timed.runs,
        "measured_other_s": max(0.0, sum(timed.kernels_s.values()) - in_layers_s),
        "kernels": tuple(
            kernel.model_copy(update={"measured_s": timed.kernels_s.get(kernel.name)})
            for kernel in result.kernels
        ),
    }
    return result.model_copy(update=measured)


def _some(parts: Sequence[float | None]) -> float | None:
    """Return the sum of what is known: a layer that was folded away takes no time."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _sum(parts: Sequence[float | None]) -> float | None:
    return None if None in parts else _some(parts)


def _peaks(peaks: Peaks) -> DevicePeaks:
    return DevicePeaks(
        gops={element: rate / 1e9 for element, rate in peaks.operations_per_s.items()},
        bandwidth_gb_s=peaks.bytes_per_s / 1e9 if peaks.bytes_per_s else None,
        arithmetic=_arithmetic(peaks),
        measured=peaks.measured,
    )


def _arithmetic(peaks: Peaks) -> Literal["fastest seen of OpenVINO", "given", ""]:
    if not peaks.operations_per_s:
        return ""
    measured = {*peaks.operations_per_s} & {*peaks.measured}
    return "fastest seen of OpenVINO" if measured else "given"


def _layer(
    layer: LayerCost, compute: str, peaks: Peaks | None, time_s: float | None
) -> LayerRoofline:
    element = _element(layer, compute)
    # A device widens the weights that it does not compute with as they are stored.
    widened = layer.constants * _COMPUTE_BYTES[compute]
    weights = layer.weight_bytes if layer.quantized else widened
    moved = weights + layer.input_bytes + layer.output_bytes
    least = bound(layer.macs, moved, element, peaks)
    cached = bool(least and time_s and least.memory_s and time_s < least.memory_s)
    if peaks and cached:
        least = bound(layer.macs, moved, element, replace(peaks, bytes_per_s=None)) or least
    attainable = least.attainable_ops_per_s if least else None
    return LayerRoofline(
        name=layer.name,
        type=layer.type,
        fused=layer.fused,
        macs=layer.macs,
        operations=layer.operations,
        parameters=layer.parameters,
        weight_bytes=layer.weight_bytes,
        input_bytes=layer.input_bytes,
        output_bytes=layer.output_bytes,
        kernel=None if layer.kernel is None else layer.kernel.type,
        implementation=None if layer.kernel is None else layer.kernel.implementation,
        moved_bytes=moved,
        intensity=intensity(layer.macs, moved),
        arithmetic=element,
        attainable_gops=None if attainable is None else attainable / 1e9,
        bound_s=least.time_s if least else None,
        bound_by="cache" if cached else least.by if least else None,
        measured_s=time_s,
        measured_gops=2 * layer.macs / time_s / 1e9 if layer.macs and time_s else None,
        attained=least.time_s / time_s if least and least.time_s and time_s else None,
    )


def _types(layers: Sequence[LayerRoofline]) -> tuple[TypeSums, ...]:
    groups: dict[str, list[LayerRoofline]] = {}
    for layer in layers:
        groups.setdefault(layer.type, []).append(layer)
    rows = [_sums(kind, group) for kind, group in groups.items()]
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.moved_bytes)))


def _sums(kind: str, layers: Sequence[LayerRoofline]) -> TypeSums:
    return TypeSums(
        type=kind,
        layers=len(layers),
        macs=sum(layer.macs for layer in layers),
        operations=sum(layer.operations for layer in layers),
        parameters=sum(layer.parameters for layer in layers),
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        moved_bytes=sum(layer.moved_bytes for layer in layers),
        bound_s=_sum([layer.bound_s for layer in layers]),
        measured_s=_some([layer.measured_s for layer in layers]),
    )


def _precision(
    precision: Precision, cost: GraphCost, images: int, peaks: Peaks | None
) -> PrecisionCost:
    """Return what a precision would store, move and take at the roofs.

    INT8 is told as if every layer that multiplies were quantized; FP16 and BF16 are storage
    formats on a device that computes f32, which widens their weights when it loads them.
    """
    element = "int8" if precision is Precision.INT8 else precision.compute
    narrow = {"int8": 1, "bf16": 2}.get(element, 4)
    weight_bytes = moved_bytes = 0
    times: list[float | None] = []
    for layer in cost.layers:
        multiplied_bytes, other_bytes = _STORED_BYTES[precision]
        others = layer.constants - layer.multiplied
        weight_bytes += multiplied_bytes * layer.multiplied + other_bytes * others
        moved = narrow * (layer.inputs + layer.outputs + layer.multiplied) + 4 * others
        moved_bytes += moved
        least = bound(layer.macs, moved, element, peaks)
        times.append(least.time_s if least else None)
    bound_s = _sum(times)
    return PrecisionCost(
        precision=precision.value,
        arithmetic=element,
        weight_bytes=weight_bytes,
        moved_bytes=moved_bytes,
        bound_s=bound_s,
        images_per_s_bound=images / bound_s if bound_s else None,
    )


def _precisions(device: str) -> tuple[Precision, ...]:
    parts = physical_devices(device)
    having = [
        set(device.precisions)
        for device in list_devices()
        if device.name in parts or any(device.name == f"{part}.0" for part in parts)
    ]
    return tuple(precision for precision in Precision if all(precision in each for each in having))
