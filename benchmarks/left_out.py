"""Errors on a system whose rows had no part in the form of its model: leave one system out.

Beside errors of rows that a model was fitted to or chosen with, which flatter it. A rate is of the
hardware and cannot come from another system: the first row that a rate is fitted to gives it, and
is no test. What a rank loses beside it, `update_s`, `jitter` and `lateness`, are taken from one of
the other systems, or are none: from whichever explains those others best, each with the rate of its
own. Links and whatever else a system's file assumes stay as they are.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from thorax.errors import UsageError
from thorax.plan.published import predict, ready
from thorax.plan.systems import Model, System, find_system, list_systems


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
    that its losses are of.
    """

    system: str
    donor: str
    errors: dict[str, float]


_NONE: Final = Losses("none", 0.0, 0.0, "bound")


@lru_cache(maxsize=1)
def leave_one_out() -> tuple[LeftOut, ...]:
    """Return the errors of every system that comes with Thorax and has a row to test by."""
    systems = [find_system(name) for name in list_systems()]
    donors = [_NONE, *_losses(systems)]
    errors = {
        (system.name, losses.donor): dict(_errors(system, losses))
        for system in systems
        for losses in donors
        if losses.donor != system.name
    }
    return tuple(
        LeftOut(system.name, donor, errors[system.name, donor])
        for system in systems
        if errors[system.name, "none"]
        for donor in [_best(system.name, errors)]
    )


def _losses(systems: Sequence[System]) -> Iterator[Losses]:
    for system in systems:
        solved = ready(system)
        if solved.update_s or solved.jitter:
            yield Losses(system.name, solved.update_s, solved.jitter, solved.lateness)


def _best(left_out: str, errors: dict[tuple[str, str], dict[str, float]]) -> str:
    """Return the losses that come nearest to all systems but one and but the one they are of."""

    def miss(donor: str) -> float:
        others = [
            statistics.median(map(abs, found.values()))
            for (system, given), found in errors.items()
            if given == donor and system not in (left_out, donor) and found
        ]
        return statistics.mean(others)

    return min(dict.fromkeys(donor for _, donor in errors if donor != left_out), key=miss)


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
        rows = predict(system, model)
    except UsageError:
        # No rate explains the row beside losses of another system: they do not fit this one.
        return
    for row in rows:
        if row.how not in ("calibrated", "identity"):
            yield row.row, row.error
