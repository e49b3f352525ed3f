"""Numbers as text: the one place for rates, units and intervals."""

import math
from collections.abc import Mapping


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


def interval_text(value: object, *, sign: bool = False) -> str:
    """Return "0.838 [0.832, 0.844]" of a mapping or a number; a dash where it is undefined."""
    parts = value if isinstance(value, Mapping) else {"value": value}
    form = "+.4f" if sign else ".3f"
    middle = number_text(parts.get("value"), form)
    if not middle:
        return "–"
    low, high = number_text(parts.get("low"), form), number_text(parts.get("high"), form)
    return f"{middle} [{low}, {high}]" if low and high else middle


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
