"""Performance counters: what was measured of each layer, beside what is modelled of a card."""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import openvino as ov

Origin = Literal["measured", "modelled"]
"""Read from a clock, or computed from an architecture: the two are never mixed in one figure."""


@dataclass(frozen=True, slots=True)
class Counter:
    """What one executed layer, or one step of a card, cost.

    What is measured is the mean over the inferences that were run: of an engine of a batch, of so
    many images; `thorax.devices.forecast.count_rows` has that of one image.

    Attributes:
        name: layer name in the graph; `subgraph` says the part of a HETERO graph it belongs to.
        type: layer type.
        kernel: the implementation that ran and its precision, e.g. "brgconv_avx512_u8".
        status: "EXECUTED", "NOT_RUN" or "OPTIMIZED_OUT".
        real_s: wall-clock time of one run, seconds.
        cpu_s: processor time of one run, seconds.
        subgraph: index of the HETERO subgraph, None on one device.
        origin: whether the times were measured or modelled.
        device: what ran it, where that is known.
        part_of: the row whose time this is a part of, None for a row that counts itself.
        member: of several that share the work, the device string of the one that it is of.
    """

    name: str
    type: str
    kernel: str
    status: str
    real_s: float
    cpu_s: float
    subgraph: int | None
    origin: Origin = "measured"
    device: str | None = None
    part_of: str | None = None
    member: str | None = None

    @property
    def counts(self) -> bool:
        """Whether its time belongs into a sum over all rows."""
        return self.status == "EXECUTED" and self.part_of is None


_SUBGRAPH = re.compile(r"^subgraph(\d+): (.*)$", re.DOTALL)


class CounterTotals:
    """Adds up the counters of many requests, which may finish in several threads."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[ov.ProfilingInfo, float, float]] = {}
        self._runs = 0
        self._lock = threading.Lock()

    def add(self, rows: Iterable[ov.ProfilingInfo]) -> None:
        """Add the counters of one finished request."""
        with self._lock:
            self._runs += 1
            for row in rows:
                _, real, cpu = self._rows.get(row.node_name, (row, 0.0, 0.0))
                self._rows[row.node_name] = (
                    row,
                    real + row.real_time.total_seconds(),
                    cpu + row.cpu_time.total_seconds(),
                )

    def mean(self) -> list[Counter]:
        """Return one counter a layer, in the order the device reports them."""
        counters = []
        for row, real, cpu in self._rows.values():
            match = _SUBGRAPH.match(row.node_name)
            counters.append(
                Counter(
                    name=match[2] if match else row.node_name,
                    type=row.node_type,
                    kernel=row.exec_type,
                    status=str(row.status).removeprefix("Status."),
                    real_s=real / self._runs,
                    cpu_s=cpu / self._runs,
                    subgraph=int(match[1]) if match else None,
                )
            )
        return counters
