"""Energy and power as tables."""

from collections.abc import Sequence

from thorax.report.modelled import MODELLED
from thorax.report.parts import Section
from thorax.report.series import precision_text
from thorax.report.table import Table, dense, table_of
from thorax.report.text import number_text
from thorax.results.benchmark import BenchmarkResult
from thorax.results.energy import (
    EMULATED_RATE,
    DevicePower,
    LogEnergy,
    MeterList,
    PowerResult,
    WatchResult,
)


def meter_table(meters: MeterList) -> Table:
    """Return which meters answer, and what is in the way of the others."""
    return table_of(
        "Meters that need no address",
        meters.meters,
        {
            "Meter": lambda meter: meter.name,
            "Answers": lambda meter: "yes" if meter.available else "no",
            "Reads, or what is in the way": lambda meter: (
                meter.problem.message if meter.problem else ", ".join(meter.devices)
            ),
        },
        note=f"All that --power takes: {', '.join(meters.specs)}.",
    )


def energy_table(result: WatchResult | LogEnergy) -> Table:
    """Return energy and mean power of each device, of `power watch` and `power energy`."""
    rows = [
        (
            name if device.counted else f"{name} (part)",
            number_text(device.energy_j, ",.1f"),
            number_text(device.power_w, ",.1f"),
        )
        for name, device in result.devices.items()
    ]
    rows.append(("sum", number_text(result.energy_j, ",.1f"), number_text(result.power_w, ",.1f")))
    kind = f", {MODELLED}" if result.modelled else ", replayed" if result.replayed else ""
    missing = result.energy_error if isinstance(result, WatchResult) else None
    return Table(
        f"Energy{kind}",
        ("Device", "J", "W (mean)"),
        tuple(rows),
        (result.modelled,) * len(rows),
        f"From {result.energy_source}: {result.readings:,} readings in {result.duration_s:.1f} s."
        + (f" No energy: {missing}." if missing else ""),
        modelled=result.modelled,
    )


def power_table(results: Sequence[BenchmarkResult]) -> Table | None:
    """Return power idle and under load and both efficiencies, of results of `benchmark`.

    A row for the whole of each, and one for each of its devices where there are several. None
    where no meter was read.
    """
    read = [(result, result.power) for result in results if result.power]
    loaded = [(result, power) for result, power in read if power.load_w is not None]
    missing = dict.fromkeys(why for result, power in read for why in _missing(result, power))
    sources = dict.fromkeys(_source_text(result, power) for result, power in loaded)
    parts = [(power.modelled, row) for result, power in loaded for row in _rows(result, power)]
    modelled = tuple(kind for kind, _ in parts)
    rows = tuple(row for _, row in parts)
    if not rows and not missing:
        return None
    notes = [*missing]
    if rows:
        notes = [
            f"From {', '.join(sources)}.",
            "Whole: images/s over all watts; marginal: over what the load adds to idle.",
            *dict.fromkeys(
                f"{name}: {device.source}."
                for _, power in loaded
                for name, device in power.devices.items()
                if device.source
            ),
            *missing,
        ]
    all_modelled = bool(rows) and all(modelled)
    columns = ("Network", "Of", "Idle W", "Load W", "Marginal W", "J", "Img/s/W, whole", "marginal")
    title = f"Power, {MODELLED}" if all_modelled else "Power"
    return dense(Table(title, columns, rows, modelled, " ".join(notes), all_modelled))


def _name(result: BenchmarkResult) -> str:
    return f"{precision_text(result)} {result.device}".strip()


def _missing(result: BenchmarkResult, power: PowerResult) -> list[str]:
    reasons = {"energy": result.energy_error}
    if power.load_w is not None:
        if result.simulated:
            reasons["images/s/W"] = EMULATED_RATE
        else:
            reasons["marginal images/s/W"] = power.marginal_error
        reasons["idle power"] = power.idle_error
    return [f"No {what} of {_name(result)}: {why}." for what, why in reasons.items() if why]


def _source_text(result: BenchmarkResult, power: PowerResult) -> str:
    marks = [MODELLED] if power.modelled else []
    marks += ["replayed, read at another time"] if power.replayed else []
    return result.energy_source + (f" ({'; '.join(marks)})" if marks else "")


def _rows(result: BenchmarkResult, power: PowerResult) -> list[tuple[str, ...]]:
    name = _name(result)
    efficiencies = (power.images_per_s_per_w, power.marginal_images_per_s_per_w)
    whole = (
        name,
        "whole, W replayed" if power.replayed else "whole",
        *_watts(power),
        number_text(result.energy_j, ",.1f"),
        *("" if result.simulated else number_text(value, ".3g") for value in efficiencies),
    )
    if len(power.devices) < 2:
        return [whole]
    return [
        whole,
        *(
            (name, device if drawn.counted else f"{device} (part)", *_watts(drawn), "", "", "")
            for device, drawn in power.devices.items()
        ),
    ]


def _watts(power: PowerResult | DevicePower) -> tuple[str, str, str]:
    idle, load, marginal = (
        number_text(value, ".1f") for value in (power.idle_w, power.load_w, power.marginal_w)
    )
    return idle, load, marginal


def section(results: Sequence[WatchResult | LogEnergy]) -> Section:
    """Return what meters read, of `power watch` and `power energy`."""
    return Section("energy", "Energy", tables=tuple(map(energy_table, results)))
