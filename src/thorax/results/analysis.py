"""What `thorax analyze` found: work, memory and time of each layer at the roofs of a device."""

from typing import Literal

from pydantic import Field

from thorax.results.schema import Part, Result


class LayerRoofline(Part):
    """One layer: what it takes for one inference, and its least time at the roofs of a device.

    A layer is what the device runs as one kernel. Roofs that were measured are the fastest rates
    that OpenVINO was seen to reach, below what the hardware can do. The roofline is that of
    Williams, Waterman and Patterson (CACM 52(4), 2009).
    """

    name: str
    """Of the operation that multiplies, or else of the first."""
    type: str
    """Of that operation."""
    fused: tuple[str, ...] = ()
    """Names of the other operations that run with it, in order."""
    kernel: str | None = None
    """What the device calls the operation; null where it was folded away."""
    implementation: str | None = None
    """Of the kernel, and its precision."""
    macs: int
    """Multiply-accumulates."""
    operations: int
    """Values that element-wise and pooling layers read to make their answers."""
    parameters: int
    """Weights and biases that were trained."""
    weight_bytes: int
    """Of all its constants as they are stored."""
    input_bytes: int
    output_bytes: int
    moved_bytes: int
    """Of weights, inputs and outputs as the device holds them."""
    intensity: float
    """Operations a byte: 2 MACs / moved bytes."""
    arithmetic: str
    """Element type that it is computed in."""
    attainable_gops: float | None
    """min(peak, intensity x bandwidth), 10^9 operations/s; null without MACs or peaks."""
    bound_s: float | None
    """Least time at the rates of `peaks`; null where nothing that it needs is known."""
    bound_by: Literal["compute", "memory", "cache"] | None
    """"cache": it was measured faster than memory, so that its bound is of arithmetic alone."""
    measured_s: float | None = None
    """Median; null where not measured."""
    measured_gops: float | None = None
    """10^9 operations/s."""
    attained: float | None = None
    """bound_s / measured_s."""


class TypeSums(Part):
    """Sums over the layers of one type."""

    type: str
    layers: int
    macs: int
    operations: int
    parameters: int
    weight_bytes: int
    moved_bytes: int
    bound_s: float | None
    measured_s: float | None = None


class KernelTime(Part):
    """One step of the compiled graph."""

    name: str
    """As the counters of a run call it."""
    type: str
    """What the device calls the operation."""
    implementation: str
    precision: str
    """Element type that it runs in."""
    layers: tuple[str, ...]
    """Operations of the graph that it does at once."""
    measured_s: float | None
    """Median; null where not measured."""


class PrecisionCost(Part):
    """What the network would store, move and take at the roofs in one precision of the device."""

    precision: str
    arithmetic: str
    """Element type that it would be computed in."""
    weight_bytes: int
    """As stored."""
    moved_bytes: int
    bound_s: float | None
    images_per_s_bound: float | None


class DevicePeaks(Part):
    """The roofs of a device.

    Measured arithmetic is what OpenVINO was seen to run fastest, matrix products and the layers of
    this run, and no peak of the hardware.
    """

    gops: dict[str, float]
    """10^9 operations/s by element type; a multiply-accumulate is two operations."""
    arithmetic: Literal["fastest seen of OpenVINO", "given", ""] = ""
    """What `gops` are."""
    bandwidth_gb_s: float | None
    """Of its memory, 10^9 bytes/s."""
    measured: tuple[str, ...] = ()
    """Which of the numbers were measured here; the others were given."""


class AnalyzeResult(Result):
    """What a network takes of a device, its least time at the device's roofs, and what it took."""

    command: Literal["analyze"] = "analyze"
    model: str
    digest: str | None = None
    """Of an artifact."""
    device: str
    precision: str
    """That weights are stored in."""
    compute: str
    """Floating-point arithmetic that it runs in."""
    input: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Shape of each input, by name."""
    macs: int
    """Multiply-accumulates of one inference."""
    operations: int = 0
    """Values that element-wise and pooling layers read to make their answers."""
    parameters: int
    """Weights and biases that were trained."""
    memory_bytes: int
    """Of weights and of the values that are held at once."""
    weight_bytes: int
    activation_bytes: int = 0
    """Of all values that layers hand on."""
    peak_activation_bytes: int
    """Largest sum of values that are still to be read, over the steps of the schedule."""
    moved_bytes: int
    intensity: float
    """Operations a byte."""
    peaks: DevicePeaks | None = None
    """Null: bounds are left out."""
    bound_s: float | None = None
    """Least time of one inference at the rates of `peaks`: the sum over the layers."""
    images_per_s_bound: float | None = None
    measured_s: float | None = None
    """Of one inference, one at a time, median; null where not measured."""
    images_per_s_measured: float | None = None
    attained: float | None = None
    """bound_s / measured_s."""
    measured_runs: int = 0
    """Inferences over which the layers were counted; absent where not measured."""
    measured_other_s: float | None = None
    """What is of no layer, such as changes of layout; absent where not measured."""
    layers: tuple[LayerRoofline, ...]
    """In the order of execution."""
    types: tuple[TypeSums, ...]
    """Most work first."""
    kernels: tuple[KernelTime, ...] = ()
    """In the order of execution."""
    precisions: tuple[PrecisionCost, ...]
    """Of the device."""

    @property
    def has_roofs(self) -> bool:
        """Whether there is what a roofline is drawn from."""
        return self.peaks is not None and bool(self.peaks.bandwidth_gb_s and self.peaks.gops)
