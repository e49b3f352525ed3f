"""Which processors a rank computes with: its share of the host, and as many threads as cores."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from thorax.processors import group, processors, quota
from thorax.training.parallel import Ranks


@dataclass(frozen=True, slots=True)
class Processors:
    """What one rank computes with; fields as of `thorax.results.cluster.Rank`.

    Attributes:
        shared_by: ranks that the processors are shared by, 1 where each has its own.
        limit: processors' worth of time that its control groups allow it, None without a limit.
    """

    rank: int
    host: str
    cpus: str
    numa: str
    threads: int
    shared_by: int = 1
    limit: float | None = None

    def line(self) -> str:
        """Return one line for a person."""
        shared = f", shared by {self.shared_by} ranks" if self.shared_by > 1 else ""
        limit = "" if self.limit is None else f", held to {self.limit:.3g} by its container"
        return (
            f"rank {self.rank} on {self.host}: processors {self.cpus} (NUMA {self.numa}), "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}{shared}{limit}"
        )

    def warning(self) -> str | None:
        """Return what is wrong with it, None if nothing is."""
        if self.shared_by == 1:
            return None
        return (
            f"{self.shared_by} ranks on {self.host} share processors {self.cpus}, each with "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}; a rank for each processor, "
            "or fewer, is faster"
        )


def bind(ranks: Ranks, threads: int | None) -> Processors:
    """Give this rank its share of the host's processors, and as many threads.

    Ranks that share a host and were not bound by the launcher get equal, neighbouring shares, whole
    NUMA nodes where that comes out even, and a thread for every core of theirs; where they are more
    than the processors, or held to less time than that, one thread for each processor's worth that
    falls to them. A launcher that has already given them different processors (Slurm's --cpu-bind,
    numactl) is left alone; torchrun's OMP_NUM_THREADS=1 is not. Threads are of one operation; None
    = as many as cores, torch's choice for one process.
    """
    mine, nodes = sorted(os.sched_getaffinity(0)), _numa_nodes()
    host, limit, shared_by = os.uname().nodename, quota(), 1
    if ranks.local_world > 1:
        # Network namespaces and containers may share a name: the launcher's host is the group.
        own = (ranks.rank - ranks.local_rank, mine, group())
        everyone = ranks.gather(own)
        peers = [rank for rank, theirs in enumerate(everyone) if theirs[:2] == own[:2]]
        if len(mine) >= len(peers):
            mine.sort(key=lambda cpu: (nodes.get(cpu, 0), _core(cpu), cpu))
            count = len(mine) // len(peers)
            mine = sorted(mine[peers.index(ranks.rank) * count :][:count])
            os.sched_setaffinity(0, mine)
        else:
            shared_by = len(peers)
        if limit is not None:
            limit /= sum(theirs[::2] == own[::2] for theirs in everyone)
            own_threads = min(len({_core(cpu) for cpu in mine}), int(limit))
        else:
            own_threads = len({_core(cpu) for cpu in mine}) // shared_by
    else:
        own_threads = min(torch.get_num_threads(), processors())
    torch.set_num_threads(threads or max(1, own_threads))
    numa = sorted({nodes.get(cpu, 0) for cpu in mine})
    return Processors(
        ranks.rank, host, _list(mine), _list(numa), torch.get_num_threads(), shared_by, limit
    )


def _numa_nodes() -> dict[int, int]:
    """Return the NUMA node of every processor, empty where the kernel does not say."""
    nodes: dict[int, int] = {}
    for folder in Path("/sys/devices/system/node").glob("node[0-9]*"):
        for part in (folder / "cpulist").read_text("ascii").strip().split(","):
            if part:
                first, _, last = part.partition("-")
                cpus = range(int(first), int(last or first) + 1)
                nodes.update(dict.fromkeys(cpus, int(folder.name.removeprefix("node"))))
    return nodes


def _core(cpu: int) -> tuple[int, int]:
    """Return socket and core of a processor; two threads of a core have the same."""
    folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        words = [(folder / name).read_text("ascii") for name in ("physical_package_id", "core_id")]
    except OSError:
        return 0, cpu
    return int(words[0]), int(words[1])


def _list(numbers: Sequence[int]) -> str:
    """Return ascending numbers as Linux writes them, "0-3,8"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def describe(ranks: Ranks, processors: Processors) -> dict[str, Any]:
    """Return what a log says about the ranks: world, backend, processors of each, and warnings."""
    everyone = ranks.gather(processors)
    warnings = {warning: None for one in everyone if (warning := one.warning())}
    return {
        "ranks": ranks.world,
        "backend": ranks.backend,
        "restarts": ranks.restarts,
        "processors": [one.line() for one in everyone],
        "warnings": list(warnings),
    }
