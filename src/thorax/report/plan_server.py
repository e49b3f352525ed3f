"""Tables of what plans say: everything in them is modelled."""

from collections.abc import Mapping
from typing import Any, Final

from thorax.report.modelled import MODELLED
from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text

READINGS: Final = {
    "additive": "Additive: the CPU computes too",
    "offload": "Off-load: the CPU only feeds the cards",
}


def server_tables(document: Document) -> list[Table]:
    """Return what a server does and draws, and what that costs if prices or a limit are known."""
    return [server_table(document), *filter(None, [_cost_table(document)])]


def server_table(document: Document) -> Table:
    """Return what a server does and draws, a row a number of cards and a reading."""
    rows = document["rows"]
    return dense(
        Table(
            f"{document['full_name']}, {document['network']}: {MODELLED}",
            (
                *("Reading", "Cards", "Images/s", "Times", "W", "Server img/s/W"),
                *("Marginal img/s/W", "p50 ms", "p90 ms", "p99 ms", "Slowest"),
            ),
            tuple(
                (
                    str(row["reading"]),
                    str(row["cards"]),
                    rate_text(row["images_per_s"]),
                    number_text(row["speedup"], ".2f"),
                    number_text(row["power_w"], ".0f"),
                    number_text(row["images_per_s_per_w"], ".2f"),
                    number_text(row["marginal_images_per_s_per_w"], ".2f"),
                    *(_latency_text(row, key) for key in ("p50", "p90", "p99")),
                    str(row["bound_by"]),
                )
                for row in rows
            ),
            (True,) * len(rows),
            _note(document),
            modelled=True,
        )
    )


def _latency_text(row: Mapping[str, Any], key: str) -> str:
    """Return milliseconds; the least and most of all runs where they differ by what is shown."""
    latency, spread = row["latency_ms"], row.get("latency_ms_range")
    if latency is None:
        return "never"
    ends = [latency[key]] if spread is None else spread[key]
    return "-".join(dict.fromkeys(_ms_text(float(value)) for value in ends))


def _ms_text(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _note(document: Document) -> str:
    told = [
        f"{words}."
        for name, words in READINGS.items()
        if any(row["reading"] == name for row in document["rows"])
    ]
    rate = document["offered_images_per_s"]
    arrivals = {
        "poisson": "that arrive at random",
        "constant": "that arrive evenly",
        "saturated": "fed whenever a request is free",
    }[document["arrivals"]]
    if document["arrivals"] == "saturated":
        load = f"Latency: of images {arrivals}."
    elif rate is None:
        share = f"{document['latency_load']:.0%}"
        load = f"Images/s and W: all busy. Latency: {share} of that many images/s, {arrivals}."
    else:
        load = f"All of it: at {rate:g} images/s {arrivals}; never: more than it can answer."
    mixed = (
        ["CPU and cards: rates of two networks, whose sum is the rate of neither."]
        if _is_mixed(document)
        else []
    )
    runs = document.get("runs", 1)
    return " ".join(
        (
            *mixed,
            *told,
            load,
            *([f"From-to: least and most of {runs} runs of other arrivals."] if runs > 1 else []),
            "Server: images/s of the whole server over its watts. Marginal: what the cards add to "
            "both. Times: full rate over that without cards. `--json` names the source of every "
            "constant.",
        )
    )


def _is_mixed(document: Document) -> bool:
    """Return whether the network that the cards were planned with is not known to be the CPU's."""
    return " on the CPU, " in document["network"]


def within_text(row: Mapping[str, Any]) -> str:
    """Return images/s within the limit, from the least to the most of all runs."""
    ends = row.get("images_per_s_within_limit_range") or [row["images_per_s_within_limit"]]
    return "-".join(dict.fromkeys(rate_text(value) for value in ends))


def _cost_table(document: Document) -> Table | None:
    limit = document["latency_limit_ms"]
    priced = any(value is not None for value in document["prices"].values())
    if limit is None and not priced:
        return None
    rows = document["rows"]
    within = "Images/s" if limit is None else f"Images/s, p99 within {limit:g} ms"
    return dense(
        Table(
            f"Limit and cost of {document['full_name']}: {MODELLED}",
            (*("Reading", "Cards", within, "kWh", "Energy", "Hardware", "Total"),),
            tuple(
                (
                    str(row["reading"]),
                    str(row["cards"]),
                    (
                        "none"
                        if row["images_per_s_within_limit"] is None and limit is not None
                        else within_text(row)
                    ),
                    number_text(row["energy_kwh_per_million_images"], ".3f"),
                    *(
                        number_text(row["cost_per_million_images"][key], ",.2f")
                        for key in ("energy", "hardware", "total")
                    ),
                )
                for row in rows
            ),
            (True,) * len(rows),
            "kWh, energy, hardware, total: of a million images, in the currency of the prices "
            "given; the watts of idle hours are not in it.",
            modelled=True,
        )
    )
