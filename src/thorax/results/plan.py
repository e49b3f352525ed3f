"""What `thorax plan server` and `thorax plan cluster` compute from constants: modelled."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, Self

from pydantic import JsonValue, model_validator

from thorax.errors import UsageError
from thorax.results.schema import Part, Result

Arrivals = Literal["poisson", "constant", "saturated"]
"""How images come: at random, evenly, or one whenever a request is free."""

Scaling = Literal["batch grows", "batch shared"]
"""Whether each worker has a batch of its own, or all share one."""

Quantity = Literal["time_to_train_s", "epoch_s", "images_per_s", "efficiency", "energy_kwh"]
"""What is published of a training run."""

Comparison = Literal["calibrated", "identity", "chosen", "known"]
"""Where a modelled figure stands to the published one: fitted to it, implied by another, of a model
that was chosen with it in view, of one that was not but was written with it known. All published
figures were known when the models were made."""


class CpuRole(StrEnum):
    """What the CPU does while cards compute: the text of 2018 does not tell."""

    ADDITIVE = "additive"
    """It computes images too."""
    OFFLOAD = "offload"
    """It only feeds the cards; without cards it computes."""


class Prices(Part):
    """What things cost, all in one currency; null is not known."""

    energy: float | None
    """Of a kWh."""
    hardware: float | None
    """Of a server without cards."""
    card: float | None
    """Of one card."""
    years: float | None
    """That the hardware is used for."""
    utilization: float | None
    """Share of that time that it works, 0-1."""

    @model_validator(mode="after")
    def _spreads_what_was_bought(self) -> Self:
        bought = self.hardware is not None or self.card is not None
        if bought and (self.years is None or self.utilization is None):
            raise UsageError(
                "plan-prices",
                "a price of hardware is spread over the images of its life; give --years and"
                " --utilization (0-1) with it",
            )
        return self


class Quantiles(Part):
    """Latencies in milliseconds: the mean over runs of each quantile."""

    mean: float
    p50: float
    p90: float
    p99: float


class QuantileRanges(Part):
    """The least and the most of each quantile over runs, milliseconds."""

    mean: tuple[float, float]
    p50: tuple[float, float]
    p90: tuple[float, float]
    p99: tuple[float, float]


class ImageCost(Part):
    """What a million images cost, in the currency of the prices; null is not known."""

    energy: float | None
    """Of the watts under that load; those of idle hours are not in it."""
    hardware: float | None
    """The share of its price."""
    total: float | None
    """Both."""


class ServerRow(Part):
    """A server with a number of cards, in one role of the CPU."""

    cards: int
    """How many."""
    reading: CpuRole
    """What the CPU does while cards compute."""
    images_per_s: float
    """At the load that was asked for; all that it can do where none was."""
    capacity_images_per_s: float
    """All that it can do."""
    cpu_images_per_s: float
    """The processors' part of that."""
    cards_images_per_s: float
    """The cards' part of that."""
    speedup: float
    """All that it can do over that without cards."""
    power_w: float | None
    """Of the whole server at `images_per_s`; null where the watts of a part are not known."""
    cards_power_w: float
    """The cards' part of that."""
    images_per_s_per_w: float | None
    """Of the whole server per watt of the whole server."""
    marginal_images_per_s_per_w: float | None
    """What cards add to the images/s over what they add to the watts of the same host."""
    marginal_power_w: float | None = None
    """Those watts."""
    bound_by: str
    """What limits the cards: a place, "requests", or "cpu" without cards."""
    overloaded: bool
    """Whether more images arrive than it can answer."""
    latency_at_images_per_s: float | None
    """Load at which latency is told."""
    latency_ms: Quantiles | None
    """Null where it is overloaded."""
    latency_ms_range: QuantileRanges | None = None
    """Over runs of other arrivals."""
    mean_batch: float | None
    """Images of a batch."""
    images_per_s_within_limit: float | None
    """The most whose p99 stays within the limit; null where nobody asks, or not every run has one.
    """
    images_per_s_within_limit_range: tuple[float, float] | None = None
    """Over runs of other arrivals."""
    energy_kwh_per_million_images: float | None
    """Of the whole server."""
    cost_per_million_images: ImageCost


class CurvePoint(Part):
    """Latency at one load."""

    cards: int
    reading: CpuRole
    images_per_s: float
    """That arrive."""
    load: float
    """The same as a share of what the server can do, 0-1."""
    latency_ms: Quantiles | None
    latency_ms_range: QuantileRanges | None
    power_w: float | None
    """Of the whole server."""


class ServerPlan(Result):
    """What a server would do and draw, for each number of cards."""

    command: Literal["plan server"] = "plan server"
    modelled: Literal[True] = True
    """No clock or meter has seen it; `sources` says which of its constants were measured."""
    server: str
    """Its name."""
    full_name: str
    """What its maker calls it."""
    network: str
    """What it computes."""
    card: str | None
    """Name of its cards."""
    arrivals: Arrivals
    offered_images_per_s: float | None
    """That arrive; null: watts are of all that it can do."""
    latency_load: float | None
    """Share of what it can do at which latency is told, 0-1; null where a rate is offered."""
    latency_limit_ms: float | None
    """That p99 is to stay within."""
    simulated_images: int
    """In a run."""
    seed: int
    """Of the arrivals of the first run."""
    runs: int = 1
    """Of other arrivals each."""
    prices: Prices
    sources: tuple[str, ...]
    """Where each constant is from: key, kind and source."""
    inputs: dict[str, JsonValue]
    """All constants, by the keys of `--file`."""
    rows: tuple[ServerRow, ...]
    """One entry a role of the CPU and a number of cards."""
    curve: tuple[CurvePoint, ...] = ()
    """Latency against load, of the most cards; absent unless `--curve` asks for it."""


class RunTimes(Part):
    """Where the seconds of a training run go."""

    compute: float
    """Forward and backward passes."""
    communication: float
    """Exchange that does not hide behind the backward pass."""
    straggler: float
    """Wait for the slowest rank."""
    input: float
    """Wait for images."""
    evaluation: float
    """Over all epochs."""
    start_up: float
    """Before the first update."""


class ClusterRow(Part):
    """A training run on a number of workers."""

    topology: str
    scaling: Scaling
    workers: int
    """Ranks."""
    nodes: int
    """That hold them."""
    global_batch: float
    """Images an update."""
    images_per_s: float
    """Of all ranks in training."""
    efficiency: float
    """That over as many times the one of a single worker, 0-1."""
    epochs: float
    """At this batch."""
    time_to_train_s: float
    """Of the whole run."""
    energy_kwh: float | None
    """Of the nodes; null where their power is not known."""
    cost: float | None
    """Of the nodes, in the currency of the price; null without one."""
    saved_by_doubling: float | None
    """Share of the ideal by which twice the workers would shorten it; null where they cannot."""
    time_s: RunTimes


class ScalingStop(Part):
    """Where more workers stop paying."""

    scaling: Scaling
    workers: int | None
    """Which it does not pay to double; null where it pays throughout."""
    worth: float
    """Least share of the ideal that doubling must save to pay, 0-1."""


class PublishedRow(Part):
    """A published figure beside that of the model."""

    system: str
    model: str
    free_numbers: int
    """That the model takes from published rows."""
    choices: int = 0
    """Decided with all rows known, beside the numbers."""
    row: str
    """Name of the row."""
    topology: str
    workers: int
    batch: int
    """Images an update over all ranks."""
    batch_assumed: bool
    """Whether the source does not give the batch."""
    quantity: Quantity
    published: float
    """The figure."""
    modelled: float
    """The same by the model."""
    error: float
    """Modelled over published, less one."""
    linear: float
    """The same if ranks only added up from the first calibrated row on."""
    linear_error: float
    """That over published, less one."""
    how: Comparison
    source: str
    """Where the figure stands."""


class PublishedPoint(Part):
    """A published figure as the time or energy of a run."""

    workers: int
    global_batch: int
    time_to_train_s: float | None
    energy_kwh: float | None
    computed: bool
    """Whether a published rate or epoch was multiplied by the system's epochs."""
    how: Comparison


class ClusterPlan(Result):
    """How long a network would train on a cluster, for each number of workers."""

    command: Literal["plan cluster"] = "plan cluster"
    modelled: Literal[True] = True
    """No clock or meter has seen it; `sources` says which of its constants were measured."""
    system: str
    """Name of the cluster."""
    title: str
    """What it is."""
    topology: str
    """That is trained."""
    images: int
    """Of an epoch."""
    sources: tuple[str, ...]
    """Where each constant is from: key, kind and source."""
    inputs: dict[str, JsonValue]
    """All constants, by the keys of `--system`."""
    rows: tuple[ClusterRow, ...]
    """One entry a way of scaling and a number of workers."""
    stops_paying: tuple[ScalingStop, ...]
    """One entry a way of scaling."""
    compared_left_out: str | None = None
    """Why the model is not held against published rows beside this plan."""
    choices: tuple[str, ...] = ()
    """What was decided about the model of this plan with all published rows of its system known."""
    compared: tuple[PublishedRow, ...]
    """Published rows that the model is held against; `how` says which of them it was made with."""
    published: tuple[PublishedPoint, ...]
    """Those of this topology."""

    @property
    def jitter(self) -> float:
        """Standard deviation of the time of a pass, share of it."""
        value = self.inputs.get("jitter")
        return float(value) if isinstance(value, int | float) else 0.0


def is_fitted(sources: Iterable[str], key: str) -> bool:
    """Return whether a number was fitted, be it beside others than a plan is made with."""
    return any(
        source.startswith((f"{key}: calibrated", f"{key}: assumed: fitted")) for source in sources
    )
