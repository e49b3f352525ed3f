"""What `thorax classify` found, and what its layers cost, as tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from thorax.artifact import INTENDED_USE
from thorax.labels import plain_name
from thorax.report.modelled import modelled_table
from thorax.report.table import Table, dense
from thorax.report.text import rate_text
from thorax.results.findings import ArchiveRun, ClassifyResult, DeviceList, Findings, LayerCost

SHOWN: Final = 100
"""Rows of the table for people; JSON and CSV have all."""
_NAMED: Final = 3
"""Files passed over that the table names; JSON has all."""


def findings_tables(result: ClassifyResult, *, counters: bool = True) -> list[Table]:
    """Return what a person is shown of `classify`; without `counters`, they are left out."""
    tables = [
        Table(
            "Findings at or above their operating point",
            ("Image", "Findings"),
            tuple((Path(row.image).name, _sentence(row)) for row in result.results[:SHOWN]),
            note=f"{_summary(result)}. {INTENDED_USE}",
        )
    ]
    if modelled := modelled_table([result]):
        tables.append(modelled)
    if counters:
        groups = by_member(result.counters).values()
        tables += [_cost_table(costs, result.batch) for costs in groups]
    return tables


def _summary(result: ClassifyResult) -> str:
    """Return how many images were answered, how fast, on what, and what was left out."""
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
        names = [Path(name).name for name in result.passed_over[:_NAMED]]
        more = ", ..." if len(result.passed_over) > _NAMED else ""
        note += f"; {len(result.passed_over):,} that are no images passed over: "
        note += ", ".join(names) + more
    if result.images > len(result.results):
        where = result.cluster.rows if result.cluster else "--csv or --json"
        note += f"; the first {len(result.results)} shown, {where} has all"
    return note + (_archive_note(result.cluster) if result.cluster else "")


def _archive_note(run: ArchiveRun) -> str:
    note = f"; {run.shards:,} shards, {run.shards_resumed:,} of them there before"
    if run.address:
        note += f", actors: {run.actors}, threads of each: {run.threads_per_actor}"
    return note


def _sentence(row: Findings) -> str:
    if row.error:
        return f"could not be read: {row.error.code}"
    findings = row.findings
    if row.positive:
        return ", ".join(f"{plain_name(name)} {findings[name]:.2f}" for name in row.positive)
    likeliest = max(findings, key=findings.__getitem__)
    return f"none (likeliest: {plain_name(likeliest)} {findings[likeliest]:.2f})"


def by_member(costs: Iterable[LayerCost]) -> dict[str | None, list[LayerCost]]:
    """Return the rows of each of several that share the work: no sum goes over two of them."""
    groups: dict[str | None, list[LayerCost]] = {}
    for cost in costs:
        groups.setdefault(cost.member, []).append(cost)
    return groups


def _cost_table(costs: Sequence[LayerCost], batch: int) -> Table:
    """Return what ran, in order; a share is that of the times of the same origin.

    Args:
        costs: of one engine, not of several that share the work; not empty.
        batch: images of the inferences that were measured.
    """
    ran = [cost for cost in costs if cost.status == "EXECUTED"]
    totals = {
        origin: sum(cost.real_ms for cost in ran if cost.origin == origin and cost.part_of is None)
        for origin in dict.fromkeys(cost.origin for cost in ran)
    }
    rows = [
        (
            _row_name(cost),
            cost.device or "",
            cost.type,
            cost.kernel,
            f"{cost.real_ms:.3f}",
            f"{cost.real_ms / totals[cost.origin]:.1%}" if totals[cost.origin] else "",
            cost.origin,
        )
        for cost in ran
    ]
    rows += [
        (f"Total {origin}", "", "", "", f"{total:.3f}", "", origin)
        for origin, total in totals.items()
    ]
    notes = []
    if batch > 1:
        notes.append(f"Measured on {batch} images at a time.")
    if "modelled" in totals:
        notes.append("Modelled: computed from the architecture of the card, not read from a clock.")
    whose = f" on {costs[0].member}" if costs[0].member else ""
    return dense(
        Table(
            f"What every layer cost{whose}, mean per image",
            ("Layer", "Device", "Type", "Kernel", "ms", "Share", "How"),
            tuple(rows),
            tuple(row[-1] == "modelled" for row in rows),
            " ".join(notes),
        )
    )


def _row_name(cost: LayerCost) -> str:
    if cost.part_of is not None:
        return f"   {cost.layer}"
    return cost.layer if cost.subgraph is None else f"{cost.subgraph}: {cost.layer}"


_NAME_WIDTH: Final = 30
_STATUS_WIDTH: Final = 15
_TYPE_WIDTH: Final = 30
_TIME_WIDTH: Final = 20
"""Columns that the samples of 2018 printed."""


def cost_lines(costs: Iterable[LayerCost]) -> list[str]:
    """Return what layers cost as the samples of 2018 printed it, the origin of each time added.

    `subgraph1: conv1:EXECUTED       layerType: Convolution ...` in whole microseconds, the total
    of what executed last. Name and status stand together where the name is long. Of several that
    share the work each has its lines, and its total, below its device string.
    """
    lines = []
    for member, rows in by_member(costs).items():
        lines += [f"{member}:"] if member else []
        lines += _lines_of_one(rows)
    return lines


def _lines_of_one(costs: Iterable[LayerCost]) -> list[str]:
    lines = []
    total_us = 0
    for cost in costs:
        name = cost.layer if cost.subgraph is None else f"subgraph{cost.subgraph}: {cost.layer}"
        real_us, cpu_us = round(cost.real_ms * 1e3), round(cost.cpu_ms * 1e3)
        total_us += real_us if cost.status == "EXECUTED" and cost.part_of is None else 0
        lines.append(
            f"{name + ':':<{_NAME_WIDTH}}{cost.status:<{_STATUS_WIDTH}}"
            f"{'layerType: ' + cost.type:<{_TYPE_WIDTH}} {f'realTime: {real_us}':<{_TIME_WIDTH}}"
            f"{f'cpu: {cpu_us}':<{_TIME_WIDTH}}execType: {cost.kernel:<24} origin: {cost.origin}"
        )
    return [*lines, f"{'Total time: ' + str(total_us):<{_TIME_WIDTH}} microseconds"]


def devices_table(devices: DeviceList) -> Table:
    """Return the devices that are here, and what each computes natively."""
    return Table(
        "Devices",
        ("Name", "Hardware", "Computes natively"),
        tuple(
            (
                device.name,
                device.full_name,
                device.arithmetic or ("" if device.simulated else ", ".join(device.precisions)),
            )
            for device in devices.root
        ),
        simulated=tuple(device.simulated for device in devices.root),
    )
