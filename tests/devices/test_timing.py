"""Speeds beside each other: whose turn it is, and what is made of the rates."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.devices import timing
from thorax.devices.engine import Engine, compile
from thorax.devices.requests import Lane


@pytest.fixture(scope="module")
def engines(tiny_fp32: Artifact) -> list[Engine]:
    return [compile(tiny_fp32, hint="throughput") for _ in range(3)]


def test_each_engine_has_one_turn_a_round_and_none_is_always_first(engines: list[Engine]) -> None:
    turns: list[int] = []

    def rate(engine: Engine, window_s: float) -> float:
        turns.append(engines.index(engine))
        return 10.0 * turns[-1] + window_s

    found = timing.in_turns(engines, rate, rounds=3, window_s=0.5)
    assert found.tolist() == [[0.5, 10.5, 20.5]] * 3
    assert turns == [0, 1, 2, *(0, 1, 2), *(1, 2, 0), *(2, 0, 1)]


def test_ratios_survive_a_machine_that_slows_down(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = np.array([1.0, 0.5, 0.1])[:, None] * np.array([[100.0, 100.0, 250.0]])
    monkeypatch.setattr(timing, "in_turns", lambda *_: rounds)
    assert timing.relative_rates(engines) == pytest.approx((1.0, 1.0, 2.5))


def test_every_stream_of_every_member_is_kept_busy(
    tiny_fp32: Artifact, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = compile(tiny_fp32, "MULTI:CPU,HETERO:CPU", streams=1)
    lend, lent = engine.lend, []

    @contextmanager
    def noted() -> Iterator[Lane]:
        with lend() as lane:
            lent.append(lane.member)
            yield lane

    monkeypatch.setattr(engine, "lend", noted)
    fed = list(tiny_store.images[:3, None, None])
    told: list[int] = []
    load = timing.keep_busy(engine, fed, 0.6, told.append)
    assert sorted(lent) == sorted(
        number for number, member in enumerate(engine.members) for _ in range(member.streams)
    )
    assert load.inferences >= engine.streams
    assert 0 < load.latencies_s.min() <= load.latencies_s.max() <= load.window_s
    assert sum(told) <= load.inferences


@pytest.mark.parametrize("rate", [timing.images_per_s, timing.answers_per_s])
def test_an_engine_answers_within_the_window(engines: list[Engine], rate: timing.Rate) -> None:
    assert 0 < rate(engines[0], 0.01) < np.inf
