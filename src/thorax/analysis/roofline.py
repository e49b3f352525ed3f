"""What a device can at best make of a graph: the roofline of each layer, and of each precision.

The model is that of Williams, Waterman and Patterson (CACM 52(4), 2009): a layer of I operations
a byte runs at no more than min(peak, I x bandwidth). Every value and weight of a layer is taken
to cross memory once; where a cache holds them, a device may be faster than the memory side says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypedDict

from thorax.analysis.cost import GraphCost, LayerCost, cost_graph
from thorax.analysis.inputs import patterns
from thorax.artifact import Precision
from thorax.devices.core import list_devices, physical_devices
from thorax.devices.counters import list_kernels
from thorax.devices.graph import compile_graph
from thorax.devices.peak import Peaks
from thorax.devices.profile import Profile, profile
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
    """The least time that a layer can take on a device.

    Attributes:
        time_s: the larger of the two below.
        compute_s: 2 MACs / peak of its arithmetic; None where no peak is known.
        memory_s: bytes / bandwidth; None where no bandwidth is known.
        attainable_ops_per_s: min(peak, intensity x bandwidth).
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


def bound(macs: int, moved_bytes: int, element: str, peaks: Peaks) -> Bound | None:
    """Return the roofline of one layer; None where nothing that it needs is known.

    Args:
        macs: multiply-accumulates.
        moved_bytes: weights, inputs and outputs.
        element: arithmetic that it runs in, a key of `peaks.operations_per_s`.
        peaks: of the device.
    """
    peak = peaks.operations_per_s.get(element)
    if peak is None and macs:
        return None
    compute_s = 2 * macs / peak if peak is not None else None
    memory_s = moved_bytes / peaks.bytes_per_s if peaks.bytes_per_s else None
    sides = [side for side in (compute_s, memory_s) if side is not None]
    if not sides:
        return None
    roofs = [peak] if peak is not None else []
    if peaks.bytes_per_s:
        roofs.append(intensity(macs, moved_bytes) * peaks.bytes_per_s)
    return Bound(max(sides), compute_s, memory_s, min(roofs, default=None) if macs else None)


def analyze(
    opened: OpenedModel, device: str, peaks: Peaks | None, *, measure: bool = False
) -> AnalyzeResult:
    """Work, memory and least time of each layer on a device, and what runs as one kernel.

    Args:
        opened: what to look at.
        device: compiled for, so that it is known what runs as one.
        peaks: the device's roofs; None leaves bounds out.
        measure: run it, some seconds, to say how long each layer took.

    Raises:
        DeviceError: as `compile_graph`.
    """
    compiled = compile_graph(opened.model, device, compute=opened.compute)
    kernels = list_kernels(compiled)
    cost = cost_graph(opened.model, kernels, compute_bytes=_COMPUTE_BYTES[opened.compute])
    timed = _profiled(opened, device) if measure else None
    times = [None] * len(cost.layers) if timed is None else _times(cost.layers, kernels, timed)
    layers = tuple(
        _layer(layer, opened.compute, peaks, time_s)
        for layer, time_s in zip(cost.layers, times, strict=True)
    )
    weight_bytes = sum(layer.weight_bytes for layer in layers)
    moved_bytes = sum(layer.moved_bytes for layer in layers)
    macs = sum(layer.macs for layer in layers)
    bound_s = _sum([layer.bound_s for layer in layers])
    images = _images(opened)
    return AnalyzeResult(
        model=opened.name,
        digest=opened.card.digest if opened.card else None,
        device=device,
        precision=opened.precision,
        compute=opened.compute,
        input={port.any_name: tuple(port.get_shape()) for port in opened.model.inputs},
        macs=macs,
        operations=sum(layer.operations for layer in layers),
        parameters=sum(layer.parameters for layer in layers),
        memory_bytes=weight_bytes + cost.peak_activation_bytes,
        weight_bytes=weight_bytes,
        activation_bytes=sum(layer.output_bytes for layer in layers),
        peak_activation_bytes=cost.peak_activation_bytes,
        moved_bytes=moved_bytes,
        intensity=intensity(macs, moved_bytes),
        peaks=None if peaks is None else _peaks(peaks),
        bound_s=bound_s,
        images_per_s_bound=images / bound_s if bound_s else None,
        **_measured(timed, images, bound_s, layers),
        layers=layers,
        types=_types(layers),
        kernels=_kernel_times(kernels, timed),
        precisions=tuple(
            _precision(precision, cost, images, peaks) for precision in _precisions(device)
        ),
    )


def _profiled(opened: OpenedModel, device: str) -> Profile:
    noise = [patterns(port, port.get_element_type(), count=4)[3] for port in opened.model.inputs]
    return profile(opened.model, device, noise, compute=opened.compute)


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


def _kernel_times(kernels: Sequence[KernelTime], timed: Profile | None) -> tuple[KernelTime, ...]:
    times = {} if timed is None else timed.kernels_s
    return tuple(
        kernel.model_copy(update={"measured_s": times.get(kernel.name)}) for kernel in kernels
    )


class _Measured(TypedDict, total=False):
    measured_s: float | None
    images_per_s_measured: float | None
    attained: float | None
    measured_runs: int
    measured_other_s: float


def _measured(
    timed: Profile | None, images: int, bound_s: float | None, layers: Sequence[LayerRoofline]
) -> _Measured:
    """Return what a run took beside its bound: `attained` is the share of it."""
    if timed is None:
        return {"measured_s": None, "images_per_s_measured": None, "attained": None}
    in_layers_s = sum(layer.measured_s or 0.0 for layer in layers)
    return {
        "measured_s": timed.inference_s,
        "images_per_s_measured": images / timed.inference_s,
        "attained": bound_s / timed.inference_s if bound_s else None,
        "measured_runs": timed.runs,
        "measured_other_s": max(0.0, sum(timed.kernels_s.values()) - in_layers_s),
    }


def _images(opened: OpenedModel) -> int:
    shape = opened.model.inputs[0].get_shape()
    return int(shape[0]) if len(shape) else 1


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _some(parts: Sequence[float | None]) -> float | None:
    """Return the sum of what is known: a layer that was folded away takes no time."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _peaks(peaks: Peaks) -> DevicePeaks:
    return DevicePeaks(
        gops={element: rate / 1e9 for element, rate in peaks.operations_per_s.items()},
        bandwidth_gb_s=peaks.bytes_per_s / 1e9 if peaks.bytes_per_s else None,
        measured=peaks.measured,
    )


def _layer(
    layer: LayerCost, compute: str, peaks: Peaks | None, time_s: float | None
) -> LayerRoofline:
    element = "int8" if layer.quantized else compute
    # A device widens the weights that it does not compute with as they are stored.
    weights = layer.weight_bytes
    if not layer.quantized:
        weights = layer.constants * _COMPUTE_BYTES[compute]
    moved = weights + layer.input_bytes + layer.output_bytes
    least = None if peaks is None else bound(layer.macs, moved, element, peaks)
    attainable = least.attainable_ops_per_s if least else None
    return LayerRoofline(
        name=layer.name,
        type=layer.type,
        fused=layer.fused,
        kernel=None if layer.kernel is None else layer.kernel.type,
        implementation=None if layer.kernel is None else layer.kernel.implementation,
        macs=layer.macs,
        operations=layer.operations,
        parameters=layer.parameters,
        weight_bytes=layer.weight_bytes,
        input_bytes=layer.input_bytes,
        output_bytes=layer.output_bytes,
        moved_bytes=moved,
        intensity=intensity(layer.macs, moved),
        arithmetic=element,
        attainable_gops=None if attainable is None else attainable / 1e9,
        bound_s=least.time_s if least else None,
        bound_by=least.by if least else None,
        measured_s=time_s,
        measured_gops=2 * layer.macs / time_s / 1e9 if layer.macs and time_s else None,
        attained=least.time_s / time_s if least and time_s else None,
    )


def _types(layers: Sequence[LayerRoofline]) -> tuple[TypeSums, ...]:
    """Return sums over the layers of each type, most work first."""
    groups: dict[str, list[LayerRoofline]] = {}
    for layer in layers:
        groups.setdefault(layer.type, []).append(layer)
    rows = [
        TypeSums(
            type=kind,
            layers=len(group),
            macs=sum(layer.macs for layer in group),
            operations=sum(layer.operations for layer in group),
            parameters=sum(layer.parameters for layer in group),
            weight_bytes=sum(layer.weight_bytes for layer in group),
            moved_bytes=sum(layer.moved_bytes for layer in group),
            bound_s=_sum([layer.bound_s for layer in group]),
            measured_s=_some([layer.measured_s for layer in group]),
        )
        for kind, group in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.moved_bytes)))


def _precision(
    precision: Precision, cost: GraphCost, images: int, peaks: Peaks | None
) -> PrecisionCost:
    """Return what a precision would store, move and at best take.

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
        least = None if peaks is None else bound(layer.macs, moved, element, peaks)
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
    """Return the precisions that every part of a device has."""
    parts = physical_devices(device)
    having = [
        set(device.precisions)
        for device in list_devices()
        if device.name in parts or any(device.name == f"{part}.0" for part in parts)
    ]
    return tuple(precision for precision in Precision if all(precision in each for each in having))
