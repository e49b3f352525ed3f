"""One HTML page of everything that was measured: tables, plots, heat maps; it fetches nothing.

The page is made from results, what the commands print with `--json`. What no result holds is left
out. Whatever commands it is of, it shows `environment` (processor, versions, ...) and digests.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import jinja2
from markupsafe import Markup, escape

from thorax import __version__
from thorax.errors import DataError, UsageError
from thorax.files.atomic import require_place, write_text
from thorax.files.outputs import writing
from thorax.labels import INTENDED_USE
from thorax.report import (
    accuracy_plots,
    baselines,
    benchmark_plots,
    buyers_plot,
    cluster,
    fpga,
    optimize,
    plan_cluster_plots,
    plan_server_plots,
    power,
    roofline,
    samples,
    sharpness,
    training,
)
from thorax.report.accuracy import Accuracy, judged_text
from thorax.report.benchmark_plots import speed_bars
from thorax.report.parts import Section, Tile
from thorax.report.series import Digested, in_order, precision_text, series_names
from thorax.report.table import Table
from thorax.report.text import file_name, interval_text, rate_text
from thorax.results.accuracy import BaselineResult, ValidationResult
from thorax.results.analysis import AnalyzeResult
from thorax.results.benchmark import BenchmarkResult
from thorax.results.cluster import ClusterDiagnosis
from thorax.results.demo import DemoResult
from thorax.results.energy import LogEnergy, WatchResult
from thorax.results.files import COMMANDS
from thorax.results.findings import ClassifyResult
from thorax.results.fpga import PrecisionLadder
from thorax.results.landscape import SharpnessResult
from thorax.results.optimize import CompareResult, OptimizeResult
from thorax.results.plan import ClusterPlan, ServerPlan
from thorax.results.schema import Result
from thorax.results.training import TrainingRecord, TrainResult

ResultT = TypeVar("ResultT", bound=Result)
AnyT = TypeVar("AnyT")


def write_report(results: Iterable[Result], out: Path, *, title: str) -> Path:
    """Write a page of results of `COMMANDS`, in any order, and return where it is.

    It appears whole or not at all; the same results give the same bytes.

    Raises:
        DataError: `report-damaged` for figures that no command prints.
        UsageError: `output-unwritable` when `out` cannot be written.
    """
    shown = sorted(
        (result for result in results if result.command in COMMANDS),
        key=lambda result: COMMANDS.index(result.command),
    )
    try:
        page = _render(shown, title)
    except (ArithmeticError, LookupError, ValueError) as error:
        # What drawing figures that no command prints ends in.
        raise DataError(
            "report-damaged",
            "a result lacks or garbles what its command prints: "
            f"{type(error).__name__}: {str(error)[:_SHOWN]}; run that command again",
        ) from error
    with _writing(out):
        write_text(out, page)
    return out


def require_page(out: Path) -> None:
    """Refuse a place where no page can be written, before anything is read.

    Raises:
        UsageError: `output-unwritable`.
    """
    with _writing(out):
        # Whoever reads a pipe would take its end for that of the page.
        if not out.is_fifo():
            require_place(out)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    with writing(out):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            yield
        except IsADirectoryError as error:
            raise UsageError(
                "output-unwritable",
                f"{str(out)!r} is a folder; name the page, e.g. {out / 'report.html'}",
            ) from error


_SHOWN: Final = 200


def _of(kind: type[ResultT], results: Iterable[Result]) -> list[ResultT]:
    return [result for result in results if isinstance(result, kind)]


def _of_any(
    section: Callable[[Sequence[AnyT]], Section], results: Sequence[AnyT]
) -> Section | None:
    return section(results) if results else None


def _render(results: Sequence[Result], title: str) -> str:
    accuracy = in_order([result for result in results if isinstance(result, Accuracy)])
    speed = in_order(_of(BenchmarkResult, results))
    optimized = in_order(_of(OptimizeResult, results))
    plans = _of(ServerPlan, results)
    ended = [TrainingRecord(**dict(result)) for result in _of(TrainResult, results)]
    runs = [*_of(TrainingRecord, results), *ended]
    trained: list[TrainingRecord | DemoResult] = [*runs, *_of(DemoResult, results)]
    metered = [result for result in results if isinstance(result, WatchResult | LogEnergy)]
    fpga_results = [result for result in results if isinstance(result, fpga.FpgaResult)]
    sections = [
        buyers_plot.section(speed, accuracy, plans),
        _of_any(accuracy_plots.section, accuracy),
        _of_any(baselines.section, _of(BaselineResult, results)),
        benchmark_plots.section(speed, optimized),
        _of_any(power.section, metered),
        _of_any(roofline.section, _of(AnalyzeResult, results)),
        _of_any(optimize.compared_section, _of(CompareResult, results)),
        _of_any(fpga.section, fpga_results),
        accuracy_plots.roc_section(accuracy),
        accuracy_plots.reliability_section(accuracy),
        _of_any(training.section, runs),
        _of_any(plan_server_plots.section, plans),
        _of_any(cluster.section, _of(ClusterDiagnosis, results)),
        _of_any(plan_cluster_plots.section, _of(ClusterPlan, results)),
        _of_any(sharpness.section, _of(SharpnessResult, results)),
        samples.section(_of(ClassifyResult, results)),
        accuracy_plots.pointing_section(accuracy),
        _facts_section("environment", "Environment", _environment(results)),
        _facts_section("provenance", "Provenance", _digests(results)),
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = resources.files("thorax.report").joinpath("page.html").read_text("utf-8")
    return environment.from_string(template).render(
        title=title,
        subject=_subject(results),
        intended_use=INTENDED_USE,
        tiles=summary_tiles(accuracy, speed, optimized, trained),
        sections=[section for section in sections if section is not None],
        version=__version__,
        alignment=_alignment,
        breakable=_breakable,
    )


def _breakable(text: str) -> Markup:
    """Return text that breaks after the commas and colons of device strings, not in intervals."""
    whole = re.sub(r"(\[[^\s\]]*) (?=[^\s\]]*\])", "\\1\N{NO-BREAK SPACE}", text)
    return Markup(re.sub(r"([,:])(?=[^\s\d])", r"\1<wbr>", str(escape(whole))))


def _alignment(table: Table) -> list[Markup]:
    """Return the attribute of each column's cells: words to the left, figures to the right."""
    attributes = []
    for column in range(len(table.columns)):
        cells = [row[column] for row in table.rows if row[column] not in ("", "–")]
        figures = sum(_FIGURE.fullmatch(cell) is not None for cell in cells)
        words = "text long" if max(map(len, cells), default=0) > _LONG else "text"
        attributes.append(Markup("" if 2 * figures >= len(cells) else f' class="{words}"'))
    return attributes


_LONG: Final = 24
"""Letters of a cell from which its column is given more room."""

_FIGURE: Final = re.compile(r"[+−-]?[\d.,]+[%×*]?( [\[(].*)?")
"""A number, with its unit or interval where it has one."""


_OfModel: TypeAlias = Digested | fpga.FpgaResult
_OfStore: TypeAlias = ValidationResult | PrecisionLadder | SharpnessResult
_OfMachine: TypeAlias = ValidationResult | BenchmarkResult | PrecisionLadder


def _subject(results: Sequence[Result]) -> str:
    named = (result.model for result in results if isinstance(result, _OfModel))
    judged = (result.store for result in results if isinstance(result, _OfStore))
    models, stores = (
        list(dict.fromkeys(file_name(path) for path in paths if path)) for paths in (named, judged)
    )
    parts = []
    if models:
        parts.append(f"{'Model' if len(models) == 1 else 'Models'}: {', '.join(models)}")
    if stores:
        parts.append(f"images: {', '.join(stores)}")
    return "; ".join(parts)


def _environment(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    for result in results:
        if isinstance(result, _OfMachine) and (machine := result.environment):
            yield from ((f"devices: {name}", full) for name, full in machine.devices.items())
            yield "processors", str(machine.processors)
            yield "openvino", machine.openvino
            yield "thorax", machine.thorax


def _digests(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    for result in results:
        if isinstance(result, Digested) and result.digest:
            yield f"digest of {series_names([result])[0]}", result.digest


def _facts_section(key: str, heading: str, facts: Iterable[tuple[str, str]]) -> Section | None:
    """Return facts by name; differing values stand side by side."""
    values: dict[str, dict[str, None]] = {}
    for name, value in facts:
        values.setdefault(name.replace("_", " "), {})[value] = None
    if not values:
        return None
    rows = tuple((name, "; ".join(texts)) for name, texts in values.items())
    return Section(key, heading, tables=(Table("", ("What", "Value"), rows),), prose=True)


def summary_tiles(
    accuracy: Sequence[Accuracy],
    speed: Sequence[BenchmarkResult],
    optimized: Sequence[OptimizeResult],
    trained: Sequence[TrainingRecord | DemoResult],
) -> list[Tile]:
    """Return AUROC, what int8 costs of it, and the highest rates measured and modelled.

    Training tells AUROC where nothing was validated.
    """
    auroc = _auroc(accuracy[0]) if accuracy else _trained_auroc(trained[0]) if trained else None
    tiles = [tile for tile in (auroc, _int8_drop(accuracy, optimized)) if tile]
    for simulated, name in ((False, "Images/s"), (True, "Images/s, modelled")):
        group = [
            bar
            for bar in speed_bars(speed)
            if bar.modelled == simulated and (bar.modelled or bar.result.valid is not False)
        ]
        if group:
            best = max(group, key=lambda bar: bar.images_per_s)
            run = best.result
            network = [file_name(run.model), precision_text(run), run.device, run.scenario]
            detail = ", ".join(network).removeprefix(", ")
            tiles.append(Tile(name, rate_text(best.images_per_s), detail, modelled=simulated))
    return tiles


def _auroc(result: Accuracy) -> Tile | None:
    if result.mean_auroc is None:
        return None
    value, _, bounds = interval_text(result.mean).partition(" ")
    details = [series_names([result])[0]]
    if bounds:
        details.append(f"95% interval {bounds}")
    if result.images:
        details.append(judged_text(result))
    return Tile("Mean AUROC", value, ", ".join(details))


def _trained_auroc(result: TrainingRecord | DemoResult) -> Tile | None:
    if result.mean_auroc is None:
        return None
    split = "test split" if isinstance(result, DemoResult) else "validation split"
    return Tile("Mean AUROC", interval_text(result.mean_auroc), f"{result.command}, {split}")


def _int8_drop(accuracy: Sequence[Accuracy], optimized: Sequence[OptimizeResult]) -> Tile | None:
    """Return AUROC of fp32 minus that of int8: from one pair on the same images, or as optimized.

    Several pairs name no single drop; the tables show them.
    """
    validations = [result for result in accuracy if isinstance(result, ValidationResult)]
    pairs = [
        (reference, shortcut)
        for reference in validations
        for shortcut in validations
        if reference.precision.lower() == "fp32"
        and shortcut.precision.lower() == "int8"
        and _judged_on(reference) == _judged_on(shortcut)
    ]
    if len(pairs) == 1:
        reference, shortcut = pairs[0]
        if reference.mean_auroc is not None and shortcut.mean_auroc is not None:
            drop = f"{reference.mean_auroc - shortcut.mean_auroc:+.4f}"
            words = f"FP32 minus INT8, {judged_text(reference)}"
            return Tile("INT8 drop in mean AUROC", drop, words)
    drops = [
        result.auroc_drop
        for result in optimized
        if result.precision == "int8" and result.auroc_drop is not None
    ]
    if len(drops) == 1 and not pairs:
        drop = f"{drops[0]:+.4f}"
        words = "FP32 minus INT8, validation split, when it was optimized"
        return Tile("INT8 drop in mean AUROC", drop, words)
    return None


def _judged_on(result: ValidationResult) -> tuple[str, str, int, str]:
    return result.store, result.split, result.images, result.device
