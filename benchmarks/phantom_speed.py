"""Images per second, one processor, of drawing phantoms: 200 or more at 256 pixels.

Other work on the machine slows the clock and hardly the processor time: both are told.
"""

import argparse
import os
import statistics
import time

import cv2

from benchmarks.harness import load, result
from thorax.phantoms.phantom import draw

GOAL = 200.0


def main() -> None:
    """Read argv, draw in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="phantoms of one turn")
    parser.add_argument("--size", type=int, default=256, help="side, pixels")
    parser.add_argument("--turns", type=int, default=7)
    chosen = result.parse_args(parser)
    watched = load.Watch("phantom_speed", chosen.rehearsal)
    # One processor, or a library that spreads its work would draw faster than one does.
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    cv2.setNumThreads(1)
    draw(0, 0, side=chosen.size)
    wall, cpu = [], []
    for turn in range(chosen.turns):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        for index in range(turn * chosen.count, (turn + 1) * chosen.count):
            draw(1, index, side=chosen.size)
        wall.append(chosen.count / (time.perf_counter() - begin))
        cpu.append(chosen.count / (time.process_time() - cpu_begin))
    os.sched_setaffinity(0, processors)
    rows = (("wall clock", wall), ("processor time", cpu))
    result.table(
        f"phantoms at {chosen.size} pixels on one processor, {chosen.turns} turns",
        ("By", "images/s", "lowest", "highest"),
        [
            (name, f"{statistics.median(rates):.0f}", f"{min(rates):.0f}", f"{max(rates):.0f}")
            for name, rates in rows
        ],
    )
    print(f"goal: {GOAL:.0f} or more at 256 pixels")
    document = {
        "size": chosen.size,
        "images_a_turn": chosen.count,
        "goal_images_per_s": GOAL,
        "median_images_per_s": statistics.median(wall),
        "median_images_per_cpu_s": statistics.median(cpu),
        "images_per_s": wall,
        "images_per_cpu_s": cpu,
        "load": watched.facts(),
    }
    print("written:", result.write("phantom_speed", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
