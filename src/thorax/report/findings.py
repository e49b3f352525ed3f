"""What `thorax classify` found, and what its layers cost, as tables."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Final

from thorax.labels import INTENDED_USE, plain_name
from thorax.report.counters import by_member, cost_table
from thorax.report.modelled import modelled_tables
from thorax.report.table import Table, table_of
from thorax.report.text import rate_text
from thorax.results.findings import SHOWN, ArchiveRun, ClassifyResult, DeviceList, Findings

_LIKELIEST: Final = 3
"""Findings that are shown of an image where none is told to be positive."""


def findings_tables(result: ClassifyResult, *, counters: bool = True) -> list[Table]:
    """Return what a person is shown of `classify`; without `counters`, they are left out."""
    shown = result.results[:SHOWN]
    names = shortest_names([row.image for row in shown])
    points = bool(result.operating_points)
    what = "Findings at or above their operating point" if points else "Likeliest findings"
    tables = [
        table_of(
            what,
            shown,
            {
                "Image": lambda row: names[row.image],
                "Findings": lambda row: _sentence(row, points) + _warned(row),
            },
            note=f"{_summary(result)}. {INTENDED_USE}",
        )
    ]
    tables += modelled_tables([result])
    if counters:
        groups = by_member(result.counters).values()
        tables += [cost_table(costs, result.batch) for costs in groups]
    return tables


def shortest_names(images: Iterable[str]) -> dict[str, str]:
    """Return the name of each image with as many folders above it as tell it from the others.

    Example:
        >>> shortest_names(["cd/p1/v.png", "cd/p2/v.png", "cd/w.png"])
        {'cd/w.png': 'w.png', 'cd/p1/v.png': 'p1/v.png', 'cd/p2/v.png': 'p2/v.png'}
    """
    names: dict[str, str] = {}
    waiting, depth = {image: PurePath(image).parts for image in images}, 1
    while waiting:
        tails = Counter(parts[-depth:] for parts in waiting.values())
        for image, parts in list(waiting.items()):
            if tails[parts[-depth:]] == 1 or depth >= len(parts):
                names[image] = str(PurePath(*parts[-depth:])) if parts else image
                del waiting[image]
        depth += 1
    return names


def _summary(result: ClassifyResult) -> str:
    note = f"{result.images:,} image{'' if result.images == 1 else 's'}, "
    if result.images_per_s is not None:
        note += f"{rate_text(result.images_per_s)} images/s, "
    note += f"{result.precision} on {result.device}"
    if result.simulated:
        note += f", emulated in {result.compute}"
    if result.tuned:
        note += f", {result.streams} streams of {result.batch} as tuned"
    if result.failed:
        note += f"; {result.failed:,} could not be read"
    if result.passed_over:
        note += f"; {len(result.passed_over):,} passed over as no images: "
        note += _counts(result.passed_over_reasons)
    if result.warnings:
        note += f"; read with warnings: {_counts(result.warnings)}, --json says why"
    if result.images > len(result.results):
        where = result.cluster.rows if result.cluster else "--csv or --json"
        note += f"; the first {len(result.results)} shown, {where} has all"
    if not result.operating_points:
        note += "; the network has no operating points, so that no finding is called positive"
    return note + (_archive_note(result.cluster) if result.cluster else "")


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered)


def _archive_note(run: ArchiveRun) -> str:
    note = f"; {run.shards:,} shards, {run.shards_resumed:,} of them there before"
    if run.address:
        note += f", actors: {run.actors}, threads of each: {run.threads_per_actor}"
    return note


def _sentence(row: Findings, points: bool) -> str:
    if row.error:
        return f"could not be read: {row.error.code}: {row.error.message}"
    findings = row.findings
    likeliest = sorted(findings, key=lambda name: -findings[name])
    if not points:
        return _named(findings, likeliest[:_LIKELIEST])
    return _named(findings, row.positive) or f"none (likeliest: {_named(findings, likeliest[:1])})"


def _warned(row: Findings) -> str:
    codes = ", ".join(warning.code for warning in row.warnings)
    return f"; warned of: {codes}" if codes else ""


def _named(findings: Mapping[str, float], names: Iterable[str]) -> str:
    return ", ".join(f"{plain_name(name)} {findings[name]:.2f}" for name in names)


def devices_table(devices: DeviceList) -> Table:
    """Return the devices that are here, and what each computes natively."""
    return table_of(
        "Devices",
        devices.root,
        {
            "Name": lambda device: device.name,
            "Hardware": lambda device: device.full_name,
            "Computes natively": lambda device: (
                device.arithmetic or ("" if device.simulated else ", ".join(device.precisions))
            ),
        },
        simulated=lambda device: device.simulated,
    )
