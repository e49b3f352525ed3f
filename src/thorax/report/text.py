"""Numbers as text: the one place for rates, units and intervals."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from thorax.results.shared import Interval

ValueT = TypeVar("ValueT")


def number_text(value: object, form: str) -> str:
    """Return a finite number in a form, "" for anything else."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return format(value, form)


def scaled_text(value: object, unit: float, form: str) -> str:
    """Return a number in a unit, "" for what is no number."""
    return number_text(value / unit if isinstance(value, int | float) else None, form)


def rate_text(value: float | None) -> str:
    """Return images per second with three figures or more, "" where not known."""
    return number_text(value, ",.0f" if value is not None and value >= 100 else ".3g")


def interval_text(value: Interval | float | None, form: str = ".3f") -> str:
    """Return "0.838 [0.832, 0.844]" of an interval or a number; a dash where it is undefined."""
    bounds = value if isinstance(value, Interval) else Interval(value=value)
    middle, low, high = (
        number_text(part, form) for part in (bounds.value, bounds.low, bounds.high)
    )
    if not middle:
        return "–"
    return f"{middle} [{low}, {high}]" if low and high else middle


def range_text(values: Iterable[ValueT], text: Callable[[ValueT], str]) -> str:
    """Return "12-15" of the least and the most, "12" where both read the same."""
    return "-".join(dict.fromkeys(map(text, values)))


def duration_text(duration_s: float) -> str:
    """Return a duration in seconds, minutes or hours, three figures."""
    if duration_s < 120:
        return f"{duration_s:.3g} s"
    if duration_s < 7200:
        return f"{duration_s / 60:.3g} min"
    return f"{duration_s / 3600:,.3g} h" if duration_s < 3.6e6 else f"{duration_s / 3600:,.0f} h"


def clock_text(duration_s: float) -> str:
    """Return a duration in whole seconds or minutes, or as "2 h 05 min"."""
    minutes = round(duration_s / 60)
    if minutes < 2:
        return f"{duration_s:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def ms_text(value: float) -> str:
    """Return milliseconds, with one decimal below ten."""
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def bytes_text(size: float) -> str:
    """Return a number of bytes in three figures with its unit."""
    unit, name = next((pair for pair in ((1e6, "MB"), (1e3, "kB")) if size >= pair[0]), (1.0, "B"))
    value = size / unit
    places = 0 if unit == 1 or value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{places}f} {name}"


def whole_bytes_text(size: int) -> str:
    """Return a number of bytes as "64 MiB", a fraction of the unit left out."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"


def file_name(path: str) -> str:
    """Return the last part of a path: where files lay on a machine is nobody's business."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def sentence(text: str) -> str:
    """Return text that begins with a capital and ends in a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


_KINDS: Final = (
    "published", "measured", "replayed", "derived", "modelled", "calibrated", "assumed", "given",
)  # fmt: skip
"""What a constant of a plan may be, from what is known best to what is known least."""
_MEASURED: Final = ("measured", "replayed")


def kinds_text(sources: Iterable[str]) -> str:
    """Return which constants are published, measured, ... assumed: of sources `key: kind: text`.

    A source that gives no kind names none, and "" is of none. Of what is given, a part or all of
    what a key says, whatever another source says of it no longer holds. Where some are measured,
    it says what comes of them and others together.
    """
    kinds: dict[str, str] = {}
    for source in sources:
        names, _, rest = source.partition(": ")
        kind = re.split(r"[:;, ]", rest, maxsplit=1)[0]
        if kind in _KINDS:
            for key in names.split(", "):
                if kind == "given":
                    kinds = {other: kinds[other] for other in kinds if not _overlap(key, other)}
                kinds[key] = kind
    keys = {kind: [key for key in kinds if kinds[key] == kind] for kind in _KINDS}
    parts = [f"{kind}: {', '.join(found)}" for kind, found in keys.items() if found]
    mixed = any(keys[kind] for kind in _MEASURED) and len(parts) > 1
    listed = f"Constants {'; '.join(parts)}." if parts else ""
    return (
        f"{listed} What measured ones give together with others is modelled." if mixed else listed
    )


def _overlap(key: str, other: str) -> bool:
    """Return whether one key is of the other or of a part of it, as "speedup" of its ratio."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def name_text(name: str, width: int) -> str:
    """Return a name that fits, without its beginning where it is too long: ends differ."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def three_figures(value: float | None, unit: float) -> str:
    """Return a number in a unit, with three figures or all before the point; "" of None."""
    if value is None:
        return ""
    scaled = value / unit
    if scaled == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:,.{min(digits, 3)}f}"
