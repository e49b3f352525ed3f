"""One HTML page of everything that was measured: tables, plots, heat maps; it fetches nothing.

The page is made from result documents, what the commands print with `--json`. What no document
holds is left out. Beside the keys of docs/cli.md it shows, where a document has them,
`environment` (processor, versions, ...) and `provenance` (digests, seeds, ...), both mappings.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import jinja2
from markupsafe import Markup, escape

from thorax import __version__
from thorax.artifact import INTENDED_USE
from thorax.errors import DataError, UsageError
from thorax.files.atomic import require_place, write_text
from thorax.report import (
    accuracy_plots,
    buyers_plot,
    cluster,
    plan_cluster_plots,
    plan_server_plots,
    power,
    samples,
    sharpness,
    training_plots,
)
from thorax.report.documents import COMMANDS, file_name
from thorax.report.fpga import FPGA_COMMANDS
from thorax.report.sections import (
    compared_section,
    facts_section,
    fpga_section,
    roofline_section,
    speed_section,
)
from thorax.report.series import Document, in_order
from thorax.report.table import Table
from thorax.report.tiles import summary_tiles
from thorax.results.analysis import AnalyzeResult
from thorax.results.benchmark import BenchmarkResult
from thorax.results.cluster import ClusterDiagnosis
from thorax.results.landscape import SharpnessResult
from thorax.results.optimize import CompareResult, OptimizeResult
from thorax.results.plan import ClusterPlan, ServerPlan
from thorax.results.read import RESULTS, parse_result
from thorax.results.schema import Result
from thorax.results.training import TrainingRecord

ResultT = TypeVar("ResultT", bound=Result)


def write_report(documents: Sequence[Result | Document], out: Path, *, title: str) -> Path:
    """Write the page and return where it is; it appears whole or not at all.

    The same documents give the same bytes.

    Args:
        documents: results of `COMMANDS`, in any order.
        out: file to write; its folder is made.
        title: heading of the page.

    Raises:
        DataError: `report-not-a-result` for a document of another kind, `report-damaged` for one
            that lacks what its command always prints.
        UsageError: `output-unwritable` when `out` cannot be written.
    """
    by_command: dict[str, list[Any]] = {name: [] for name in COMMANDS}
    for document in documents:
        name = document.get("command")
        if name not in by_command:
            raise DataError(
                "report-not-a-result",
                f"a document has command {name!r}; allowed are {', '.join(COMMANDS)}",
            )
        if not isinstance(document, Result) and name in RESULTS:
            document = parse_result(document)
        by_command[name].append(document)
    try:
        page = _render(by_command, title)
    except _GARBLED as error:
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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield
    except IsADirectoryError as error:
        raise UsageError(
            "output-unwritable",
            f"{str(out)!r} is a folder; name the page, e.g. {out / 'report.html'}",
        ) from error
    except OSError as error:
        raise UsageError(
            "output-unwritable",
            f"{str(out)!r} cannot be written: {error.strerror or error}; name another place",
        ) from error


_SHOWN: Final = 200

_GARBLED: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    jinja2.TemplateError,
)
"""What drawing a page out of figures that no command prints ends in."""


def _of(kind: type[ResultT], everything: Iterable[object]) -> list[ResultT]:
    return [result for result in everything if isinstance(result, kind)]


def _render(by_command: Mapping[str, Sequence[Any]], title: str) -> str:
    accuracy: list[Any] = in_order([*by_command["validate"], *by_command["score"]])
    speed = in_order(_of(BenchmarkResult, by_command["benchmark"]))
    optimized = in_order(_of(OptimizeResult, by_command["optimize"]))
    everything = [document for group in by_command.values() for document in group]
    sections = [
        buyers_plot.section(speed, accuracy, _of(ServerPlan, everything)),
        accuracy_plots.section(accuracy),
        speed_section(speed, optimized),
        power.section([*by_command["power watch"], *by_command["power energy"]]),
        roofline_section(_of(AnalyzeResult, everything)),
        compared_section(_of(CompareResult, everything)),
        fpga_section([result for name in FPGA_COMMANDS for result in by_command[name]]),
        accuracy_plots.roc_section(accuracy),
        accuracy_plots.reliability_section(accuracy),
        training_plots.section(_of(TrainingRecord, everything)),
        plan_server_plots.section(_of(ServerPlan, everything)),
        cluster.section(_of(ClusterDiagnosis, everything)),
        plan_cluster_plots.section(_of(ClusterPlan, everything)),
        sharpness.section(_of(SharpnessResult, everything)),
        samples.section(by_command["classify"]),
        accuracy_plots.pointing_section(accuracy),
        *(facts_section(everything, key, heading) for key, heading in _FACTS),
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = resources.files("thorax.report").joinpath("page.html").read_text("utf-8")
    return environment.from_string(template).render(
        title=title,
        subject=_subject(everything),
        intended_use=INTENDED_USE,
        tiles=summary_tiles(accuracy, speed, optimized, by_command),
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


_FACTS: Final = (("environment", "Environment"), ("provenance", "Provenance"))


def _subject(everything: Sequence[Document]) -> str:
    models = list(dict.fromkeys(file_name(d["model"]) for d in everything if d.get("model")))
    stores = list(dict.fromkeys(file_name(d["store"]) for d in everything if d.get("store")))
    parts = []
    if models:
        parts.append(f"{'Model' if len(models) == 1 else 'Models'}: {', '.join(models)}")
    if stores:
        parts.append(f"images: {', '.join(stores)}")
    return "; ".join(parts)
