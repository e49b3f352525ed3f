"""What every power meter has: channels, readings of them, and the energy between two times.

All times are of the monotonic clock (`time.perf_counter`): the wall clock may step in mid-run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from thorax.results.energy import Quantity


@dataclass(frozen=True, slots=True)
class Channel:
    """One thing whose power a meter tells.

    Attributes:
        name: as people know it, such as `package-0` or `gpu0`.
        counted: whether it belongs to the sum; False where another channel holds it already.
        source: of one that is modelled, where its watts are from and what is assumed of them.
    """

    name: str
    counted: bool = True
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter said at one time.

    Attributes:
        at_s: `time.perf_counter` in the middle of the question; of a replayed log, its own time
            since the log was opened.
        values: of each channel, watts (power) or joules since the meter was opened (energy).
    """

    at_s: float
    values: tuple[float, ...]


class Meter(Protocol):
    """What every meter keeps to.

    Attributes:
        source: what a document says of where its figures come from.
        quantity: what `values` are.
        modelled: whether its figures were computed and not measured.
        replayed: whether its figures were read at another time than now.
        channels: what `values` are of, in their order.
        interval_s: between two readings where nobody says otherwise.
    """

    source: str
    quantity: Quantity = "power"
    modelled: bool = False
    replayed: bool = False
    channels: tuple[Channel, ...] = (Channel("system"),)
    interval_s: float = 1.0

    def read(self) -> Sequence[Reading]:
        """Return what is new since the last call, oldest first; one reading of a live meter.

        A log that is replayed may answer with none or several.

        Raises:
            DeviceError: `meter-absent` or `meter-permission`.
            PeerError: `meter-unreachable`, `meter-refused`, `meter-answer`, `meter-ended`,
                `rapl-wrap`, or `rapl-reset`.
        """

    def close(self) -> None:
        """Give back what was opened; never fails, and may be called twice."""
        return
