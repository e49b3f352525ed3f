"""Whether the ranks of a cluster are fit to train together, measured: `thorax doctor cluster`.

Every rank computes, exchanges and waits in turns, so that a slow minute falls on all of it alike;
a figure is the median of the turns. Everything here is a collective: all ranks call it.
"""

import hashlib
import json
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist

from thorax import __version__
from thorax.cluster.bench import PING_BYTES, SIZES, Bench, Turn, Work
from thorax.cluster.collectives import Link, bus_share
from thorax.cluster.link_model import expect, fit_link, slow_links, slow_ranks, step_s
from thorax.data.store import Store
from thorax.errors import PeerError
from thorax.results.cluster import (
    AllReduce,
    ClusterDiagnosis,
    Rank,
    RankLink,
    Software,
    StepParts,
)
from thorax.training import memory, parallel
from thorax.training.parallel import Ranks, require_gpu
from thorax.training.prepare import identity, require_same, software
from thorax.training.processors import Processors, bind

WORLDS: Final = tuple(2**power for power in range(10))
"""Numbers of ranks that are modelled, 1 to 512."""
_FEWEST_TURNS: Final = 3
_CLOCKS_S: Final = 1.0
"""Difference between clocks that is worth a word."""
_INTERFACE: Final = "GLOO_SOCKET_IFNAME"


def diagnose(
    work: Work,
    ranks: Ranks,
    *,
    recipe: Path | None = None,
    store: Store | None = None,
    duration_s: float = 10.0,
    timeout_s: float = 60.0,
) -> ClusterDiagnosis:
    """Measure all ranks and the links between them.

    Recipe and store must be the same on all of them. It goes on for `duration_s`, three turns at
    least; a rank may keep the others waiting for `timeout_s`.

    Raises:
        PeerError: `ranks-differ`, `rank-late`, `rank-lost` or `network-erratic`.
        DeviceError: `device-absent`.
        UsageError: `training-memory`, or as `networks.build`.
    """
    if work.device == "cuda":
        require_gpu(ranks.rank, ranks.local_rank)
    meet(ranks, timeout_s)
    require_same(ranks, facts(recipe, store))
    passed = f"{work.images:,} images of {work.side:,} x {work.side:,} pixels in a pass"
    remedy = "give fewer --images or a smaller --side"
    with parallel.watched(ranks), memory.required(passed, remedy):
        ranks.barrier()
        # Apart by about the time of a barrier at least.
        clocks = ranks.gather(time.time())
        processors = bind(ranks, work.threads)
        bench = Bench.prepare(work, ranks)
        turns: list[Turn] = []
        bench.turn()
        begin = time.perf_counter()
        while len(turns) < _FEWEST_TURNS or ranks.broadcast(
            time.perf_counter() - begin < duration_s
        ):
            meet(ranks, timeout_s)
            turns.append(bench.turn())
        everyone = ranks.gather((processors, _interface(), turns))
    return _conclude(work, ranks, bench.gradient_bytes, everyone, max(clocks) - min(clocks))


def facts(recipe: Path | None, store: Store | None) -> dict[str, str]:
    """Return what ranks that train together must have in common."""
    known = {**software(), "processor architecture": platform.machine()}
    if recipe is not None:
        known["recipe"] = hashlib.sha256(recipe.read_bytes()).hexdigest()[:16]
    if store is not None:
        known["store"] = hashlib.sha256(json.dumps(identity(store)).encode()).hexdigest()[:16]
    return known


def meet(ranks: Ranks, timeout_s: float) -> None:
    """Wait for all, and name those who do not come.

    Raises:
        PeerError: `rank-late`.
    """
    if ranks.backend != "gloo":
        ranks.barrier()
        return
    try:
        dist.monitored_barrier(timeout=timedelta(seconds=timeout_s), wait_all_ranks=True)
    except RuntimeError as error:
        silent = re.search(r"Ranks? ([\d, ]+) failed", str(error))
        who = f"rank {silent[1]}" if silent else "a rank"
        raise PeerError(
            "rank-late",
            f"{who} did not answer within {timeout_s:g} s; look whether it still runs and what "
            "else its host does, or raise --timeout",
        ) from error


def _interface() -> tuple[str | None, int | None]:
    """Return the interface gloo was told to use and its largest packet, bytes."""
    name = os.environ.get(_INTERFACE)
    if not name:
        return None, None
    mtu = Path("/sys/class/net") / name.split(",")[0] / "mtu"
    return name, int(mtu.read_text("ascii")) if mtu.is_file() else None


_Measured = tuple[Processors, tuple[str | None, int | None], list[Turn]]
"""Of a rank: where it runs, the interface and packet of its network, and its turns."""


def _conclude(
    work: Work, ranks: Ranks, gradient_bytes: int, everyone: list[_Measured], spread_s: float
) -> ClusterDiagnosis:
    turns = [turns for _, _, turns in everyone]
    passes_s = [
        statistics.median(turn.forward_s + turn.backward_s for turn in own) for own in turns
    ]
    measured = _ranks(everyone, [work.images / seconds for seconds in passes_s])
    reduced = _all_reduces(ranks.world, turns)
    links = _links(measured, turns)
    sizes, latencies_s = [row.bytes for row in reduced], [row.latency_s for row in reduced]
    link = fit_link(ranks.world, sizes, latencies_s) if reduced else None
    step = _step(work, turns, passes_s, gradient_bytes)
    ring = link or Link(0.0, math.inf)
    expected = expect(step, ring, WORLDS if link else (1,), images=work.images, batch=work.batch)
    return ClusterDiagnosis(
        topology=work.topology,
        images=work.images,
        side=work.side,
        precision="bf16" if work.bf16 else "fp32",
        device=work.device,
        compression=work.parallel.compression,
        backend=ranks.backend,
        software=Software(thorax=__version__, torch=torch.__version__),
        turns=len(turns[0]),
        gradient_bytes=gradient_bytes,
        ranks=measured,
        all_reduce=reduced,
        links=links,
        alpha_s=link.alpha_s if link else None,
        beta_bytes_per_s=link.beta_bytes_per_s if link else None,
        slow_ranks=tuple(rank.rank for rank in measured if rank.slow),
        slow_links=tuple(neighbours.ranks for neighbours in links if neighbours.slow),
        step_s=statistics.median(
            max(turn.step_s for turn in each) for each in zip(*turns, strict=True)
        ),
        modelled_step_s=step_s(step, ring, ranks=ranks.world, images=work.images),
        step=step,
        batch=work.batch,
        clock_spread_s=spread_s,
        expected=tuple(expected),
        warnings=tuple(_warnings(work, measured, links, spread_s)),
    )


def _ranks(everyone: list[_Measured], rates: list[float]) -> tuple[Rank, ...]:
    slow = slow_ranks(rates)
    return tuple(
        Rank(
            rank=bound.rank,
            host=bound.host,
            cpus=bound.cpus,
            numa=bound.numa,
            threads=bound.threads,
            images_per_s=rates[index],
            wait=statistics.median(
                turn.wait_s / (turn.wait_s + turn.forward_s + turn.backward_s) for turn in turns
            ),
            interface=interface,
            mtu=mtu,
            slow=index in slow,
        )
        for index, (bound, (interface, mtu), turns) in enumerate(everyone)
    )


def _step(
    work: Work, seen: list[list[Turn]], passes_s: list[float], gradient_bytes: int
) -> StepParts:
    """Return what an update consists of, from the turns of the rank of median speed."""
    middle = seen[sorted(range(len(seen)), key=passes_s.__getitem__)[len(seen) // 2]]
    return StepParts(
        forward_s=statistics.median(turn.forward_s for turn in middle) / work.images,
        backward_s=statistics.median(turn.backward_s for turn in middle) / work.images,
        jitter=statistics.median(map(_jitter, seen)),
        images=work.micro_batch,
        gradient_bytes=gradient_bytes,
        buckets=max(1, math.ceil(gradient_bytes / (work.parallel.bucket_mb * 2**20))),
    )


def _jitter(turns: list[Turn]) -> float:
    """Return the deviation of a rank's passes, share of the median, from the median absolute one.

    1.4826 makes it the standard deviation of a normal distribution (Rousseeuw and Croux, JASA
    1993, Eq. 1.2).
    """
    passes = [turn.forward_s + turn.backward_s for turn in turns]
    median = statistics.median(passes)
    return 1.4826 * statistics.median(abs(one - median) for one in passes) / median


def _all_reduces(world: int, seen: list[list[Turn]]) -> tuple[AllReduce, ...]:
    """Return the median over turns of the slowest rank's time: all wait for it."""
    sizes = SIZES if world > 1 else ()
    times_s = (
        statistics.median(
            max(turn.all_reduce_s[place] for turn in turns) for turns in zip(*seen, strict=True)
        )
        for place in range(len(sizes))
    )
    return tuple(
        AllReduce(
            bytes=size,
            latency_s=seconds,
            algorithm_bytes_per_s=size / seconds,
            bus_bytes_per_s=size / seconds * bus_share(world),
        )
        for size, seconds in zip(sizes, times_s, strict=True)
    )


def _links(found: tuple[Rank, ...], seen: list[list[Turn]]) -> tuple[RankLink, ...]:
    measured = []
    for rank, turns in enumerate(seen):
        for pair in zip(*(turn.pings for turn in turns), strict=True):
            high = (rank + 1) % len(found)
            short = statistics.median(short for short, _ in pair)
            long = statistics.median(long for _, long in pair)
            measured.append((rank, high, short, PING_BYTES / long))
    kinds = [found[low].host == found[high].host for low, high, _, _ in measured]
    slow = slow_links([rate for *_, rate in measured], kinds)
    return tuple(
        RankLink(
            ranks=(low, high),
            hosts=(found[low].host, found[high].host),
            latency_s=short,
            bytes_per_s=rate,
            slow=place in slow,
        )
        for place, (low, high, short, rate) in enumerate(measured)
    )


def _warnings(
    work: Work, found: tuple[Rank, ...], links: tuple[RankLink, ...], spread_s: float
) -> Iterator[str]:
    median = statistics.median_high(rank.images_per_s for rank in found)
    for rank in found:
        if rank.slow:
            yield (
                f"rank {rank.rank} on {rank.host} is slow: {rank.images_per_s:.3g} images/s, "
                f"{rank.images_per_s / median:.0%} of the median, and all wait for it. Look "
                f"for other programs on processors {rank.cpus}, for a low clock, for memory in use"
            )
    for link in links:
        if link.slow:
            yield (
                f"the link between rank {link.ranks[0]} on {link.hosts[0]} and rank "
                f"{link.ranks[1]} on {link.hosts[1]} is slow: {link.bytes_per_s / 1e9:.3g} GB/s"
            )
    if spread_s > _CLOCKS_S:
        yield (
            f"the clocks of the hosts are {spread_s:.1f} s apart; from 15 s on torchrun takes a "
            "host for dead. Keep them by NTP"
        )
    if work.parallel.compression == "powersgd" and len(found) > 1:
        yield (
            "what powersgd saves is not modelled: expected is an update before "
            f"parallel.powersgd_start ({work.parallel.powersgd_start:,}), which sends whole "
            "gradients"
        )
    packets = sorted({rank.mtu for rank in found if rank.mtu is not None})
    if len(packets) > 1:
        yield f"the interfaces differ in MTU: {', '.join(map(str, packets))} bytes; set one"
