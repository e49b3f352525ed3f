"""What it costs to sum a vector over many ranks: closed forms of the all-reduce algorithms.

A message of n bytes takes a + n/B seconds, a its latency and B the bytes a second of a link (the
model of Hockney; Thakur, Rabenseifner, Gropp: Optimization of Collective Communication Operations
in MPICH, IJHPCA 19(1), 2005, section 3). Summing is taken to cost nothing beside it, links to
carry both directions at once, and nobody else to use them. Every figure is modelled.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Link:
    """How long messages take.

    Attributes:
        alpha_s: of a message of no bytes, seconds.
        beta_bytes_per_s: added by its bytes.
    """

    alpha_s: float
    beta_bytes_per_s: float

    def ring_s(self, ranks: int, size_bytes: float) -> float:
        """Return the seconds of one ring all-reduce, 0 for one rank.

        2 (p-1) a + 2 (p-1)/p n/B: a reduce-scatter and an all-gather of p - 1 messages of n/p
        bytes each (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, JPDC 69(2), 2009,
        section 3; Thakur et al., section 4.5).
        """
        if ranks == 1:
            return 0.0
        steps = 2 * (ranks - 1)
        return steps * self.alpha_s + steps / ranks * size_bytes / self.beta_bytes_per_s

    def halving_doubling_s(self, ranks: int, size_bytes: float) -> float:
        """Return the seconds of one all-reduce by recursive halving and doubling, 0 for one rank.

        2 log2(p) a + 2 (p-1)/p n/B for powers of two (Rabenseifner's algorithm; Thakur et al.,
        section 4.5). Other numbers first fold what exceeds a power of two onto neighbours and hand
        them the sum in the end: two whole messages more.
        """
        if ranks == 1:
            return 0.0
        depth = ranks.bit_length() - 1
        core = 1 << depth
        folded = 0.0 if core == ranks else 2 * self.message_s(size_bytes)
        moved = 2 * (core - 1) / core * size_bytes / self.beta_bytes_per_s
        return folded + 2 * depth * self.alpha_s + moved

    def tree_s(self, ranks: int, size_bytes: float) -> float:
        """Return the seconds of a reduction to one rank and a broadcast, by binomial trees.

        2 ceil(log2 p) (a + n/B) (Thakur et al., sections 4.2 and 4.4): best for few bytes.
        """
        return 2 * math.ceil(math.log2(ranks)) * self.message_s(size_bytes)

    def message_s(self, size_bytes: float) -> float:
        """Return the seconds of one message."""
        return self.alpha_s + size_bytes / self.beta_bytes_per_s


AllReduce = Callable[[Link, int, float], float]
"""Seconds of an all-reduce over links of a kind, a number of ranks, and bytes."""

ALGORITHMS: Final[Mapping[str, AllReduce]] = {
    "ring": Link.ring_s,
    "halving-doubling": Link.halving_doubling_s,
    "tree": Link.tree_s,
}
"""The all-reduces over one kind of link, by name."""

HIERARCHICAL: Final = "hierarchical"
"""The all-reduce over two kinds of link."""


def hierarchical_s(
    within: Link, between: Link, *, nodes: int, ranks_per_node: int, size_bytes: float
) -> float:
    """Return the seconds of an all-reduce within each node and then between nodes.

    The ranks of a node share out the sum among them, each sums its part with those of its place on
    the other nodes, and they gather the whole: a ring all-reduce of n bytes within a node, and the
    rings of n/m bytes of its m ranks, which share the node's link, between nodes. One node is the
    ring within it, one rank a node the ring between them. (The two levels of Goyal et al.,
    1706.02677, section 4.2; rings as Patarasuk and Yuan.)
    """
    return within.ring_s(ranks_per_node, size_bytes) + between.ring_s(nodes, size_bytes)


def halving_doubling_nodes_s(
    within: Link, between: Link, *, ranks: int, ranks_per_node: int, size_bytes: float
) -> float:
    """Return the seconds of recursive halving and doubling over ranks that fill node after node.

    Ranks next to each other swap first, and distances double (Rabenseifner, Optimization of
    Collective Reduction Operations, ICCS 2004, section 3: vector halving, distance doubling), so
    that the large halves stay within nodes. The ranks of a node swap with other nodes all at once
    and share its link. In the opposite order the largest halves would share it.

    Where nodes hold no power of two of ranks every swap is taken to leave them; those that exceed a
    power of two fold onto their neighbours first, two whole messages more as in
    `Link.halving_doubling_s`.
    """
    if ranks == 1:
        return 0.0
    per_node = min(ranks, ranks_per_node)
    shared = Link(between.alpha_s, between.beta_bytes_per_s / per_node)
    core = 1 << (ranks.bit_length() - 1)
    fold = within if ranks <= ranks_per_node or per_node % 2 == 0 else between
    total_s = 0.0 if core == ranks else 2 * fold.message_s(size_bytes)
    distance, part_bytes = 1, size_bytes / 2
    while distance < core:
        inside = ranks <= ranks_per_node or per_node % (2 * distance) == 0
        total_s += 2 * (within if inside else shared).message_s(part_bytes)
        distance, part_bytes = 2 * distance, part_bytes / 2
    return total_s


def bus_share(ranks: int) -> float:
    """Return bus over algorithm bandwidth of an all-reduce, 2 (p-1)/p (nccl-tests, PERFORMANCE)."""
    return 2 * (ranks - 1) / ranks


def lateness(ranks: int) -> float:
    """Return how many deviations the slowest of p ranks is late: sqrt(2 ln p), 0 for one.

    The expected largest of p independent normal deviates is never more, and comes close to it for
    many (Cramer, Mathematical Methods of Statistics, section 28.6).
    """
    return math.sqrt(2 * math.log(ranks))


@functools.cache
def expected_lateness(ranks: int) -> float:
    """Return the mean of the largest of p independent normal deviates, by quadrature.

    The integral of x d(F(x)^p) with F the normal distribution (Cramer, section 28.6), to 1e-6.
    """
    # In halves: x dF^p by parts is the integral of 1 - F^p above zero, less that of F^p below.
    step, reach = 1 / 256, 9.0
    total = 0.0
    for index in range(round(reach / step)):
        x = (index + 0.5) * step
        above = (0.5 * math.erfc(-x / math.sqrt(2))) ** ranks
        below = (0.5 * math.erfc(x / math.sqrt(2))) ** ranks
        total += (1 - above - below) * step
    return total


def exposed_s(backward_s: float, ready: Sequence[float], bucket_s: float) -> float:
    """Return what of an exchange does not hide behind the backward pass whose gradients it sums.

    Buckets are sent one after the other in the order in which they become ready; none begins
    before its gradients are there (Li et al., PyTorch Distributed, 2006.15704, section 3.2.3).

    Each bucket of gradients, whose all-reduce takes `bucket_s`, is there after a share of the last
    pass of an update, `ready`, not falling.

    Example:
        >>> exposed_s(2.0, [0.5, 1.0], 3.0)
        5.0
    """
    free_s = 0.0
    for share in ready:
        free_s = max(free_s, backward_s * share) + bucket_s
    return free_s - backward_s


def straggler_s(pass_s: float, passes: int, jitter: float, deviations: float) -> float:
    """Return how long an update waits for the slowest rank.

    Its passes, forward and backward, vary independently by `jitter`, the standard deviation of the
    time of one as a share of it; the slowest rank is late by so many deviations, as `lateness`.
    """
    return jitter * pass_s * math.sqrt(passes) * deviations
