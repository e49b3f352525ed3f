"""Clusters as TOML: what their ranks and links do, from where it is known, and what was published.

A field that no source gives is listed as assumed in `sources`; one that is fitted to a published
row is left out of the file, and `thorax.plan.published` finds it.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from thorax.cluster.collectives import Link
from thorax.config import Settings, apply, check
from thorax.errors import UsageError
from thorax.plan.epochs import Curve
from thorax.plan.file_claims import changed_title
from thorax.plan.ranges import (
    MOST_BUCKETS,
    Bandwidth,
    Bytes,
    Count,
    Epochs,
    Images,
    Ranks,
    Rate,
    Seconds,
    Share,
    Watts,
    key_of,
    require_no_sources,
    value_at,
)  # fmt: skip
from thorax.results.plan import Quantity

Algorithm = Literal["ring", "halving-doubling", "tree", "hierarchical"]

Fitted = Literal["images_per_s", "update_s", "fixed_s", "jitter"]


class Wire(Settings):
    """A kind of link."""

    alpha_s: Seconds
    """Of a message of no bytes, with the software of a step of an all-reduce, seconds."""
    beta_bytes_per_s: Bandwidth
    """One way, bytes/s."""

    @property
    def link(self) -> Link:
        """The same for the cost of an all-reduce."""
        return Link(self.alpha_s, self.beta_bytes_per_s)


class Fit(Settings):
    """A number that is found from a published row."""

    field: Fitted
    """Of the system."""
    row: str
    """Name of the row."""


class Model(Settings):
    """A way to explain the rows of a system."""

    name: str
    """What is told apart by it."""
    fits: tuple[Fit, ...] = ()
    """Free numbers, each with the row it is taken from, which then tests nothing."""
    note: str = ""
    """What else is taken for granted."""
    choices: tuple[str, ...] = ()
    """Decided with all rows known, and so free too, though no number was fitted."""
    changes: dict[str, Any] = Field(default_factory=dict)
    """Fields of the system that differ."""
    workers_batch: Images | None = None
    """Images a worker of the rows whose batch is not published, instead of those rows' own."""


class Published(Settings):
    """A published figure of a system."""

    name: str
    """Of the row."""
    topology: str
    """That was trained."""
    workers: Ranks
    """Ranks."""
    batch: Count
    """Images an update over all ranks."""
    quantity: Quantity
    """What was published."""
    value: Annotated[float, Field(ge=1e-12, le=1e15)]
    """The figure."""
    source: str
    """Where it stands."""
    batch_assumed: bool = False
    """Whether the source does not give the batch."""
    epochs: Epochs | None = None
    """Where they differ from the system's."""
    identity: bool = False
    """Whether it follows from another row by arithmetic alone, and so tests nothing more."""


class System(Settings):
    """A cluster, how it computes and exchanges, and what is trained on it."""

    name: str
    """What `--system` takes."""
    title: str
    """What it is."""
    machine: str = ""
    """Whose nodes it runs on, where several systems are of the same ones."""
    reference: str
    """Topology of `images_per_s`."""
    ranks_per_node: Ranks
    """Ranks that share a node, its network link and its power."""
    images_per_s: Rate | None = None
    """Of one rank in forward and backward passes of many images, without exchange."""
    rates: dict[str, Rate] = Field(default_factory=dict)
    """The same of other topologies; of those not named by the ratio of their products."""
    fixed_s: Seconds = 0.0
    """Of each pass, however few its images, seconds: why small local batches are slow."""
    update_s: Seconds = 0.0
    """Of each update of several ranks, however few bytes they exchange, seconds."""
    jitter: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    """Standard deviation of the time of a pass, share of it."""
    lateness: Literal["bound", "expected"] = "bound"
    """Of the slowest of p ranks in deviations: sqrt(2 ln p), or the exact mean of the largest."""
    forward_share: Share = 1 / 3
    """Of a pass; the backward pass makes two products for each of the forward pass."""
    algorithm: Algorithm = "ring"
    """Of the all-reduce; ring and tree take every hop as one between nodes."""
    within: Wire
    """Between ranks of a node."""
    between: Wire | None = None
    """Between nodes; without it nothing is said of more ranks than a node has."""
    bucket_mb: Annotated[float, Field(ge=1e-6, le=1e9)] = 64.0
    """Of gradients that are exchanged together, MiB."""
    overlap: bool = True
    """Whether buckets are exchanged during the backward pass, or all after it."""
    gradient_bytes: Bytes | None = None
    """Where they are not those of the topology for 14 findings in fp32."""
    even: bool = False
    """Whether gradients are taken to come evenly over the backward pass, and not by layers."""
    images_per_pass: Images | None = None
    """Images that pass a rank together at most; more take several passes an update."""
    input_images_per_s: Rate | None = None
    """That a node can read and prepare, None = never the limit."""
    batch_per_worker: Images = 16.0
    """Images of a rank in an update, where none are given."""
    images: Count = 86_524
    """Of an epoch."""
    last_batch: Literal["continues", "counts", "dropped"] = "continues"
    """Of an epoch: filled from the next epoch, an update like others however few, or left out."""
    evaluation_images: Annotated[int, Field(ge=0, le=10**12)] = 0
    """Forward passes after each epoch, shared by all ranks."""
    epochs: Epochs = 90.0
    """Of a training run, at `epochs_batch`."""
    epochs_batch: Images = 8192.0
    """Batch for which `epochs` is stated."""
    epochs_curve: Curve = Curve.CONSTANT
    """How epochs follow the batch."""
    start_up_s: Seconds = 0.0
    """Before the first update, seconds."""
    node_power_w: Watts | None = None
    """Of a node at work, None = not known."""
    sources: tuple[str, ...] = ()
    """Field, published / assumed / calibrated / measured, and where it is from."""
    choices: tuple[str, ...] = ()
    """What was decided about the model that this system follows with its published rows known."""
    models: tuple[Model, ...] = ()
    """Ways to find what is left out, the one to plan with first."""
    published: tuple[Published, ...] = ()
    """Figures to find it from and to be tested by."""

    def row(self, name: str) -> Published:
        """Return a published row by its name."""
        return next(row for row in self.published if row.name == name)


_NOT_FITTED_WITH: Final = {
    "name", "title", "machine", "rates", "batch_per_worker", "node_power_w", "sources", "choices",
    "models", "published",
}  # fmt: skip
"""Fields that no published row is computed with where its batch is known."""

_TRAINED: Final = {
    "images", "last_batch", "evaluation_images", "epochs", "epochs_batch", "epochs_curve",
    "start_up_s",
}  # fmt: skip
"""Fields of what is trained and not of the machine: another run leaves its numbers as they are."""


def change(system: System, settings: Sequence[str] = (), **given: object) -> System:
    """Return a system with some fields changed, whose sources then say so; those of None stay.

    Settings, each `key=value` or `table.key=value`, follow the fields, and its title says so. Of
    numbers that were fitted beside others than these the sources say that too.

    Raises:
        UsageError: `config-override`; `config-key` or `config-value` naming the field and what is
            allowed.
    """
    fresh = {key: value for key, value in given.items() if value is not None}
    if not fresh and not settings:
        return system
    table = {**system.model_dump(mode="json", exclude_none=True), **fresh}
    for setting in settings:
        apply(table, setting)
    keys = (*fresh, *map(key_of, settings))
    require_no_sources(keys)
    if settings and isinstance(table["title"], str):
        table["title"] = changed_title(table["title"], system.title, given="title" in keys)
    made = check(table, System, system.name)
    sources = (
        *(_fitted_source(source, system, made, keys) for source in system.sources),
        *(f"{key}: given, in place of the above" for key in keys),
    )
    return made.model_copy(update={"sources": sources})


def _fitted_source(source: str, system: System, made: System, keys: Sequence[str]) -> str:
    """Return a source, which of a number that was fitted says which other numbers have changed."""
    names, _, text = source.partition(": ")
    kind, _, origin = text.partition(": ")
    fitted = names.split(", ")
    if kind != "calibrated" or all(name in keys for name in fitted):
        return source
    others = [
        key
        for key in dict.fromkeys(keys)
        if key.partition(".")[0] not in {*_NOT_FITTED_WITH, *fitted}
        and value_at(system, key) != value_at(made, key)
    ]
    machine = [key for key in others if key.partition(".")[0] not in _TRAINED]
    if not others:
        return source
    if not machine:
        return f"{source}; fitted with another {', '.join(others)}"
    return f"{names}: assumed: fitted with another {', '.join(others)}, to {origin}"


def buckets_of(system: System, gradient_bytes: float) -> int:
    """Return the number of buckets of gradients, 1 or more.

    Raises:
        UsageError: `plan-value` for more than an update is computed for.
    """
    # A quotient of bytes by themselves may come out a hair above a whole number.
    count = max(1, math.ceil(gradient_bytes / (system.bucket_mb * 2**20) - 1e-9))
    if count > MOST_BUCKETS:
        raise UsageError(
            "plan-value",
            f"{system.name} exchanges {gradient_bytes:.4g} bytes in {count:.4g} buckets, more than "
            f"the {MOST_BUCKETS:,} that are computed; give bucket_mb from "
            f"{gradient_bytes / 2**20 / MOST_BUCKETS:.4g} on",
        )
    return count
