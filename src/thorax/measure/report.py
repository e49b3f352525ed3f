"""One HTML page of everything that was measured: tables, plots, heat maps; it fetches nothing.

The page is made from result documents, what the commands print with `--json`. What no document
holds is left out. Beside the keys of docs/cli.md it shows, where a document has them,
`environment` (processor, versions, ...) and `provenance` (digests, seeds, ...), both mappings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from thorax import __version__
from thorax.artifact import INTENDED_USE
from thorax.durable import write_text
from thorax.errors import DataError, UsageError
from thorax.measure.documents import COMMANDS
from thorax.measure.fpga_report import FPGA_COMMANDS, fpga_tables, split_texts
from thorax.measure.modelled import MODELLED, alone_and_against, modelled_table
from thorax.measure.noise import compare_tables
from thorax.measure.optimizer_tables import artifact_table, tried_table
from thorax.measure.plots import (
    auroc_plot,
    embed_image,
    name_series,
    reliability_plot,
    roc_plot,
    speed_bars,
    speed_plot,
    training_plot,
)
from thorax.measure.roofline import analyze_tables, has_roofs, roofline_plot
from thorax.measure.sharpness import sharpness_plots, sharpness_table
from thorax.measure.tables import (
    Document,
    Table,
    auroc_table,
    cost_table,
    difference_table,
    images_text,
    in_order,
    interval_text,
    mean_interval,
    plain_name,
    pointing_table,
    precision_text,
    rate_text,
    series_names,
    speed_table,
)
from thorax.measure.training import run_line, schedule_table

_SAMPLES: Final = 12
_BARS: Final = 4


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the summary."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One finding of a sample."""

    finding: str
    value: str
    percent: int
    positive: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One classified image; `picture` is a data URI, or "" and `missing` says why."""

    image: str
    picture: str
    missing: str
    bars: tuple[Bar, ...]

    @property
    def spoken(self) -> str:
        """What the bars show, in words."""
        return ", ".join(f"{bar.finding} {bar.value}" for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what belongs under it."""

    anchor: str
    title: str
    text: tuple[str, ...] = ()
    plots: tuple[Markup, ...] = ()
    tables: tuple[Table, ...] = ()
    samples: tuple[Sample, ...] = ()
    prose: bool = False


def write_report(documents: Sequence[Document], out: Path, *, title: str) -> Path:
    """Write the page and return where it is; it appears whole or not at all.

    The same documents give the same bytes.

    Args:
        documents: results of `COMMANDS`, in any order.
        out: file to write; its folder is made.
        title: heading of the page.

    Raises:
        DataError: `report-not-a-result` for a document of another kind, `report-damaged` for one
            that lacks what its command always prints.
        UsageError: `output-unwritable` when `out` is a folder.
    """
    by_command: dict[str, list[Document]] = {name: [] for name in COMMANDS}
    for document in documents:
        name = document.get("command")
        if name not in by_command:
            raise DataError(
                "report-not-a-result",
                f"a document has command {name!r}; allowed are {', '.join(COMMANDS)}",
            )
        by_command[name].append(document)
    try:
        page = _render(by_command, title)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            "report-damaged",
            f"a result lacks or garbles what its command prints: {type(error).__name__}: {error};"
            " run that command again",
        ) from error
    if out.is_dir():
        raise UsageError(
            "output-unwritable",
            f"{str(out)!r} is a folder; name the page, e.g. {out / 'report.html'}",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def _render(by_command: Mapping[str, Sequence[Document]], title: str) -> str:
    accuracy = in_order([*by_command["validate"], *by_command["score"]])
    speed = in_order(by_command["benchmark"])
    optimized = in_order(by_command["optimize"])
    everything = [document for group in by_command.values() for document in group]
    sections = [
        _accuracy(accuracy),
        _speed(speed, optimized),
        _roofline(by_command["analyze"]),
        _compared(by_command["compare"]),
        _fpga({name: by_command[name] for name in FPGA_COMMANDS}),
        _roc(accuracy),
        _reliability(accuracy),
        _training(by_command["train"]),
        _sharpness(by_command["sharpness"]),
        _samples(by_command["classify"]),
        _pointing(accuracy),
        *(_facts(everything, key, heading) for key, heading in _FACTS),
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = resources.files("thorax.measure").joinpath("report.html").read_text("utf-8")
    return environment.from_string(template).render(
        title=title,
        subject=_subject(everything),
        intended_use=INTENDED_USE,
        tiles=_tiles(accuracy, speed, optimized, by_command),
        sections=[section for section in sections if section is not None],
        version=__version__,
    )


_FACTS: Final = (("environment", "Environment"), ("provenance", "Provenance"))


def _subject(everything: Sequence[Document]) -> str:
    models = list(dict.fromkeys(_name(d["model"]) for d in everything if d.get("model")))
    stores = list(dict.fromkeys(_name(d["store"]) for d in everything if d.get("store")))
    parts = []
    if models:
        parts.append(f"{'Model' if len(models) == 1 else 'Models'}: {', '.join(models)}")
    if stores:
        parts.append(f"images: {', '.join(stores)}")
    return "; ".join(parts)


def _tiles(
    accuracy: Sequence[Document],
    speed: Sequence[Document],
    optimized: Sequence[Document],
    by_command: Mapping[str, Sequence[Document]],
) -> list[Tile]:
    tiles = []
    source = accuracy or by_command["train"] or by_command["demo"]
    if source and source[0].get("mean_auroc") is not None:
        first = source[0]
        value = mean_interval(first)
        bounds = interval_text(value).partition(" ")[2]
        what = [series_names([first])[0] if accuracy else first["command"]]
        if bounds:
            what.append(f"95% interval {bounds}")
        if first.get("images"):
            what.append(f"{first['images']:,} images")
        tiles.append(Tile("Mean AUROC", interval_text(value).partition(" ")[0], ", ".join(what)))
    if drop := _int8_drop(accuracy, optimized):
        tiles.append(drop)
    for simulated, name in ((False, "Images/s"), (True, "Images/s, modelled")):
        group = [bar for bar in speed_bars(speed) if bar.simulated == simulated]
        if group:
            best = max(group, key=lambda bar: float(bar.document["images_per_s"]))
            told = next(one for one in speed if best.document in (one, one.get("modelled")))
            where = [str(told[key]) for key in ("device", "scenario") if told.get(key)]
            detail = ", ".join([precision_text(told), *where])
            tiles.append(Tile(name, rate_text(best.document["images_per_s"]), detail))
    return tiles


def _int8_drop(accuracy: Sequence[Document], optimized: Sequence[Document]) -> Tile | None:
    """Return AUROC of fp32 minus that of int8: from one pair on the same images, or as optimized.

    Several pairs name no single drop; the tables show them.
    """
    same = ("store", "split", "images", "device")
    pairs = [
        (reference, shortcut)
        for reference in accuracy
        for shortcut in accuracy
        if _precision(reference) == "fp32"
        and _precision(shortcut) == "int8"
        and all(reference.get(key) == shortcut.get(key) for key in same)
    ]
    if len(pairs) == 1:
        values = [document["mean_auroc"] for document in pairs[0]]
        if None not in values:
            drop = f"{values[0] - values[1]:+.4f}"
            return Tile("INT8 drop in mean AUROC", drop, "FP32 minus INT8, same images")
    quantized = [
        document
        for document in optimized
        if _precision(document) == "int8" and document.get("auroc_drop") is not None
    ]
    if len(quantized) == 1 and not pairs:
        drop = f"{quantized[0]['auroc_drop']:+.4f}"
        return Tile("INT8 drop in mean AUROC", drop, "as measured when it was optimized")
    return None


def _accuracy(documents: Sequence[Document]) -> Section | None:
    if not documents:
        return None
    tables = [
        *(cost_table(document) for document in documents),
        auroc_table(documents),
        *(difference_table(document) for document in documents),
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


def _speed(documents: Sequence[Document], optimized: Sequence[Document]) -> Section | None:
    bars = speed_bars(documents)
    if not documents and not optimized:
        return None
    plots = (Markup(speed_plot(bars)),) if bars else ()
    tables = [
        speed_table(documents) if documents else None,
        modelled_table(documents),
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


def _roofline(documents: Sequence[Document]) -> Section | None:
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


def _compared(documents: Sequence[Document]) -> Section | None:
    if not documents:
        return None
    tables = [table for document in documents for table in compare_tables(document)]
    verdicts = tuple(str(document["verdict"]) for document in documents)
    return Section("compare", "Layer by layer", verdicts, tables=tuple(tables))


def _fpga(by_command: Mapping[str, Sequence[Document]]) -> Section | None:
    if not any(by_command.values()):
        return None
    text = split_texts(by_command["partition"])
    return Section("fpga", "FPGA", tuple(text), tables=tuple(fpga_tables(by_command)))


def _roc(documents: Sequence[Document]) -> Section | None:
    kept = [document for document in documents if document.get("roc")]
    return Section("roc", "ROC", (), (Markup(roc_plot(name_series(kept))),)) if kept else None


def _reliability(documents: Sequence[Document]) -> Section | None:
    kept = [document for document in documents if document.get("reliability")]
    if not kept:
        return None
    text = (
        "On the dotted line a probability means what it says. All findings are pooled; ECE is the"
        " expected calibration error. It holds for images with the prevalence of these only.",
    )
    plot = Markup(reliability_plot(name_series(kept)))
    return Section("reliability", "Reliability", text, (plot,))


def _training(documents: Sequence[Document]) -> Section | None:
    if not documents:
        return None
    lines = [run_line(document) for document in documents]
    for document in documents:
        lines += (document.get("schedule") or {}).get("warnings", ())
    plots = tuple(
        Markup(training_plot(document["history"], document.get("curve", ()), number=place))
        for place, document in enumerate(documents)
        if document.get("history") or document.get("curve")
    )
    table = schedule_table(documents)
    return Section(
        "training",
        "Training",
        tuple(line for line in lines if line),
        plots,
        (table,) if table else (),
    )


def _sharpness(documents: Sequence[Document]) -> Section | None:
    if not documents:
        return None
    plots = tuple(Markup(plot) for plot in sharpness_plots(documents))
    return Section(
        "sharpness",
        "Sharpness",
        tuple(dict.fromkeys(document["caveat"] for document in documents)),
        plots,
        # The page says the caveat first, above the plots.
        (replace(sharpness_table(documents), note=""),),
    )


def _samples(documents: Sequence[Document]) -> Section | None:
    results = [result for document in documents for result in document.get("results", [])]
    shown = _varied([result for result in results if result.get("heatmaps")])
    failed = [result for result in results if result.get("error")]
    if not shown and not failed:
        return None
    tables = []
    if failed:
        rows = tuple(
            (_name(r["image"]), str(r["error"]["code"]), str(r["error"]["message"]))
            for r in failed[:20]
        )
        more = f"{len(failed) - 20:,} more are left out." if len(failed) > 20 else ""
        tables.append(Table("Not read", ("Image", "Code", "Message"), rows, note=more))
    text: tuple[str, ...] = ()
    if shown:
        text = (
            f"{len(shown)} of {len(results):,} classified images with the findings that scored"
            " highest; bold: above the operating point. Colour shows which cells of the last"
            " feature map speak for the finding.",
        )
    return Section(
        "samples",
        "Heat maps",
        text,
        tables=tuple(tables),
        samples=tuple(_sample(result) for result in shown),
        prose=True,
    )


def _varied(results: Sequence[Document]) -> list[Document]:
    """Return at most `_SAMPLES` results: one for each finding first, then as they come."""
    seen: set[str] = set()
    first: list[Document] = []
    rest: list[Document] = []
    for result in results:
        fresh = set(result.get("positive") or ()) - seen
        (first if fresh else rest).append(result)
        seen |= fresh
    return [*first, *rest][:_SAMPLES]


def _sample(result: Document) -> Sample:
    positive = set(result.get("positive") or ())
    ranked = sorted((result.get("findings") or {}).items(), key=lambda item: -item[1])
    # Of several heat maps the one of the finding that scored highest.
    path = next(result["heatmaps"][name] for name, _ in ranked if name in result["heatmaps"])
    picture = embed_image(Path(path))
    return Sample(
        _name(result["image"]),
        picture,
        "" if picture else f"Heat map {_name(path)} cannot be read.",
        tuple(
            Bar(plain_name(name), f"{value:.2f}", round(100 * value), name in positive)
            for name, value in ranked[:_BARS]
        ),
    )


def _pointing(documents: Sequence[Document]) -> Section | None:
    kept = [document for document in documents if document.get("pointing")]
    return Section("pointing", "Where it looks", (), (), (pointing_table(kept),)) if kept else None


def _facts(everything: Sequence[Document], key: str, heading: str) -> Section | None:
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


def _precision(document: Document) -> str:
    return str(document.get("precision", "")).lower()


def _name(value: object) -> str:
    """Return the last part of a path: where files lay on a machine is nobody's business."""
    return str(value).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
