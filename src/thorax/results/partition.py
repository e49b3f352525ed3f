"""How a network is split between devices: what `thorax partition` answers."""

from typing import Final, Literal

from thorax.results.schema import Part, Result
from thorax.results.shared import Modelled

LINK_BYTES: Final = 2
"""Of a value between host and card, which is fp16 there: *assumed*."""


class SubgraphSummary(Part):
    """What a device runs in one go."""

    number: int
    """Place in the order of execution, as counters give it."""
    device: str
    layers: int
    """How many it has, inputs, outputs and constants left out."""
    types: dict[str, int]
    """How many layers of each OpenVINO type."""
    inputs: tuple[str, ...]
    """Inputs of the network that it takes."""
    outputs: tuple[str, ...]
    """Outputs of the network that it gives."""
    input_bytes: int
    """What enters it of one inference, from other subgraphs and from outside."""
    output_bytes: int
    """What leaves it, to other subgraphs and outside."""
    modelled_s: float | None
    """Of a simulated card, from the tensors on the host to the answers there; null elsewhere."""


class PlacedLayer(Part):
    """A layer, and the device that runs it."""

    name: str
    type: str
    """OpenVINO's."""
    device: str
    reason: str
    """Why there."""
    subgraph: int
    """Number of its subgraph."""
    input_bytes: int
    """What crosses into it, told at the first layer of a subgraph that takes it."""
    runs_with: str | None
    """The layer that a card computes it together with; null where it stands alone."""
    modelled_s: float | None
    """Of a layer of a simulated card; null elsewhere."""


class CrossingTensor(Part):
    """A tensor that one subgraph hands another."""

    layer: str
    """That makes it."""
    source: int
    """Number of the subgraph that makes it."""
    target: int
    """Number of the subgraph that takes it."""
    size_bytes: int
    """As the host has it."""


class Crossings(Part):
    """What crosses between subgraphs."""

    before: int
    """How many tensors would, had no small subgraph gone to its neighbour."""
    after: int
    """How many do."""
    bytes: int
    """Of them all, of one inference."""
    tensors: tuple[CrossingTensor, ...]


class PartitionResult(Result):
    """Which device runs which layer, why, what crosses, and the time of simulated cards."""

    command: Literal["partition"] = "partition"
    model: str
    device: str
    """As it was asked for."""
    devices: tuple[str, ...]
    """That were asked for, the preferred first."""
    idle: tuple[str, ...]
    """Those of them that run nothing."""
    simulated: bool
    """Whether a simulated card takes part."""
    subgraphs: tuple[SubgraphSummary, ...]
    layers: tuple[PlacedLayer, ...]
    """In order of execution."""
    crossings: Crossings
    modelled: Modelled | None
    """What simulated cards would do; null where none takes part."""
