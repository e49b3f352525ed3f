"""What the numbers of a plan may be: wide enough for any machine, narrow enough to compute with."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import numpy as np
from pydantic import Field

from thorax.errors import UsageError

LEAST_S: Final = 1e-12
"""Of an image on its way through a card."""

MOST_CARDS: Final = 1024
"""Of a server that is planned."""

MOST_WORKERS: Final = 2**24
"""That a plan is made for: a slip of the keyboard is no cluster."""

MOST_BUCKETS: Final = 10_000
"""Of gradients that are exchanged one after the other in an update."""

MOST_UNDER_WAY: Final = 1 << 22
"""Images on their way through a simulated server at once."""

_CHANGED: Final = ", changed by --set"

Seconds = Annotated[float, Field(ge=0, le=1e9)]
"""No more than 30 years."""
Rate = Annotated[float, Field(ge=1e-9, le=1e15)]
"""Of images a second: from one in 30 years up."""
Bandwidth = Annotated[float, Field(ge=1e-9, le=1e300)]
"""Bytes a second; a link that costs nothing may be thought of."""
Watts = Annotated[float, Field(gt=1e-9, le=1e9)]
IdleWatts = Annotated[float, Field(ge=0, le=1e9)]
Images = Annotated[float, Field(ge=1e-3, le=1e12)]
"""That an update takes; a rank may have a share of one."""
Epochs = Annotated[float, Field(ge=1e-3, le=1e9)]
Bytes = Annotated[float, Field(ge=1e-6, le=1e15)]
Share = Annotated[float, Field(ge=1e-6, le=1 - 1e-6)]
Count = Annotated[int, Field(ge=1, le=10**12)]
"""Of images of an epoch, say."""
Ranks = Annotated[int, Field(ge=1, le=MOST_WORKERS)]
Threads = Annotated[int, Field(ge=1, le=1 << 20)]
Batch = Annotated[int, Field(ge=1, le=1 << 16)]


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Say of what is computed within whose numbers lie too far apart.

    Raises:
        UsageError: `plan-value`.
    """
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            yield
    except (ArithmeticError, ValueError) as error:
        raise UsageError("plan-value", _advice(what, str(error))) from error


def require_no_sources(keys: Sequence[str]) -> None:
    """Refuse sources and choices among what is set: a plan says itself how its numbers came about.

    Raises:
        UsageError: `plan-sources`.
    """
    for key in (key.partition(".")[0].strip() for key in keys):
        if key in ("sources", "choices"):
            raise UsageError(
                "plan-sources",
                f"--set {key} would say of numbers what does not hold of them; a plan says of what "
                "is set that it was: leave it out, or write it in a file",
            )


def key_of(setting: str) -> str:
    """Return the dotted key of `key=value`, without spaces about its parts."""
    return ".".join(part.strip() for part in setting.partition("=")[0].split("."))


def overlap(one: str, other: str) -> bool:
    """Return whether two dotted keys are the same, or one a part of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def value_at(settings: object, key: str) -> object:
    """Return what stands at a dotted key of settings, None where there is no such field."""
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name, None)
    return value


def as_changed(title: str) -> str:
    """Return a name or title that says, once, that constants were changed by --set."""
    return title.removesuffix(_CHANGED) + _CHANGED


def before_changed(title: str, more: str) -> str:
    """Return a name or title with more behind it, but before that it was changed by --set."""
    name = title.removesuffix(_CHANGED)
    return f"{name}{more}{title.removeprefix(name)}"


def require_finite(document: object, what: str) -> None:
    """Refuse a plan that holds what is no number.

    Raises:
        UsageError: `plan-value` with the key of the first.
    """
    key = _infinite(document)
    if key is not None:
        raise UsageError("plan-value", _advice(what, f"{key} is no finite number"))


def _advice(what: str, why: str) -> str:
    return (
        f"no plan follows from the numbers of {what}: {why}; they lie too far apart, so look at "
        "those that were given by --set or in its file"
    )


def _infinite(value: object, key: str = "") -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    parts: Iterator[tuple[object, object]] = iter(())
    if isinstance(value, Mapping):
        parts = iter(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        parts = iter(enumerate(value))
    for name, part in parts:
        where = _infinite(part, f"{key}.{name}" if key else str(name))
        if where is not None:
            return where
    return None
