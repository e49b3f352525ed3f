"""How many clock cycles an overlay takes for each layer of a network: modelled, never measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from thorax.fpga.architecture import Architecture
from thorax.fpga.workload import Layer


class Bound(StrEnum):
    """What a layer waits for."""

    COMPUTE = "compute"
    """The PE array."""
    DRAIN = "drain"
    """The kernels behind it, which take fewer channels a cycle."""
    FILTER = "filter"
    """Filters from external memory."""
    FEATURE = "feature"
    """Feature maps from and to external memory."""
    NONE = "none"
    """Nothing: it costs no cycle of the card."""


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """Cycles of one layer, a batch through it divided by the batch.

    Attributes:
        layer: which.
        cycles: that it occupies the overlay for, one image.
        compute_cycles: of the PE array.
        drain_cycles: of the kernels behind it.
        filter_cycles: that its filters take to arrive.
        feature_cycles: that its feature maps take to and from external memory.
        bound: which of them decides.
        ddr_bytes: moved for one image.
        utilization: useful products of all that the PE array could make meanwhile, 0-1.
    """

    layer: Layer
    cycles: float
    compute_cycles: float
    drain_cycles: float
    filter_cycles: float
    feature_cycles: float
    bound: Bound
    ddr_bytes: float
    utilization: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Modelled speed of a network on an architecture.

    Attributes:
        architecture: what it runs on.
        batch: images at once.
        layers: in the order of execution.
        cycles: of one image.
        images_per_s: in steady state.
        latency_s: from the first image of a batch in to the last out.
        ddr_bytes: of one image.
        ddr_bytes_per_s: on average.
        utilization: useful products of all that the PE array could make, 0-1.
    """

    architecture: Architecture
    batch: int
    layers: tuple[LayerEstimate, ...]
    cycles: float
    images_per_s: float
    latency_s: float
    ddr_bytes: float
    ddr_bytes_per_s: float
    utilization: float


def estimate(layers: Sequence[Layer], architecture: Architecture, *, batch: int = 1) -> Estimate:
    """Return the modelled speed of a network.

    Args:
        layers: of `describe`, or those of them that the card computes.
        architecture: what they run on.
        batch: images that share the filters of a layer.
    """
    raise NotImplementedError
