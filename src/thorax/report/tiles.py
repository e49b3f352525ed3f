"""The few figures at the head of a report page."""

from collections.abc import Sequence

from thorax.report.accuracy import Accuracy
from thorax.report.benchmark_plots import speed_bars
from thorax.report.parts import Tile
from thorax.report.series import precision_text, series_names
from thorax.report.text import file_name, interval_text, rate_text
from thorax.results.accuracy import ValidationResult
from thorax.results.benchmark import BenchmarkResult
from thorax.results.demo import DemoResult
from thorax.results.optimize import OptimizeResult
from thorax.results.training import TrainingRecord


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
        details.append(f"{result.images:,} images")
    return Tile("Mean AUROC", value, ", ".join(details))


def _trained_auroc(result: TrainingRecord | DemoResult) -> Tile | None:
    if result.mean_auroc is None:
        return None
    return Tile("Mean AUROC", interval_text(result.mean_auroc), result.command)


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


def _judged_on(result: ValidationResult) -> tuple[str, str, int, str]:
    return result.store, result.split, result.images, result.device
