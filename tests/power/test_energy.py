"""What readings must be for a window to have an energy: no frozen counter, no 0 W, no guess."""

from collections.abc import Sequence

import pytest
from tests.power.meters import Source

from thorax.power.energy import few_moves, implausible, problem
from thorax.power.meter import Channel, Reading
from thorax.power.sampler import Energy, Sampler
from thorax.results.energy import Quantity

WINDOW_S = 10.0


def energy(
    values: Sequence[float], *, quantity: Quantity = "energy", modelled: bool = False
) -> Energy:
    """Return what a sampler says of 10 s, read each half second from a second before."""
    sampler = Sampler(Source(quantity, modelled=modelled, interval_s=0.5))
    sampler.readings = [Reading(at / 2 - 1.0, (value,)) for at, value in enumerate(values)]
    return sampler.energy(0.0, WINDOW_S)


COUNT = 25


def test_a_counter_that_stands_still_is_no_energy_and_never_0() -> None:
    told = energy([5.0] * COUNT)
    assert told.energy_j is None
    assert told.load_w is None
    assert "did not move within 10.00 s" in str(told.error)


def test_a_counter_of_kilowatt_hours_is_too_coarse_for_a_short_window() -> None:
    # 300 W, told in thousandths of a kWh: a step of 3,600 J each 12 s.
    told = energy([3600.0 * ((300 * at / 2 + 1800) // 3600) for at in range(COUNT)])
    assert told.energy_j is None
    assert "moved 1 times within 10.00 s, by 3,600 J and more, and 10 times" in str(told.error)
    assert "measure longer" in str(told.error)


def test_a_counter_that_steps_often_enough_has_its_energy_within_a_step_at_each_edge() -> None:
    told = energy([200.0 * ((300 * at / 2) // 200) for at in range(COUNT)])
    assert told.error is None
    assert told.energy_j == pytest.approx(3000, abs=200)


def test_a_counter_that_goes_on_at_every_reading_is_as_good_as_its_clock() -> None:
    told = energy([150.0 * at for at in range(COUNT)])
    assert told.energy_j == pytest.approx(3000)


def test_a_counter_that_stops_on_the_way_is_no_energy() -> None:
    told = energy([150.0 * min(at, 14) for at in range(COUNT)])
    assert told.energy_j is None
    assert "stood still for 4.00 s of 10.00 s" in str(told.error)


def test_a_counter_that_goes_back_is_no_energy() -> None:
    told = energy([150.0 * (at if at < 12 else at - 12) for at in range(COUNT)])
    assert told.energy_j is None
    assert "went back" in str(told.error)


def test_one_frozen_counter_of_several_is_named() -> None:
    channels = (Channel("package-0"), Channel("core", counted=False), Channel("package-1"))
    readings = [Reading(float(at), (100.0 * at, 0.0, 7.0)) for at in range(-1, 12)]
    told = problem(Source("energy", channels), readings, 0.0, 10.0, 1.0)
    assert told is not None
    assert "package-1 did not move" in told
    assert implausible("energy", channels[:2], readings, 10.0) is None


def test_watts_of_0_are_no_power() -> None:
    told = energy([200.0] * 12 + [0.0] + [200.0] * 12, quantity="power")
    assert told.energy_j is None
    assert "told 0 W" in str(told.error)


def test_one_supply_of_two_may_tell_0_w() -> None:
    readings = [Reading(float(at), (200.0, 0.0)) for at in range(10)]
    assert implausible("power", (Channel("supply 1"), Channel("supply 2")), readings, 10.0) is None


def test_what_a_model_says_is_not_doubted() -> None:
    assert energy([0.0] * COUNT, modelled=True).energy_j == 0.0


def test_a_counter_that_is_read_too_seldom_for_the_window_is_a_guess() -> None:
    meter = Source("energy", interval_s=60.0)
    few = [Reading(-30.0, (0.0,)), Reading(30.0, (60.0,))]
    assert "read 0 times" in str(problem(meter, few, 0.0, 10.0, 60.0))
    # What lies between two readings in the middle is counted; what lies across an edge is not.
    late = [Reading(at, (10.0 * at,)) for at in (0.0, 8.0, 8.5, 9.0, 9.5, 10.5)]
    assert "silent for 8.00 s" in str(problem(meter, late, 0.5, 10.0, 0.5))
    middle = [Reading(at, (10.0 * at,)) for at in (0.0, 0.5, 1.0, 9.0, 9.5, 10.5)]
    assert problem(meter, middle, 0.5, 10.0, 0.5) is None


def test_few_moves_say_the_step_that_was_seen() -> None:
    assert few_moves("x", 3, 3, 5.0, 1.0) is None
    assert few_moves("x", 10, 400, 5.0, 1.0) is None
    assert "moved 9 times within 1.00 s, by 5 J" in str(few_moves("x", 9, 400, 5.0, 1.0))
