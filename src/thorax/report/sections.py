"""The sections of a report page, each made from the documents of its commands."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from thorax.report.baseline import comparison_table
from thorax.report.benchmark import speed_table
from thorax.report.benchmark_plots import speed_bars, speed_plot
from thorax.report.fpga import fpga_tables, split_texts
from thorax.report.modelled import MODELLED, modelled_table
from thorax.report.optimize import artifact_table, compare_tables, tried_table
from thorax.report.parts import Section
from thorax.report.power import power_table
from thorax.report.roofline import analyze_tables, roofline_plot
from thorax.report.series import Document, series_names
from thorax.report.table import Table
from thorax.report.tune import tuning_table
from thorax.results.analysis import AnalyzeResult
from thorax.results.benchmark import BenchmarkResult, TuningResult
from thorax.results.optimize import CompareResult, OptimizeResult
from thorax.results.schema import Result


def speed_section(
    results: Sequence[BenchmarkResult], optimized: Sequence[OptimizeResult]
) -> Section | None:
    """Return speed and size, of `benchmark` and `optimize`."""
    bars = speed_bars(results)
    if not results and not optimized:
        return None
    plots = (Markup(speed_plot(bars)),) if bars else ()
    tables = [
        speed_table(results) if results else None,
        power_table(results),
        modelled_table(results),
        *(comparison_table(result.baseline) for result in results if result.baseline),
        *(tuning_table(result) for result in results if isinstance(result, TuningResult)),
        artifact_table(optimized) if optimized else None,
        tried_table(optimized),
    ]
    text: tuple[str, ...] = ()
    if any(result.simulated for result in results):
        text = (
            f"Hatched bars and tables are {MODELLED}: time and power of a simulated card are"
            " computed from its architecture, not read from a clock or a meter. Rows in italics,"
            " marked emulated, are the wall time of the computer that emulates its arithmetic.",
        )
    kept = tuple(table for table in tables if table is not None)
    return Section("speed", "Speed and size", text, plots, kept)


def roofline_section(results: Sequence[AnalyzeResult]) -> Section | None:
    """Return layers under the roof of a device, of `analyze`."""
    if not results:
        return None
    plots = [
        Markup(roofline_plot(result, number=number))
        for number, result in enumerate(results)
        if result.has_roofs
    ]
    text = (
        "The roof is the most that the device can compute, or feed from memory, at a layer's"
        " operations a byte; marks are layers, larger the longer they must take.",
    )
    tables = [table for result in results for table in analyze_tables(result)]
    return Section(
        "roofline", "Work and memory", text if plots else (), tuple(plots), tuple(tables)
    )


def compared_section(results: Sequence[CompareResult]) -> Section | None:
    """Return what each layer adds in noise, of `compare`."""
    if not results:
        return None
    tables = [table for result in results for table in compare_tables(result)]
    verdicts = tuple(result.verdict for result in results)
    return Section("compare", "Layer by layer", verdicts, tables=tuple(tables))


def fpga_section(results: Sequence[Result]) -> Section | None:
    """Return splits, overlays and falling precision, of results of `FPGA_COMMANDS`."""
    if not results:
        return None
    text = tuple(split_texts(results))
    return Section("fpga", "FPGA", text, tables=tuple(fpga_tables(results)))


def facts_section(everything: Sequence[Document], key: str, heading: str) -> Section | None:
    """Return what all documents say under `key`; differing values stand side by side."""
    facts: dict[str, list[str]] = {}
    for document in everything:
        own = dict(document.get(key) or {})
        if key == "provenance" and document.get("digest"):
            own[f"digest of {series_names([document])[0]}"] = document["digest"]
        for name, value in _flat(own):
            values = facts.setdefault(name, [])
            if value not in values:
                values.append(value)
    if not facts:
        return None
    rows = tuple((name, "; ".join(values)) for name, values in facts.items())
    return Section(key, heading, tables=(Table("", ("What", "Value"), rows),), prose=True)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, part in value.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(part, Mapping):
            found += _flat(part, f"{name}: ")
        elif part is not None:
            text = ", ".join(map(str, part)) if isinstance(part, list | tuple) else str(part)
            found.append((name, text))
    return found
