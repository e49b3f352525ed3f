"""Numbers by which a sensor says that it does not know, and watts that nothing draws."""

import math
from typing import Final

from thorax.errors import PeerError

_SENTINELS: Final = {1 << 63, 1 << 64} | {
    (1 << bits) - less
    for bits, least in ((15, 1), (16, 2), (31, 1), (32, 2), (63, 1), (64, 2))
    for less in range(1, least + 1)
}
"""All ones of 15 to 64 bits, and of unsigned numbers the one below: IPMI, DCMI, NVML and BMCs put
them where a sensor is not read (IPMI 2.0, section 35.14: reading unavailable; *assumed* for the
lengths); and what the largest of them are as floats."""

_MOST_W: Final = 1e6
"""More than a machine, or a rack that has one meter, draws (*assumed*; 1 MW)."""


def is_sentinel(value: float) -> bool:
    """Return whether a figure is one of those that mean "not available"."""
    return value in _SENTINELS


def believed(value: float, who: str, what: str, unit: str) -> float:
    """Return a figure that may be a reading, of `what` in its unit, as somebody told it.

    Raises:
        PeerError: `meter-answer` where it is negative, no number, or means "not available".
    """
    if not math.isfinite(value) or value < 0:
        raise PeerError(
            "meter-answer", f"{who}: {what} is {value!r:.40} {unit}; 0 or more is allowed"
        )
    if is_sentinel(value):
        raise PeerError(
            "meter-answer",
            f"{who}: {what} is {value:.0f} {unit}, by which sensors say that they do not know; is "
            "the machine on, and has it a power sensor?",
        )
    return value


def whole_watts(watts: float, who: str, *, most_w: float = _MOST_W) -> float:
    """Return the watts of a whole machine, as somebody told them, no more than it can draw.

    0 is what a BMC without a sensor says.

    Raises:
        PeerError: `meter-answer`.
    """
    believed(watts, who, "power", "W")
    if watts == 0:
        raise PeerError(
            "meter-answer",
            f"{who} tells 0 W, which no machine that runs draws; has it a power sensor?",
        )
    if watts > most_w:
        raise PeerError(
            "meter-answer",
            f"{who} tells {watts:g} W, and {most_w:g} W is the most that it can draw; is its "
            "sensor whole?",
        )
    return watts
