"""The commands that measure speed and find the fastest settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Device, Extensions, Json, Model, one_by_one, spelled_device
from thorax.cli.power import Metering, require_energy
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.artifact import Artifact
    from thorax.benchmark.scenarios import ScenarioOptions
    from thorax.devices.engine import Engine
    from thorax.results.benchmark import BenchmarkResult

benchmark_app = typer.Typer()


_traffic: Final = partial(Option, rich_help_panel="Traffic")
_tuning: Final = partial(Option, rich_help_panel="Tuning")
_comparing: Final = partial(Option, rich_help_panel="Comparing")


@dataclass(frozen=True)
class Network:
    """What is measured, and on what."""

    model: Model
    device: Device = "CPU"


@dataclass(frozen=True)
class Traffic:
    """What an engine is asked, for how long."""

    images: Annotated[
        Path | None, Option(help="Folder of radiographs to feed; default: fixed noise.")
    ] = None
    duration: Annotated[float, Option(help="Seconds to measure, after 1 s of warm-up.")] = 10.0
    scenario: Annotated[
        str, _traffic(help="MLPerf's: offline, server, single-stream or multi-stream.")
    ] = "offline"
    rate: Annotated[
        float | None,
        _traffic(
            help="Server: images that arrive per second; default: the most that keeps the limit."
        ),
    ] = None
    latency_limit_ms: Annotated[
        float | None, _traffic(help="Server, --tune: what 99 % of the answers keep, ms.")
    ] = None
    samples_per_query: Annotated[int, _traffic(help="Multi-stream: images of a query.")] = 8
    loadgen_logs: Annotated[Path | None, _traffic(help="Folder to keep LoadGen's logs in.")] = None

    def options(self) -> "ScenarioOptions":
        """Return what is measured.

        Raises:
            UsageError: as `parse_scenario` and `ScenarioOptions`.
        """
        from thorax.benchmark.scenarios import LATENCY_LIMIT_S, ScenarioOptions, parse_scenario

        limit_ms = self.latency_limit_ms
        return ScenarioOptions(
            parse_scenario(self.scenario, rate=self.rate, latency_limit_ms=limit_ms),
            self.duration,
            self.samples_per_query,
            self.rate,
            LATENCY_LIMIT_S if limit_ms is None else limit_ms / 1e3,
            self.loadgen_logs,
        )


@dataclass(frozen=True)
class Tuning:
    """Whether settings are tried instead, and of what else."""

    tune: Annotated[
        bool,
        _tuning(
            "--tune",
            help="Find the best streams and batch, and store them in the card for classify.",
        ),
    ] = False
    against: Annotated[
        list[Path] | None, _tuning(help="Another artifact to tune beside it; repeatable.")
    ] = None
    on: Annotated[
        list[str] | None, _tuning("--on", help="Another device to tune on; repeatable.")
    ] = None


@dataclass(frozen=True)
class Comparing:
    """What the run is compared with, and what it may lose."""

    baseline: Annotated[
        Path | None,
        _comparing(
            help="JSON of an earlier run, or an artifact to take turns with: a sure loss fails."
        ),
    ] = None
    max_loss: Annotated[float, _comparing(help="Fraction of speed that --baseline may lose.")] = (
        0.05
    )
    rounds: Annotated[int, _comparing(help="Turns of each, beside an artifact.")] = 15


@benchmark_app.command(
    epilog="Example:  thorax benchmark model-int8 --scenario server --latency-limit-ms 50"
)
@one_by_one
def benchmark(
    context: typer.Context,
    network: Network,
    traffic: Traffic,
    tuning: Tuning,
    comparing: Comparing,
    metering: Metering,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """Images per second, latency and energy, under the traffic of MLPerf LoadGen."""
    from thorax.artifact import load
    from thorax.benchmark.baseline import open_baseline
    from thorax.benchmark.measurement import read_images
    from thorax.benchmark.scenarios import HINTS
    from thorax.benchmark.scenarios import benchmark as run
    from thorax.devices.engine import compile as compile_artifact
    from thorax.devices.extensions import add_extensions
    from thorax.inference.sources import find_files

    add_extensions(extension or ())
    _require_switches(context)
    if tuning.tune:
        _require_no_traffic(traffic, comparing, metering)
        models = [network.model, *(tuning.against or ())]
        devices = [network.device, *(tuning.on or ())]
        _tune(models, devices, traffic.latency_limit_ms, traffic.duration, json)
        return
    options = traffic.options()

    def prepare(artifact: "Artifact") -> "Engine":
        return compile_artifact(artifact, network.device, hint=HINTS[options.scenario])

    engine = prepare(load(network.model))
    compare = None
    if comparing.baseline is not None:
        compare = open_baseline(
            comparing.baseline,
            engine,
            options.scenario,
            prepare=prepare,
            duration_s=options.duration_s,
            rounds=comparing.rounds,
            max_loss=comparing.max_loss,
        )
    files = list(find_files([traffic.images])) if traffic.images else []
    result = run(
        engine,
        options,
        images=read_images(files, engine.artifact.card.input) if traffic.images else (),
        meter=metering.sampler(),
        progress=console.counting(f"measuring {options.scenario}", None),
        compare=compare,
        on_longer=console.say,
    )
    _answer(result, as_json=json)


def _answer(result: "BenchmarkResult", *, as_json: bool) -> None:
    """Show what was measured; fail for a sure loss, or for a meter that told nothing."""
    from thorax.benchmark.baseline import require_held
    from thorax.report.benchmark import comparison_table, speed_table
    from thorax.report.modelled import modelled_tables
    from thorax.report.power import power_table

    for reason in result.invalid_because:
        console.say(f"not valid by LoadGen's rules: {reason}")
    console.answer(
        result,
        as_json,
        lambda: [
            speed_table([result]),
            power_table([result]),
            *modelled_tables([result]),
            comparison_table(result.baseline) if result.baseline else None,
        ],
    )
    if result.baseline and result.baseline.verdict == "loss":
        if result.energy_error:
            # The exit status can tell one of both: the loss is what the run was made for.
            console.say(f"energy-missing: {result.energy_error}; the rest was measured and is kept")
        require_held(result.baseline)
    require_energy(result.energy_error)


def _require_no_traffic(traffic: Traffic, comparing: Comparing, metering: Metering) -> None:
    """Refuse --tune beside what it has none of: a sweep has its own load, compared with itself."""
    given = {
        "--scenario": traffic.scenario != "offline",
        "--rate": traffic.rate is not None,
        "--images": traffic.images is not None,
        "--loadgen-logs": traffic.loadgen_logs is not None,
        "--baseline": comparing.baseline is not None,
        "--power": metering.power != "none",
    }
    if refused := [option for option, is_given in given.items() if is_given]:
        raise UsageError(
            "option-apart", f"--tune and {refused[0]} do not go together; give one of them"
        )


_SWITCHES: Final[dict[str, tuple[object, tuple[str, ...]]]] = {
    "--tune": (False, ("against", "on")),
    "--baseline": (None, ("max_loss", "rounds")),
    "--power METER": (
        "none",
        ("power_interval", "idle_s", "power_password_file", "power_ca", "power_insecure"),
    ),
}
"""Of each switch what it is when it is off, and the options that say nothing then."""


def _require_switches(context: typer.Context) -> None:
    """Refuse options of `benchmark` without what they say something of."""
    values = context.params
    given = {
        name
        for name in values
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    }
    useless = {
        name: switch
        for switch, (off, options) in _SWITCHES.items()
        for name in options
        if values[switch.removeprefix("--").partition(" ")[0]] == off
    }
    if values["scenario"] != "multi-stream":
        useless["samples_per_query"] = "--scenario multi-stream"
    for name, switch in useless.items():
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise UsageError("option-together", f"{option} needs {switch}; give both or neither")
    if "rounds" in given and not values["baseline"].is_dir():
        raise UsageError(
            "option-together",
            "--rounds needs an artifact as --baseline, for a document takes no turns; give both or"
            " neither",
        )


@benchmark_app.command(epilog="Example:  thorax tune model-fp32 model-int8 --latency-limit-ms 50")
def tune(
    models: Annotated[
        list[Path],
        Argument(metavar="MODEL...", help="Artifact folders of one network, in any precisions."),
    ],
    device: Annotated[
        list[str], Option("-d", "--device", help="CPU, GPU, ... as of benchmark; repeatable.")
    ] = ["CPU"],  # noqa: B006 - Typer shows it as the default
    latency_limit_ms: Annotated[
        float | None, Option(help="What 99 % of the answers keep, ms; default: no limit.")
    ] = None,
    duration: Annotated[float, Option(help="Seconds to measure each setting, in turns.")] = 10.0,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """Find the best streams and batch, and store them in the card for classify."""
    from thorax.devices.extensions import add_extensions

    add_extensions(extension or ())
    devices = [str(spelled_device(each)) for each in device]
    _tune(models, devices, latency_limit_ms, duration, json)


def _tune(
    models: Sequence[Path],
    devices: Sequence[str],
    limit_ms: float | None,
    duration_s: float,
    as_json: bool,
) -> None:
    from thorax.artifact import load
    from thorax.benchmark import tune
    from thorax.report.benchmark import tuning_table

    artifacts = [load(model) for model in models]
    limit_s = None if limit_ms is None else limit_ms / 1e3
    turns = tune.count_settings(artifacts, devices) * tune.ROUNDS
    with tune.locked(artifacts):
        with console.progress("tuning", turns, "turns") as ticker:
            trials = tune.tune(
                artifacts,
                devices,
                latency_limit_s=limit_s,
                duration_s=duration_s,
                on_progress=ticker.advance,
            )
        result = tune.tuning_result(trials, limit_s).digested()
        try:
            tune.store(trials, limit_s)
        finally:
            # What took minutes to measure is shown, whatever becomes of it.
            console.answer(result, as_json, lambda: [tuning_table(result)])
