"""How long a training run takes on a number of workers, where the time goes, and what it costs.

    time = epochs(batch) x images / (images/s) + evaluation + start-up

An update takes the passes of a rank, what of the exchange does not hide behind the last backward
pass, the wait for the slowest rank, and what reading images takes beyond that. Everything here is
modelled; a link is taken to be nobody else's.
"""

import math
from dataclasses import dataclass, replace

from thorax.cluster.collectives import (
    ALGORITHMS,
    HIERARCHICAL,
    expected_lateness,
    exposed_s,
    halving_doubling_nodes_s,
    hierarchical_s,
    lateness,
    straggler_s,
)
from thorax.errors import UsageError
from thorax.plan.epochs import epochs_for
from thorax.plan.systems import System, buckets_of
from thorax.plan.workloads import Workload, find_workload
from thorax.results.plan import ClusterRow, RunTimes


@dataclass(frozen=True, slots=True)
class Update:
    """Where the seconds of one update go, as `RunTimes` has them of a run.

    An update of several ranks takes more besides, which is of the communication.
    """

    compute_s: float
    communication_s: float
    straggler_s: float
    input_s: float

    @property
    def whole_s(self) -> float:
        """Seconds of the update."""
        return self.compute_s + self.communication_s + self.straggler_s + self.input_s

    def times(self, updates: int, evaluation_s: float, start_up_s: float) -> RunTimes:
        """Return where the seconds of so many updates go, with those of all else."""
        return RunTimes(
            compute=updates * self.compute_s,
            communication=updates * self.communication_s,
            straggler=updates * self.straggler_s,
            input=updates * self.input_s,
            evaluation=evaluation_s,
            start_up=start_up_s,
        )


class Run(ClusterRow):
    """A training run on a number of workers, modelled; what it costs is for a plan to say."""

    update: Update
    """One of its updates."""
    updates: int
    """How many, whole ones."""

    @property
    def epoch_s(self) -> float:
        """Seconds of one epoch with its evaluation."""
        return (self.time_to_train_s - self.time_s.start_up) / self.epochs


def workload(system: System, topology: str) -> Workload:
    """Return what a topology asks of a system.

    Raises:
        UsageError: `plan-topology`.
    """
    if system.gradient_bytes is not None and topology == system.reference:
        counted = _counted(topology)
        if counted is None or system.even:
            return Workload(topology, 0 if counted is None else counted.macs, system.gradient_bytes)
        return replace(counted, gradient_bytes=system.gradient_bytes)
    work = find_workload(topology)
    return Workload(work.name, work.macs, work.gradient_bytes) if system.even else work


def _counted(topology: str) -> Workload | None:
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
    reference = _counted(system.reference)
    if reference is None:
        raise UsageError(
            "plan-rate",
            f"{system.name} is known by its rate of {system.reference}, whose products are not "
            f"counted, so nothing follows for {topology}; plan {system.reference}, or measure "
            f"{topology}",
        )
    return system.images_per_s * reference.macs / find_workload(topology).macs


def all_reduce_s(system: System, ranks: int, size_bytes: float) -> float:
    """Return the seconds of one all-reduce over ranks that fill node after node.

    A ring, or a tree, over several nodes takes every hop as one between nodes, each of whose links
    then carries the message of one rank at a time.

    Raises:
        UsageError: `plan-link` for ranks on several nodes where no link between them is known.
    """
    within = system.within.link
    if ranks <= system.ranks_per_node:
        between = within
    elif system.between is None:
        raise UsageError(
            "plan-link",
            f"{system.name} has no link between nodes and {system.ranks_per_node} ranks a node, "
            f"so nothing is known of {ranks:,} workers; take {system.ranks_per_node} at most, or "
            "give --set between.alpha_s=... and --set between.beta_bytes_per_s=...",
        )
    else:
        between = system.between.link
    per_node = min(ranks, system.ranks_per_node)
    if system.algorithm == HIERARCHICAL:
        return hierarchical_s(
            within,
            between,
            nodes=math.ceil(ranks / per_node),
            ranks_per_node=per_node,
            size_bytes=size_bytes,
        )
    if system.algorithm == "halving-doubling":
        return halving_doubling_nodes_s(
            within, between, ranks=ranks, ranks_per_node=per_node, size_bytes=size_bytes
        )
    return ALGORITHMS[system.algorithm](between, ranks, size_bytes)


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
    communication_s = waits_s = 0.0
    if ranks > 1:
        count = buckets_of(system, work.gradient_bytes)
        bucket_s = all_reduce_s(system, ranks, work.gradient_bytes / count)
        ready = [
            work.ready((index + 1) / count) if system.overlap else 1.0 for index in range(count)
        ]
        communication_s = exposed_s(backward_s, ready, bucket_s) + system.update_s
        late = lateness(ranks) if system.lateness == "bound" else expected_lateness(ranks)
        waits_s = straggler_s(pass_s, passes, system.jitter, late)
    busy_s = passes * pass_s + communication_s + waits_s
    input_s = 0.0
    if system.input_images_per_s is not None:
        reading_s = images * min(ranks, system.ranks_per_node) / system.input_images_per_s
        input_s = max(0.0, reading_s - busy_s)
    return Update(passes * pass_s, communication_s, waits_s, input_s)


def train(
    system: System,
    topology: str,
    workers: int,
    *,
    batch: float | None = None,
    batch_per_worker: float | None = None,
    epochs: float | None = None,
) -> Run:
    """Return a training run of a topology on so many ranks.

    They share a `batch` of images an update; without one each has `batch_per_worker`, by default
    the system's. Epochs that are given stand in place of the system's and their curve.

    Raises:
        UsageError: `plan-batch` for less than an image a worker, or more than an epoch has; as
            `update` and `epochs_for`.
    """
    each = system.batch_per_worker if batch_per_worker is None else batch_per_worker
    total = each * workers if batch is None else batch
    images = total / workers
    _require_batch(system, workers, total)
    step = update(system, topology, ranks=workers, images=images)
    alone_images = images if batch is None else total
    alone = update(system, topology, ranks=1, images=alone_images)
    rate = total / step.whole_s
    count = epochs or epochs_for(
        system.epochs,
        total,
        images=system.images,
        stated_batch=system.epochs_batch,
        curve=system.epochs_curve,
    )
    evaluation_s = count * _evaluation_s(system, topology, workers, images)
    updates = _updates(system, count, total)
    time_s = updates * step.whole_s + evaluation_s + system.start_up_s
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
        time_to_train_s=time_s,
        energy_kwh=None if power_w is None else nodes * power_w * time_s / 3.6e6,
        cost=None,
        saved_by_doubling=None,
        time_s=step.times(updates, evaluation_s, system.start_up_s),
        update=step,
        updates=updates,
    )


def _require_batch(system: System, workers: int, batch: float) -> None:
    """Refuse a batch of less than an image a worker, or of more than an epoch has."""
    if batch / workers < 1:
        raise UsageError(
            "plan-batch",
            f"a batch of {batch:,.0f} leaves {workers:,} workers less than an image each; take "
            f"{batch:,.0f} workers at most",
        )
    if batch > system.images:
        raise UsageError(
            "plan-batch",
            f"{workers:,} workers have a batch of {batch:,.0f}, and an epoch only "
            f"{system.images:,} images; take at most {system.images / workers:,.4g} images a "
            "worker, or fewer workers",
        )


def _updates(system: System, epochs: float, batch: float) -> int:
    """Return the updates of a run; a run that is cut within one takes the whole of it."""
    # Quotients may come out a hair above the whole number that they are.
    an_epoch = system.images / batch
    if system.last_batch == "counts":
        an_epoch = math.ceil(an_epoch - 1e-9)
    elif system.last_batch == "dropped":
        an_epoch = math.floor(an_epoch + 1e-9)
    return math.ceil(epochs * an_epoch - 1e-9)


def _evaluation_s(system: System, topology: str, workers: int, images: float) -> float:
    """Return the seconds of the forward passes after one epoch, each of a training pass's size."""
    share = system.evaluation_images / workers
    if not share:
        return 0.0
    together = min(images, system.images_per_pass or images)
    forward_s = system.fixed_s * share / together + share / rank_images_per_s(system, topology)
    return forward_s * system.forward_share
