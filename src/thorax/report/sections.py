"""The sections of a report page, each made from the documents of its commands."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from thorax.report.accuracy import (
    Accuracy,
    auroc_table,
    cost_table,
    difference_table,
    pointing_table,
    validated_artifacts,
)
from thorax.report.accuracy_plots import auroc_plot, reliability_plot, roc_plot
from thorax.report.baseline import comparison_table
from thorax.report.benchmark import speed_table
from thorax.report.benchmark_plots import speed_bars, speed_plot
from thorax.report.buyers import buyers_csv, buyers_table, csv_link, offers
from thorax.report.buyers_plot import power_plot
from thorax.report.difference import compare_tables
from thorax.report.fpga_report import fpga_tables, split_texts
from thorax.report.modelled import MODELLED, modelled_table
from thorax.report.optimize import artifact_table, tried_table
from thorax.report.parts import Section
from thorax.report.power import energy_table, power_table
from thorax.report.roofline import analyze_tables, has_roofs, roofline_plot
from thorax.report.series import Document, images_text, series_names
from thorax.report.sharpness import sharpness_plots, sharpness_table
from thorax.report.table import Table
from thorax.report.training import run_line, schedule_table
from thorax.report.training_plots import training_plot
from thorax.report.tune import tuning_table
from thorax.results.accuracy import ValidationResult
from thorax.results.benchmark import BenchmarkResult, TuningResult
from thorax.results.energy import LogEnergy, WatchResult
from thorax.results.landscape import SharpnessResult
from thorax.results.training import TrainingRecord


def buyers_section(
    speed: Sequence[BenchmarkResult], accuracy: Sequence[Document], plans: Sequence[Document]
) -> Section | None:
    """Return all runs side by side: speed, watts and AUROC in one table, to be downloaded too."""
    rows = offers(speed, accuracy, plans)
    table = buyers_table(rows)
    if table is None:
        return None
    plot = power_plot(rows)
    return Section(
        "runs",
        "Side by side",
        plots=(Markup(plot),) if plot else (),
        tables=(table,),
        download=csv_link(buyers_csv(rows)),
        leads=True,
    )


def accuracy_section(results: Sequence[Accuracy]) -> Section | None:
    """Return AUROC and what each artifact costs, of `validate` and `score`."""
    if not results:
        return None
    validations = [result for result in results if isinstance(result, ValidationResult)]
    tables = [
        *map(cost_table, validations),
        auroc_table(results),
        *_differences(validations),
        modelled_table(validated_artifacts(results)),
    ]
    on: dict[str, list[str]] = {}
    for name, result in zip(series_names(results), results, strict=True):
        if result.images:
            on.setdefault(images_text(result), []).append(name)
    return Section(
        "accuracy",
        "Accuracy",
        tuple(f"{', '.join(names)}: {images}." for images, names in on.items()),
        (Markup(auroc_plot(results)),),
        tuple(table for table in tables if table is not None),
    )


def _differences(validations: Sequence[ValidationResult]) -> list[Table]:
    """Return what was compared on the same images, by the name of the network where several are."""
    tables = [
        (result.model, table)
        for result in validations
        if (table := difference_table(result)) is not None
    ]
    several = len({name for name, _ in tables}) > 1
    return [
        replace(table, title=f"{name}: {table.title}") if several else table
        for name, table in tables
    ]


def speed_section(
    results: Sequence[BenchmarkResult], optimized: Sequence[Document]
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


def roofline_section(documents: Sequence[Document]) -> Section | None:
    """Return layers under the roof of a device, of documents of `analyze`."""
    if not documents:
        return None
    plots = [
        Markup(roofline_plot(document, number=place))
        for place, document in enumerate(documents)
        if has_roofs(document)
    ]
    text = (
        "The roof is the most that the device can compute, or feed from memory, at a layer's"
        " operations a byte; marks are layers, larger the longer they must take.",
    )
    tables = [table for document in documents for table in analyze_tables(document)]
    return Section(
        "roofline", "Work and memory", text if plots else (), tuple(plots), tuple(tables)
    )


def compared_section(documents: Sequence[Document]) -> Section | None:
    """Return what each layer adds in noise, of documents of `compare`."""
    if not documents:
        return None
    tables = [table for document in documents for table in compare_tables(document)]
    verdicts = tuple(str(document["verdict"]) for document in documents)
    return Section("compare", "Layer by layer", verdicts, tables=tuple(tables))


def fpga_section(by_command: Mapping[str, Sequence[Document]]) -> Section | None:
    """Return splits, overlays and falling precision, of the documents of `FPGA_COMMANDS`."""
    if not any(by_command.values()):
        return None
    text = split_texts(by_command["partition"])
    return Section("fpga", "FPGA", tuple(text), tables=tuple(fpga_tables(by_command)))


def roc_section(results: Sequence[Accuracy]) -> Section | None:
    """Return ROC curves of results that have them."""
    curved = [result for result in results if result.roc]
    return Section("roc", "ROC", (), (Markup(roc_plot(curved)),)) if curved else None


def reliability_section(results: Sequence[Accuracy]) -> Section | None:
    """Return promised against true frequency, of results that have it."""
    binned = [result for result in results if result.reliability]
    if not binned:
        return None
    text = (
        "On the dotted line a probability means what it says. All findings are pooled; ECE is the"
        " expected calibration error. It holds for images with the prevalence of these only.",
    )
    return Section("reliability", "Reliability", text, (Markup(reliability_plot(binned)),))


def training_section(records: Sequence[TrainingRecord]) -> Section | None:
    """Return how runs went, of `train`."""
    if not records:
        return None
    lines = [run_line(record) for record in records]
    for record in records:
        lines += record.schedule.warnings if record.schedule else ()
    plots = tuple(
        Markup(training_plot(record.history, record.curve, number=index))
        for index, record in enumerate(records)
        if record.history or record.curve
    )
    table = schedule_table(records)
    return Section(
        "training",
        "Training",
        tuple(line for line in lines if line),
        plots,
        (table,) if table else (),
    )


def energy_section(results: Sequence[WatchResult | LogEnergy]) -> Section | None:
    """Return what meters read, of `power watch` and `power energy`."""
    if not results:
        return None
    return Section("energy", "Energy", tables=tuple(map(energy_table, results)))


def sharpness_section(results: Sequence[SharpnessResult]) -> Section | None:
    """Return loss around solutions, of `sharpness`."""
    if not results:
        return None
    plots = tuple(Markup(plot) for plot in sharpness_plots(results))
    return Section(
        "sharpness",
        "Sharpness",
        tuple(dict.fromkeys(result.caveat for result in results)),
        plots,
        # The page says the caveat first, above the plots.
        (replace(sharpness_table(results), note=""),),
    )


def pointing_section(results: Sequence[Accuracy]) -> Section | None:
    """Return how often heat maps point into lesion boxes, of results that say so."""
    pointed = [
        result for result in results if isinstance(result, ValidationResult) and result.pointing
    ]
    if not pointed:
        return None
    return Section("pointing", "Where it looks", tables=(pointing_table(pointed),))


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
