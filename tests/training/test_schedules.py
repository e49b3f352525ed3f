"""Schedules at their corners."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.config import Settings, check, load, write_effective
from thorax.errors import UsageError
from thorax.training.schedules import (
    Cosine,
    Polynomial,
    ScheduleSettings,
    Stepped,
    cosine,
    polynomial,
    resolve,
    stepped,
)


class Told(Settings):
    """The part of a recipe that is tested."""

    schedule: ScheduleSettings
    """How the learning rate goes."""


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


@pytest.mark.parametrize("schedule", [cosine, polynomial, stepped])
def test_warm_up_from_a_start_is_a_straight_line_from_there(schedule: Callable[..., float]) -> None:
    rates = [schedule(s, peak=0.8, warmup_steps=4, total_steps=20, start=0.2) for s in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert schedule(0, peak=0.8, warmup_steps=1, total_steps=20, start=0.2) == 0.8


def made(text: str) -> Cosine | Polynomial | Stepped:
    """Return settings as a recipe has them."""
    return check(tomllib.loads(f"[schedule]\n{text}"), Told, "recipe.toml").schedule


KINDS = ("cosine", "polynomial", "step")


@pytest.mark.parametrize("kind", KINDS)
def test_settings_measure_warm_up_in_epochs(kind: str) -> None:
    schedule = resolve(
        made(f'kind = "{kind}"\npeak = 0.5\nwarmup_epochs = 0.5'),
        batch=64,
        steps_per_epoch=8,
        epochs=10,
    )
    assert schedule.warmup_steps == 4
    assert [schedule.rate(s) for s in range(5)] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])


def test_a_peak_gives_the_rates_of_the_pure_functions_to_the_bit() -> None:
    kinds: dict[str, Callable[..., float]] = dict(
        zip(KINDS, (cosine, polynomial, stepped), strict=True)
    )
    for kind, function in kinds.items():
        schedule = resolve(
            made(f'kind = "{kind}"\npeak = 2e-3\nwarmup_epochs = 0.5'),
            batch=32,
            steps_per_epoch=121,
            epochs=8,
        )
        for step in range(8 * 121):
            assert schedule.rate(step) == function(
                step, peak=2e-3, warmup_steps=60, total_steps=8 * 121
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("batch", "scaling", "peak"),
    [
        (8192, "linear", 3.2),
        (8192, "sqrt", 0.1 * 32**0.5),
        (256, "linear", 0.1),
        (64, "linear", 0.025),
    ],
)
def test_a_base_rate_is_scaled_to_the_batch_and_warm_up_begins_at_it(
    kind: str, batch: int, scaling: str, peak: float
) -> None:
    schedule = resolve(
        made(f'kind = "{kind}"\nbase_per_256 = 0.1\nscaling = "{scaling}"\nwarmup_epochs = 5'),
        batch=batch,
        steps_per_epoch=10,
        epochs=90,
    )
    first = min(0.1, peak)
    assert schedule.warmup_steps == 50
    assert schedule.peak == pytest.approx(peak)
    assert schedule.start == schedule.rate(0) == pytest.approx(first)
    assert schedule.rate(49) == schedule.peak
    climbs = [schedule.rate(step + 1) - schedule.rate(step) for step in range(49)]
    assert climbs == pytest.approx([(peak - first) / 49] * 49, abs=1e-12)
    assert schedule.rate(50) <= schedule.peak


def test_warm_up_has_a_floor_in_steps() -> None:
    def steps(text: str) -> int:
        settings = made(f'kind = "cosine"\npeak = 1\n{text}')
        return resolve(settings, batch=8192, steps_per_epoch=10, epochs=10).warmup_steps

    assert steps("") == 10
    assert steps("warmup_epochs = 2\nwarmup_steps = 5") == 20
    assert steps("warmup_epochs = 2\nwarmup_steps = 30") == 30
    assert steps("warmup_epochs = 0\nwarmup_steps = 7") == 7
    assert steps("warmup_steps = 1000") == 100


def test_cuts_are_told_by_step_and_are_where_the_rate_falls() -> None:
    settings = made('kind = "step"\npeak = 1\nwarmup_epochs = 5')
    schedule = resolve(settings, batch=256, steps_per_epoch=7, epochs=90)
    assert schedule.drops == (210, 420, 560)
    falls = [s for s in range(1, schedule.steps) if schedule.rate(s) < schedule.rate(s - 1)]
    assert tuple(falls) == schedule.drops
    late = resolve(
        made('kind = "step"\npeak = 1\nwarmup_epochs = 40'),
        batch=256,
        steps_per_epoch=7,
        epochs=90,
    )
    assert late.drops == (280, 420, 560)
    assert late.rate(279) == 1
    assert late.rate(280) == pytest.approx(0.1)


def test_a_schedule_is_told_to_people_and_to_programs() -> None:
    settings = made('kind = "polynomial"\nbase_per_256 = 0.1\nwarmup_epochs = 5')
    schedule = resolve(settings, batch=8192, steps_per_epoch=10, epochs=90)
    assert schedule.lines() == (
        "global batch   8,192 images",
        "epochs         90",
        "updates        900, 10 an epoch",
        "images seen    7,372,800",
        "warm-up        50 updates (5 epochs), 0.1 -> 3.2",
        "decay          polynomial of power 2 to 0.0001",
        "learning rate  0.1 at 1, 3.2 at 50, 2.018 at 226, 0.897 at 451, 0.2243 at 676, "
        "0.0001044 at 900 (updates)",
    )
    document = json.loads(json.dumps(schedule.document()))
    assert document["images"] == 7_372_800
    assert (document["start"], document["peak"], document["end"]) == (
        schedule.rate(0),
        3.2,
        schedule.rate(899),
    )
    assert document["warnings"] == document["drops"] == []
    assert document["settings"]["base_per_256"] == 0.1


def test_decay_and_warm_up_are_named_whatever_they_are() -> None:
    def line(text: str, name: str) -> str:
        schedule = resolve(made(text), batch=256, steps_per_epoch=30, epochs=9)
        return next(line for line in schedule.lines() if line.startswith(name))

    assert line('kind = "cosine"\npeak = 1', "decay").endswith("cosine to 0")
    assert line('kind = "step"\npeak = 1', "decay").endswith("times 0.1 at 91, 181, 241")
    assert line('kind = "step"\npeak = 1\nat = []', "decay").endswith("none")
    flat = 'kind = "cosine"\npeak = 0.5\nwarmup_epochs = 0'
    assert line(flat, "warm-up").endswith("none, from the first update at 0.5")


@pytest.mark.parametrize(
    ("epochs", "more", "said"),
    [
        (9, "", ["90 updates in all"]),
        (10, "", []),
        (20, "warmup_epochs = 10", []),
        (20, "warmup_epochs = 11", ["110 of 200 updates"]),
        (20, "warmup_steps = 300", ["300 updates is cut to the 200"]),
    ],
)
def test_runs_that_cannot_learn_much_are_warned_about(
    epochs: int, more: str, said: list[str]
) -> None:
    schedule = resolve(
        made(f'kind = "cosine"\npeak = 1\n{more}'), batch=8192, steps_per_epoch=10, epochs=epochs
    )
    assert len(schedule.warnings()) == len(said)
    for part, warning in zip(said, schedule.warnings(), strict=True):
        assert part in warning
        assert f"warning        {warning}" in schedule.lines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "exactly one of peak and base_per_256"),
        ("peak = 1\nbase_per_256 = 0.1", "exactly one of peak and base_per_256"),
        ('peak = 1\nscaling = "sqrt"', "only beside base_per_256"),
        ("peak = 0", "greater than 0"),
    ],
)
def test_a_rate_is_given_in_one_way(text: str, said: str) -> None:
    for kind in KINDS:
        with pytest.raises(UsageError, match=said) as caught:
            made(f'kind = "{kind}"\n{text}')
        assert caught.value.code == "config-value"


def test_cuts_are_shares_of_the_run() -> None:
    with pytest.raises(UsageError, match="less than 1"):
        made('kind = "step"\npeak = 1\nat = [30, 60, 80]')


def test_an_end_above_the_peak_is_refused_at_the_batch_where_it_is() -> None:
    settings = made('kind = "polynomial"\nbase_per_256 = 4e-4')
    resolve(settings, batch=64, steps_per_epoch=10, epochs=10)
    with pytest.raises(UsageError, match="above the peak of 5e-05 at batch 32") as caught:
        resolve(settings, batch=32, steps_per_epoch=10, epochs=10)
    assert caught.value.code == "schedule-end"


@pytest.mark.parametrize("kind", KINDS)
def test_effective_settings_are_read_back_as_they_were(kind: str, tmp_path: Path) -> None:
    for rate in ("peak = 0.5", 'base_per_256 = 0.1\nscaling = "sqrt"\nwarmup_steps = 3'):
        told = Told(schedule=made(f'kind = "{kind}"\n{rate}'))
        write_effective(told, tmp_path / "recipe.toml")
        assert load(tmp_path / "recipe.toml", Told) == told
