"""Published rows of a system beside what a model of it says, with what it took from them.

A model of a system says which numbers are fitted to which rows, and what was chosen with the rows
known; all others stand in its file, from data sheets or assumed. Each row was known when its file
was written: a model is held against rows that it knew.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from thorax.config import check
from thorax.errors import UsageError
from thorax.plan.systems import Fit, Fitted, Model, Published, System, Wire
from thorax.plan.training_time import train
from thorax.results.plan import Comparison, PublishedRow

_BOUNDS: Final[dict[Fitted, tuple[float, float]]] = {
    "images_per_s": (1e-4, 1e7),
    "update_s": (1e-9, 1e4),
    "fixed_s": (1e-9, 1e4),
    "jitter": (1e-9, 1e2),
}
_HALVINGS: Final = 60
_STEP: Final = math.log(1.25)
"""By which a number is lowered until the others can be found beside it."""


def solve(system: System, model: Model) -> System:
    """Return a system with the free numbers of a model found, its changes and choices made.

    Raises:
        UsageError: `plan-fit` where no number explains a row; `config-key` or `config-value`.
    """
    choices = {"choices": model.choices}
    table = {**system.model_dump(mode="json"), **choices, **model.changes}
    return _fitted(check(table, System, f"{system.name}, {model.name}"), model, model.fits)


def ready(system: System) -> System:
    """Return a system to plan with: its first model solved, if it has any.

    Raises:
        UsageError: as `solve`.
    """
    return solve(system, system.models[0]) if system.models else system


def _fitted(system: System, model: Model, fits: Sequence[Fit]) -> System:
    """Bisect the last number, in its logarithm, with those before it found anew for each value."""
    if not fits:
        return system
    *before, last = fits
    row = system.row(last.row)

    def at(value: float) -> System:
        return _fitted(system.model_copy(update={last.field: value}), model, before)

    def above(value: float) -> bool:
        return quantity(at(value), model, row) > row.value

    low, high = map(math.log, _BOUNDS[last.field])
    while before and high > low and not _explains(at, math.exp(high)):
        high -= _STEP
    rising = above(math.exp(high))
    if above(math.exp(low)) is rising:
        raise UsageError(
            "plan-fit",
            f"no {last.field} makes {system.name}, {model.name}, give the {row.value:g} of its "
            f"row {row.name}; fit another number to it, or another row",
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if above(math.exp(middle)) is rising:
            high = middle
        else:
            low = middle
    return at(math.exp((low + high) / 2))


def _explains(at: Callable[[float], System], value: float) -> bool:
    """Return whether the numbers found before this one exist beside such a value of it."""
    try:
        at(value)
    except UsageError:
        return False
    return True


def quantity(system: System, model: Model, row: Published) -> float:
    """Return what a system says of a published row.

    Raises:
        UsageError: as `train`; `plan-rate` where energy is asked and the power is not known.
    """
    batch: float = row.batch
    if row.batch_assumed and model.workers_batch is not None:
        batch = model.workers_batch * row.workers
    run = train(system, row.topology, row.workers, batch=batch, epochs=row.epochs)
    value: float | None = getattr(run, row.quantity)
    if value is None:
        raise UsageError("plan-rate", f"{system.name} has no node_power_w; set it")
    return value


def linear(system: System, model: Model, row: Published) -> float:
    """Return what a published row would be if ranks only added up from the first fitted row on.

    The naive baseline: no message, wait or cost of an update, and as many products a second for
    every topology. An efficiency stays that of the fitted row.

    Raises:
        UsageError: as `solve`.
    """
    if not model.fits:
        return quantity(_bare(system), model, row)
    start = system.row(model.fits[0].row)
    if start.quantity == row.quantity == "efficiency":
        return start.value
    alone = (Fit(field="images_per_s", row=start.name),)
    return quantity(_fitted(_bare(system), model, alone), model, row)


def _bare(system: System) -> System:
    free = Wire(alpha_s=0.0, beta_bytes_per_s=1e300)
    return system.model_copy(
        update={
            "within": free, "between": free, "update_s": 0.0, "fixed_s": 0.0, "jitter": 0.0,
            "input_images_per_s": None,
        }
    )  # fmt: skip


def compare(
    system: System, changed: System, epochs: float | None
) -> tuple[tuple[PublishedRow, ...], str | None]:
    """Return the rows to show beside a plan, and in words why any are left out.

    What a model says of published rows holds for the system of these rows: nothing stands beside a
    plan with `changed` or other epochs, and no energy beside one whose nodes draw other watts.

    Raises:
        UsageError: as `solve`.
    """
    if not system.models:
        return (), ("no published figures stand beside this plan: its file holds none")
    solved = ready(system)
    told = ("node_power_w", "sources", "title")
    power = {field: getattr(solved, field) for field in told}
    if epochs is not None or changed.model_copy(update=power) != solved:
        return (), "published figures are left out: options change what they were compared with"
    rows = tuple(compare_rows(system, system.models[0]))
    if changed.node_power_w == solved.node_power_w:
        return rows, None
    others = tuple(row for row in rows if row.quantity != "energy_kwh")
    reason = "published energies are left out: the watts of a node are others"
    return others, None if len(others) == len(rows) else reason


def compare_rows(system: System, model: Model) -> list[PublishedRow]:
    """Return every published row of a system beside what a model says of it, and how they relate.

    Raises:
        UsageError: as `solve`.
    """
    solved = solve(system, model)
    return [_compared(system, solved, model, row) for row in system.published]


def _compared(system: System, solved: System, model: Model, row: Published) -> PublishedRow:
    modelled, added = quantity(solved, model, row), linear(system, model, row)
    return PublishedRow(
        system=system.name,
        model=model.name,
        free_numbers=len(model.fits),
        choices=len(model.choices),
        row=row.name,
        topology=row.topology,
        workers=row.workers,
        batch=row.batch,
        batch_assumed=row.batch_assumed,
        quantity=row.quantity,
        published=row.value,
        modelled=modelled,
        error=modelled / row.value - 1,
        linear=added,
        linear_error=added / row.value - 1,
        how=_how(model, row),
        source=row.source,
    )


def _how(model: Model, row: Published) -> Comparison:
    if any(fit.row == row.name for fit in model.fits):
        return "calibrated"
    if row.identity:
        return "identity"
    # A variant of a model that was chosen has its form.
    return "chosen" if model.choices or model.name.startswith("variant") else "known"
