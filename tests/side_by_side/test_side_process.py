"""A side in a process of its own: made once, asked for turns, and its failures told."""

import os

import pytest
from benchmarks.side_by_side import Settings, Turn
from benchmarks.side_process import Ready, SideProcess, fastest

SETTINGS = Settings(threads=1, precision="fp32", side=64, input="none", warm_up_s=0.5)


def counting(step: int) -> Ready:
    asked: list[float] = []

    def measure(seconds: float) -> Turn:
        asked.append(seconds)
        return Turn(seconds, 0.1, step, {"calls": float(len(asked)), "first_s": asked[0]})

    return Ready(measure, batch=4, more={"told": os.environ.get("TOLD"), "process": os.getpid()})


def failing() -> Ready:
    raise ValueError("no such library")


def test_turns_come_from_another_process_after_a_warm_up() -> None:
    with SideProcess(counting, 3, environment={"TOLD": "yes"}) as process:
        assert (process.batch, process.more["told"]) == (4, "yes")
        assert process.more["process"] != os.getpid()
        side = process.side("one", SETTINGS, 2.0)
        assert side.measure() == Turn(2.0, 0.1, 3, {"calls": 2.0, "first_s": 0.5})
        assert side.measure().more["calls"] == 4.0
    assert "TOLD" not in os.environ


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(SystemExit, match="no such library"):
        SideProcess(failing)


def test_the_fastest_batch_is_that_of_most_images_a_second() -> None:
    rates = {1: 10, 4: 30, 8: 20}
    made = {
        batch: (lambda seconds, images=images: Turn(seconds, 0.1, int(images * seconds)))
        for batch, images in rates.items()
    }
    assert fastest(made, seconds=2.0)[0] == 4
