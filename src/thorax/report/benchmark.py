"""Speed of artifacts: the table of `thorax benchmark`."""

from collections.abc import Sequence

from thorax.report.series import EMULATED, arithmetic_text
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text
from thorax.results.benchmark import BenchmarkResult


def network_text(result: BenchmarkResult) -> str:
    """Return how weights are stored and what a card computes in, as `precision_text`."""
    return arithmetic_text(result.precision, result.compute, result.device)


def speed_table(results: Sequence[BenchmarkResult]) -> Table:
    """Return speed and power, one row a result of `benchmark`."""
    powered = [result for result in results if result.power_w is not None]
    meters = dict.fromkeys(result.energy_source for result in powered)
    note = f"Power from {', '.join(meters)}." if powered else "No power meter was read."
    if any(result.power and result.power.modelled for result in results):
        note += " * modelled, not measured."
    if any(result.power and result.power.replayed for result in results):
        note += " † replayed, read at another time."
    if any(result.simulated for result in results):
        note += f" {EMULATED}"
    columns = ("Precision", "Device", "Scenario", "Streams", "Images/s", "× FP32")
    power = ("W", "Img/s/W") if powered else ()
    return dense(
        Table(
            "Speed",
            (*columns, "p50 ms", "p90 ms", "p99 ms", *power, "How"),
            tuple(
                (
                    network_text(result),
                    result.device,
                    _scenario_text(result),
                    number_text(result.streams, "d"),
                    rate_text(result.images_per_s),
                    _speedup_text(result, results),
                    *(
                        number_text(value, ".1f")
                        for value in (
                            result.latency_ms.p50,
                            result.latency_ms.p90,
                            result.latency_ms.p99,
                        )
                    ),
                    *(_power_texts(result) if powered else ()),
                    ("emulated" if result.simulated else "measured")
                    + (", INVALID" if result.valid is False else ""),
                )
                for result in results
            ),
            tuple(result.simulated for result in results),
            note,
        )
    )


def _scenario_text(result: BenchmarkResult) -> str:
    rate = result.scheduled_images_per_s
    return result.scenario + (f" at {rate_text(rate)}/s" if rate else "")


def _speedup_text(result: BenchmarkResult, results: Sequence[BenchmarkResult]) -> str:
    """Return the speed over that of the fp32 run that differs in its precision alone.

    An emulation has none: what it stores, it computes in the arithmetic of a card.
    """
    references = [
        other
        for other in results
        if other.precision.lower() == "fp32"
        and other.images_per_s
        and (other.device, other.scenario) == (result.device, result.scenario)
        and not other.simulated
    ]
    if result.simulated or len(references) != 1:
        return ""
    return f"{result.images_per_s / references[0].images_per_s:.2f}"


def _power_texts(result: BenchmarkResult) -> tuple[str, str]:
    """Return watts and efficiency, marked where they were computed or are of another time."""
    efficiency = None if result.simulated else result.images_per_s_per_w
    power = result.power
    mark = "*" * bool(power and power.modelled) + "†" * bool(power and power.replayed)
    texts = (number_text(result.power_w, ".1f"), number_text(efficiency, ".3g"))
    watts, per_watt = (text and f"{text}{mark}" for text in texts)
    return watts, per_watt
