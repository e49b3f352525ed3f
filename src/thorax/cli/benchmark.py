"""The commands that measure: accuracy, speed, and the page that shows both."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.options import Device, Extensions, Json, Model
from thorax.cli.power import (
    Authority,
    Idle,
    Insecure,
    Interval,
    PasswordFile,
    Power,
    access,
    metered,
    tell_energy,
)
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.artifact import Artifact
    from thorax.devices.engine import Engine

benchmark_app = typer.Typer()


_TRAFFIC: Final = "Traffic"
_TUNING: Final = "Tuning"
_COMPARING: Final = "Comparing"


@benchmark_app.command(
    epilog="Example:  thorax benchmark model-int8 --scenario server --latency-limit-ms 50"
)
def benchmark(
    context: typer.Context,
    model: Model,
    device: Device = "CPU",
    images: Annotated[
        Path | None, Option(help="Folder of radiographs to feed; default: fixed noise.")
    ] = None,
    duration: Annotated[float, Option(help="Seconds to measure, after 1 s of warm-up.")] = 10.0,
    scenario: Annotated[
        str,
        Option(
            help="MLPerf's: offline, server, single-stream or multi-stream.",
            rich_help_panel=_TRAFFIC,
        ),
    ] = "offline",
    rate: Annotated[
        float | None,
        Option(
            help="Server: images that arrive per second; default: the most that keeps the limit.",
            rich_help_panel=_TRAFFIC,
        ),
    ] = None,
    latency_limit_ms: Annotated[
        float | None,
        Option(help="Server, --tune: what 99 % of the answers keep, ms.", rich_help_panel=_TRAFFIC),
    ] = None,
    samples_per_query: Annotated[
        int, Option(help="Multi-stream: images of a query.", rich_help_panel=_TRAFFIC)
    ] = 8,
    loadgen_logs: Annotated[
        Path | None, Option(help="Folder to keep LoadGen's logs in.", rich_help_panel=_TRAFFIC)
    ] = None,
    tune: Annotated[
        bool,
        Option(
            "--tune",
            help="Find the best streams and batch, and store them in the card for classify.",
            rich_help_panel=_TUNING,
        ),
    ] = False,
    against: Annotated[
        list[Path] | None,
        Option(help="Another artifact to tune beside it; repeatable.", rich_help_panel=_TUNING),
    ] = None,
    on: Annotated[
        list[str] | None,
        Option("--on", help="Another device to tune on; repeatable.", rich_help_panel=_TUNING),
    ] = None,
    baseline: Annotated[
        Path | None,
        Option(
            help="JSON of an earlier run, or an artifact to take turns with: a sure loss fails.",
            rich_help_panel=_COMPARING,
        ),
    ] = None,
    max_loss: Annotated[
        float,
        Option(help="Fraction of speed that --baseline may lose.", rich_help_panel=_COMPARING),
    ] = 0.05,
    rounds: Annotated[
        int, Option(help="Turns of each, beside an artifact.", rich_help_panel=_COMPARING)
    ] = 15,
    power: Power = "none",
    power_interval: Interval = None,
    idle_s: Idle = 5.0,
    power_password_file: PasswordFile = None,
    power_ca: Authority = None,
    power_insecure: Insecure = False,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """Images per second, latency and energy, under the traffic of MLPerf LoadGen."""
    from thorax.artifact import load as load_artifact
    from thorax.benchmark import run, scenarios
    from thorax.benchmark.baseline import open_baseline, require_held
    from thorax.benchmark.baseline_file import digested
    from thorax.devices.engine import compile as compile_artifact
    from thorax.devices.extensions import add_extensions
    from thorax.devices.forecast import forecast_engine
    from thorax.inference.predictor import find_files
    from thorax.report.baseline import comparison_table
    from thorax.report.benchmark import speed_table
    from thorax.report.modelled import modelled_table
    from thorax.report.power import power_table

    add_extensions(extension or ())
    _require_switches(context)
    if tune:
        # A sweep has its own load and compares with itself.
        given = {
            "--scenario": scenario != "offline",
            "--rate": rate is not None,
            "--images": images is not None,
            "--loadgen-logs": loadgen_logs is not None,
            "--baseline": baseline is not None,
            "--power": power != "none",
        }
        if wrong := [name for name, there in given.items() if there]:
            raise UsageError(
                "option-apart", f"--tune and {wrong[0]} do not go together; give one of them"
            )
        _tune([model, *(against or ())], [device, *(on or ())], latency_limit_ms, duration, json)
        return
    chosen = scenarios.choose(scenario, rate=rate, latency_limit_ms=latency_limit_ms)
    artifact = load_artifact(model)

    def prepare(one: "Artifact") -> "Engine":
        return compile_artifact(one, device, hint=scenarios.HINTS[chosen])

    engine = prepare(artifact)
    compare = (
        open_baseline(
            baseline,
            engine,
            scenario,
            prepare=prepare,
            duration_s=duration,
            rounds=rounds,
            max_loss=max_loss,
        )
        if baseline
        else None
    )
    files = list(find_files([images])) if images else []
    prepared = run.read_images(files, artifact.card.input) if images else ()
    asked = access(power_password_file, power_ca, power_insecure)
    with (
        metered(power, power_interval, idle_s, asked) as sampler,
        console.progress(f"measuring {scenario}", None) as ticker,
    ):
        measurement = scenarios.measure(
            engine,
            chosen,
            duration_s=duration,
            images=prepared,
            samples_per_query=samples_per_query,
            rate=rate,
            latency_limit_s=None if latency_limit_ms is None else latency_limit_ms / 1e3,
            logs=loadgen_logs,
            on_progress=ticker.advance,
            on_longer=console.say,
        )
    energy = sampler.energy(measurement.begin_s, measurement.begin_s + measurement.window_s)
    forecast = forecast_engine(engine, measure=True)
    document = run.document(engine, measurement, forecast, energy)
    comparison = compare(document) if compare else None
    if comparison:
        document["baseline"] = comparison.document()
    document = digested(document)

    def show() -> None:
        console.show(
            speed_table([document]),
            power_table([document]),
            modelled_table([document]),
            comparison_table(document["baseline"]) if comparison else None,
        )

    for reason in measurement.invalid_because:
        console.say(f"not valid by LoadGen's rules: {reason}")
    console.emit(document, as_json=json, show=show)
    if comparison and comparison.verdict == "loss":
        if energy.error:
            # The exit status can tell one of both: the loss is what the run was made for.
            console.say(f"energy-missing: {energy.error}; the rest was measured and is kept")
        require_held(comparison)
    tell_energy(energy)


_SWITCHES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "tune": ("--tune", ("against", "on")),
    "baseline": ("--baseline", ("max_loss", "rounds")),
    "power": (
        "--power METER",
        ("power_interval", "idle_s", "power_password_file", "power_ca", "power_insecure"),
    ),
    "scenario": ("--scenario multi-stream", ("samples_per_query",)),
}
"""Of each switch how it is written, and the options that say nothing without it."""


def _require_switches(context: typer.Context) -> None:
    """Refuse options of `benchmark` without what they say something of."""
    given = {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    }
    values = context.params
    there = {
        "tune": values["tune"],
        "baseline": values["baseline"] is not None,
        "power": values["power"] != "none",
        "scenario": values["scenario"] == "multi-stream",
    }
    for switch, (written, options) in _SWITCHES.items():
        for name in options:
            if name in given and not there[switch]:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    "option-together", f"{option} needs {written}; give both or neither"
                )
    if "rounds" in given and not values["baseline"].is_dir():
        raise UsageError(
            "option-together",
            "--rounds needs an artifact as --baseline, for a document takes no turns; give both or"
            " neither",
        )


def _tune(
    models: Sequence[Path],
    devices: Sequence[str],
    limit_ms: float | None,
    duration_s: float,
    as_json: bool,
) -> None:
    from thorax.artifact import load
    from thorax.benchmark import tune
    from thorax.benchmark.baseline_file import digested
    from thorax.report.tune import tuning_table

    artifacts = [load(model) for model in models]
    limit_s = None if limit_ms is None else limit_ms / 1e3
    total = tune.settings(artifacts, devices) * tune.ROUNDS
    with tune.held(artifacts):
        with console.progress("tuning", total, "turns") as ticker:
            tried = tune.tune(
                artifacts,
                devices,
                latency_limit_s=limit_s,
                duration_s=duration_s,
                on_progress=ticker.advance,
            )
        document = digested(tune.document(tried, limit_s))
        try:
            tune.keep(tried, limit_s)
        finally:
            # What took minutes to measure is shown, whatever becomes of it.
            console.emit(
                document, as_json=as_json, show=lambda: console.show(tuning_table(document))
            )
