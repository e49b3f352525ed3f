"""What `thorax plan server` answers: a row for each number of cards and each reading."""

from collections.abc import Sequence
from typing import Any

from thorax.errors import UsageError
from thorax.plan.server import Capacity, Reading, Server, capacity


def cards_in(text: str) -> tuple[int, ...]:
    """Return numbers of cards from `4`, `0,2,4` or `0..4`, ascending.

    Raises:
        UsageError: `plan-cards-text` for anything else.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.partition("..")
        if not first.strip().isdecimal() or (dots and not last.strip().isdecimal()):
            raise UsageError(
                "plan-cards-text", f"--cards is {text!r}; give a number, 0,2,4 or a range as 0..4"
            )
        found.update(range(int(first), int(last if dots else first) + 1))
    if not found:
        raise UsageError("plan-cards-text", f"--cards is {text!r}, which is empty; give 0..4")
    return tuple(sorted(found))


def plan_server(
    server: Server, cards: Sequence[int], readings: Sequence[Reading]
) -> dict[str, Any]:
    """Return the JSON document of `thorax plan server`.

    Args:
        server: any.
        cards: how many, a row each.
        readings: of what the CPU does meanwhile.

    Raises:
        UsageError: `plan-cards` for more cards than it holds.
    """
    rows = [
        _row(capacity(server, count, reading), capacity(server, 0, reading))
        for reading in readings
        for count in cards
    ]
    return {
        "command": "plan server",
        "modelled": True,
        "server": server.name,
        "full_name": server.full_name,
        "network": server.network,
        "card": None if server.card is None else server.card.name,
        "sources": list(server.sources),
        "inputs": server.model_dump(mode="json", exclude={"sources"}),
        "rows": rows,
    }


def _row(one: Capacity, without: Capacity) -> dict[str, Any]:
    return {
        "cards": one.cards,
        "reading": one.reading.value,
        "images_per_s": one.images_per_s,
        "cpu_images_per_s": one.cpu_images_per_s,
        "cards_images_per_s": one.cards_images_per_s,
        "speedup": one.images_per_s / without.images_per_s,
        "power_w": one.power_w,
        "images_per_s_per_w": one.images_per_s_per_w,
        "marginal_images_per_s_per_w": one.marginal_images_per_s_per_w,
        "bound_by": one.bound_by,
    }
