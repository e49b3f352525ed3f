"""The plan of a server: a row for each number of cards and each role of the CPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from thorax.errors import UsageError
from thorax.plan.latency import IMAGES, Outcome, highest_rate, simulate_load
from thorax.plan.ranges import MOST_CARDS
from thorax.plan.server import Capacity, Server, capacity, check_cards
from thorax.results.plan import (
    Arrivals,
    CpuRole,
    CurvePoint,
    ImageCost,
    Prices,
    QuantileRanges,
    Quantiles,
    ServerPlan,
    ServerRow,
)

LOAD: Final = 0.8
"""Share of what a server can do that latency is told at, unless another is asked for."""

RUNS: Final = 5
"""Runs of one load, unless told otherwise."""

_CURVE: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97)
"""Shares of what a server can do that latency is drawn at."""


_J_PER_KWH: Final = 3.6e6
_S_PER_YEAR: Final = 365.25 * 86400


_NO_PRICES: Final = Prices(energy=None, hardware=None, card=None, years=None, utilization=None)


@dataclass(frozen=True, slots=True)
class ServerQuestion:
    """What a plan of a server is asked for, as `ServerPlan` has it.

    Attributes:
        cards: how many, a row each; None: all numbers that the server holds.
        roles: of the CPU, a row each.
        images_per_s: that arrive; None: watts are of all that it can do, and latency is that at
            `share` of it.
        limit_s: that p99 is to stay within, None if nobody asks.
        runs: with other arrivals each, whose spread is told; arrivals that are not at random are
            the same in all, so that one is enough.
        prices: that are known.
        curve: whether latency is told at rising loads too, of the most cards.
    """

    cards: Sequence[int] | None = None
    roles: Sequence[CpuRole] = tuple(CpuRole)
    images_per_s: float | None = None
    share: float = LOAD
    arrivals: Arrivals = "poisson"
    limit_s: float | None = None
    images: int = IMAGES
    seed: int = 0
    runs: int = RUNS
    prices: Prices = _NO_PRICES
    curve: bool = False

    @property
    def seeds(self) -> range:
        """Of the runs that differ."""
        return range(self.seed, self.seed + (self.runs if self.arrivals == "poisson" else 1))

    def counts(self, server: Server) -> Sequence[int]:
        """Return how many cards each row of a server has."""
        if self.cards is not None:
            return self.cards
        most = server.max_cards if server.max_cards is not None else int(server.card is not None)
        return range(most + 1)


def cards_in(text: str) -> tuple[int, ...]:
    """Return numbers of cards from `4`, `0,2,4` or `0..4`, ascending.

    Raises:
        UsageError: `plan-cards-text` for anything else, `plan-cards-many` for more than 1024.
    """
    counts: set[int] = set()
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
        counts.update(range(int(first), int(last if dots else first) + 1))
    if not counts:
        raise UsageError("plan-cards-text", f"--cards is {text!r}, which is empty; give 0..4")
    return tuple(sorted(counts))


def plan_server(
    server: Server, question: ServerQuestion, on_row: Callable[[int], None] = lambda _: None
) -> ServerPlan:
    """Return what a server does and draws, and what an image costs; `on_row` is told 1 a row.

    Raises:
        UsageError: `plan-cards` for more cards than it holds.
    """
    counts = question.counts(server)
    for count in counts:
        check_cards(server, count)
    rows = []
    for role in question.roles:
        for count in counts:
            rows.append(_row(server, count, role, question))
            on_row(1)
    plan = ServerPlan(
        modelled=True,
        server=server.name,
        full_name=server.full_name,
        network=server.network,
        card=None if server.card is None else server.card.name,
        arrivals=question.arrivals,
        offered_images_per_s=question.images_per_s,
        latency_load=None if question.images_per_s is not None else question.share,
        latency_limit_ms=None if question.limit_s is None else 1e3 * question.limit_s,
        simulated_images=question.images,
        seed=question.seed,
        runs=len(question.seeds),
        prices=question.prices,
        sources=server.sources,
        inputs=server.model_dump(mode="json", exclude={"sources"}),
        rows=tuple(rows),
    )
    if not question.curve:
        return plan
    points = (_curve(server, counts[-1], role, question) for role in question.roles)
    return plan.model_copy(update={"curve": tuple(point for curve in points for point in curve)})


def _curve(server: Server, cards: int, role: CpuRole, question: ServerQuestion) -> list[CurvePoint]:
    most = capacity(server, cards, role).images_per_s
    points = []
    for share in _CURVE:
        runs = _runs(server, cards, role, share * most, question)
        latency_ms, range_ms = _latency_ms(runs)
        points.append(
            CurvePoint(
                cards=cards,
                reading=role,
                images_per_s=share * most,
                load=share,
                latency_ms=latency_ms,
                latency_ms_range=range_ms,
                power_w=runs[0].power_w,
            )
        )
    return points


def _row(server: Server, cards: int, role: CpuRole, question: ServerQuestion) -> ServerRow:
    most = capacity(server, cards, role)
    offered = question.images_per_s
    rate = question.share * most.images_per_s if offered is None else offered
    runs = _runs(server, cards, role, rate, question)
    latency_ms, range_ms = _latency_ms(runs)
    loaded = runs[0]
    overloaded = loaded.latency is None
    # Watts are of all that it can do where no rate is offered.
    state: Capacity | Outcome = most if offered is None else loaded
    images_per_s, watts = state.images_per_s, state.power_w
    within, within_range = _within(server, cards, role, question)
    return ServerRow(
        cards=cards,
        reading=role,
        images_per_s=images_per_s,
        capacity_images_per_s=most.images_per_s,
        cpu_images_per_s=most.cpu_images_per_s,
        cards_images_per_s=most.cards_images_per_s,
        speedup=most.images_per_s / capacity(server, 0, role).images_per_s,
        power_w=watts,
        cards_power_w=state.cards_power_w,
        images_per_s_per_w=None if watts is None else images_per_s / watts,
        marginal_images_per_s_per_w=state.marginal_images_per_s_per_w,
        marginal_power_w=state.marginal_w,
        bound_by=most.bound_by,
        overloaded=overloaded,
        latency_at_images_per_s=None if overloaded else loaded.images_per_s,
        latency_ms=latency_ms,
        latency_ms_range=range_ms,
        mean_batch=None if overloaded else loaded.batch,
        images_per_s_within_limit=within,
        images_per_s_within_limit_range=within_range,
        energy_kwh_per_million_images=None if watts is None else watts / images_per_s / 3.6,
        cost_per_million_images=cost(question.prices, cards, images_per_s, watts),
    )


def _within(
    server: Server, cards: int, role: CpuRole, question: ServerQuestion
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the most images/s within the limit: the mean of all runs, and the least and most.

    None if nobody asks, or if not every run has one.
    """
    limit_s = question.limit_s
    if limit_s is None:
        return None, None
    rates = [
        highest_rate(
            server,
            cards,
            role,
            limit_s,
            arrivals=question.arrivals,
            images=question.images,
            seed=seed,
        )
        for seed in question.seeds
    ]
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates):
        return None, None
    return sum(known) / len(known), (min(known), max(known))


def _runs(
    server: Server, cards: int, role: CpuRole, images_per_s: float, question: ServerQuestion
) -> list[Outcome]:
    return [
        simulate_load(
            server,
            cards,
            role,
            images_per_s,
            arrivals=question.arrivals,
            images=question.images,
            seed=seed,
        )
        for seed in question.seeds
    ]


def _latency_ms(runs: Sequence[Outcome]) -> tuple[Quantiles | None, QuantileRanges | None]:
    """Return the mean over runs of each quantile, and the least and most; None of an overload."""
    known = [run.latency for run in runs if run.latency is not None]
    if not known:
        return None, None
    values = {
        name: [1e3 * getattr(latency, f"{name}_s") for latency in known]
        for name in Quantiles.model_fields
    }
    return (
        Quantiles(**{name: sum(each) / len(each) for name, each in values.items()}),
        QuantileRanges(**{name: (min(each), max(each)) for name, each in values.items()}),
    )


def cost(prices: Prices, cards: int, images_per_s: float, power_w: float | None) -> ImageCost:
    """Return what a million images cost on a server with so many cards, at its rate and watts."""
    energy = None
    if prices.energy is not None and power_w is not None:
        energy = prices.energy * power_w / images_per_s * 1e6 / _J_PER_KWH
    hardware = None
    priced = prices.hardware is not None and (not cards or prices.card is not None)
    if priced and prices.years is not None and prices.utilization is not None:
        bought = (prices.hardware or 0.0) + cards * (prices.card or 0.0)
        images = prices.years * _S_PER_YEAR * prices.utilization * images_per_s
        hardware = bought / images * 1e6
    total = None if energy is None or hardware is None else energy + hardware
    return ImageCost(energy=energy, hardware=hardware, total=total)
