"""A server with cards: what it does and draws when all are kept busy, in closed form: modelled.

Images pass a card in batches. A batch has one infer request from its first step to its last, as in
OpenVINO, and passes in turn threads of the host, the link and the card, which each serve one batch
at a time. With requests enough the slowest of them gives the rate; docs/planning.md derives it.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, model_validator

from thorax.config import Settings, load
from thorax.errors import UsageError
from thorax.plan.ranges import LEAST_S, MOST_CARDS, Batch, IdleWatts, Rate, Seconds, Threads, Watts
from thorax.results.plan import CpuRole

Place = Literal["host", "link-in", "card", "link-out"]

PLACES: Final[tuple[Place, ...]] = ("host", "link-in", "card", "link-out")
"""What a batch can occupy: threads of the host, each way of a card's link, the card."""


class Step(Settings):
    """One thing that happens to a batch on its way through a card."""

    place: Place
    """What it occupies: host, link-in, card or link-out."""
    image_s: Seconds = 0.0
    """Seconds for each image of the batch."""
    images_per_s: Rate | None = None
    """The same as a rate, in place of `image_s`."""
    batch_s: Seconds = 0.0
    """Seconds once a batch, however full."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "Step":
        if self.images_per_s is not None and self.image_s:
            raise ValueError("image_s or images_per_s, not both")
        return self

    def time_s(self, images: int) -> float:
        """Return the seconds that it takes for a batch of so many images."""
        each = self.image_s if self.images_per_s is None else 1 / self.images_per_s
        return self.batch_s + images * each


class CardModel(Settings):
    """A card and the way of an image through it; all cards of a server are alike."""

    name: str
    """Of the card."""
    steps: tuple[Step, ...] = Field(min_length=1, max_length=1000)
    """In order, some of them above 0 s; several subgraphs go to and fro between host and card."""
    batch: Batch = 1
    """Images of a full batch."""
    max_delay_s: Seconds = 0.0
    """Seconds that an image waits for its batch to fill; at 0 what is there leaves at once."""
    requests: Batch = 4
    """Batches on their way through one card at once."""
    power_w: Watts
    """Watts of one card that is kept busy."""
    idle_w: IdleWatts | None = None
    """Watts of one card that waits; without it, it always counts as busy."""

    @model_validator(mode="after")
    def _takes_time(self) -> "CardModel":
        if self.alone_s() < LEAST_S:
            raise ValueError(f"steps that take more than 0 s, {LEAST_S:g} s at least together")
        if self.idle_w is not None and self.idle_w > self.power_w:
            raise ValueError("an idle_w that is not above power_w")
        return self

    def demand_s(self, place: Place) -> float:
        """Return the seconds that a full batch occupies a place for, in all its steps there."""
        return sum(step.time_s(self.batch) for step in self.steps if step.place == place)

    def alone_s(self) -> float:
        """Return the latency of one image that meets nobody, seconds."""
        return sum(step.time_s(1) for step in self.steps) + (
            self.max_delay_s if self.batch > 1 else 0.0
        )


class CpuModel(Settings):
    """The processors of a server."""

    images_per_s: Rate | None = None
    """Rate of all of them without cards; left out where `speedup` gives it."""
    streams: Batch = 1
    """Images that they compute at once."""
    cores: Threads | None = None
    """Cores; with them, what cards take of the host's time is taken from the rate, and no more
    threads than cores serve cards."""
    power_w: Watts | None = None
    """Watts when they compute as fast as they can; without it no watts are told."""
    idle_w: IdleWatts | None = None
    """Watts when they do nothing; without it nothing is said of the watts of a partial load."""

    @model_validator(mode="after")
    def _idle_draws_less(self) -> "CpuModel":
        if self.idle_w is not None and self.power_w is not None and self.idle_w > self.power_w:
            raise ValueError("an idle_w that is not above power_w")
        return self


class Speedup(Settings):
    """A published ratio of throughputs, with cards over without, that the CPU's rate follows from.

    Which rate that is depends on the role of the CPU. It holds for one kind of card alone: beside
    another the CPU's rate would change without a reason, so that this is refused.
    """

    ratio: float = Field(gt=1, le=1e6)
    """Throughput with cards over throughput without."""
    cards: int = Field(ge=1, le=MOST_CARDS)
    """How many cards."""
    card_images_per_s: Rate
    """Of one of those cards."""


_SAME: Final = 1e-6
"""Share by which the rate of a card may differ from that of the card a ratio is of."""


class Server(Settings):
    """A server to plan with; `thorax plan server --write-file` writes an example."""

    name: str
    """Of the server, for tables."""
    full_name: str
    """What its maker calls it."""
    network: str
    """What it computes."""
    max_cards: int | None = Field(default=None, ge=0, le=MOST_CARDS)
    """Cards that it holds; without it, any number."""
    base_w: IdleWatts | None = None
    """Watts of all but processors and cards: fans, memory, disks, losses of the supply; drawn
    always. 0 where they are within the watts of the CPU; without it no watts of the server are
    told."""
    host_threads: Threads | None = None
    """Threads of the host that serve all cards; without it, each card has one of its own."""
    sources: tuple[str, ...] = ()
    """`key: kind: source` of each value; a kind is published, measured, derived, assumed,
    calibrated or modelled."""
    speedup: Speedup | None = None
    """A published ratio in place of the CPU's rate."""
    cpu: CpuModel
    """Its processors."""
    card: CardModel | None = None
    """Its cards."""

    @model_validator(mode="after")
    def _has_a_rate(self) -> "Server":
        if (self.cpu.images_per_s is None) == (self.speedup is None):
            raise ValueError("either cpu.images_per_s or speedup")
        if self.speedup is not None and self.card is None:
            raise ValueError("a card, where there is a speedup")
        if self.speedup is not None and self.card is not None:
            rate, published = card_rate(self.card), self.speedup.card_images_per_s
            if abs(rate / published - 1) > _SAME:
                raise ValueError(
                    f"a card of the {published:g} images/s that the speedup is of, not {rate:g}: "
                    "the CPU's rate follows from it; give cpu.images_per_s instead of speedup"
                )
        return self


PRESETS: Final = ("r740", "r640", "r740-2019")
"""Servers whose constants were published, each in a TOML file that names every source."""

_PRESETS: Final = Path(__file__).parent / "servers"


def find_preset(name: str) -> Server:
    """Return a server of `PRESETS` by name.

    Raises:
        UsageError: `plan-preset` for a name that is none, with the nearest.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UsageError(
            "plan-preset",
            f"preset is {name!r}; the nearest is {near}; allowed are {', '.join(PRESETS)}",
        )
    return load(_PRESETS / f"{name}.toml", Server)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a server does and draws when everything is kept busy, as `ServerRow` has it: modelled.

    Attributes:
        marginal_images_per_s_per_w: images/s over watts, both beyond the same host without cards:
            computing under the additive role, idle under off-load. None without cards.
        marginal_w: those watts.
    """

    cards: int
    role: CpuRole
    cpu_images_per_s: float
    cards_images_per_s: float
    bound_by: str
    power_w: float | None
    cards_power_w: float
    marginal_images_per_s_per_w: float | None
    marginal_w: float | None = None

    @property
    def images_per_s(self) -> float:
        """Of the whole server."""
        return self.cpu_images_per_s + self.cards_images_per_s

    @property
    def images_per_s_per_w(self) -> float | None:
        """Of the whole server, per watt of the whole server."""
        return None if self.power_w is None else self.images_per_s / self.power_w


def cards_rate(server: Server, cards: int) -> tuple[float, str]:
    """Return images/s of so many cards that are kept busy, and what limits them.

    A place that serves one batch at a time makes `batch / demand` images/s, and requests that go
    round make `requests * batch / sum of demands` (the bounds of a closed network, Denning and
    Buzen, ACM Computing Surveys 10(3), 1978, s. 5).
    """
    card = server.card
    if not cards or card is None:
        return 0.0, "cpu"
    rates = {place: cards * rate for place, rate in _rates(card).items()}
    shared = shared_threads(server, cards)
    if shared is not None and "host" in rates:
        rates["host"] *= shared / cards
    bound = min(rates, key=lambda place: rates[place])
    return rates[bound], bound


def shared_threads(server: Server, cards: int) -> int | None:
    """Return how many threads of the host serve all of so many cards; None: each has its own.

    There are never more of them than the host has cores.
    """
    threads, cores = server.host_threads, server.cpu.cores
    if cores is not None and cores < (cards if threads is None else threads):
        return cores
    return threads


def card_rate(card: CardModel) -> float:
    """Return images/s of one card that is kept busy, with a thread of the host of its own."""
    return min(_rates(card).values())


def _rates(card: CardModel) -> dict[str, float]:
    demands_s = {place: card.demand_s(place) for place in PLACES}
    rates = {place: card.batch / time_s for place, time_s in demands_s.items() if time_s}
    return rates | {"requests": card.requests * card.batch / sum(demands_s.values())}


def cpu_rate(server: Server, role: CpuRole) -> float:
    """Return images/s of the processors without cards, from the published ratio if need be."""
    if server.cpu.images_per_s is not None:
        return server.cpu.images_per_s
    assert server.speedup is not None, "checked by Server"
    added, _ = cards_rate(server, server.speedup.cards)
    if role is CpuRole.OFFLOAD:
        return added / server.speedup.ratio
    # ratio T = (1 - taken) T + added
    taken = _taken(server, added)
    return added / (server.speedup.ratio - 1 + taken)


def capacity(server: Server, cards: int, role: CpuRole) -> Capacity:
    """Return what a server with so many cards does and draws when everything is kept busy.

    Raises:
        UsageError: `plan-cards` for more cards than it holds, or cards where it has none.
    """
    check_cards(server, cards)
    added, bound = cards_rate(server, cards)
    alone = cpu_rate(server, role)
    if not cards:
        watts = power_w(server, 0, cpu_load=1.0, card_load=0.0)
        return Capacity(0, role, alone, 0.0, bound, watts, 0.0, None)
    taken = _taken(server, added)
    computes = role is CpuRole.ADDITIVE
    cpu_images_per_s = alone * max(0.0, 1 - taken) if computes else 0.0
    cpu_load = 1.0 if computes else taken
    assert server.card is not None
    # A card that waits draws less.
    busy_s = server.card.demand_s("card") / server.card.batch
    card_load = min(1.0, added / cards * busy_s) if busy_s else 1.0
    watts = power_w(server, cards, cpu_load=cpu_load, card_load=card_load)
    both_w = parts_w(server, cards, cpu_load=cpu_load, card_load=card_load)
    host_w = parts_w(server, 0, cpu_load=1.0 if computes else 0.0, card_load=0.0)
    marginal_w = None if both_w is None or host_w is None else both_w - host_w
    marginal = None
    if marginal_w is not None and marginal_w > 0:
        marginal = (cpu_images_per_s + added - (alone if computes else 0.0)) / marginal_w
    return Capacity(
        cards,
        role,
        cpu_images_per_s,
        added,
        bound,
        watts,
        cards_power_w(server, cards, card_load),
        marginal,
        marginal_w,
    )


def check_cards(server: Server, cards: int) -> None:
    """Refuse more cards than a server holds.

    Raises:
        UsageError: `plan-cards`.
    """
    if cards and server.card is None:
        raise UsageError(
            "plan-cards", f"{server.name} has no card to put {cards} of; give --cards 0 or a card"
        )
    if server.max_cards is not None and cards > server.max_cards:
        raise UsageError(
            "plan-cards",
            f"{server.name} holds {server.max_cards} cards, not {cards}; give --cards"
            f" 0..{server.max_cards}, or raise max_cards in a file",
        )


def power_w(server: Server, cards: int, *, cpu_load: float, card_load: float) -> float | None:
    """Return the watts of a whole server: of its parts, as `parts_w`, and of all else.

    None where `base_w` is not known, or a CPU's power is needed and not known.
    """
    watts = parts_w(server, cards, cpu_load=cpu_load, card_load=card_load)
    return None if watts is None or server.base_w is None else server.base_w + watts


def parts_w(server: Server, cards: int, *, cpu_load: float, card_load: float) -> float | None:
    """Return the watts of processors and cards, straight between idle and busy of each.

    Each load is a share of the time that it computes, 0-1. A straight line is how Fan, Weber and
    Barroso (Power provisioning for a warehouse-sized computer, ISCA 2007, s. 3.2) estimate a
    server's power from the load of its CPU. None where a CPU's power is needed and not known.
    """
    cpu = server.cpu
    if cpu.power_w is None or (cpu.idle_w is None and cpu_load < 1):
        return None
    idle_w = cpu.power_w if cpu.idle_w is None else cpu.idle_w
    watts = idle_w + cpu_load * (cpu.power_w - idle_w)
    return watts + cards_power_w(server, cards, card_load)


def cards_power_w(server: Server, cards: int, card_load: float) -> float:
    """Return the watts of so many cards, each of which computes for a share of the time, 0-1."""
    card = server.card
    if card is None:
        return 0.0
    waits_w = card.power_w if card.idle_w is None else card.idle_w
    return cards * (waits_w + card_load * (card.power_w - waits_w))


def _taken(server: Server, images_per_s: float) -> float:
    """Return the share of the processors that feeding cards takes, 0-1; 0 of unknown cores."""
    card, cores = server.card, server.cpu.cores
    if card is None or cores is None:
        return 0.0
    return min(1.0, images_per_s * card.demand_s("host") / card.batch / cores)
