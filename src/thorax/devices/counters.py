"""Performance counters and kernels: what ran each layer, and what it cost."""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import openvino as ov

from thorax.results.analysis import KernelTime

Origin = Literal["measured", "modelled"]
"""Read from a clock, or computed from an architecture: the two are never mixed in one figure."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Time of one executed layer, or of one step of a card, seconds.

    What is measured is the mean over the inferences that were run: of an engine of a batch, of so
    many images; `thorax.devices.forecast.count_rows` has that of one image.

    Attributes:
        name: of the layer in the graph.
        kernel: the implementation that ran and its precision.
        status: "EXECUTED", "NOT_RUN" or "OPTIMIZED_OUT".
        real_s: wall-clock time.
        cpu_s: processor time.
        subgraph: index of the HETERO subgraph; None on one device.
        origin: whether the times were read from a clock or computed from an architecture.
        device: that ran it; None where it is not known.
        part_of: name of the counter whose time this is a part of; None for one that counts itself.
        member: of several devices that share the work, the one that it is of.
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


def list_kernels(compiled: ov.CompiledModel) -> list[KernelTime]:
    """Return the kernels in the order of execution, not measured; inputs and constants are none.

    Empty where a device does not tell.
    """
    try:
        runtime = compiled.get_runtime_model()
    except RuntimeError:
        return []
    kernels = []
    for node in runtime.get_ordered_ops():
        tags = node.get_rt_info()
        words = {key: tags[key].astype(str) for key in _KERNEL_FACTS if key in tags}
        kind = words.get("layerType", node.get_type_name())
        if kind in ("Const", "Input", "Output", "Parameter", "Result", "Constant"):
            continue
        layers = words.get("originalLayersNames", "")
        kernels.append(
            KernelTime(
                name=node.get_friendly_name(),
                type=kind,
                implementation=words.get("primitiveType", ""),
                precision=words.get("runtimePrecision", ""),
                layers=tuple(name for name in layers.split(",") if name),
                measured_s=None,
            )
        )
    return kernels


_KERNEL_FACTS: Final = ("layerType", "originalLayersNames", "primitiveType", "runtimePrecision")
