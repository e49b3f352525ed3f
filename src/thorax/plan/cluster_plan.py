"""The plan of a cluster: a row for each number of workers, and where scaling stops paying."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from thorax.errors import UsageError
from thorax.plan.epochs import ASSUMED
from thorax.plan.ranges import MOST_WORKERS
from thorax.plan.systems import System
from thorax.plan.training_time import Run, train
from thorax.results.plan import (
    ClusterPlan,
    ClusterRow,
    PublishedPoint,
    PublishedRow,
    ScalingStop,
    is_fitted,
)

WORTH: Final = 0.5
"""Least share of the ideal by which twice the workers must shorten a run to pay, by default."""

_NO_CONSTANTS: Final = {"sources", "choices", "models", "published"}
"""Fields of a system that a plan does not compute with."""


def workers_in(text: str) -> tuple[int, ...]:
    """Return numbers of workers from `64`, `1,64,512` or `1..1024`, which doubles; ascending.

    Raises:
        UsageError: `plan-workers` for anything else.
    """
    counts: set[int] = set()
    for part in text.split(","):
        first, dots, last = (word.strip() for word in part.partition(".."))
        count = _count(first, text)
        end = _count(last, text) if dots else count
        while count <= end:
            counts.add(count)
            count *= 2
    if not counts:
        raise UsageError("plan-workers", f"--workers is {text!r}, which is empty; give 1..1024")
    return tuple(sorted(counts))


def _count(word: str, text: str) -> int:
    digits = word.lstrip("0")
    if not (digits.isascii() and digits.isdecimal()):
        raise UsageError(
            "plan-workers",
            f"--workers is {text!r}; give numbers from 1 on, as 64, 1,64,512 or 1..1024, which "
            "doubles",
        )
    if len(digits) > len(str(MOST_WORKERS)) or int(digits) > MOST_WORKERS:
        raise UsageError(
            "plan-workers", f"--workers asks for {digits[:20]}; give {MOST_WORKERS:,} at most"
        )
    return int(digits)


@dataclass(frozen=True, slots=True)
class ClusterQuestion:
    """What a plan of a cluster is asked for.

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


def plan_cluster(
    system: System,
    question: ClusterQuestion,
    compared: Sequence[PublishedRow] = (),
    *,
    left_out: str | None = None,
) -> ClusterPlan:
    """Return how long a network would train on a cluster whose numbers are all known.

    Beside it stand the published rows that its model is compared with, and in words why some of
    them are left out.

    Raises:
        UsageError: as `train`.
    """
    rows: list[ClusterRow] = []
    stops = []
    for way in _ways(question):
        alike = [_row(system, way, workers) for workers in question.workers]
        stop = _stop(alike, question.worth)
        stops.append(ScalingStop(scaling=alike[0].scaling, workers=stop, worth=question.worth))
        rows += alike
    return ClusterPlan(
        modelled=True,
        system=system.name,
        title=system.title,
        topology=question.topology,
        images=system.images,
        sources=(*system.sources, f"epochs: {_epochs_text(system, question)}"),
        inputs=system.model_dump(mode="json", exclude=_NO_CONSTANTS),
        rows=tuple(rows),
        stops_paying=tuple(stops),
        compared_left_out=left_out,
        choices=system.choices,
        compared=tuple(compared),
        published=tuple(
            _point(system, row)
            for row in compared
            if row.topology == question.topology and row.quantity != "efficiency"
        ),
    )


def _ways(question: ClusterQuestion) -> Iterator[ClusterQuestion]:
    """Yield a question of workers with a batch each, and of those that share one, as asked."""
    if question.batch_per_worker is not None or question.batch is None:
        yield replace(question, batch=None)
    if question.batch is not None:
        yield replace(question, batch_per_worker=None)


def _epochs_text(system: System, question: ClusterQuestion) -> str:
    text = "as given" if question.epochs is not None else ASSUMED[system.epochs_curve]
    assumed = any(source.startswith("epochs: assumed") for source in system.sources)
    if assumed and is_fitted(system.sources, "images_per_s"):
        text += "; images/s hold if the published runs had the epochs that are assumed of them"
    return text


def _stop(rows: Sequence[ClusterRow], worth: float) -> int | None:
    """Return the number of workers that it does not pay to double, nor any larger one.

    A larger cluster may pay where a small one does not: the first worker that another joins is the
    only one that had nobody to wait for.
    """
    stop = None
    for row in sorted(rows, key=lambda row: row.workers, reverse=True):
        if row.saved_by_doubling is None:
            continue
        if row.saved_by_doubling >= worth:
            break
        stop = row.workers
    return stop


def _train(system: System, question: ClusterQuestion, workers: int) -> Run:
    return train(
        system,
        question.topology,
        workers,
        batch=question.batch,
        batch_per_worker=question.batch_per_worker,
        epochs=question.epochs,
    )


def saved_by_doubling(system: System, question: ClusterQuestion, run: Run) -> float | None:
    """Return the share of the ideal by which twice the workers would shorten a run, -inf to 1.

    log2 of the ratio of the times: 1 halves the time at the same cost, 0 saves none and doubles
    the cost. None where a batch cannot be shared any further or epochs are not known for it.
    """
    try:
        twice = _train(system, question, 2 * run.workers)
    except UsageError:
        return None
    return math.log2(run.time_to_train_s / twice.time_to_train_s)


def _row(system: System, question: ClusterQuestion, workers: int) -> ClusterRow:
    run, price = _train(system, question, workers), question.price_per_node_hour
    cost = None if price is None else price * run.nodes * (run.time_to_train_s / 3600)
    saved = saved_by_doubling(system, question, run)
    return run.model_copy(update={"cost": cost, "saved_by_doubling": saved})


def _point(system: System, row: PublishedRow) -> PublishedPoint:
    """Return a published time or energy; a rate or an epoch makes a time of the system's epochs."""
    epochs = system.row(row.row).epochs or system.epochs
    times_s = {
        "images_per_s": epochs * system.images / row.published,
        "epoch_s": epochs * row.published,
        "time_to_train_s": row.published,
    }
    return PublishedPoint(
        workers=row.workers,
        global_batch=row.batch,
        time_to_train_s=times_s.get(row.quantity),
        energy_kwh=row.published if row.quantity == "energy_kwh" else None,
        computed=row.quantity in {"images_per_s", "epoch_s"},
        how=row.how,
    )
