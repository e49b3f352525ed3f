"""How good networks are: AUROC, what each artifact costs, where heat maps point; tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from thorax.labels import nearest, plain_name
from thorax.report.series import EMULATED, images_text, series_names
from thorax.report.table import Table, dense, table_of
from thorax.report.text import interval_text, number_text, rate_text, scaled_text
from thorax.results.accuracy import (
    Comparison,
    Flips,
    Pointing,
    ScoreComparison,
    ScoreResult,
    ValidationResult,
)
from thorax.results.shared import Interval

Accuracy: TypeAlias = ValidationResult | ScoreResult
"""What says how good a network is."""

_SHOWN: Final = 10
"""Names of findings that a line lists."""


def auroc_table(results: Sequence[Accuracy | ScoreComparison]) -> Table:
    """Return AUROC per finding, one column a result."""
    rows = []
    for finding in dict.fromkeys(name for result in results for name in result.auroc):
        areas = [result.auroc.get(finding) for result in results]
        positives = sorted({area.positives for area in areas if area})
        rows.append(
            (
                plain_name(finding),
                " / ".join(f"{count:,}" for count in positives),
                *map(interval_text, areas),
            )
        )
    rows.append(("Mean", "", *(interval_text(result.mean) for result in results)))
    bounded = any("[" in cell for row in rows for cell in row)
    judged = dict.fromkeys(
        judged_text(result)
        for result in results
        if isinstance(result, ScoreResult | ValidationResult) and result.images
    )
    notes = [
        f"Of {'; '.join(judged)}." if judged else "",
        "In brackets: 95% interval, patients resampled." if bounded else "",
    ]
    return Table(
        "AUROC per finding",
        ("Finding", "Positives", *series_names(results)),
        tuple(rows),
        note=" ".join(filter(None, notes)),
    )


def judged_text(result: Accuracy) -> str:
    """Return how many images of which split a network was judged on."""
    if isinstance(result, ScoreResult):
        return images_text(result.images, result.patients)
    return images_text(result.images, result.patients, result.split, simulated=result.simulated)


def cost_table(result: ValidationResult) -> Table | None:
    """Return what each artifact of `validate --against` costs and brings; None of one alone."""
    if not result.against:
        return None
    artifacts = validated_artifacts([result])
    names = series_names(artifacts)
    drops, drop_note = _mean_drops(result, names)
    timed = any(artifact.images_per_s for artifact in artifacts)
    emulated = timed and any(artifact.simulated for artifact in artifacts)
    return table_of(
        f"What each artifact costs and brings: {judged_text(result)}",
        list(zip(names, artifacts, drops, strict=True)),
        {
            "Artifact": lambda row: row[0],
            "Mean AUROC": lambda row: interval_text(row[1].mean),
            "AUROC drop": lambda row: "" if row[2] is None else interval_text(row[2], "+.4f"),
            "ms": lambda row: number_text(row[1].latency_ms and row[1].latency_ms.p50, ".2f"),
            "Images/s": lambda row: rate_text(row[1].images_per_s),
            "MB": lambda row: scaled_text(row[1].size_bytes, 1e6, ".1f"),
            "Floats in": lambda row: row[1].compute,
        },
        note=f"{drop_note} In brackets: 95% interval, patients resampled, the drop paired."
        + (" ms: median of one answer alone. All timed in turns." if timed else "")
        + (f" {EMULATED}" if emulated else ""),
        simulated=lambda row: row[1].simulated,
    )


def _mean_drops(
    result: ValidationResult, names: Sequence[str]
) -> tuple[list[Interval | None], str]:
    """Return the drop to show in the row of each artifact, and what is minus what.

    Of a model on a card and its one reference the drop is the model's.
    """
    drops = [_drop(other, other.mean_difference) for other in result.against]
    pairs = list(zip(names[1:], result.against, strict=True))
    references = [name for name, other in pairs if other.is_reference]
    if len(pairs) == len(references) == 1:
        return [drops[0], None], f"AUROC drop: {names[1]} minus the artifact."
    parts = [f"{names[0]} minus the artifact"] if len(references) < len(pairs) else []
    if references:
        parts.append(f"in the rows of {', '.join(references)} the artifact minus {names[0]}")
    return [None, *drops], f"AUROC drop: {'; '.join(parts)}."


def validated_artifacts(results: Sequence[Accuracy]) -> list[ValidationResult | Comparison]:
    """Return what was validated, each with those that it was compared with after it."""
    artifacts: list[ValidationResult | Comparison] = []
    for result in results:
        if isinstance(result, ValidationResult):
            artifacts += [result, *result.against]
    return artifacts


def difference_table(result: Accuracy) -> Table | None:
    """Return the paired drops between what was judged and those of `--against`; None without."""
    if not result.against:
        return None
    names = series_names([result, *result.against])
    rows = [
        (
            plain_name(name),
            *(_drop_text(other, other.difference.get(name)) for other in result.against),
        )
        for name in result.against[0].difference
    ]
    means = (_drop_text(other, other.mean_difference) for other in result.against)
    rows.append(("Mean", *means))
    return Table(
        f"AUROC drop: {_minus(result, names)}, same images",
        ("Finding", *(("Drop",) if len(result.against) == 1 else names[1:])),
        tuple(rows),
        note=f"Of {judged_text(result)}. Paired: both see the same resampled patients.",
    )


def _minus(result: Accuracy, names: Sequence[str]) -> str:
    """Return which AUROC minus which the drops are: of a model on a card, its reference's."""
    against: Sequence[Comparison | ScoreComparison] = result.against
    others: dict[bool, list[str]] = {}
    for name, other in zip(names[1:], against, strict=True):
        others.setdefault(_is_reference(other), []).append(name)
    parts = []
    for reference, same in others.items():
        whose = ", ".join(same) if len(others) > 1 or len(same) == 1 else "each"
        first, second = (whose, names[0]) if reference else (names[0], whose)
        parts.append(f"AUROC of {first} minus AUROC of {second}")
    return "; ".join(parts)


def _is_reference(other: Comparison | ScoreComparison) -> bool:
    return isinstance(other, Comparison) and other.is_reference


def _drop(other: Comparison | ScoreComparison, difference: Interval) -> Interval:
    """Return a difference, which is of the other minus the first, as the drop of the candidate."""
    return difference if _is_reference(other) else difference.negated()


def _drop_text(other: Comparison | ScoreComparison, difference: Interval | None) -> str:
    return interval_text(None if difference is None else _drop(other, difference), "+.4f")


def flips_table(result: ValidationResult) -> Table | None:
    """Return what each artifact of `--against` calls otherwise at the operating points, or None."""
    names = series_names([result, *result.against])
    rows = [
        FlipRow(*((names[0], name) if other.is_reference else (name, names[0])), other.flips)
        for name, other in zip(names[1:], result.against, strict=True)
        if other.flips is not None
    ]
    return flips_of(rows, judged_text(result))


@dataclass(frozen=True, slots=True)
class FlipRow:
    """What one artifact calls otherwise than its reference, both by their names in the tables."""

    artifact: str
    reference: str
    flips: Flips


def flips_of(rows: Sequence[FlipRow], images: str, *, note: str = "") -> Table | None:
    """Return a table of flips, what differs from its reference a row; None without any."""
    if not rows:
        return None
    references = dict.fromkeys(row.reference for row in rows)
    several = len(references) > 1
    return table_of(
        f"What is called otherwise than by {', '.join(references)}: {images}",
        rows,
        {
            "Artifact": lambda row: row.artifact,
            "Than by": lambda row: row.reference if several else "",
            "Images": lambda row: number_text(row.flips.same_points.images, ".1%"),
            "Findings": lambda row: number_text(row.flips.same_points.findings, ".1%"),
            "Images, matched": lambda row: number_text(
                row.flips.matched_points.images if row.flips.matched_points else None, ".1%"
            ),
            "Images, own": lambda row: number_text(
                row.flips.own_points.images if row.flips.own_points else None, ".1%"
            ),
            "Largest change": lambda row: number_text(row.flips.largest_change, ".3f"),
        },
        note="Share of images of which a finding flips between positive and negative, and of all "
        "pairs of image and finding, with the operating points of the reference for both; matched: "
        "with points that call as many of the val split positive; own: with those chosen for each. "
        f"Largest change: of a probability. {note}".rstrip(),
    )


def scope_lines(result: Accuracy) -> list[str]:
    """Return what of labels and answers a score is not of, a line each."""
    counts: dict[str, int] = {}
    if isinstance(result, ScoreResult):
        counts = {
            "predictions of images outside the split": result.unused,
            "predictions of images without labels": result.unlabelled_images,
            "predictions of images that another file lacks": result.unshared_images,
            "labelled images without a prediction": result.unpredicted_images,
        }
        names = {
            "labelled findings without a prediction": result.unpredicted,
            "columns that are no labelled finding": result.ignored,
        }
    else:
        names = {
            "findings that the store has no labels of": result.unlabelled,
            "findings of the store that the model does not answer": result.unanswered,
            "findings that another model does not answer": result.uncompared,
        }
    lines = [f"not scored: {count:,} {what}" for what, count in counts.items() if count]
    for what, left in names.items():
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        if left:
            shown = ", ".join(_with_nearest(name, result) for name in left[:_SHOWN])
            lines.append(f"not scored: {len(left)} {what}: {shown}{more}")
    return lines


def _with_nearest(name: str, result: Accuracy) -> str:
    """Return a name with the labelled finding that it may be a misspelling of."""
    unpredicted = result.unpredicted if isinstance(result, ScoreResult) else ()
    near = None if name in unpredicted else nearest(name, unpredicted)
    return f"{name} (close to {near})" if near else name


def pointing_table(results: Sequence[Accuracy | Comparison]) -> Table:
    """Return how often heat-map peaks lie in lesion boxes, beside what needs no network.

    A column each artifact that has maps, of `validate --against` too, named with their kind.
    """
    pointed = pointed_artifacts(results)
    games: dict[str, Pointing] = {}
    for result in pointed:
        games = {**result.pointing, **games}
    rows = [
        (
            plain_name(name),
            _totals_text(result.pointing.get(name) for result in pointed),
            *(_hits_text(result.pointing.get(name)) for result in pointed),
            number_text(game.random_rate, ".0%"),
            number_text(game.fixed_rate, ".0%"),
        )
        for name, game in games.items()
    ]
    means = [result.pointing_mean for result in pointed]
    first = next((mean for mean in means if mean), None)
    if first is not None:
        rates = (
            interval_text((mean.rate_interval or mean.rate) if mean else None, ".0%")
            for mean in means
        )
        random, fixed = (
            number_text(value, ".0%") for value in (first.random_rate, first.fixed_rate)
        )
        rows.append(("Mean", "", *rates, random, fixed))
    names = zip(series_names(pointed), pointed, strict=True)
    table = Table(
        "Pointing game",
        (
            *("Finding", "Maps"),
            *(", ".join(filter(None, (name, result.heatmap_kind))) for name, result in names),
            *("Random point", "Fixed point"),
        ),
        tuple(rows),
        note="Heat maps whose peak lies inside a lesion box of the finding, and their share; in "
        "brackets: 95% interval, which the mean has where each finding has boxes on ten patients "
        "or more. Random: share expected of a point drawn over the image. Fixed: of the one point "
        "that hits most on other images.",
    )
    return dense(table)


def pointed_artifacts(
    results: Sequence[Accuracy | Comparison],
) -> list[ValidationResult | Comparison]:
    """Return each artifact that pointed, once, with those that it was compared with after it."""
    artifacts: list[ValidationResult | Comparison] = []
    for result in results:
        each = [result, *(result.against if isinstance(result, ValidationResult) else ())]
        for artifact in each:
            if isinstance(artifact, ScoreResult | ScoreComparison) or not artifact.pointing:
                continue
            seen = any(_points_as(artifact, other) for other in artifacts)
            artifacts += [] if seen else [artifact]
    return artifacts


def _points_as(
    artifact: ValidationResult | Comparison, other: ValidationResult | Comparison
) -> bool:
    """Return whether both are one artifact, computed in one way on the same images."""
    same = ("digest", "device", "compute", "heatmap_kind", "pointing")
    return all(getattr(artifact, key) == getattr(other, key) for key in same)


def _totals_text(games: Iterable[Pointing | None]) -> str:
    return " / ".join(dict.fromkeys(f"{game.total:,}" for game in games if game))


def _hits_text(game: Pointing | None) -> str:
    if game is None or game.rate is None:
        return "–"
    return f"{game.hits:,}: {interval_text(game.rate_interval or game.rate, '.0%')}"
