"""Tables of what `thorax plan server` computes: everything in them is modelled."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from thorax.report.modelled import MODELLED
from thorax.report.table import Table, table_of
from thorax.report.text import kinds_text, ms_text, number_text, range_text, rate_text
from thorax.results.plan import CpuRole, QuantileRanges, Quantiles, ServerPlan, ServerRow

READINGS: Final = {
    CpuRole.ADDITIVE: "Additive: the CPU computes too",
    CpuRole.OFFLOAD: "Off-load: the CPU only feeds the cards",
}

_Mean: TypeAlias = Callable[[Quantiles], float]
_Ends: TypeAlias = Callable[[QuantileRanges], tuple[float, float]]

QUANTILES: Final[Mapping[str, tuple[_Mean, _Ends]]] = {
    "p50": (lambda mean: mean.p50, lambda ends: ends.p50),
    "p90": (lambda mean: mean.p90, lambda ends: ends.p90),
    "p99": (lambda mean: mean.p99, lambda ends: ends.p99),
}

_ARRIVALS: Final = {
    "poisson": "that arrive at random",
    "constant": "that arrive evenly",
    "saturated": "fed whenever a request is free",
}


def server_tables(plan: ServerPlan) -> list[Table]:
    """Return what a server does and draws, and what that costs if prices or a limit are known."""
    return [server_table(plan), *filter(None, [_cost_table(plan)])]


def server_table(plan: ServerPlan) -> Table:
    """Return what a server does and draws, a row a number of cards and a role of the CPU."""
    return table_of(
        f"{plan.full_name}, {plan.network}: {MODELLED}",
        plan.rows,
        {
            "Reading": lambda row: row.reading.value,
            "Cards": lambda row: str(row.cards),
            "Images/s": lambda row: rate_text(row.images_per_s),
            "Times": lambda row: number_text(row.speedup, ".2f"),
            "W": lambda row: number_text(row.power_w, ".0f"),
            "Server img/s/W": lambda row: number_text(row.images_per_s_per_w, ".2f"),
            "Marginal img/s/W": lambda row: number_text(row.marginal_images_per_s_per_w, ".2f"),
            **{f"{name} ms": partial(_latency_text, *of) for name, of in QUANTILES.items()},
            "Slowest": lambda row: row.bound_by,
        },
        note=_note(plan),
        modelled=True,
    )


def _latency_text(mean: _Mean, ends: _Ends, row: ServerRow) -> str:
    """Return a quantile, from the least to the most of all runs where these differ."""
    if row.latency_ms is None:
        return "never"
    range_ms = row.latency_ms_range
    return range_text(ends(range_ms) if range_ms else (mean(row.latency_ms),), ms_text)


def _note(plan: ServerPlan) -> str:
    roles = {row.reading for row in plan.rows}
    sentences = []
    if " on the CPU, " in plan.network:
        sentences.append("CPU and cards: rates of two networks, whose sum is the rate of neither.")
    sentences += [f"{words}." for role, words in READINGS.items() if role in roles]
    sentences.append(_load_text(plan))
    if plan.runs > 1:
        sentences.append(f"From-to: least and most of {plan.runs} runs of other arrivals.")
    sentences.append(
        "Server: images/s of the whole server over its watts. Marginal: what the cards add to "
        "both. Times: full rate over that without cards. `--json` names the source of every "
        "constant."
    )
    sentences.append(kinds_text(plan.sources))
    return " ".join(filter(None, sentences))


def _load_text(plan: ServerPlan) -> str:
    arrivals = _ARRIVALS[plan.arrivals]
    if plan.arrivals == "saturated":
        return f"Latency: of images {arrivals}."
    if plan.offered_images_per_s is None:
        share = number_text(plan.latency_load, ".0%")
        return f"Images/s and W: all busy. Latency: {share} of that many images/s, {arrivals}."
    rate = f"{plan.offered_images_per_s:g}"
    return f"All of it: at {rate} images/s {arrivals}; never: more than it can answer."


def within_text(row: ServerRow) -> str:
    """Return images/s within the limit, from the least to the most of all runs."""
    return range_text(
        row.images_per_s_within_limit_range or (row.images_per_s_within_limit,), rate_text
    )


def _cost_table(plan: ServerPlan) -> Table | None:
    limit_ms, prices = plan.latency_limit_ms, plan.prices
    if limit_ms is None and all(price is None for _, price in prices):
        return None
    within = "Images/s" if limit_ms is None else f"Images/s, p99 within {limit_ms:g} ms"
    nothing_within = "" if limit_ms is None else "none"
    return table_of(
        f"Limit and cost of {plan.full_name}: {MODELLED}",
        plan.rows,
        {
            "Reading": lambda row: row.reading.value,
            "Cards": lambda row: str(row.cards),
            within: lambda row: within_text(row) or nothing_within,
            "kWh": lambda row: number_text(row.energy_kwh_per_million_images, ".3f"),
            "Energy": lambda row: number_text(row.cost_per_million_images.energy, ",.2f"),
            "Hardware": lambda row: number_text(row.cost_per_million_images.hardware, ",.2f"),
            "Total": lambda row: number_text(row.cost_per_million_images.total, ",.2f"),
        },
        note="kWh, energy, hardware, total: of a million images, in the currency of the prices "
        "given; the watts of idle hours are not in it.",
        modelled=True,
    )
