"""Processors of ranks: shares that do not overlap, and what the launcher has bound stays."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch

from thorax.training import processors
from thorax.training.parallel import Ranks
from thorax.training.processors import Processors, bind, describe


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave processors and threads as they were; this machine's container has no limit."""
    monkeypatch.setattr(processors, "quota", lambda: None)
    cpus, threads = os.sched_getaffinity(0), torch.get_num_threads()
    yield
    os.sched_setaffinity(0, cpus)
    torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class Neighbours(Ranks):
    """Ranks of one host as one of them sees them, without a group.

    Attributes:
        bound: what each is bound to, None = the same as this one.
    """

    bound: tuple[Sequence[int], ...] | None = None

    def gather(self, value: object) -> list[object]:  # type: ignore[override]
        if self.bound is None or not isinstance(value, tuple):
            return [value] * self.world
        return [(value[0], list(cpus), *value[2:]) for cpus in self.bound]


def neighbour(rank: int, world: int, bound: tuple[Sequence[int], ...] | None = None) -> Neighbours:
    return Neighbours(rank=rank, world=world, local_rank=rank, local_world=world, bound=bound)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """A host of eight processors, each a core, that binds nobody."""
    cpus = set(range(8))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(cpus))

    def bound(process: int, chosen: Sequence[int]) -> None:
        cpus.clear()
        cpus.update(chosen)

    monkeypatch.setattr(os, "sched_setaffinity", bound)
    monkeypatch.setattr(processors, "_core", lambda cpu: (0, cpu))
    monkeypatch.setattr(processors, "_numa_nodes", dict)
    return cpus


def test_one_process_keeps_what_it_has() -> None:
    before = os.sched_getaffinity(0)
    found = bind(Ranks(), None)
    assert os.sched_getaffinity(0) == before
    assert found.threads == torch.get_num_threads()
    assert bind(Ranks(), 1).line().endswith("1 thread")


def test_ranks_of_a_host_share_its_processors_without_overlap() -> None:
    everything = os.sched_getaffinity(0)
    if len(everything) < 2:
        pytest.skip("one processor cannot be shared")
    shares = []
    for rank in range(2):
        os.sched_setaffinity(0, everything)
        found = bind(neighbour(rank, 2), None)
        shares.append(os.sched_getaffinity(0))
        assert found.threads <= len(shares[-1])
    assert shares[0].isdisjoint(shares[1])
    assert len(shares[0]) == len(shares[1]) == len(everything) // 2


def test_what_the_launcher_has_bound_is_left_alone(host: set[int]) -> None:
    host.intersection_update({0, 1, 2, 3})
    found = bind(neighbour(0, 2, ([0, 1, 2, 3], [4, 5, 6, 7])), None)
    assert (found.cpus, found.threads, found.shared_by) == ("0-3", 4, 1)


def test_ranks_that_a_launcher_bound_to_one_socket_share_that_one(host: set[int]) -> None:
    host.intersection_update({4, 5, 6, 7})
    bound = ([0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7])
    found = bind(neighbour(3, 4, bound), None)
    assert (found.cpus, found.threads) == ("6-7", 2)


@pytest.mark.parametrize("world", [9, 16, 64])
def test_more_ranks_than_processors_take_one_thread_each_and_are_told(
    host: set[int], world: int
) -> None:
    ranks = neighbour(world - 1, world)
    found = bind(ranks, None)
    assert (found.threads, found.shared_by, len(host)) == (1, world, 8)
    [warning] = describe(ranks, found)["warnings"]
    assert f"{world} ranks on " in warning
    assert f"shared by {world} ranks" in found.line()


@pytest.mark.parametrize(
    ("limit", "world", "threads"), [(2.0, 2, 1), (6.0, 2, 3), (0.5, 2, 1), (2.0, 4, 1), (64, 2, 4)]
)
def test_ranks_share_what_their_container_allows(
    host: set[int], monkeypatch: pytest.MonkeyPatch, limit: float, world: int, threads: int
) -> None:
    monkeypatch.setattr(processors, "quota", lambda: limit)
    found = bind(neighbour(0, world), None)
    assert found.threads == threads
    assert f"held to {limit / world:.3g} by its container" in found.line()


def test_one_process_takes_no_more_threads_than_its_container_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(processors, "processors", lambda: 1)
    assert bind(Ranks(), None).threads == 1
    assert bind(Ranks(), 2).threads == 2


def test_nothing_is_told_of_ranks_with_processors_of_their_own() -> None:
    assert Processors(0, "host", "0-3", "0", 4).warning() is None
