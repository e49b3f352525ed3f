"""What `thorax doctor cluster` measured of ranks and the links between them."""

from typing import Literal, Self

from thorax.files.documents import document_digest
from thorax.results.schema import Part, Result


class Software(Part):
    """Versions that all ranks have."""

    thorax: str
    torch: str


class Rank(Part):
    """One rank, as it was measured."""

    rank: int
    """Its number."""
    host: str
    cpus: str
    """Processors it may run on, "0-27"."""
    numa: str
    """NUMA nodes they belong to."""
    threads: int
    """Of one operation."""
    images_per_s: float
    """Forward and backward passes, no exchange."""
    wait: float
    """Share of its time that it waits for the slowest, 0-1."""
    interface: str | None
    """That gloo was told to use; null is the one of the host's name."""
    mtu: int | None
    """Of that interface, bytes."""
    slow: bool
    """Whether it computes below 0.9 of the median."""


class AllReduce(Part):
    """One size of message, summed over all ranks."""

    bytes: int
    """Of the message."""
    latency_s: float
    """Until the last rank has the sum."""
    algorithm_bytes_per_s: float
    """Bytes / latency."""
    bus_bytes_per_s: float
    """That times 2 (p-1)/p: what a link carries (nccl-tests, PERFORMANCE)."""


class RankLink(Part):
    """Two neighbours in the ring of ranks, and what is between them."""

    ranks: tuple[int, int]
    """Their numbers."""
    hosts: tuple[str, str]
    latency_s: float
    """Of 4 bytes one way."""
    bytes_per_s: float
    """Of 1 MiB one way."""
    slow: bool
    """Whether it carries less than half of the median of links of its kind."""


class StepParts(Part):
    """What the model makes an update of."""

    forward_s: float
    """Of an image."""
    backward_s: float
    """Of an image."""
    jitter: float
    """Standard deviation of the time of a pass, share of it."""
    images: int | None
    """That pass the network together at most; null is a rank's whole share."""
    gradient_bytes: int
    buckets: int
    """In which gradients leave."""


class ExpectedStep(Part):
    """What the model leads one to expect of a number of ranks."""

    ranks: int
    batch: int
    step_s: float
    images_per_s: float
    efficiency: float
    """images_per_s over that many times the one of a single rank, 0-1."""
    modelled: Literal[True] = True
    """No clock has seen it."""


class ClusterDiagnosis(Result):
    """What was found of a cluster: measured, but for what is called modelled or expected."""

    command: Literal["doctor cluster"] = "doctor cluster"
    topology: str
    images: int
    """Of one measured pass on a rank."""
    side: int
    """Of images, pixels."""
    precision: Literal["bf16", "fp32"]
    device: str
    compression: Literal["none", "bf16", "fp16", "powersgd"]
    """Of gradients."""
    backend: str | None
    """"gloo", "nccl", or null for one process that nobody launched."""
    software: Software
    turns: int
    """Measurements of each figure."""
    gradient_bytes: int
    """That every rank sends an update; PowerSGD's until it begins."""
    ranks: tuple[Rank, ...]
    all_reduce: tuple[AllReduce, ...]
    """One entry a size; empty for one rank."""
    links: tuple[RankLink, ...]
    """One entry for each two neighbours; empty for one rank."""
    alpha_s: float | None
    """Of a message of the ring that explains the all-reduces; null for one rank."""
    beta_bytes_per_s: float | None
    """Of a link of that ring."""
    slow_ranks: tuple[int, ...]
    slow_links: tuple[tuple[int, int], ...]
    step_s: float
    """Of an update of one pass a rank with its exchange, measured."""
    modelled_step_s: float
    """The same by the model."""
    step: StepParts
    batch: int | None
    """Of an update over all ranks; null is `images` of every rank."""
    clock_spread_s: float
    """Between the earliest and the latest clock."""
    expected: tuple[ExpectedStep, ...]
    """By the model; for one rank that rank alone."""
    warnings: tuple[str, ...]
    """What a person should look at."""
    sha256: str = ""
    """Of this document, canonical, with this field empty: a plan tells by it that it was edited."""

    def digested(self) -> Self:
        """Return the result with its SHA-256."""
        return self.model_copy(update={"sha256": document_digest(self.document())})
