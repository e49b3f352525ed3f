"""How long images wait in a server under a load, simulated in virtual time: modelled."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from thorax.errors import UsageError
from thorax.plan.ranges import MOST_UNDER_WAY
from thorax.plan.server import Server, capacity, cards_power_w, parts_w, power_w, shared_threads
from thorax.plan.simulation import Lane, Network, Run, Visit, arrive, saturate, simulate
from thorax.results.plan import Arrivals, CpuRole

IMAGES: Final = 20_000
"""Simulated unless told otherwise: p99 then stands on 180 slower ones."""

_WARM_UP: Final = 0.1
"""Share of the images that come first, find the server empty and are left out."""

_STEPS: Final = 8
"""Halvings of the search for the highest rate, to 1/256 of what the server can do: less than what
runs differ by."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from arrival to answer, over images: modelled."""

    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a server does under a load, as `ServerRow` has it: modelled.

    Attributes:
        latency: None where more arrive than it can answer.
        batch: images of a batch on the cards and the CPU on average.
        marginal_images_per_s_per_w: images/s of the cards over the watts of the cards and of
            feeding them; None without cards, or without a load that can be kept up.
    """

    images_per_s: float
    latency: Latency | None
    batch: float
    power_w: float | None
    cards_power_w: float
    marginal_images_per_s_per_w: float | None
    marginal_w: float | None = None


@dataclass(frozen=True, slots=True)
class Stations:
    """A server as a network of stations.

    Attributes:
        network: with a lane for each card, and for the CPU where it computes.
        host: numbers of the stations of host threads.
        cards: numbers of the stations of the cards themselves.
        cpu: number of the station of the CPU's streams, None where it does not compute.
    """

    network: Network
    host: tuple[int, ...]
    cards: tuple[int, ...]
    cpu: int | None


def lay_out(server: Server, cards: int, role: CpuRole) -> Stations:
    """Return the stations of a server with so many cards.

    Raises:
        UsageError: as `capacity`.
    """
    full = capacity(server, cards, role)
    servers: list[int] = []
    lanes: list[Lane] = []
    hosts: list[int] = []
    card_stations: list[int] = []

    def station(count: int) -> int:
        servers.append(count)
        return len(servers) - 1

    if cards and server.card is not None:
        card = server.card
        threads = shared_threads(server, cards)
        shared = None if threads is None else station(threads)
        for _ in range(cards):
            places = {
                "host": station(1) if shared is None else shared,
                "link-in": station(1),
                "card": station(1),
                "link-out": station(1),
            }
            hosts.append(places["host"])
            card_stations.append(places["card"])
            route = tuple(
                Visit(places[step.place], step.time_s(1) - step.batch_s, step.batch_s)
                for step in card.steps
            )
            rate = full.cards_images_per_s / cards
            lanes.append(Lane(route, rate, card.batch, card.max_delay_s, card.requests))
    cpu = None
    if full.cpu_images_per_s:
        streams = server.cpu.streams
        cpu = station(streams)
        visit = Visit(cpu, streams / full.cpu_images_per_s)
        lanes.append(Lane((visit,), full.cpu_images_per_s, requests=streams))
    return Stations(
        Network(tuple(servers), tuple(lanes)),
        tuple(dict.fromkeys(hosts)),
        tuple(card_stations),
        cpu,
    )


def simulate_load(
    server: Server,
    cards: int,
    role: CpuRole,
    images_per_s: float,
    *,
    arrivals: Arrivals = "poisson",
    images: int = IMAGES,
    seed: int = 0,
) -> Outcome:
    """Return what a server does with so many images a second, or with all that it can take.

    Arrivals are at random (Poisson), evenly, or one whenever a request is free, to which
    `images_per_s` means nothing.

    Raises:
        UsageError: as `capacity`; `plan-value` for more images on their way than are simulated.
    """
    full = capacity(server, cards, role)
    if arrivals != "saturated" and images_per_s >= full.images_per_s:
        # It answers all that it can.
        return Outcome(full.images_per_s, None, 1.0, full.power_w, full.cards_power_w,
                       full.marginal_images_per_s_per_w, full.marginal_w)  # fmt: skip
    stations = lay_out(server, cards, role)
    if arrivals == "saturated":
        _require_room(server, stations.network)
        run = saturate(stations.network, images)
        _require_time(server, run)
        images_per_s = run.images_per_s()
    else:
        run = simulate(stations.network, arrive(arrivals, images_per_s, images, seed))
    card_load = _share(run, stations.cards, stations)
    host_load = sum(run.busy_s[number] for number in stations.host) / run.window_s
    taken = min(1.0, host_load / server.cpu.cores) if server.cpu.cores else 0.0
    computes = 0.0 if stations.cpu is None else _share(run, (stations.cpu,), stations)
    cpu_load = min(1.0, taken + computes)
    watts = power_w(server, cards, cpu_load=cpu_load, card_load=card_load)
    both_w = parts_w(server, cards, cpu_load=cpu_load, card_load=card_load)
    beside_w = parts_w(server, 0, cpu_load=computes, card_load=0.0)
    marginal = marginal_w = None
    if cards and both_w is not None and beside_w is not None and both_w > beside_w:
        on_cards = float(np.count_nonzero(run.lanes < cards)) / len(run.lanes)
        marginal_w = both_w - beside_w
        marginal = on_cards * images_per_s / marginal_w
    batch = len(run.arrivals_s) / run.batches
    return Outcome(images_per_s, _latency(run), batch, watts,
                   cards_power_w(server, cards, card_load), marginal, marginal_w)  # fmt: skip


def _require_room(server: Server, network: Network) -> None:
    count = sum(lane.requests * lane.batch for lane in network.lanes)
    if count > MOST_UNDER_WAY:
        raise UsageError(
            "plan-value",
            f"{server.name} has {count:,} images on their way at once when it is kept busy, more "
            f"than the {MOST_UNDER_WAY:,} that are simulated; give fewer cards, requests, streams "
            "or a smaller batch",
        )


def _require_time(server: Server, run: Run) -> None:
    departures_s = np.sort(run.departures_s)
    if departures_s[int(len(departures_s) * _WARM_UP)] == departures_s[-1]:
        raise UsageError(
            "plan-value",
            f"the {len(departures_s):,} images that were simulated leave {server.name} all at "
            "once, and so have no rate; give --images of several batches, or a smaller batch",
        )


def highest_rate(
    server: Server,
    cards: int,
    role: CpuRole,
    limit_s: float,
    *,
    arrivals: Arrivals = "poisson",
    images: int = IMAGES,
    seed: int = 0,
) -> float | None:
    """Return the most images/s whose p99 stays within a limit, by halving; None if none does.

    p99 is taken to grow with the rate; arrivals of all rates are those of one seed, stretched.

    Raises:
        UsageError: as `capacity`.
    """
    most = capacity(server, cards, role).images_per_s
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        share = (low + high) / 2
        outcome = simulate_load(
            server, cards, role, share * most, arrivals=arrivals, images=images, seed=seed
        )
        within = outcome.latency is not None and outcome.latency.p99_s <= limit_s
        low, high = (share, high) if within else (low, share)
    return low * most if low else None


def _share(run: Run, numbers: tuple[int, ...], stations: Stations) -> float:
    """Return the share of the time that stations work, 0-1; 0 of none."""
    if not numbers:
        return 0.0
    able_s = sum(stations.network.servers[number] for number in numbers) * run.window_s
    return min(1.0, sum(run.busy_s[number] for number in numbers) / able_s)


def _latency(run: Run) -> Latency:
    settled_s = run.latencies_s[int(len(run.latencies_s) * _WARM_UP) :]
    p50, p90, p99 = (float(value) for value in np.quantile(settled_s, (0.5, 0.9, 0.99)))
    return Latency(float(settled_s.mean()), p50, p90, p99)
