"""What measured links and ranks lead one to expect of more ranks: a model, never a measurement.

The all-reduces are those of `thorax.cluster.collectives`. Gradients leave in buckets while the
backward pass goes on (Li et al., 2006.15704, section 3.2.3).
"""

import math
import statistics
from collections.abc import Sequence
from typing import Final

from thorax.cluster.collectives import Link, bus_share, exposed_s, lateness, straggler_s
from thorax.errors import PeerError
from thorax.results.cluster import ExpectedStep, StepParts

SLOW_RANK: Final = 0.9
"""Share of the median rate below which a rank is slow."""
SLOW_LINK: Final = 0.5
"""Share of the median rate of links of its kind below which a link is slow."""
_FEWEST_LINKS: Final = 3
"""Links of a kind without which none can be told to be the odd one."""


def fit_link(ranks: int, sizes_bytes: Sequence[int], times_s: Sequence[float]) -> Link:
    """Return the link that explains measured ring all-reduces.

    Least squares of the relative error: a line through seconds alone would be decided by the
    largest messages and say nothing about latency. The latency is not below zero. Of p ranks, 2 or
    more, are given the bytes of messages, at least two different ones, and what each took.

    Raises:
        PeerError: `network-erratic` when large messages are not slower than small ones.

    Example:
        >>> fit_link(2, [1000, 2000], [3e-3, 5e-3])
        Link(alpha_s=0.0005, beta_bytes_per_s=500000.0)
    """
    # Weighted by 1 / t: the residuals of A + B n are divided by t.
    ones = [1 / t for t in times_s]
    slopes = [n / t for n, t in zip(sizes_bytes, times_s, strict=True)]
    uu = math.fsum(u * u for u in ones)
    uv = math.fsum(u * v for u, v in zip(ones, slopes, strict=True))
    vv = math.fsum(v * v for v in slopes)
    u1, v1 = math.fsum(ones), math.fsum(slopes)
    determinant = uu * vv - uv * uv
    fixed_s = (u1 * vv - v1 * uv) / determinant
    per_byte_s = (v1 * uu - u1 * uv) / determinant
    if fixed_s < 0:
        fixed_s, per_byte_s = 0.0, v1 / vv
    if per_byte_s <= 0:
        raise PeerError(
            "network-erratic",
            f"an all-reduce of {max(sizes_bytes):,} bytes took no longer than one of "
            f"{min(sizes_bytes):,}; something else uses the network or the processors: measure "
            "again without it, or longer by --duration",
        )
    return Link(fixed_s / (2 * (ranks - 1)), bus_share(ranks) / per_byte_s)


def step_s(step: StepParts, link: Link, *, ranks: int, images: int) -> float:
    """Return the seconds of an update in which each rank sees `images` images.

    Several passes add up their gradients, which leave during the last one: bucket i of k when i/k
    of its backward pass is done, one after the other. The slowest of p ranks is late by
    `thorax.cluster.collectives.lateness`.
    """
    passes = math.ceil(images / (step.images or images))
    forward_s, backward_s = (each * images / passes for each in (step.forward_s, step.backward_s))
    pass_s = forward_s + backward_s
    if ranks == 1:
        return passes * pass_s
    bucket_s = link.ring_s(ranks, step.gradient_bytes / step.buckets)
    ready = [(index + 1) / step.buckets for index in range(step.buckets)]
    waits_s = straggler_s(pass_s, passes, step.jitter, lateness(ranks))
    return passes * pass_s + exposed_s(backward_s, ready, bucket_s) + waits_s


def expect(
    step: StepParts, link: Link, worlds: Sequence[int], *, images: int, batch: int | None
) -> list[ExpectedStep]:
    """Return what each number of ranks would do.

    The batch grows with the ranks, each of which has `images` of an update; where `batch` is set
    they share that, and numbers of ranks that do not divide it are left out.
    """
    expected = []
    for ranks in worlds:
        if batch is not None and batch % ranks:
            continue
        total = images * ranks if batch is None else batch
        alone_s = step_s(step, link, ranks=1, images=total)
        seconds = step_s(step, link, ranks=ranks, images=total // ranks)
        expected.append(
            ExpectedStep(
                ranks=ranks,
                batch=total,
                step_s=seconds,
                images_per_s=total / seconds,
                efficiency=alone_s / (ranks * seconds),
                modelled=True,
            )
        )
    return expected


def slow_ranks(rates: Sequence[float]) -> list[int]:
    """Return the ranks whose rate is below 0.9 of the median; of two, the faster is the measure."""
    median = statistics.median_high(rates)
    return [rank for rank, rate in enumerate(rates) if rate < SLOW_RANK * median]


def slow_links(rates: Sequence[float], kinds: Sequence[object]) -> list[int]:
    """Return the links below half of the median rate of their kind.

    Rates are bytes a second; kinds are what may be compared, such as links within a host and
    between hosts.
    """
    slow = []
    for kind in dict.fromkeys(kinds):
        among = [place for place, one in enumerate(kinds) if one == kind]
        if len(among) < _FEWEST_LINKS:
            continue
        median = statistics.median(rates[place] for place in among)
        slow += [place for place in among if rates[place] < SLOW_LINK * median]
    return sorted(slow)
