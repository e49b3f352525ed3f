"""Counters of many requests become one row a layer."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from thorax.devices.counters import Counter, CounterTotals, by_member, lines


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


def test_lines_have_the_shape_of_2018_and_say_where_each_time_is_from() -> None:
    step = Counter("3. FPGA execute time", "", "", "EXECUTED", 3808e-6, 0.0, 1, "modelled")
    softmax = Counter("prob", "SoftMax", "ref", "EXECUTED", 10e-6, 10e-6, 2)
    output = Counter("out_prob", "Output", "unknown", "NOT_RUN", 4e-6, 0.0, 2)
    made = lines([step, softmax, output])
    assert made[0].startswith("subgraph1: 3. FPGA execute time:EXECUTED ")
    assert " ".join(made[1].split()) == (
        "subgraph2: prob: EXECUTED layerType: SoftMax realTime: 10 cpu: 10 execType: ref "
        "origin: measured"
    )
    assert made[0].endswith("origin: modelled")
    assert "NOT_RUN" in made[2]
    assert made[-1].split() == ["Total", "time:", "3818", "microseconds"]


def test_members_that_share_the_work_have_totals_of_their_own() -> None:
    rows = [
        Counter("prob", "SoftMax", "ref", "EXECUTED", real_s, real_s, None, member=member)
        for member, real_s in (("HETERO:FPGA.0,CPU", 3e-6), ("CPU", 10e-6))
    ]
    assert by_member(rows) == {"HETERO:FPGA.0,CPU": rows[:1], "CPU": rows[1:]}
    made = lines(rows)
    assert [line for line in made if "prob" not in line] == [
        "HETERO:FPGA.0,CPU:", f"{'Total time: 3':<20} microseconds",
        "CPU:", f"{'Total time: 10':<20} microseconds",
    ]  # fmt: skip
