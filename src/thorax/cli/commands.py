"""The table of commands, and the group that imports a command when it is typed.

`thorax --help` needs a line about each command and none of their options, so it imports none.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS: Final = {
    "phantom": ("data:phantom_app", "Draw labelled synthetic radiographs with lesion boxes."),
    "classify": (
        "classify:classify_app",
        "Find the findings in radiographs. Exit status 3 if any file could not be read.",
    ),
    "devices": ("classify:classify_app", "What is here and what it can do."),
    "demo": (
        "demo:demo_app",
        "Phantoms -> train -> fp32, bf16, int8 -> validate -> classify -> benchmark -> report.",
    ),
    "data": ("data:data_app", "Import radiographs into a store, check it, say how easy it is."),
    "verify": (
        "verify:verify_app",
        "Read everything of a path and compare it with its digests. Exit status 3 or 4 on damage.",
    ),
    "train": (
        "train:train_app",
        "Train to a checkpoint, alone or by torchrun --nproc-per-node 2 -m thorax train ...",
    ),
    "sharpness": (
        "landscape:landscape_app",
        "How sharp the minimum is: Keskar's, adaptive and spectral sharpness.",
    ),
    "doctor": ("doctor:doctor_app", "Find out what is wrong before it costs time."),
    "optimize": (
        "optimize:optimize_app",
        "Convert a model to an artifact: OpenVINO IR with a card.",
    ),
    "mo": ("mo:mo_app", "The classic Model Optimizer: any model to IR, by the flags of 2018."),
    "analyze": (
        "optimize:optimize_app",
        "Work and memory of each layer, and its least time at the fastest rate OpenVINO reached.",
    ),
    "compare": (
        "optimize:optimize_app",
        "Noise of each layer between two models of one network, worst first.",
    ),
    "fpga": (
        "fpga:fpga_app",
        "Simulated FPGA cards: their arithmetic is real, their time and power are modelled.",
    ),
    "partition": (
        "fpga:partition_app",
        "Who runs what of a network, why, what crosses, and the cards' time, which is modelled.",
    ),
    "validate": (
        "evaluate:evaluate_app",
        "AUROC of each finding with intervals; what each of several artifacts costs and brings.",
    ),
    "score": ("evaluate:evaluate_app", "The same AUROC table for anybody's predictions."),
    "benchmark": (
        "benchmark:benchmark_app",
        "Images per second, latency and energy, under the traffic of MLPerf LoadGen.",
    ),
    "tune": (
        "benchmark:benchmark_app",
        "Find the best streams and batch, and store them in the card for classify.",
    ),
    "report": ("report:report_app", "One self-contained page with tables and plots."),
    "schema": (
        "report:report_app",
        "JSON Schema of what a command prints with --json: keys, types, units and meanings.",
    ),
    "power": ("power:power_app", "Power meters: which answer, what they say, what a log holds."),
    "plan": (
        "plan:plan_app",
        "What servers and clusters would do and draw: modelled, not measured.",
    ),
}
"""Where each command is, as module:name below `thorax.cli`, and what it is for."""


class _Imported(Mapping[str, Any]):
    """The commands by name, imported when they are asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Click's, as Typer has it
        if name not in self._made:
            module, of = COMMANDS[name][0].split(":")
            group = typer.main.get_group(
                getattr(importlib.import_module(f"thorax.cli.{module}"), of)
            )
            self._made[name] = group.commands.get(name, group)
            self._made[name].name = name
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(TyperGroup):
    """The commands of `thorax`."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - Typer's own
        super().__init__(**{**options, "commands": _Imported()})

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer's own
        """Print the help of the table alone."""
        imported = self.commands
        self.commands = {
            name: TyperCommand(name, help=summary) for name, (_, summary) in COMMANDS.items()
        }
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = imported
