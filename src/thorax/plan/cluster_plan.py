"""What `thorax plan cluster` answers: a row a number of workers, and where scaling stops paying."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from thorax.errors import UsageError
from thorax.plan.epochs import ASSUMED
from thorax.plan.published import Prediction
from thorax.plan.ranges import MOST_WORKERS
from thorax.plan.systems import System
from thorax.plan.training_time import Run, train

WORTH: Final = 0.5
"""Least share of the ideal by which twice the workers must shorten a run to pay, by default."""


def workers_in(text: str) -> tuple[int, ...]:
    """Return numbers of workers from `64`, `1,64,512` or `1..1024`, which doubles; ascending.

    Raises:
        UsageError: `plan-workers` for anything else.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dots, last = (word.strip() for word in part.partition(".."))
        count = _count(first, text)
        end = _count(last, text) if dots else count
        while count <= end:
            found.add(count)
            count *= 2
    if not found:
        raise UsageError("plan-workers", f"--workers is {text!r}, which is empty; give 1..1024")
    return tuple(sorted(found))


def _count(word: str, text: str) -> int:
    """Return a number of workers, 1 or more."""
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


def plan_cluster(
    system: System,
    request: Request,
    predictions: Sequence[Prediction] = (),
    *,
    left_out: str | None = None,
) -> dict[str, Any]:
    """Return the JSON document of `thorax plan cluster`.

    Args:
        system: whose numbers are all known.
        request: what is asked.
        predictions: what its model says of published rows.
        left_out: why some of these are not given, in words.

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
    return {
        "command": "plan cluster",
        "modelled": True,
        "system": system.name,
        "title": system.title,
        "topology": request.topology,
        "images": system.images,
        "sources": [*system.sources, f"epochs: {_epochs_text(system, request)}"],
        "inputs": system.model_dump(mode="json", exclude={"sources", "models", "published"}),
        "rows": rows,
        "stops_paying": stops,
        "predictions_left_out": left_out,
        "predictions": [prediction_row(one) for one in predictions],
        "published": [
            _point(system, one)
            for one in predictions
            if one.row.topology == request.topology and one.row.quantity != "efficiency"
        ],
    }


def _epochs_text(system: System, request: Request) -> str:
    text = "as given" if request.epochs is not None else ASSUMED[system.epochs_curve]
    said = tuple(system.sources)
    if any(one.startswith("epochs: assumed") for one in said) and any(
        one.startswith("images_per_s: calibrated") for one in said
    ):
        text += "; images/s hold if the published runs had the epochs that are assumed of them"
    return text


def _stop(rows: Sequence[dict[str, Any]], worth: float) -> int | None:
    """Return the number of workers that it does not pay to double, nor any larger one.

    A larger cluster may pay where a small one does not: the first worker that another joins is the
    only one that had nobody to wait for.
    """
    stop = None
    for row in sorted(rows, key=lambda row: int(row["workers"]), reverse=True):
        saved = row["saved_by_doubling"]
        if saved is None:
            continue
        if saved >= worth:
            break
        stop = int(row["workers"])
    return stop


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


def prediction_row(one: Prediction) -> dict[str, Any]:
    """Return a prediction as it stands in documents."""
    row = one.row
    return {
        "system": one.system,
        "model": one.model,
        "free_numbers": one.free,
        "row": row.name,
        "topology": row.topology,
        "workers": row.workers,
        "batch": row.batch,
        "batch_assumed": row.batch_assumed,
        "quantity": row.quantity,
        "published": row.value,
        "modelled": one.modelled,
        "error": one.error,
        "linear": one.linear,
        "linear_error": one.linear / row.value - 1,
        "how": one.how,
        "source": row.source,
    }


def _point(system: System, one: Prediction) -> dict[str, Any]:
    """Return a published time or energy; a rate or an epoch makes a time of the system's epochs."""
    row = one.row
    epochs = system.epochs if row.epochs is None else row.epochs
    times_s = {
        "images_per_s": epochs * system.images / row.value,
        "epoch_s": epochs * row.value,
        "time_to_train_s": row.value,
    }
    return {
        "workers": row.workers,
        "global_batch": row.batch,
        "time_to_train_s": times_s.get(row.quantity),
        "energy_kwh": row.value if row.quantity == "energy_kwh" else None,
        "computed": row.quantity in {"images_per_s", "epoch_s"},
        "how": one.how,
    }
