"""The sections of a report page, each made from the documents of its commands."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from markupsafe import Markup

from thorax.report.accuracy import auroc_table, cost_table, difference_table, pointing_table
from thorax.report.accuracy_plots import auroc_plot, reliability_plot, roc_plot
from thorax.report.baseline import comparison_table
from thorax.report.benchmark import speed_table
from thorax.report.benchmark_plots import speed_bars, speed_plot
from thorax.report.buyers import buyers_csv, buyers_table, csv_link, offers
from thorax.report.buyers_plot import power_plot
from thorax.report.cluster import cluster_tables
from thorax.report.fpga_report import fpga_tables, split_texts
from thorax.report.modelled import MODELLED, alone_and_against, modelled_table
from thorax.report.optimize import artifact_table, compare_tables, tried_table
from thorax.report.parts import Section
from thorax.report.plan_cluster import cluster_plan_tables
from thorax.report.plan_cluster_plots import cluster_plot
from thorax.report.plan_server import server_tables
from thorax.report.plan_server_plots import server_plot
from thorax.report.power import energy_table, power_table
from thorax.report.roofline import analyze_tables, roofline_plot
from thorax.report.series import Document, images_text, name_series, series_names
from thorax.report.sharpness import sharpness_plots, sharpness_table
from thorax.report.table import Table
from thorax.report.training import run_line, schedule_table
from thorax.report.training_plots import training_plot
from thorax.report.tune import tuning_table
from thorax.results.analysis import AnalyzeResult
from thorax.results.cluster import ClusterDiagnosis
from thorax.results.landscape import SharpnessResult
from thorax.results.optimize import CompareResult, OptimizeResult
from thorax.results.training import TrainingRecord


def buyers_section(
    speed: Sequence[Document], accuracy: Sequence[Document], plans: Sequence[Document]
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


def accuracy_section(documents: Sequence[Document]) -> Section | None:
    """Return AUROC and what each artifact costs, of documents of `validate` and `score`."""
    if not documents:
        return None
    tables = [
        *(cost_table(document) for document in documents),
        auroc_table(documents),
        *_differences(documents),
        modelled_table(alone_and_against(documents)),
    ]
    on: dict[str, list[str]] = {}
    for name, document in zip(series_names(documents), documents, strict=True):
        if document.get("images"):
            on.setdefault(images_text(document), []).append(name)
    text = tuple(f"{', '.join(names)}: {images}." for images, names in on.items())
    plot = Markup(auroc_plot(name_series(documents)))
    return Section(
        "accuracy",
        "Accuracy",
        text,
        (plot,),
        tuple(table for table in tables if table is not None),
    )


def _differences(documents: Sequence[Document]) -> list[Table]:
    """Return what was compared on the same images, by the name of the network where several are."""
    found = [(str(one.get("model", "")), difference_table(one)) for one in documents]
    several = len({name for name, table in found if table}) > 1
    return [
        replace(table, title=f"{name}: {table.title}") if several else table
        for name, table in found
        if table
    ]


def speed_section(
    documents: Sequence[Document], optimized: Sequence[OptimizeResult]
) -> Section | None:
    """Return speed and size, of documents of `benchmark` and results of `optimize`."""
    bars = speed_bars(documents)
    if not documents and not optimized:
        return None
    plots = (Markup(speed_plot(bars)),) if bars else ()
    tables = [
        speed_table(documents) if documents else None,
        power_table(documents),
        modelled_table(documents),
        *(comparison_table(one["baseline"]) for one in documents if one.get("baseline")),
        *(tuning_table(one) for one in documents if one.get("tried")),
        artifact_table(optimized) if optimized else None,
        tried_table(optimized),
    ]
    text: tuple[str, ...] = ()
    if any(document.get("simulated") for document in documents):
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


def fpga_section(by_command: Mapping[str, Sequence[Document]]) -> Section | None:
    """Return splits, overlays and falling precision, of the documents of `FPGA_COMMANDS`."""
    if not any(by_command.values()):
        return None
    text = split_texts(by_command["partition"])
    return Section("fpga", "FPGA", tuple(text), tables=tuple(fpga_tables(by_command)))


def roc_section(documents: Sequence[Document]) -> Section | None:
    """Return ROC curves of documents that have them."""
    kept = [document for document in documents if document.get("roc")]
    return Section("roc", "ROC", (), (Markup(roc_plot(name_series(kept))),)) if kept else None


def reliability_section(documents: Sequence[Document]) -> Section | None:
    """Return promised against true frequency, of documents that have it."""
    kept = [document for document in documents if document.get("reliability")]
    if not kept:
        return None
    text = (
        "On the dotted line a probability means what it says. All findings are pooled; ECE is the"
        " expected calibration error. It holds for images with the prevalence of these only.",
    )
    plot = Markup(reliability_plot(name_series(kept)))
    return Section("reliability", "Reliability", text, (plot,))


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


def cluster_section(diagnoses: Sequence[ClusterDiagnosis]) -> Section | None:
    """Return ranks, messages and links, of `doctor cluster`."""
    if not diagnoses:
        return None
    tables = [table for diagnosis in diagnoses for table in cluster_tables(diagnosis)]
    return Section("cluster", "Cluster", tables=tuple(tables))


def energy_section(documents: Sequence[Document]) -> Section | None:
    """Return what meters said, of documents of `power watch` and `power energy`."""
    if not documents:
        return None
    return Section("energy", "Energy", tables=tuple(map(energy_table, documents)))


def plans_section(documents: Sequence[Document]) -> Section | None:
    """Return what servers would do, of documents of `plan server`."""
    if not documents:
        return None
    plots = (server_plot(document, number=place) for place, document in enumerate(documents))
    tables = [table for document in documents for table in server_tables(document)]
    return Section("plans", "Servers", (_COMPUTED,), tuple(map(Markup, plots)), tuple(tables))


def cluster_plans_section(documents: Sequence[Document]) -> Section | None:
    """Return how long training would take, of documents of `plan cluster`."""
    if not documents:
        return None
    # Networks on one cluster stand beside each other.
    alike: dict[tuple[object, ...], list[Document]] = {}
    for document in documents:
        known = (document["rows"][0].get(key) is None for key in ("cost", "energy_kwh"))
        alike.setdefault((document["title"], *known), []).append(document)
    plots = (cluster_plot(group, number=place) for place, group in enumerate(alike.values()))
    # How well a model meets what was published is the same for each of its networks.
    tables = dict.fromkeys(table for one in documents for table in cluster_plan_tables(one))
    return Section(
        "cluster-plans",
        "Training clusters",
        (_COMPUTED,),
        tuple(map(Markup, plots)),
        tuple(tables),
    )


_COMPUTED: Final = (
    f"Everything here is {MODELLED}: computed from constants whose sources a plan names."
)


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


def pointing_section(documents: Sequence[Document]) -> Section | None:
    """Return how often heat maps point into lesion boxes, of documents that say so."""
    kept = [document for document in documents if document.get("pointing")]
    return Section("pointing", "Where it looks", (), (), (pointing_table(kept),)) if kept else None


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
