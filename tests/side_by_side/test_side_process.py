"""A side in a process of its own: made once, asked for turns, and its failures told."""

import os
from functools import partial

import pytest
from benchmarks.harness.side_by_side import Settings, Turn
from benchmarks.harness.side_process import Ready, SideProcess, fastest

SETTINGS = Settings(threads=1, precision="fp32", side=64, input="none", warm_up_s=0.5)


def counting(step: int, *, choice: int | None = None) -> Ready:
    asked: list[float] = []

    def measure(seconds: float) -> Turn:
        asked.append(seconds)
        known = {"calls": float(len(asked)), "first_s": asked[0]}
        return Turn(
            seconds, 0.1, step, known | {"choice": float(choice or 0), "process": os.getpid()}
        )

    more = {"told": os.environ.get("TOLD"), "process": os.getpid()}
    return Ready(measure, batch=4, choice=choice or 7, more=more)


def failing() -> Ready:
    raise ValueError("no such library")


def test_each_turn_is_of_a_new_process_after_a_warm_up_with_what_the_first_has_chosen() -> None:
    process = SideProcess(counting, 3, environment={"TOLD": "yes"})
    assert (process.batch, process.more["told"]) == (4, "yes")
    side = process.side("one", SETTINGS, 2.0)
    turns = [side.measure() for _ in range(2)]
    for turn in turns:
        assert (turn.wall_s, turn.cpu_s, turn.images) == (2.0, 0.1, 3)
        assert (turn.more["calls"], turn.more["first_s"], turn.more["choice"]) == (2.0, 0.5, 7.0)
    made_in = {turn.more["process"] for turn in turns}
    assert len(made_in | {process.more["process"], os.getpid()}) == 4
    assert "TOLD" not in os.environ


def test_what_an_earlier_run_chose_is_made_from_the_first_process_on() -> None:
    process = SideProcess(counting, 3, choice=9)
    assert process.side("one", SETTINGS, 2.0).measure().more["choice"] == 9.0


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(SystemExit, match="no such library"):
        SideProcess(failing)


def test_the_fastest_batch_is_that_of_most_images_a_second() -> None:
    rates = {1: 10, 4: 30, 8: 20}
    made = {
        batch: (lambda seconds, images=images: Turn(seconds, 0.1, int(images * seconds)))
        for batch, images in rates.items()
    }
    assert fastest(made, lambda batch: batch, seconds=2.0) == 4


def test_a_probe_holds_calls_enough_and_goes_by_turns() -> None:
    windows: list[tuple[int, float]] = []

    def measure(seconds: float, batch: int) -> Turn:
        windows.append((batch, seconds))
        return Turn(seconds, 0.1, int(4 * seconds))

    assert fastest({8: partial(measure, batch=8), 1: partial(measure, batch=1)}, int) == 8
    assert [batch for batch, _ in windows] == [8, 1] * 3
    # Four images a second: ten calls of eight take 20 s, ten of one 2.5 s.
    assert [seconds for _, seconds in windows] == [1.0, 1.0, 20.0, 2.5, 20.0, 2.5]
