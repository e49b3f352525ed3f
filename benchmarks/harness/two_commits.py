"""Whole commands of two checkouts, by turns whose order is drawn at random.

Both sides are processes of the same Python, from start to exit. One run of each before, which is
not counted, lets Python keep its byte code, as an installed program has it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.harness import result
from benchmarks.harness.side_by_side import (
    Comparison,
    Options,
    Settings,
    Side,
    SideBySide,
    add_options,
    command_side,
    read_options,
)

SIDES: Final = ("before", "after")


@dataclass(frozen=True, slots=True)
class TwoCommits:
    """This checkout and that of an earlier commit.

    Attributes:
        trees: their folders, by side.
        options: of the turns.
    """

    trees: Mapping[str, Path]
    options: Options

    @classmethod
    def from_argv(cls, description: str | None) -> Self:
        """Return what argv asks for."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument(
            "before", type=result.filled_folder, help="checkout of the earlier commit"
        )
        add_options(parser, turns=11, seconds=0)
        chosen = result.parse_args(parser)
        trees = {"before": chosen.before.resolve(), "after": Path(__file__).resolve().parents[2]}
        return cls(trees, read_options(chosen))

    def compare(
        self,
        claim: str,
        commands: Mapping[str, Callable[[str], Sequence[str]]],
        document: Mapping[str, Any],
        goals: Mapping[str, float],
    ) -> None:
        """Run every command on both sides, turn by turn, print the ratios and write them.

        Args:
            claim: name of the result.
            commands: the words after `python`, of the side that they are typed on, by name.
            document: what they are of.
            goals: of the ratios, by command.
        """
        bench = SideBySide(claim, self.options)
        bench.require_quiet()
        settings = Settings(len(os.sched_getaffinity(0)), "that of the command", None, "files")
        comparisons = []
        for name, words in commands.items():
            sides = [self._side(name, side, words, settings) for side in SIDES]
            for side in sides:
                side.measure()
            bench.take_turns(sides)
            comparisons.append(
                Comparison(
                    f"{name}, after over before",
                    f"{name}_after",
                    f"{name}_before",
                    "Seconds from start to exit of the command now over those at the commit before",
                    quantity="seconds",
                    goal=goals.get(name),
                )
            )
        bench.write(comparisons, document)

    def _side(
        self, name: str, side: str, words: Callable[[str], Sequence[str]], settings: Settings
    ) -> Side:
        tree = self.trees[side]
        return command_side(
            f"{name}_{side}",
            replace(settings, more={"commit": result.commit(tree)}),
            lambda: [sys.executable, *words(side)],
            {"PYTHONPATH": str(tree / "src")},
        )
