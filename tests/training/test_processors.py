"""Processors of ranks: shares that do not overlap, and what the launcher has bound stays."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from thorax.training.parallel import Ranks
from thorax.training.processors import bind


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave processors and threads as they were."""
    cpus, threads = os.sched_getaffinity(0), torch.get_num_threads()
    yield
    os.sched_setaffinity(0, cpus)
    torch.set_num_threads(threads)


class Neighbours(Ranks):
    """Two ranks of one host as the first or second sees them, without a group."""

    def gather(self, value: object) -> list[object]:  # type: ignore[override]
        return [value, OTHER or value]


OTHER: object = None


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
        found = bind(Neighbours(rank=rank, world=2, local_rank=rank, local_world=2), None)
        shares.append(os.sched_getaffinity(0))
        assert found.threads <= len(shares[-1])
    assert shares[0].isdisjoint(shares[1])
    assert len(shares[0]) == len(shares[1]) == len(everything) // 2


def test_what_the_launcher_has_bound_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(f"{__name__}.OTHER", (0, [9999]))
    bind(replace(Neighbours(), world=2, local_world=2), None)
    assert os.sched_getaffinity(0) == before
