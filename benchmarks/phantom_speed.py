"""Images per second, one processor, of drawing phantoms: 200 or more at 256 pixels.

The median of the turns with the interval of the sign test, by the clock and by processor time.
"""

import argparse
import os
import time

import cv2

from benchmarks.harness import load, result
from thorax.benchmark.confidence import FEWEST_TURNS, median_of_turns
from thorax.errors import UsageError
from thorax.phantoms.phantom import draw

GOAL = 200.0
SIZE = 256
"""Side of the phantoms of the goal, pixels."""


def main() -> None:
    """Read argv, draw in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="phantoms of one turn")
    parser.add_argument(
        "--size", type=int, default=SIZE, help="side, pixels; another is for rehearsals alone"
    )
    parser.add_argument("--turns", type=int, default=7)
    chosen = result.parse_args(parser)
    if chosen.turns < FEWEST_TURNS:
        parser.error(f"--turns is {chosen.turns}; an interval needs {FEWEST_TURNS}")
    if chosen.size != SIZE and chosen.rehearsal is None:
        parser.error(f"the claim is of {SIZE} pixels; give --rehearsal FOLDER for {chosen.size}")
    try:
        draw(0, 0, side=chosen.size)
    except UsageError as error:
        parser.error(str(error))
    watched = load.Watch("phantom_speed", chosen.rehearsal)
    # One processor, or a library that spreads its work would draw faster than one does.
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    cv2.setNumThreads(1)
    wall, cpu = [], []
    for turn in range(chosen.turns):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        for index in range(turn * chosen.count, (turn + 1) * chosen.count):
            draw(1, index, side=chosen.size)
        wall.append(chosen.count / (time.perf_counter() - begin))
        cpu.append(chosen.count / (time.process_time() - cpu_begin))
    os.sched_setaffinity(0, processors)
    clock, used = median_of_turns(wall), median_of_turns(cpu)
    assert clock is not None
    assert used is not None
    rows = (("wall clock", clock), ("processor time", used))
    result.table(
        f"phantoms at {chosen.size} pixels on one processor, {chosen.turns} turns",
        ("By", "images/s", "95 %, from", "to"),
        [
            (name, f"{found.value:.0f}", f"{found.low:.0f}", f"{found.high:.0f}")
            for name, found in rows
        ],
    )
    print(f"goal: {GOAL:.0f} or more at 256 pixels")
    document = {
        "size": chosen.size,
        "images_a_turn": chosen.count,
        "goal_images_per_s": GOAL,
        "median_images_per_s": clock.value,
        "median_images_per_s_interval": [clock.low, clock.high],
        "median_images_per_cpu_s": used.value,
        "images_per_s": wall,
        "images_per_cpu_s": cpu,
        "load": watched.facts(),
    }
    print("written:", result.write("phantom_speed", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
