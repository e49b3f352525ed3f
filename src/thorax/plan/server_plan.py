"""What `thorax plan server` answers: a row for each number of cards and each reading."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thorax.errors import UsageError
from thorax.plan.costs import Prices, cost
from thorax.plan.latency import IMAGES, Arrivals, Latency, Outcome, highest_rate, load
from thorax.plan.ranges import MOST_CARDS
from thorax.plan.server import Capacity, Reading, Server, capacity, check_cards

LOAD: Final = 0.8
"""Share of what a server can do that latency is told at, unless another is asked for."""

RUNS: Final = 5
"""Runs of one load, unless told otherwise."""

_CURVE: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97)
"""Shares of what a server can do that latency is drawn at."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a server is asked to do.

    Attributes:
        images_per_s: that arrive; None: watts are of all that it can do, and latency is that at
            `share` of it.
        share: of what it can do, 0-1.
        arrivals: how images come.
        limit_s: that p99 is to stay within, None if nobody asks.
        images: simulated in a run.
        seed: of the arrivals of the first run; each further one adds 1.
        runs: with other arrivals each, whose spread is told; arrivals that are not at random are
            the same in all, so that one is enough.
    """

    images_per_s: float | None = None
    share: float = LOAD
    arrivals: Arrivals = "poisson"
    limit_s: float | None = None
    images: int = IMAGES
    seed: int = 0
    runs: int = RUNS

    @property
    def seeds(self) -> range:
        """Of the runs that differ."""
        return range(self.seed, self.seed + (self.runs if self.arrivals == "poisson" else 1))


_DEMAND: Final = Demand()
_PRICES: Final = Prices()


def cards_in(text: str) -> tuple[int, ...]:
    """Return numbers of cards from `4`, `0,2,4` or `0..4`, ascending.

    Raises:
        UsageError: `plan-cards-text` for anything else, `plan-cards-many` for more than 1024.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.partition("..")
        if not first.strip().isdecimal() or (dots and not last.strip().isdecimal()):
            raise UsageError(
                "plan-cards-text", f"--cards is {text!r}; give a number, 0,2,4 or a range as 0..4"
            )
        for end in filter(None, (first.strip(), last.strip())):
            if len(end) > len(str(MOST_CARDS)) or int(end) > MOST_CARDS:
                raise UsageError(
                    "plan-cards-many",
                    f"--cards asks for {end[:20]} cards; plans go up to {MOST_CARDS}",
                )
        found.update(range(int(first), int(last if dots else first) + 1))
    if not found:
        raise UsageError("plan-cards-text", f"--cards is {text!r}, which is empty; give 0..4")
    return tuple(sorted(found))


def plan_server(
    server: Server,
    cards: Sequence[int],
    readings: Sequence[Reading],
    *,
    demand: Demand = _DEMAND,
    prices: Prices = _PRICES,
    on_row: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the JSON document of `thorax plan server`.

    Args:
        server: any.
        cards: how many, a row each.
        readings: of what the CPU does meanwhile.
        demand: what is asked of it.
        prices: that are known.
        on_row: told 1 after each row.

    Raises:
        UsageError: `plan-cards` for more cards than it holds.
    """
    for count in cards:
        check_cards(server, count)
    rows = []
    for reading in readings:
        for count in cards:
            rows.append(_row(server, count, reading, demand, prices))
            on_row(1)
    return {
        "command": "plan server",
        "modelled": True,
        "server": server.name,
        "full_name": server.full_name,
        "network": server.network,
        "card": None if server.card is None else server.card.name,
        "arrivals": demand.arrivals,
        "offered_images_per_s": demand.images_per_s,
        "latency_load": None if demand.images_per_s is not None else demand.share,
        "latency_limit_ms": None if demand.limit_s is None else 1e3 * demand.limit_s,
        "simulated_images": demand.images,
        "seed": demand.seed,
        "runs": len(demand.seeds),
        "prices": {
            "energy": prices.energy,
            "hardware": prices.hardware,
            "card": prices.card,
            "years": prices.years,
            "utilization": prices.utilization,
        },
        "sources": list(server.sources),
        "inputs": server.model_dump(mode="json", exclude={"sources"}),
        "rows": rows,
    }


def latency_curve(
    server: Server, cards: int, reading: Reading, demand: Demand = _DEMAND
) -> list[dict[str, Any]]:
    """Return latency at rising shares of what a server can do, a row each.

    Raises:
        UsageError: `plan-cards`.
    """
    most = capacity(server, cards, reading).images_per_s
    rows = []
    for share in _CURVE:
        runs = _runs(server, cards, reading, share * most, demand)
        rows.append(
            {
                "cards": cards,
                "reading": reading.value,
                "images_per_s": share * most,
                "load": share,
                "latency_ms": _latency(runs),
                "latency_ms_range": _latency_range(runs),
                "power_w": runs[0].power_w,
            }
        )
    return rows


def _row(
    server: Server, cards: int, reading: Reading, demand: Demand, prices: Prices
) -> dict[str, Any]:
    most = capacity(server, cards, reading)
    rate = demand.images_per_s
    asked = demand.share * most.images_per_s if rate is None else rate
    runs = _runs(server, cards, reading, asked, demand)
    found = runs[0]
    full = rate is None
    images_per_s = most.images_per_s if full else found.images_per_s
    watts = most.power_w if full else found.power_w
    price = cost(prices, cards, images_per_s, watts)
    return {
        "cards": cards,
        "reading": reading.value,
        "images_per_s": images_per_s,
        "capacity_images_per_s": most.images_per_s,
        "cpu_images_per_s": most.cpu_images_per_s,
        "cards_images_per_s": most.cards_images_per_s,
        "speedup": most.images_per_s / capacity(server, 0, reading).images_per_s,
        "power_w": watts,
        "cards_power_w": (most if full else found).cards_power_w,
        "images_per_s_per_w": None if watts is None else images_per_s / watts,
        "marginal_images_per_s_per_w": _marginal(most, found, full=full),
        "marginal_power_w": (most if full else found).marginal_w,
        "bound_by": most.bound_by,
        "overloaded": found.latency is None,
        "latency_at_images_per_s": None if found.latency is None else found.images_per_s,
        "latency_ms": _latency(runs),
        "latency_ms_range": _latency_range(runs),
        "mean_batch": None if found.latency is None else found.batch,
        **_within(server, cards, reading, demand),
        "energy_kwh_per_million_images": None if watts is None else watts / images_per_s / 3.6,
        "cost_per_million_images": {
            "energy": price.energy,
            "hardware": price.hardware,
            "total": price.total,
        },
    }


def _marginal(most: Capacity, found: Outcome, *, full: bool) -> float | None:
    return (most if full else found).marginal_images_per_s_per_w


def _within(server: Server, cards: int, reading: Reading, demand: Demand) -> dict[str, Any]:
    """Return the most images/s within the limit: the mean of all runs, and the least and most.

    None if nobody asks, or if not every run has one.
    """
    key = "images_per_s_within_limit"
    if demand.limit_s is None:
        return {key: None, f"{key}_range": None}
    found = [
        highest_rate(
            server,
            cards,
            reading,
            demand.limit_s,
            arrivals=demand.arrivals,
            images=demand.images,
            seed=seed,
        )
        for seed in demand.seeds
    ]
    known = [rate for rate in found if rate is not None]
    if len(known) < len(found):
        return {key: None, f"{key}_range": None}
    return {key: sum(known) / len(known), f"{key}_range": [min(known), max(known)]}


def _runs(
    server: Server, cards: int, reading: Reading, images_per_s: float, demand: Demand
) -> list[Outcome]:
    return [
        load(
            server,
            cards,
            reading,
            images_per_s,
            arrivals=demand.arrivals,
            images=demand.images,
            seed=seed,
        )
        for seed in demand.seeds
    ]


def _quantiles_ms(latency: Latency) -> dict[str, float]:
    return {
        "mean": 1e3 * latency.mean_s,
        "p50": 1e3 * latency.p50_s,
        "p90": 1e3 * latency.p90_s,
        "p99": 1e3 * latency.p99_s,
    }


def _latency(runs: Sequence[Outcome]) -> dict[str, float] | None:
    """Return the mean over runs of each quantile; None of a load that cannot be kept up."""
    found = [_quantiles_ms(run.latency) for run in runs if run.latency is not None]
    if not found:
        return None
    return {key: sum(one[key] for one in found) / len(found) for key in found[0]}


def _latency_range(runs: Sequence[Outcome]) -> dict[str, list[float]] | None:
    """Return the least and the most of each quantile over runs."""
    found = [_quantiles_ms(run.latency) for run in runs if run.latency is not None]
    if not found:
        return None
    return {key: [min(of), max(of)] for key in found[0] for of in [[one[key] for one in found]]}
