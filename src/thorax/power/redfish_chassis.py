"""Where a chassis tells its power among the resources of a Redfish service.

DMTF DSP0266 (links in 8), DSP0268 (schemas: EnvironmentMetrics, PowerSubsystem,
PowerSupplyMetrics, and Power, which is deprecated since 2020.4).
"""

import itertools
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from thorax.errors import DeviceError, PeerError, UsageError
from thorax.power.meter import Channel
from thorax.power.sentinels import is_sentinel
from thorax.results.energy import Quantity

Get: TypeAlias = Callable[[str], dict[str, Any]]
"""Answers with the resource of a path."""

SERVICE: Final = "/redfish/v1/"
LONGEST_PATH: Final = 1000
_JOULES_PER_KWH: Final = 3.6e6
_ENDLESS: Final = 1e15
"""Watts, joules and kWh beyond this are damage, not readings."""
_MOST_MEMBERS: Final = 64
"""Chassis of a service and supplies of a chassis; the largest have some 20 (*assumed*)."""
_LOSSES: Final = 1.25
"""Watts taken in over the capacity of supplies, which is told of what they give (*assumed*: an
efficiency of 80 % at least)."""
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Way:
    """Where the figures of a chassis are read.

    Attributes:
        says: the resource, for `source`.
        quantity: what they are.
        paths: resources to be read, one answer each.
        keys: path of keys to the figure within each.
        channels: one a path.
        factor: to watts or joules.
        most_w: that each can be, as the BMC says; without end where it does not.
    """

    says: str
    quantity: Quantity
    paths: tuple[str, ...]
    keys: tuple[tuple[str | int, ...], ...]
    channels: tuple[Channel, ...]
    factor: float = 1.0
    most_w: tuple[float, ...] = ()


def find(get: Get, origin: str, chassis: str) -> Way:
    """Return where the figures of the chassis are, which is the only one unless it is named."""
    if chassis not in ("", "/redfish", "/redfish/v1"):
        way = _way_of(get, chassis)
        if way is None:
            raise DeviceError(
                "meter-absent", f"Redfish: {origin}{chassis} tells no watts or joules"
            )
        return way
    root = get(SERVICE)
    paths = _members(get(path_of(root.get("Chassis"))))
    ways = {path: way for path in paths if (way := _way_of(get, path))}
    if not ways:
        raise DeviceError(
            "meter-absent",
            f"Redfish: none of the {len(paths)} chassis of {origin} tells power above 0",
        )
    if len(ways) > 1:
        raise UsageError(
            "power-spec",
            f"several chassis tell their power: {', '.join(ways)}; one may hold the other, so "
            f"name one: redfish:https://USER@HOST{next(iter(ways))}",
        )
    return next(iter(ways.values()))


def _way_of(get: Get, chassis: str) -> Way | None:
    resource = get(chassis)
    name = str(resource.get("Id") or chassis.rpartition("/")[2])[:_LONGEST_NAME]
    chassis_w = _most(resource, "MaxPowerWatts")
    environment = _linked(get, resource, "EnvironmentMetrics")
    if environment:
        where, answer = environment
        keys = ("PowerWatts", "Reading")
        most_w = min(_most(answer, "PowerWatts", "ReadingRangeMax"), chassis_w)
        if _figure(answer, keys, most_w):
            says = f"EnvironmentMetrics {name}"
            channels = (Channel("system"),)
            return Way(says, "power", (where,), (keys,), channels, most_w=(most_w,))
    supplies = _supplies(get, resource)
    if supplies:
        return Way(
            f"PowerSubsystem {name}",
            "power",
            tuple(path for path, _ in supplies.values()),
            (("InputPowerWatts", "Reading"),) * len(supplies),
            tuple(map(Channel, supplies)),
            most_w=tuple(min(most_w, chassis_w) for _, most_w in supplies.values()),
        )
    power = _linked(get, resource, "Power")
    if power and (way := _power_control(f"Power (deprecated) {name}", *power, chassis_w)):
        return way
    if environment:
        where, answer = environment
        for key, factor in (("EnergyJoules", 1.0), ("EnergykWh", _JOULES_PER_KWH)):
            if _figure(answer, (key, "Reading")) is not None:
                says = f"EnvironmentMetrics {key} {name}"
                path = ((key, "Reading"),)
                return Way(says, "energy", (where,), path, (Channel("system"),), factor)
    return None


def _linked(get: Get, resource: Mapping[str, Any], key: str) -> tuple[str, dict[str, Any]] | None:
    """Return a resource that another links to, and its path; None where there is none."""
    if not resource.get(key):
        return None
    path = path_of(resource[key])
    try:
        return path, get(path)
    except PeerError as error:
        # What a BMC links to and does not have is passed over; what it refuses is not.
        if error.code == "meter-answer":
            return None
        raise


def _supplies(get: Get, chassis: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Return of all supplies by name where their metrics are, and the most watts they take in.

    None where not all of them tell their input.
    """
    subsystem = _linked(get, chassis, "PowerSubsystem")
    collection = _linked(get, subsystem[1], "PowerSupplies") if subsystem else None
    supplies: dict[str, tuple[str, float]] = {}
    whole_w = 0.0
    for path in _members(collection[1]) if collection else ():
        supply = _linked(get, {"Member": {"@odata.id": path}}, "Member")
        metrics = _linked(get, supply[1], "Metrics") if supply else None
        if not supply or not metrics:
            return {}
        most_w = min(
            _most(metrics[1], "InputPowerWatts", "ReadingRangeMax"),
            _LOSSES * _most(supply[1], "PowerCapacityWatts"),
        )
        watts = _figure(metrics[1], ("InputPowerWatts", "Reading"), most_w)
        if watts is None:
            return {}
        whole_w += watts
        name = f"supply {supply[1].get('Id') or len(supplies)}"[:_LONGEST_NAME]
        supplies[_unlike(name, supplies)] = metrics[0], most_w
    return supplies if whole_w > 0 else {}


def _power_control(
    says: str, where: str, answer: Mapping[str, Any], chassis_w: float
) -> Way | None:
    """Return how PowerControl is read: the first member is the whole, the others parts of it."""
    members = answer.get("PowerControl")
    count = min(len(members), _MOST_MEMBERS) if isinstance(members, list) else 0
    found: dict[str, tuple[tuple[str | int, ...], float]] = {}
    for index in range(count):
        path = ("PowerControl", index, "PowerConsumedWatts")
        most_w = _LOSSES * _most(answer, "PowerControl", index, "PowerCapacityWatts")
        most_w = min(most_w, chassis_w)
        value = _figure(answer, path, most_w)
        if not index and not value:
            return None
        if value is not None:
            name = str(_at_any(answer, ("PowerControl", index, "Name")) or f"part {index}")
            found[_unlike(name[:_LONGEST_NAME], found) if index else "system"] = path, most_w
    if not found:
        return None
    return Way(
        says,
        "power",
        (where,) * len(found),
        tuple(path for path, _ in found.values()),
        tuple(Channel(name, counted=not index) for index, name in enumerate(found)),
        most_w=tuple(most_w for _, most_w in found.values()),
    )


def _members(collection: Mapping[str, Any]) -> list[str]:
    """Return the paths of what a collection holds, each once.

    Raises:
        PeerError: `meter-answer` for more than there can be.
    """
    members = collection.get("Members")
    if not isinstance(members, list):
        return []
    if len(members) > _MOST_MEMBERS:
        raise PeerError(
            "meter-answer",
            f"Redfish: a collection has {len(members)} members; {_MOST_MEMBERS} are allowed: name "
            "the chassis, redfish:https://USER@HOST/redfish/v1/Chassis/ID",
        )
    return list(dict.fromkeys(path_of(link) for link in members))


def _unlike(name: str, taken: Container[str]) -> str:
    """Return a name, with a number where it is taken: BMCs give two things one name."""
    names = itertools.chain([name], (f"{name} #{number}" for number in itertools.count(2)))
    return next(free for free in names if free not in taken)


def path_of(link: object) -> str:
    """Return the path that a link names; one to another host is refused, with or without a token.

    Raises:
        PeerError: `meter-answer`.
    """
    target = link.get("@odata.id") if isinstance(link, Mapping) else None
    local = isinstance(target, str) and target.startswith("/") and not target.startswith("//")
    if not isinstance(target, str) or not local or len(target) > LONGEST_PATH:
        raise PeerError(
            "meter-answer",
            f"Redfish: a link is {str(target)[:80]!r}; it must be a path of the same host",
        )
    return urlsplit(target).path


def _at_any(answer: object, keys: Sequence[str | int]) -> object:
    for key in keys:
        if isinstance(key, int):
            if not isinstance(answer, list) or key >= len(answer):
                return None
            answer = answer[key]
        else:
            answer = answer.get(key) if isinstance(answer, Mapping) else None
    return answer


def at(answer: object, keys: Sequence[str | int]) -> float | None:
    """Return a figure within an answer; None where it is absent or null.

    Raises:
        PeerError: `meter-answer` where it is something else.
    """
    value = _at_any(answer, keys)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PeerError(
            "meter-answer", f"Redfish: {'.'.join(map(str, keys))} is {str(value)[:40]!r}, no number"
        )
    if not 0 <= value < _ENDLESS and not is_sentinel(value):
        raise PeerError(
            "meter-answer",
            f"Redfish: {'.'.join(map(str, keys))} is {value!r:.40}; 0 or more is allowed",
        )
    return float(value)


def _figure(answer: object, keys: Sequence[str | int], most_w: float = math.inf) -> float | None:
    """Return a figure to begin with; None where it is absent, null, or means "not available".

    Raises:
        PeerError: as `_at`.
    """
    value = at(answer, keys)
    return None if value is None or is_sentinel(value) or value > most_w else value


def _most(answer: object, *keys: str | int) -> float:
    """Return a ceiling that a BMC tells; without end where it tells none."""
    value = _at_any(answer, keys)
    if isinstance(value, bool) or not isinstance(value, int | float) or is_sentinel(value):
        return math.inf
    return float(value) if 0 < value < _ENDLESS else math.inf
