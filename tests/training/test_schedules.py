"""Schedules at their corners."""

from collections.abc import Callable

import pytest

from thorax.training.schedules import (
    Cosine,
    Polynomial,
    Stepped,
    cosine,
    learning_rate,
    polynomial,
    stepped,
)


@pytest.mark.parametrize("schedule", [cosine, polynomial, stepped])
def test_warm_up_is_a_straight_line_that_ends_at_the_peak(schedule: Callable[..., float]) -> None:
    rates = [schedule(step, peak=0.8, warmup_steps=4, total_steps=20) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


@pytest.mark.parametrize("schedule", [cosine, polynomial, stepped])
def test_without_warm_up_the_first_step_is_the_peak(schedule: Callable[..., float]) -> None:
    assert schedule(0, peak=0.8, warmup_steps=0, total_steps=20) == pytest.approx(0.8)


def test_cosine_is_half_way_in_the_middle_and_at_the_end_at_the_end() -> None:
    rates = [cosine(s, peak=1.0, warmup_steps=2, total_steps=12, end=0.2) for s in (7, 12, 99)]
    assert rates == pytest.approx([0.6, 0.2, 0.2])


def test_polynomial_of_power_one_is_a_straight_line() -> None:
    rates = [
        polynomial(s, peak=1.0, warmup_steps=0, total_steps=4, power=1.0, end=0.0) for s in range(6)
    ]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_polynomial_of_power_two_falls_by_the_square() -> None:
    rate = polynomial(5, peak=1.0, warmup_steps=0, total_steps=10, power=2.0, end=0.2)
    assert rate == pytest.approx(0.2 + 0.8 * 0.25)


def test_steps_cut_at_thirty_sixty_and_eighty_of_ninety_epochs() -> None:
    def rate(epoch: int) -> float:
        return stepped(epoch, peak=1.0, warmup_steps=5, total_steps=90)

    assert [rate(e) for e in (29, 30, 59, 60, 79, 80)] == pytest.approx(
        [1, 0.1, 0.1, 0.01, 0.01, 0.001]
    )


@pytest.mark.parametrize(
    "settings",
    [
        Cosine(kind="cosine", peak=0.5, warmup_epochs=0.5),
        Polynomial(kind="polynomial", peak=0.5, warmup_epochs=0.5),
        Stepped(kind="step", peak=0.5, warmup_epochs=0.5),
    ],
)
def test_settings_measure_warm_up_in_epochs(settings: Cosine | Polynomial | Stepped) -> None:
    rates = [learning_rate(step, settings, steps_per_epoch=8, total_steps=80) for step in range(5)]
    assert rates == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
