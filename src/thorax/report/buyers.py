"""The one table that a buyer needs: every run and plan side by side, measured told from modelled.

A row is a run: what answers, on what, how fast, for how many watts and how well it judges. What no
document says is left open, never filled in; how long an emulation takes is offered as no speed.
"""

import base64
import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from thorax.files.csv_cells import harmless
from thorax.report.accuracy import Accuracy
from thorax.report.modelled import MODELLED
from thorax.report.plan_server import READINGS
from thorax.report.series import precision_text
from thorax.report.table import Table, dense
from thorax.report.text import file_name, interval_text, number_text, rate_text
from thorax.results.accuracy import Comparison, ValidationResult
from thorax.results.benchmark import BenchmarkResult
from thorax.results.plan import ServerPlan, ServerRow
from thorax.results.shared import Modelled

ABSENT: Final = "–"
"""Stands where a document says nothing."""

_SCENARIOS: Final = ("offline", "server", "multi-stream", "single-stream")
"""The order of rows of one network: what a batch of work needs first."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One row: what a buyer would get; figures as the results have them that they are from.

    Attributes:
        model: name of the network, or of the server of a plan.
        precision: how weights are stored, and what a card computes in.
        hardware: names of the processors and boards behind `device`.
        p50_ms: median latency; of a modelled card that of one image alone.
        power_w: of the whole machine, or of all that the meter sees.
        marginal_w: what the load adds, or what the cards alone draw.
        auroc: mean, in words, with what it was judged on where rows differ.
        auroc_value: mean AUROC, where there is exactly one.
        auroc_on: store and split that it is of, where `auroc` does not name them.
        modelled: whether speed was computed and not measured.
        planned: whether it is of a plan, not of a run.
    """

    model: str
    precision: str
    device: str
    scenario: str
    hardware: str
    images_per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    power_w: float | None = None
    marginal_w: float | None = None
    efficiency: float | None = None
    marginal_efficiency: float | None = None
    auroc: str = ""
    auroc_value: float | None = None
    auroc_on: str = ""
    energy_source: str = "none"
    modelled: bool = False
    power_modelled: bool = False
    valid: bool | None = None
    reasons: tuple[str, ...] = ()
    planned: bool = False
    power_replayed: bool = False

    @property
    def origin(self) -> str:
        """How it is known, in words: a reader without colours must see it too."""
        origin = "modelled" if self.modelled else "measured"
        if self.power_modelled and not self.modelled:
            origin += ", W modelled"
        return f"{origin}, W replayed" if self.power_replayed else origin

    @property
    def verdict(self) -> str:
        """Whether the run may be quoted, in words."""
        if self.valid is None:
            return ""
        return "valid" if self.valid else f"INVALID: {'; '.join(self.reasons) or 'no reason told'}"


def offers(
    speed: Sequence[BenchmarkResult], accuracy: Sequence[Accuracy], plans: Sequence[ServerPlan] = ()
) -> list[Offer]:
    """Return a row for each run, each modelled card and each planned server, in this order.

    Runs and cards by network and scenario, the fastest first; plans as their documents have them.
    AUROC is joined by digest and arithmetic.
    """
    rows = [_run(result, accuracy) for result in speed if not result.simulated]
    rows += [_card(result, result.modelled, accuracy) for result in speed if result.modelled]
    rows += [row for plan in plans for row in _planned_rows(plan)]
    return sorted(rows, key=_rank)


def buyers_table(rows: Sequence[Offer]) -> Table | None:
    """Return the table, or None of no rows.

    What all rows share of hardware and meter is said once, below it.
    """
    if not rows:
        return None
    shared, columns = [], dict(_COLUMNS)
    for heading in ("Hardware", "W from", "Scenario"):
        values = {columns[heading](row) for row in rows}
        if len(rows) > 1 and len(values) == 1:
            value = values.pop()
            del columns[heading]
            if value:
                shared.append(f"{heading} in all rows: {value}.")
    judged = dict.fromkeys(row.auroc_on for row in rows if row.auroc_on)
    notes = [
        *shared,
        *([f"AUROC of: {', '.join(judged)}."] if judged else []),
        *(_NOTES[name] for name in columns if name in _NOTES and any(map(columns[name], rows))),
        *([_MARGINAL] if any(row.marginal_w for row in rows if not row.planned) else []),
        *_scope_notes(rows),
        *_plan_notes(rows),
    ]
    if any(row.modelled for row in rows):
        notes.append(
            f"Hatched rows in italics are {MODELLED}; of a modelled card: of the card alone, "
            "without layers of other devices, ms of one image alone; of a plan: at the load that "
            "it names."
        )
    if any(row.valid is False for row in rows):
        notes.append("An INVALID run broke a rule of its scenario: do not quote it.")
    table = dense(
        Table(
            "Every run side by side",
            ("#", *columns),
            tuple(
                (str(number), *(cell(row) for cell in columns.values()))
                for number, row in enumerate(rows, 1)
            ),
            tuple(row.modelled for row in rows),
            " ".join(notes),
        )
    )
    return replace(table, rows=tuple(tuple(cell or ABSENT for cell in row) for row in table.rows))


_COLUMNS: Final[dict[str, Callable[[Offer], str]]] = {
    "Model": lambda row: row.model,
    "Precision": lambda row: row.precision,
    "Device": lambda row: row.device,
    "Hardware": lambda row: row.hardware,
    "Scenario": lambda row: row.scenario,
    "How": lambda row: ", ".join(filter(None, (row.origin, row.verdict))),
    "Images/s": lambda row: rate_text(row.images_per_s),
    "p50 ms": lambda row: number_text(row.p50_ms, ".1f"),
    "p99 ms": lambda row: number_text(row.p99_ms, ".1f"),
    "W": lambda row: number_text(row.power_w, ".1f"),
    "W marginal": lambda row: number_text(row.marginal_w, ".1f"),
    "Img/s/W whole": lambda row: number_text(row.efficiency, ".2f"),
    "Img/s/W marginal": lambda row: number_text(row.marginal_efficiency, ".2f"),
    "Mean AUROC": lambda row: row.auroc,
    "W from": lambda row: "" if row.energy_source == "none" else row.energy_source,
}

_NOTES: Final = {
    "W": "W: of all that the meter sees, idle included; whole: images/s over these.",
    "Mean AUROC": "AUROC is of the same artifact, by its digest, in the same arithmetic.",
}


_MARGINAL: Final = (
    "Marginal of a run: what the load adds to idle; of a modelled card: what its board draws, "
    "without host."
)

_SEES: Final = {
    "rapl": "the processors alone",
    "nvml": "the GPUs alone",
    "redfish": "the whole machine",
    "ipmi": "the whole machine",
    "racadm": "the whole machine",
    "plan": "the whole server, planned",
    "model": "what the model file names",
}
"""What a meter sees, by the first word of what a document says of it."""


def scopes(rows: Sequence[Offer]) -> dict[str, list[int]]:
    """Return what the watts of rows are of, and the numbers of the rows that have them."""
    numbers: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        if row.power_w is not None:
            # A log has the scope of the meter that it was recorded from.
            meter = re.sub(r"^replay: .*? \((.*)\)$", r"\1", row.energy_source)
            name = re.split(r"[:\s]", meter, maxsplit=1)[0]
            scope = _SEES.get(name, "what a meter sees that is not known")
            numbers.setdefault(scope, []).append(number)
    return numbers


def are_alike(rows: Sequence[Offer]) -> bool:
    """Return whether the watts of all rows are of the same, so that they may be compared."""
    seen = scopes(rows)
    return len(seen) < 2 or all(
        scope in ("the whole machine", "the whole server, planned") for scope in seen
    )


def _scope_notes(rows: Sequence[Offer]) -> list[str]:
    seen = scopes(rows)
    where = "; ".join(f"{scope} in {_rows_text(numbers)}" for scope, numbers in seen.items())
    if not are_alike(rows):
        return [
            f"W are not of the same: {where}. Do not compare W or Img/s/W whole between them: what "
            "a meter does not see costs it nothing."
        ]
    return [
        f"W are of {where}, not of the machine."
        for scope in seen
        if scope in ("the processors alone", "the GPUs alone")
    ]


def _rows_text(numbers: Sequence[int]) -> str:
    """Return "row 2", or "rows 1, 4-6"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    ranges = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(ranges)}"


def _plan_notes(rows: Sequence[Offer]) -> list[str]:
    """Return what the rows of plans need to be read, where there are any."""
    planned = [row for row in rows if row.planned]
    readings = {row.device.partition(", ")[2] for row in planned}
    notes = [f"{words}." for name, words in READINGS.items() if name in readings]
    if any(row.marginal_w for row in planned):
        notes.append(
            "Marginal of a plan: what its cards add to the images/s and the watts of the same host "
            "without them, which computes (additive) or idles (offload)."
        )
    if sum(row.device.startswith("no card, ") for row in planned) > 1:
        notes.append(
            "Where the rate of a CPU follows from a published ratio, it is another by each reading,"
            " without cards too."
        )
    return notes


def buyers_csv(rows: Sequence[Offer]) -> str:
    """Return the rows as CSV (RFC 4180), figures unrounded in SI units, empty where not known.

    Text that a spreadsheet would take for a formula is quoted with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_CSV)
    for row in rows:
        writer.writerow(
            [
                *map(harmless, (row.model, row.precision, row.device, row.scenario, row.hardware)),
                row.images_per_s,
                *(None if ms is None else ms / 1e3 for ms in (row.p50_ms, row.p99_ms)),
                *(row.power_w, row.marginal_w, row.efficiency, row.marginal_efficiency),
                row.auroc_value,
                *map(harmless, (row.energy_source, row.origin, row.verdict)),
            ]
        )
    return text.getvalue()


_CSV: Final = (
    *("model", "precision", "device", "scenario", "hardware", "images_per_s", "latency_p50_s"),
    *("latency_p99_s", "power_w", "marginal_power_w", "images_per_s_per_w"),
    *("marginal_images_per_s_per_w", "mean_auroc", "energy_source", "origin", "verdict"),
)


def csv_link(text: str) -> str:
    """Return CSV as an address that a page can offer for download without fetching anything."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode("ascii")


def _rank(row: Offer) -> tuple[bool, bool, str, int, float]:
    if row.planned:
        # As the plan has them: by server, reading and number of cards.
        return True, True, "", 0, 0.0
    order = _SCENARIOS.index(row.scenario)
    return row.modelled, False, row.model.lower(), order, -row.images_per_s


def _run(result: BenchmarkResult, accuracy: Sequence[Accuracy]) -> Offer:
    power, read = result.power, result.power_w is not None
    auroc, value, judged = _auroc(result, accuracy)
    return Offer(
        *_what(result),
        result.scenario,
        _hardware(result),
        result.images_per_s,
        result.latency_ms.p50,
        result.latency_ms.p99,
        result.power_w,
        power.marginal_w if power else None,
        result.images_per_s_per_w,
        power.marginal_images_per_s_per_w if power else None,
        auroc,
        value,
        judged,
        result.energy_source,
        power_modelled=bool(power and power.modelled) and read,
        power_replayed=bool(power and power.replayed) and read,
        valid=result.valid,
        reasons=result.invalid_because,
    )


def _card(result: BenchmarkResult, modelled: Modelled, accuracy: Sequence[Accuracy]) -> Offer:
    """Return what the cards of a run would do; their watts are without the host: marginal."""
    auroc, value, judged = _auroc(result, accuracy)
    return Offer(
        *_what(result),
        "offline",
        _hardware(result),
        modelled.images_per_s,
        1e3 * modelled.latency_s,
        marginal_w=modelled.power_w,
        marginal_efficiency=modelled.images_per_s_per_w,
        auroc=auroc,
        auroc_value=value,
        auroc_on=judged,
        energy_source="none" if modelled.power_w is None else "card model",
        modelled=True,
        power_modelled=modelled.power_w is not None,
    )


def _planned_rows(plan: ServerPlan) -> list[Offer]:
    """Return the rows of a plan; a server without cards once, where all roles say the same."""
    bare = [row for row in plan.rows if not row.cards]
    same = len(bare) > 1 and len({(row.images_per_s, row.power_w) for row in bare}) == 1
    return [
        replace(_planned(plan, row), device="no card")
        if same and not row.cards
        else _planned(plan, row)
        for row in plan.rows
        if not same or row.cards or row is bare[0]
    ]


def _planned(plan: ServerPlan, row: ServerRow) -> Offer:
    count = f"{row.cards} card{'' if row.cards == 1 else 's'}" if row.cards else "no card"
    return Offer(
        plan.network,
        "",
        f"{count}, {row.reading}",
        _load_text(plan),
        plan.full_name,
        row.images_per_s,
        row.latency_ms.p50 if row.latency_ms else None,
        row.latency_ms.p99 if row.latency_ms else None,
        row.power_w,
        row.marginal_power_w,
        efficiency=row.images_per_s_per_w,
        marginal_efficiency=row.marginal_images_per_s_per_w,
        energy_source="plan",
        modelled=True,
        power_modelled=True,
        planned=True,
    )


def _load_text(plan: ServerPlan) -> str:
    if plan.offered_images_per_s is not None and plan.arrivals != "saturated":
        return f"plan, {plan.offered_images_per_s:g} images/s"
    if plan.latency_load is None or plan.arrivals == "saturated":
        return "plan"
    return f"plan, {plan.latency_load:.0%} load"


def _what(result: BenchmarkResult) -> tuple[str, str, str]:
    """Return the network, its precision, and the device with its setting where it was measured."""
    streams, batch = result.streams, result.batch
    setting = [f"{streams} stream{'s' if streams > 1 else ''}"] if streams else []
    setting += [f"batch {batch}"] if batch and batch > 1 else []
    return (
        # The column beside it says the precision.
        file_name(result.model).removesuffix(f"-{result.precision}"),
        precision_text(result),
        result.device if result.simulated else ", ".join([result.device, *setting]),
    )


def _hardware(result: BenchmarkResult) -> str:
    parts = result.device_names
    if parts and result.environment:
        count = result.environment.processors
        parts.append(f"{count} processor{'s' if count > 1 else ''}")
    used = {name for name in result.devices if "FPGA" in name} if result.simulated else ()
    if used:
        parts.append(f"{len(used)} FPGA card{'s' if len(used) > 1 else ''}, simulated")
    return ", ".join(parts)


def _floats(compute: str) -> frozenset[str]:
    """Return what a result was computed in: AUROC of FP11 is not that of FP32."""
    return frozenset(compute.split("+")) - {""}


def _auroc(result: BenchmarkResult, accuracy: Sequence[Accuracy]) -> tuple[str, float | None, str]:
    """Return mean AUROC of the same artifact in the same arithmetic, and what it was judged on.

    Several are one text that names what each is of.
    """
    floats = _floats(result.compute)
    means: dict[tuple[str, str], float] = {}
    for validated in accuracy:
        if not isinstance(validated, ValidationResult):
            continue
        store = " ".join(file_name(part) for part in (validated.store, validated.split) if part)
        networks: list[ValidationResult | Comparison] = [validated, *validated.against]
        for network in networks:
            computed, mean = _floats(network.compute), network.mean_auroc
            alike = not floats or not computed or computed == floats
            if result.digest and network.digest == result.digest and mean is not None and alike:
                means[interval_text(network.mean), store] = mean
    if len(means) == 1:
        (((text, store), mean),) = means.items()
        return text, mean, store
    return "; ".join(map(" ".join, means)), None, ""
