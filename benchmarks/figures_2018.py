"""Claim: figures 1 to 4 of 2018 follow from the constants of its text, as far as the text tells.

    python -m benchmarks.figures_2018

Writes docs/figures/figure-{1..4}-2018.svg, the table of claims into docs/figures-2018.md, and a
result; of a rehearsal the result alone. Nothing is timed, so the result does not depend on the
machine: a test computes it again.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import claims_2018 as claims
from benchmarks.harness.result import parse_args, write
from thorax.files.atomic import write_text
from thorax.plan.server import PRESETS, find_preset
from thorax.plan.server_plan import ServerQuestion, plan_server
from thorax.report.figure import WIDTH, svg
from thorax.report.picture import write_picture
from thorax.report.plan_server_plots import (
    add_title_and_legend,
    draw_bars,
    draw_throughput,
    draw_watts,
    latency_plot,
    part_handle,
    role_handles,
    spoken,
)
from thorax.results.plan import ServerPlan

_DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = _DOCS / "figures-2018.md"
_LIMIT_S: Final = 0.05
_KEPT: Final = (
    *("cards", "reading", "images_per_s", "cpu_images_per_s", "cards_images_per_s", "speedup"),
    *("power_w", "cards_power_w", "images_per_s_per_w", "marginal_images_per_s_per_w"),
)


def plans() -> dict[str, ServerPlan]:
    """Return the plan of every preset in both roles of the CPU."""
    made = {}
    for name in PRESETS:
        server = find_preset(name)
        cards = tuple(range((server.max_cards or 0) + 1))
        made[name] = plan_server(server, ServerQuestion(cards, images=1000, runs=1))
    return made


def latency(name: str) -> ServerPlan:
    """Return the plan of a preset with all its cards, and with latency against load."""
    server = find_preset(name)
    cards = server.max_cards or 0
    return plan_server(server, ServerQuestion((cards,), limit_s=_LIMIT_S, curve=True))


def rows(plan: ServerPlan) -> list[dict[str, Any]]:
    """Return what the figures show of a plan."""
    return [{key: _short(row[key]) for key in _KEPT} for row in plan.document()["rows"]]


def claims_text() -> str:
    """Return the claims as a table in Markdown."""
    lines = ["| text | claim | published | computed | reading | | how |", "|" + "---|" * 7]
    for one in claims.claims():
        digits = 0 if one.published >= 50 or one.unit == "%" else 2
        computed = "" if one.computed is None else f"{one.computed:,.{digits}f}"
        lines.append(
            f"| {one.year} | {one.claim} | {one.published:g} {one.unit} | "
            f"{computed} | {one.reading} | **{one.verdict}** | {one.how} |"
        )
    return "\n".join(lines)


def servers_text(made: dict[str, ServerPlan]) -> str:
    """Return what the servers do and draw as a table in Markdown."""
    lines = [
        "| server | reading | cards | images/s | W | images/s/W, whole server "
        "| images/s/W, marginal |",
        "|" + "---|" * 7,
    ]
    for name, plan in made.items():
        for row in plan.rows:
            marginal = row.marginal_images_per_s_per_w
            lines.append(
                f"| {name} | {row.reading} | {row.cards} | {row.images_per_s:,.0f} | "
                f"{row.power_w:.0f} | {row.images_per_s_per_w:.2f} | "
                f"{'' if marginal is None else f'{marginal:.2f}'} |"
            )
    return "\n".join(lines)


def put(page: str, mark: str, text: str) -> str:
    """Return a page with the text between two marks."""
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    return re.sub(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n\n{text}\n\n{end}",
        page,
        flags=re.DOTALL,
    )


def _short(value: Any) -> Any:  # noqa: ANN401
    return round(value, 6) if isinstance(value, float) else value


def throughput_plot(plan: ServerPlan) -> str:
    """Return throughput and watts of a server, side by side, against the number of cards."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, 2)
        draw_throughput(panels[0], plan)
        draw_watts(panels[1], plan)
        add_title_and_legend(figure, plan, (*role_handles(plan), part_handle()))
        return figure

    return svg("plan-throughput0", spoken(plan), draw)


def efficiency_plot(plan: ServerPlan) -> str:
    """Return images/s/W of the whole server and of what the cards add, side by side."""
    rates = [
        rate
        for row in plan.rows
        for rate in (row.images_per_s_per_w, row.marginal_images_per_s_per_w)
        if rate
    ]

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
        whole, marginal = figure.subplots(1, 2, sharey=True)
        draw_bars(whole, plan, lambda row: row.images_per_s_per_w, lambda _: 0.0, ".2f")
        whole.set_ylabel("Images/s/W of the whole server")
        draw_bars(marginal, plan, lambda row: row.marginal_images_per_s_per_w, lambda _: 0.0, ".2f")
        marginal.set_ylabel("Images/s/W, marginal: what cards add")
        marginal.tick_params(labelleft=True)
        # Shared and begun at zero, the axis would end where the first panel does.
        whole.set_ylim(0, 1.12 * max(rates, default=1.0))
        add_title_and_legend(figure, plan, role_handles(plan))
        return figure

    return svg("plan-efficiency0", spoken(plan), draw)


def main() -> None:
    """Write the result, and unless it is a rehearsal figures and page."""
    rehearsal = parse_args(argparse.ArgumentParser(description=__doc__.splitlines()[0])).rehearsal
    made = plans()
    if rehearsal is None:
        illustrate(made)
    servers = {name: rows(plan) for name, plan in made.items()}
    document = {**claims.document(), "servers": servers}
    print(claims_text())
    print("written:", write("figures_2018", document, rehearsal=rehearsal, modelled=True))


def illustrate(made: dict[str, ServerPlan]) -> None:
    """Write figures and page."""
    figures = _DOCS / "figures"
    for place, name in enumerate(("r740", "r640")):
        write_picture(throughput_plot(made[name]), figures / f"figure-{2 * place + 1}-2018.svg")
        write_picture(efficiency_plot(made[name]), figures / f"figure-{2 * place + 2}-2018.svg")
    write_picture(throughput_plot(made["r740-2019"]), figures / "r740-2019.svg")
    for name in ("r740", "r740-2019"):
        write_picture(latency_plot(latency(name)), figures / f"latency-{name}.svg")
    page = PAGE.read_text("utf-8")
    page = put(put(page, "claims", claims_text()), "servers", servers_text(made))
    write_text(PAGE, page)


if __name__ == "__main__":
    main()
