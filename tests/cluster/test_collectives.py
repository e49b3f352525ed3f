"""Whether the closed forms are those of the algorithms, played message by message."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.cluster.collectives import (
    ALGORITHMS,
    Link,
    bus_share,
    expected_lateness,
    exposed_s,
    halving_doubling_nodes_s,
    hierarchical_s,
    lateness,
)

LINKS = st.builds(Link, st.floats(1e-7, 1e-3), st.floats(1e6, 1e12))
SIZES = st.floats(1, 1e9)


def played_ring(link: Link, ranks: int, size: float) -> float:
    """Pass parts round a ring until all have the sum; the seconds that went by."""
    parts = [{(rank, part) for part in range(ranks)} for rank in range(ranks)]
    held = [[{rank} for _ in range(ranks)] for rank in range(ranks)]
    assert all(len(one) == ranks for one in parts)
    elapsed = 0.0
    for turn in range(2 * (ranks - 1)):
        sent = [(rank, (rank - turn) % ranks) for rank in range(ranks)]
        moved = [set(held[rank][part]) for rank, part in sent]
        for (rank, part), what in zip(sent, moved, strict=True):
            held[(rank + 1) % ranks][part] |= what
        elapsed += link.alpha_s + size / ranks / link.beta_bytes_per_s
    assert all(held[rank][part] == set(range(ranks)) for rank in range(ranks)
               for part in range(ranks))  # fmt: skip
    return elapsed


def played_halving(link: Link, ranks: int, size: float) -> float:
    """Halve with ever nearer neighbours, then double back; the seconds that went by."""
    elapsed, distance, part = 0.0, ranks // 2, size / 2
    distances = []
    while distance:
        distances.append((distance, part))
        distance, part = distance // 2, part / 2
    for _, size_bytes in distances + distances[::-1]:
        elapsed += link.alpha_s + size_bytes / link.beta_bytes_per_s
    return elapsed


@pytest.mark.parametrize("ranks", [2, 3, 5, 8])
def test_a_ring_takes_what_its_messages_take(ranks: int) -> None:
    link = Link(3e-5, 1e9)
    assert link.ring_s(ranks, 1e6) == pytest.approx(played_ring(link, ranks, 1e6))


@pytest.mark.parametrize("ranks", [2, 4, 64, 1024])
def test_halving_and_doubling_takes_what_its_messages_take(ranks: int) -> None:
    link = Link(3e-5, 1e9)
    assert link.halving_doubling_s(ranks, 1e6) == pytest.approx(played_halving(link, ranks, 1e6))


def played_halving_nodes(
    within: Link, between: Link, ranks: int, per_node: int, size: float
) -> float:
    """Swap with ever farther neighbours; each step as slow as its most used link."""
    elapsed, distance, part = 0.0, 1, size / 2
    while distance < ranks:
        pairs = [(rank, rank ^ distance) for rank in range(ranks)]
        leaving = [0] * math.ceil(ranks / per_node)
        for here, there in pairs:
            leaving[here // per_node] += here // per_node != there // per_node
        link = between if any(leaving) else within
        share = max(1, *leaving) if len(leaving) > 1 else 1
        elapsed += 2 * (link.alpha_s + share * part / link.beta_bytes_per_s)
        distance, part = distance * 2, part / 2
    return elapsed


@pytest.mark.parametrize("ranks", [2, 8, 64])
@pytest.mark.parametrize("per_node", [1, 2, 4, 8, 64])
def test_halving_and_doubling_between_nodes_takes_what_its_messages_take(
    ranks: int, per_node: int
) -> None:
    within, between = Link(1e-6, 5e10), Link(2e-5, 1.25e10)
    found = halving_doubling_nodes_s(
        within, between, ranks=ranks, ranks_per_node=per_node, size_bytes=1e8
    )
    assert found == pytest.approx(played_halving_nodes(within, between, ranks, per_node, 1e8))


@given(LINKS, st.integers(1, 300), SIZES)
def test_one_rank_a_node_halves_and_doubles_over_one_kind_of_link(
    link: Link, ranks: int, size: float
) -> None:
    unused = Link(1.0, 1.0)
    found = halving_doubling_nodes_s(unused, link, ranks=ranks, ranks_per_node=1, size_bytes=size)
    assert found == pytest.approx(link.halving_doubling_s(ranks, size))


def test_a_number_that_is_no_power_of_two_sends_two_whole_messages_more() -> None:
    link = Link(3e-5, 1e9)
    more = link.halving_doubling_s(100, 1e6) - link.halving_doubling_s(64, 1e6)
    assert more == pytest.approx(2 * (3e-5 + 1e-3))


def test_a_tree_sends_the_whole_at_every_level_up_and_down() -> None:
    assert Link(1e-3, 1e6).tree_s(5, 1e3) == pytest.approx(2 * 3 * 2e-3)


@pytest.mark.parametrize(
    ("ranks", "milliseconds"),
    [
        (64, (21.0, 8.0, 108)),
        (128, (23.8, 10.6, 112)),
        (256, (28.9, 15.7, 117)),
        (512, (39.2, 26.0, 128)),
    ],
)
def test_rings_of_three_networks_at_10_gigabytes_a_second_and_20_microseconds(
    ranks: int, milliseconds: tuple[float, ...]
) -> None:
    # ResNet-50, DenseNet-121, VGG-16 with its classic head.
    for megabytes, expected in zip((94.1, 27.8, 537.0), milliseconds, strict=True):
        took = Link(20e-6, 10e9).ring_s(ranks, megabytes * 1e6) * 1e3
        messages = 2 * ranks - 2
        assert took == pytest.approx(messages * (0.02 + megabytes / ranks / 10), rel=1e-12)
        assert took == pytest.approx(expected, rel=0.006)


@pytest.mark.parametrize(
    ("ranks", "milliseconds"), [(64, 19.2), (128, 19.9), (256, 21.3), (512, 23.9)]
)
def test_a_ring_of_5_microseconds(ranks: int, milliseconds: float) -> None:
    assert Link(5e-6, 10e9).ring_s(ranks, 94.1e6) * 1e3 == pytest.approx(milliseconds, rel=0.005)


def test_slow_links_at_512_ranks() -> None:
    slow = Link(20e-6, 3e9)
    assert slow.ring_s(512, 94.1e6) * 1e3 == pytest.approx(83, rel=0.01)
    assert slow.ring_s(512, 537e6) * 1e3 == pytest.approx(378, rel=0.01)


@given(LINKS, st.sampled_from(list(ALGORITHMS)), st.integers(1, 2048), SIZES)
def test_an_all_reduce_is_never_faster_over_a_slower_link(
    link: Link, name: str, ranks: int, size: float
) -> None:
    took = ALGORITHMS[name](link, ranks, size)
    assert (took == 0) is (ranks == 1)
    later = Link(link.alpha_s * 2, link.beta_bytes_per_s)
    narrower = Link(link.alpha_s, link.beta_bytes_per_s / 2)
    assert took <= ALGORITHMS[name](later, ranks, size) <= 2 * took
    assert took <= ALGORITHMS[name](narrower, ranks, size) <= 2 * took
    assert took <= ALGORITHMS[name](link, ranks, size * 2)


@given(LINKS, LINKS, st.integers(1, 64), SIZES)
def test_one_node_is_its_ring_and_one_rank_a_node_the_ring_between_them(
    within: Link, between: Link, count: int, size: float
) -> None:
    alone = hierarchical_s(within, between, nodes=1, ranks_per_node=count, size_bytes=size)
    assert alone == within.ring_s(count, size)
    apart = hierarchical_s(within, between, nodes=count, ranks_per_node=1, size_bytes=size)
    assert apart == between.ring_s(count, size)


def test_the_bus_of_two_ranks_carries_what_the_algorithm_moves() -> None:
    assert bus_share(2) == 1
    assert bus_share(512) == pytest.approx(2, rel=0.01)


def test_the_expected_largest_of_normal_deviates_is_that_of_tables_and_of_a_draw() -> None:
    # Tippett, Biometrika 1925; 1/sqrt(pi), 3/(2 sqrt(pi)) exactly.
    assert expected_lateness(1) == pytest.approx(0, abs=1e-9)
    assert expected_lateness(2) == pytest.approx(1 / math.sqrt(math.pi), rel=1e-6)
    assert expected_lateness(3) == pytest.approx(1.5 / math.sqrt(math.pi), rel=1e-6)
    assert expected_lateness(1000) == pytest.approx(3.24144, rel=1e-4)
    drawn = np.random.default_rng(0).standard_normal((20_000, 64)).max(axis=1).mean()
    assert expected_lateness(64) == pytest.approx(drawn, rel=0.01)


@given(st.integers(2, 100_000))
def test_the_largest_is_never_expected_beyond_its_bound(ranks: int) -> None:
    assert 0 < expected_lateness(ranks) < lateness(ranks)


@given(st.integers(1, 50), st.floats(0, 10), st.floats(0, 1))
def test_equal_buckets_end_by_the_last_that_is_ready_or_by_the_first_and_all(
    count: int, backward: float, takes: float
) -> None:
    ready = [(place + 1) / count for place in range(count)]
    closed = max(backward + takes, backward / count + count * takes)
    assert backward + exposed_s(backward, ready, takes) == pytest.approx(closed)
