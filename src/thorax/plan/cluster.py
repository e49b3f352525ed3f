"""How long a training run takes on a number of workers, where the time goes, and what it costs.

    time = epochs(batch) x images / (images/s) + evaluation + start-up

An update takes the passes of a rank, what of the exchange does not hide behind the last backward
pass, the wait for the slowest rank, and what reading images takes beyond that. Everything here is
modelled; a link is taken to be nobody else's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from thorax.collectives import (
    ALGORITHMS,
    HIERARCHICAL,
    expected_lateness,
    hierarchical_s,
    lateness,
    send_buckets,
)
from thorax.errors import UsageError
from thorax.plan.epochs import ASSUMED, epochs_for
from thorax.plan.systems import System, buckets_of
from thorax.plan.topologies import Workload, find_workload

WORTH: Final = 0.5
"""Least share of the ideal by which more workers must shorten a run to pay, by default."""
_LEAST_IMAGES: Final = 1.0


@dataclass(frozen=True, slots=True)
class Update:
    """Where the seconds of one update go.

    Attributes:
        compute_s: forward and backward passes.
        communication_s: exchange that does not hide behind the backward pass, and what an update
            of several ranks takes besides.
        straggler_s: wait for the slowest rank.
        input_s: wait for images.
    """

    compute_s: float
    communication_s: float
    straggler_s: float
    input_s: float

    @property
    def whole_s(self) -> float:
        """Seconds of the update."""
        return self.compute_s + self.communication_s + self.straggler_s + self.input_s


@dataclass(frozen=True, slots=True)
class Run:
    """A training run on a number of workers, modelled.

    Attributes:
        topology: that is trained.
        scaling: "batch grows" or "batch shared".
        workers: ranks.
        nodes: that hold them.
        global_batch: images an update.
        images_per_s: of all ranks in training.
        efficiency: that over as many times the one of a single worker, 0-1.
        epochs: at this batch.
        evaluation_s: over all epochs.
        start_up_s: before the first update.
        time_to_train_s: of the whole run.
        energy_kwh: of the nodes, None if their power is not known.
        update: one of its updates.
        updates: how many.
    """

    topology: str
    scaling: str
    workers: int
    nodes: int
    global_batch: float
    images_per_s: float
    efficiency: float
    epochs: float
    evaluation_s: float
    start_up_s: float
    time_to_train_s: float
    energy_kwh: float | None
    update: Update
    updates: float

    @property
    def epoch_s(self) -> float:
        """Seconds of one epoch with its evaluation."""
        return (self.time_to_train_s - self.start_up_s) / self.epochs


def workload(system: System, topology: str) -> Workload:
    """Return what a topology asks of a system.

    Raises:
        UsageError: `plan-topology`.
    """
    if system.gradient_bytes is not None and topology == system.reference:
        known = _known(topology)
        if known is None or system.even:
            return Workload(topology, 0 if known is None else known.macs, system.gradient_bytes)
        return replace(known, gradient_bytes=system.gradient_bytes)
    found = find_workload(topology)
    return Workload(found.name, found.macs, found.gradient_bytes) if system.even else found


def _known(topology: str) -> Workload | None:
    """Return a topology that can be counted; one that a doctor measured need not be."""
    try:
        return find_workload(topology)
    except UsageError:
        return None


def rank_images_per_s(system: System, topology: str) -> float:
    """Return the rate of a rank in long passes without exchange.

    A topology of which nothing is known makes as many products a second as the reference
    (*assumed*).

    Raises:
        UsageError: `plan-rate` where the system has no rate, `plan-topology`.
    """
    if topology in system.rates:
        return system.rates[topology]
    if system.images_per_s is None:
        raise UsageError(
            "plan-rate",
            f"{system.name} has no images_per_s; set it, or give models and published rows to "
            "find it from",
        )
    if topology == system.reference:
        return system.images_per_s
    return system.images_per_s * find_workload(system.reference).macs / find_workload(topology).macs


def all_reduce_s(system: System, ranks: int, size_bytes: float) -> float:
    """Return the seconds of one all-reduce over ranks that fill node after node."""
    within, between = system.within.link, system.between.link
    per_node = min(ranks, system.ranks_per_node)
    if system.algorithm == HIERARCHICAL:
        return hierarchical_s(
            within,
            between,
            nodes=math.ceil(ranks / per_node),
            ranks_per_node=per_node,
            size_bytes=size_bytes,
        )
    link = within if ranks <= system.ranks_per_node else between
    return ALGORITHMS[system.algorithm](link, ranks, size_bytes)


def update(system: System, topology: str, *, ranks: int, images: float) -> Update:
    """Return one update in which each rank sees `images` images.

    More images than pass together take several passes; their gradients add up and leave during the
    last one, bucket by bucket as layers are done.

    Raises:
        UsageError: as `rank_images_per_s`.
    """
    work = workload(system, topology)
    passes = math.ceil(images / (system.images_per_pass or images))
    pass_s = system.fixed_s + images / passes / rank_images_per_s(system, topology)
    backward_s = pass_s * (1 - system.forward_share)
    communication_s = straggler_s = 0.0
    if ranks > 1:
        count = buckets_of(system, work.gradient_bytes)
        each_s = all_reduce_s(system, ranks, work.gradient_bytes / count)
        ready_s = [
            backward_s * (work.ready((place + 1) / count) if system.overlap else 1.0)
            for place in range(count)
        ]
        end_s = send_buckets(ready_s, [each_s] * count)
        communication_s = end_s - backward_s + system.update_s
        late = lateness(ranks) if system.lateness == "bound" else expected_lateness(ranks)
        straggler_s = system.jitter * pass_s * math.sqrt(passes) * late
    busy_s = passes * pass_s + communication_s + straggler_s
    input_s = 0.0
    if system.input_images_per_s is not None:
        reading_s = images * min(ranks, system.ranks_per_node) / system.input_images_per_s
        input_s = max(0.0, reading_s - busy_s)
    return Update(passes * pass_s, communication_s, straggler_s, input_s)


def train(
    system: System,
    topology: str,
    workers: int,
    *,
    batch: float | None = None,
    batch_per_worker: float | None = None,
    epochs: float | None = None,
) -> Run:
    """Return a training run.

    Args:
        system: where.
        topology: what.
        workers: ranks.
        batch: images an update, shared by the ranks.
        batch_per_worker: images of each rank, where `batch` is not given; default the system's.
        epochs: exactly so many, instead of the system's and their curve.

    Raises:
        UsageError: `plan-batch` for less than an image a worker; as `update` and `epochs_for`.
    """
    each = system.batch_per_worker if batch_per_worker is None else batch_per_worker
    total = each * workers if batch is None else batch
    images = total / workers
    if images < _LEAST_IMAGES:
        raise UsageError(
            "plan-batch",
            f"a batch of {total:,.0f} leaves {workers:,} workers less than an image each; take "
            f"{total:,.0f} workers at most",
        )
    one = update(system, topology, ranks=workers, images=images)
    alone_images = images if batch is None else total
    alone = update(system, topology, ranks=1, images=alone_images)
    rate = total / one.whole_s
    count = (
        epochs_for(
            system.epochs,
            total,
            images=system.images,
            stated_batch=system.epochs_batch,
            curve=system.epochs_curve,
        )
        if epochs is None
        else epochs
    )
    evaluation_s = count * _evaluation_s(system, topology, workers, images)
    time_s = count * system.images / rate + evaluation_s + system.start_up_s
    nodes = math.ceil(workers / system.ranks_per_node)
    power_w = system.node_power_w
    return Run(
        topology=topology,
        scaling="batch grows" if batch is None else "batch shared",
        workers=workers,
        nodes=nodes,
        global_batch=total,
        images_per_s=rate,
        efficiency=rate / (workers * alone_images / alone.whole_s),
        epochs=count,
        evaluation_s=evaluation_s,
        start_up_s=system.start_up_s,
        time_to_train_s=time_s,
        energy_kwh=None if power_w is None else nodes * power_w * time_s / 3.6e6,
        update=one,
        updates=count * system.images / total,
    )


def _evaluation_s(system: System, topology: str, workers: int, images: float) -> float:
    """Return the seconds of the forward passes after one epoch, of as many images as in training."""
    share = system.evaluation_images / workers
    if not share:
        return 0.0
    together = min(images, system.images_per_pass or images)
    forward_s = system.fixed_s * share / together + share / rank_images_per_s(system, topology)
    return forward_s * system.forward_share


def saved_by_doubling(
    system: System,
    run: Run,
    *,
    batch_per_worker: float | None,
    epochs: float | None,
) -> float | None:
    """Return the share of the ideal by which twice the workers would shorten a run, -inf to 1.

    log2 of the ratio of the times: 1 halves the time at the same cost, 0 saves none and doubles
    the cost. None where a batch cannot be shared any further or epochs are not known for it.
    """
    try:
        twice = train(
            system,
            run.topology,
            2 * run.workers,
            batch=run.global_batch if run.scaling == "batch shared" else None,
            batch_per_worker=batch_per_worker,
            epochs=epochs,
        )
    except UsageError:
        return None
    return math.log2(run.time_to_train_s / twice.time_to_train_s)


@dataclass(frozen=True, slots=True)
class Request:
    """What a plan is asked for.

    Attributes:
        topology: that is trained.
        workers: numbers of them.
        batch: shared by the workers, None = none is.
        batch_per_worker: of each, None = the system's, if no batch is shared.
        epochs: None = the system's.
        price_per_node_hour: of any currency, None = no price.
        worth: share of the ideal that doubling must save to pay, 0-1.
    """

    topology: str
    workers: tuple[int, ...]
    batch: float | None = None
    batch_per_worker: float | None = None
    epochs: float | None = None
    price_per_node_hour: float | None = None
    worth: float = WORTH


def plan_cluster(system: System, request: Request) -> dict[str, Any]:
    """Return the JSON document of `thorax plan cluster`, without what was published.

    Raises:
        UsageError: as `train`.
    """
    ways: list[tuple[float | None, float | None]] = []
    if request.batch_per_worker is not None or request.batch is None:
        ways.append((None, request.batch_per_worker))
    if request.batch is not None:
        ways.append((request.batch, None))
    rows: list[dict[str, Any]] = []
    stops = []
    for batch, each in ways:
        found = [
            _row(
                system,
                train(
                    system,
                    request.topology,
                    workers,
                    batch=batch,
                    batch_per_worker=each,
                    epochs=request.epochs,
                ),
                request,
                each,
            )
            for workers in request.workers
        ]
        stops.append(
            {
                "scaling": found[0]["scaling"],
                "workers": _stop(found, request.worth),
                "worth": request.worth,
            }
        )
        rows += found
    curve = "epochs: as given" if request.epochs else f"epochs: {ASSUMED[system.epochs_curve]}"
    return {
        "command": "plan cluster",
        "modelled": True,
        "system": system.name,
        "title": system.title,
        "topology": request.topology,
        "images": system.images,
        "sources": [*system.sources, curve],
        "inputs": system.model_dump(mode="json", exclude={"sources", "models", "published"}),
        "rows": rows,
        "stops_paying": stops,
    }


def _stop(rows: Sequence[dict[str, Any]], worth: float) -> int | None:
    """Return the first number of workers that it does not pay to double."""
    for row in sorted(rows, key=lambda row: int(row["workers"])):
        saved = row["saved_by_doubling"]
        if saved is not None and saved < worth:
            return int(row["workers"])
    return None


def _row(
    system: System, run: Run, request: Request, batch_per_worker: float | None
) -> dict[str, Any]:
    one, updates = run.update, run.updates
    price = request.price_per_node_hour
    hours = run.time_to_train_s / 3600
    return {
        "topology": run.topology,
        "scaling": run.scaling,
        "workers": run.workers,
        "nodes": run.nodes,
        "global_batch": run.global_batch,
        "images_per_s": run.images_per_s,
        "efficiency": run.efficiency,
        "epochs": run.epochs,
        "time_to_train_s": run.time_to_train_s,
        "energy_kwh": run.energy_kwh,
        "cost": None if price is None else price * run.nodes * hours,
        "saved_by_doubling": saved_by_doubling(
            system, run, batch_per_worker=batch_per_worker, epochs=request.epochs
        ),
        "time_s": {
            "compute": updates * one.compute_s,
            "communication": updates * one.communication_s,
            "straggler": updates * one.straggler_s,
            "input": updates * one.input_s,
            "evaluation": run.evaluation_s,
            "start_up": run.start_up_s,
        },
    }
