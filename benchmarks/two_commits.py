"""Whole commands of two checkouts, by turns whose order is drawn at random.

Both sides are processes of the same Python, from start to exit. One run of each before, which is
not counted, lets Python keep its byte code, as an installed program has it.
"""

import argparse
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from benchmarks import result
from thorax.benchmark.confidence import FEWEST_TURNS, median_of_turns

SIDES: Final = ("before", "after")


@dataclass(frozen=True, slots=True)
class TwoCommits:
    """This checkout and that of an earlier commit.

    Attributes:
        trees: their folders, by side.
        turns: of every command on every side that are counted.
        seed: of the order within the turns.
    """

    trees: Mapping[str, Path]
    turns: int
    seed: int
    _seconds: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)

    @classmethod
    def from_argv(cls, description: str | None) -> Self:
        """Return what argv asks for."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("before", type=Path, help="checkout of the earlier commit")
        parser.add_argument("--turns", type=int, default=11)
        parser.add_argument("--seed", type=int, default=0, help="of the order within the turns")
        chosen = parser.parse_args()
        trees = {"before": chosen.before.resolve(), "after": Path(__file__).resolve().parents[1]}
        return cls(trees, chosen.turns, chosen.seed)

    def run(self, commands: Mapping[str, Callable[[str], Sequence[str]]]) -> None:
        """Run every command on both sides, turn by turn.

        Args:
            commands: the words after `python`, of the side that they are typed on, by name.
        """
        order = random.Random(self.seed)
        for turn in range(self.turns + 1):
            for side in order.sample(SIDES, 2):
                for name, words in commands.items():
                    environment = {"PYTHONPATH": str(self.trees[side] / "src")}
                    seconds = result.timed([sys.executable, *words(side)], environment)
                    if turn:
                        self._seconds.setdefault((name, side), []).append(seconds)

    def write(self, claim: str, document: Mapping[str, Any]) -> None:
        """Print the ratios and write them with what they are of."""
        measured, rows = {}, []
        for name in dict.fromkeys(name for name, _ in self._seconds):
            for number, clock in enumerate(("wall", "cpu")):
                before, after = (
                    [seconds[number] for seconds in self._seconds[name, side]] for side in SIDES
                )
                interval = median_of_turns([b / a for a, b in zip(before, after, strict=True)])
                assert interval is not None, f"at least {FEWEST_TURNS} turns make an interval"
                measured[f"{name}_{clock}"] = {
                    "before_s": before,
                    "after_s": after,
                    "median_ratio": interval.value,
                    "interval": [interval.low, interval.high],
                }
                rows.append(
                    (
                        f"{name}, {clock}",
                        *(f"{statistics.median(seconds):.3f}" for seconds in (before, after)),
                        f"{interval.value:.3f}",
                        f"{interval.low:.3f} to {interval.high:.3f}",
                    )
                )
        result.table(
            f"{self.turns} turns (medians)",
            ("Command, clock", "before, s", "after, s", "ratio", "95 %"),
            rows,
        )
        commits = {side: _commit(tree) for side, tree in self.trees.items()}
        written = result.write(
            claim, {**document, "commits": commits, "seed": self.seed, **measured}
        )
        print(f"written: benchmarks/results/{written.name}")


def _commit(tree: Path) -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=tree, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()
