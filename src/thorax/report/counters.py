"""What every layer cost, as a table and as the samples of 2018 printed it."""

from collections.abc import Iterable, Sequence
from typing import Final

from thorax.report.table import Table, dense
from thorax.results.findings import LayerCost


def by_member(costs: Iterable[LayerCost]) -> dict[str | None, list[LayerCost]]:
    """Return the rows of each of several that share the work: no sum goes over two of them."""
    groups: dict[str | None, list[LayerCost]] = {}
    for cost in costs:
        groups.setdefault(cost.member, []).append(cost)
    return groups


def cost_table(costs: Sequence[LayerCost], batch: int) -> Table:
    """Return what ran of one engine, in order; a share is that of the times of the same origin.

    Measured were inferences of `batch` images.
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


_TIME_WIDTH: Final = 20
"""Columns that the samples of 2018 printed."""


def cost_lines(costs: Iterable[LayerCost]) -> list[str]:
    """Return what layers cost as the samples of 2018 printed it, the origin of each time added.

    `subgraph1: conv1:EXECUTED       layerType: Convolution ...` in whole microseconds, last the
    total of what executed, named measured or modelled. Where cards are simulated both have totals
    of their own, and no sum goes over both. Name and status stand together where the name is long.
    Of several that share the work each has its lines, and its totals, below its device string.
    """
    lines = []
    for member, rows in by_member(costs).items():
        lines += [f"{member}:"] if member else []
        lines += _lines_of_one(rows)
    return lines


def _lines_of_one(costs: Iterable[LayerCost]) -> list[str]:
    lines = []
    totals_us: dict[str, int] = {}
    for cost in costs:
        name = cost.layer if cost.subgraph is None else f"subgraph{cost.subgraph}: {cost.layer}"
        real_us, cpu_us = round(cost.real_ms * 1e3), round(cost.cpu_ms * 1e3)
        counts = cost.status == "EXECUTED" and cost.part_of is None
        totals_us[cost.origin] = totals_us.get(cost.origin, 0) + (real_us if counts else 0)
        lines.append(
            f"{name + ':':<30}{cost.status:<15}"
            f"{'layerType: ' + cost.type:<30} {f'realTime: {real_us}':<{_TIME_WIDTH}}"
            f"{f'cpu: {cpu_us}':<{_TIME_WIDTH}}execType: {cost.kernel:<24} origin: {cost.origin}"
        )
    for origin, total_us in totals_us.items():
        lines.append(f"Total time, {origin}: {total_us} microseconds")
    return lines
