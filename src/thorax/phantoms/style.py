"""How the phantoms of a collection are drawn: from which side, and how hard to see."""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from thorax.errors import UsageError
from thorax.phantoms.sampling import SUBTLETY

ViewName: TypeAlias = Literal["frontal", "lateral"]

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_RANGE: Final = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?")


@dataclass(frozen=True, slots=True)
class Style:
    """How the phantoms of a collection are drawn.

    Attributes:
        view: frontal (PA or AP) or lateral.
        subtlety: range that the subtleties of lesions are drawn from, evenly: within 0, plain, to
            1, faintest.

    Raises:
        UsageError: `phantom-subtlety` or `phantom-view` for what is neither.
    """

    view: ViewName = "frontal"
    subtlety: tuple[float, float] = SUBTLETY

    def __post_init__(self) -> None:
        low, high = self.subtlety
        if not _is_range(low, high):
            raise _no_subtlety(f"{low:g} to {high:g}")
        if self.view not in get_args(ViewName):
            raise UsageError(
                "phantom-view",
                f"view is {self.view!r}; allowed are {', '.join(get_args(ViewName))}",
            )


def _is_range(low: float, high: float) -> bool:
    return 0 <= low <= high <= 1


def subtlety_range(text: str) -> tuple[float, float]:
    """Return what is written as a number, 0.3, or as a range, 0-0.5.

    A number is digits, and a point between digits: neither a sign, nor an exponent, nor a side of
    the range that is left out.

    Raises:
        UsageError: `phantom-subtlety` for what is neither, or not within 0 to 1.
    """
    written = _RANGE.fullmatch(text)
    if written is not None:
        low, high = float(written[1]), float(written[2] or written[1])
        if _is_range(low, high):
            return low, high
    raise _no_subtlety(repr(text))


def _no_subtlety(written: str) -> UsageError:
    return UsageError(
        "phantom-subtlety",
        f"subtlety is {written}; allowed is a number from 0 to 1, as 0.3, or a range of two, as "
        "0-0.5",
    )


USUAL: Final = Style()
"""The style of collections that ask for no other."""
