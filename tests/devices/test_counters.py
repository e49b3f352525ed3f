"""Counters of many requests become one row a layer."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from thorax.devices.counters import Counter, CounterTotals


def row(name: str, real_us: int, cpu_us: int, status: str = "EXECUTED") -> SimpleNamespace:
    return SimpleNamespace(
        node_name=name,
        node_type="Convolution",
        exec_type="jit_u8",
        status=f"Status.{status}",
        real_time=timedelta(microseconds=real_us),
        cpu_time=timedelta(microseconds=cpu_us),
    )


def test_times_are_means_over_the_runs_in_seconds() -> None:
    totals = CounterTotals()
    totals.add([row("stem", 10, 8), row("head", 2, 2, "NOT_RUN")])
    totals.add([row("stem", 30, 12), row("head", 4, 2, "NOT_RUN")])
    stem, head = totals.mean()
    known = Counter("stem", "Convolution", "jit_u8", "EXECUTED", stem.real_s, stem.cpu_s, None)
    assert stem == known
    assert stem.real_s == pytest.approx(20e-6)
    assert stem.cpu_s == pytest.approx(10e-6)
    assert (head.name, head.status) == ("head", "NOT_RUN")
    assert head.real_s == pytest.approx(3e-6)


def test_a_layer_of_a_subgraph_keeps_its_name_and_tells_the_subgraph() -> None:
    totals = CounterTotals()
    totals.add([row("subgraph1: stem", 10, 8), row("subgraph2: stem", 10, 8)])
    assert [(one.name, one.subgraph) for one in totals.mean()] == [("stem", 1), ("stem", 2)]


def test_without_a_run_there_are_no_counters() -> None:
    assert CounterTotals().mean() == []
