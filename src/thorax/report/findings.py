"""What `thorax classify` found, and what its layers cost, as tables."""

from pathlib import Path
from typing import Final

from thorax.labels import INTENDED_USE, plain_name
from thorax.report.counters import by_member, cost_table
from thorax.report.modelled import modelled_table
from thorax.report.table import Table, table_of
from thorax.report.text import rate_text
from thorax.results.findings import SHOWN, ArchiveRun, ClassifyResult, DeviceList, Findings

_NAMED: Final = 3
"""Files passed over that the table names; JSON has all."""


def findings_tables(result: ClassifyResult, *, counters: bool = True) -> list[Table]:
    """Return what a person is shown of `classify`; without `counters`, they are left out."""
    tables = [
        table_of(
            "Findings at or above their operating point",
            result.results[:SHOWN],
            {"Image": lambda row: Path(row.image).name, "Findings": _sentence},
            note=f"{_summary(result)}. {INTENDED_USE}",
        )
    ]
    if modelled := modelled_table([result]):
        tables.append(modelled)
    if counters:
        groups = by_member(result.counters).values()
        tables += [cost_table(costs, result.batch) for costs in groups]
    return tables


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
