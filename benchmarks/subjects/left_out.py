"""Errors on a system whose rows had no part in the form of its model: leave one system out.

Beside errors of rows that a model was fitted to or chosen with, which flatter it. A rate is of the
hardware and cannot come from another system: the first row that a rate is fitted to gives it, and
is no test. What a rank loses beside it, `update_s`, `jitter` and `lateness`, are taken from one of
the other systems, or are none: from whichever explains those others best, each with the rate of its
own. A system on the same machine (`System.machine`) is no other: it neither gives losses nor helps
to choose them. Links and whatever else a system's file assumes stay as they are.

A row that comes out the same with the losses of its own system tests none of them: its rate, fitted
anew, takes them up, or there are none. Such rows are told apart and count neither way.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from thorax.errors import UsageError
from thorax.plan.published import compare_rows, ready
from thorax.plan.system_files import find_system, list_systems
from thorax.plan.systems import Model, System


@dataclass(frozen=True, slots=True)
class Losses:
    """What ranks lose beside links, and the system that it is from.

    Fields as of `System`; `donor` is its name, or "none" where nothing is lost.
    """

    donor: str
    update_s: float
    jitter: float
    lateness: Literal["bound", "expected"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How near the other systems' losses come to the rows of one.

    `errors` are by the name of the row, modelled over published less one; `donor` is the system
    that its losses are of. `unmoved` are the errors of rows that its own losses make no other.
    """

    system: str
    donor: str
    errors: dict[str, float]
    unmoved: dict[str, float]


_NONE: Final = Losses("none", 0.0, 0.0, "bound")

MOVED: Final = 0.001
"""Least difference of two errors of a row that losses are taken to have moved."""


@lru_cache(maxsize=1)
def leave_one_out() -> tuple[LeftOut, ...]:
    """Return the errors of every system that comes with Thorax and has a row to test by."""
    systems = [find_system(name) for name in list_systems()]
    machines = {system.name: system.machine or system.name for system in systems}
    donors = [_NONE, *filter(_loses, map(_losses, systems))]
    errors = {
        (system.name, losses.donor): dict(_errors(system, losses))
        for system in systems
        for losses in donors
        if machines.get(losses.donor) != machines[system.name]
    }
    return tuple(
        _left_out(system, donor, errors[system.name, donor])
        for system in systems
        if errors[system.name, "none"]
        for donor in [_best(system.name, errors, machines)]
    )


def _left_out(system: System, donor: str, errors: dict[str, float]) -> LeftOut:
    own = dict(_errors(system, _losses(system)))
    moved = {row for row, error in errors.items() if abs(error - own[row]) >= MOVED}
    return LeftOut(
        system.name,
        donor,
        {row: error for row, error in errors.items() if row in moved},
        {row: error for row, error in errors.items() if row not in moved},
    )


def _losses(system: System) -> Losses:
    solved = ready(system)
    return Losses(system.name, solved.update_s, solved.jitter, solved.lateness)


def _loses(losses: Losses) -> bool:
    return bool(losses.update_s or losses.jitter)


def _best(
    left_out: str, errors: dict[tuple[str, str], dict[str, float]], machines: dict[str, str]
) -> str:
    """Return the losses that come nearest to all systems of other machines than the one left out.

    Losses are judged by systems of other machines than their own, and those that no such system
    is there to judge by are never the nearest.
    """

    def miss(donor: str) -> float:
        apart = {machines[left_out], machines.get(donor)}
        others = [
            statistics.median(map(abs, found.values()))
            for (system, given), found in errors.items()
            if given == donor and machines[system] not in apart and found
        ]
        return statistics.mean(others) if others else math.inf

    donors = (donor for system, donor in errors if system == left_out)
    return min(dict.fromkeys(donors), key=miss)


def _errors(system: System, losses: Losses) -> Iterator[tuple[str, float]]:
    """Yield the error of each row that is neither the rate's nor follows from another."""
    first = system.models[0]
    rate = tuple(fit for fit in first.fits if fit.field == "images_per_s")
    model = Model(
        name="left out",
        fits=rate,
        changes={
            "update_s": losses.update_s, "jitter": losses.jitter, "lateness": losses.lateness,
        },
    )  # fmt: skip
    try:
        rows = compare_rows(system, model)
    except UsageError:
        # No rate explains the row beside losses of another system: they do not fit this one.
        return
    for row in rows:
        if row.how not in ("calibrated", "identity"):
            yield row.row, row.error
