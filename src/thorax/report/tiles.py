"""The few figures at the head of a report page."""

from collections.abc import Mapping, Sequence

from thorax.report.benchmark_plots import speed_bars
from thorax.report.documents import file_name
from thorax.report.parts import Tile
from thorax.report.series import Document, mean_interval, precision_text, series_names
from thorax.report.text import interval_text, rate_text
from thorax.results.benchmark import BenchmarkResult
from thorax.results.optimize import OptimizeResult


def summary_tiles(
    accuracy: Sequence[Document],
    speed: Sequence[BenchmarkResult],
    optimized: Sequence[OptimizeResult],
    by_command: Mapping[str, Sequence[Document]],
) -> list[Tile]:
    """Return AUROC, what int8 costs of it, and the highest rates measured and modelled.

    Args:
        accuracy: documents of `validate` and `score`, in order.
        speed: of `benchmark`, in order.
        optimized: of `optimize`.
        by_command: all documents; training tells AUROC where nothing was validated.
    """
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


def _int8_drop(accuracy: Sequence[Document], optimized: Sequence[OptimizeResult]) -> Tile | None:
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
    drops = [
        result.auroc_drop
        for result in optimized
        if result.precision == "int8" and result.auroc_drop is not None
    ]
    if len(drops) == 1 and not pairs:
        drop = f"{drops[0]:+.4f}"
        return Tile("INT8 drop in mean AUROC", drop, "as measured when it was optimized")
    return None


def _precision(document: Document) -> str:
    return str(document.get("precision", "")).lower()
