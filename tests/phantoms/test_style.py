"""How phantoms are drawn: the view, and the range of subtleties as it is typed."""

import math

import pytest

from thorax.errors import UsageError
from thorax.phantoms.sampling import SUBTLETY
from thorax.phantoms.style import USUAL, Style, subtlety_range


@pytest.mark.parametrize(
    ("text", "subtlety"),
    [
        ("0", (0, 0)),
        ("1", (1, 1)),
        ("0.3", (0.3, 0.3)),
        ("0-0.5", (0, 0.5)),
        ("0.25-0.250", (0.25, 0.25)),
    ],
)
def test_a_subtlety_is_a_number_or_a_range(text: str, subtlety: tuple[float, float]) -> None:
    assert subtlety_range(text) == subtlety
    assert Style(subtlety=subtlety_range(text)).subtlety == subtlety


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "0.5-", "-0.5", ".5", "5.", "1e-1", "nan", "inf", "0.2-nan", "0,3", "half"),
        *(" 0.3", "0.3 ", "0.3\n", "0 - 1", "0-0.5-1", "+0.3", "1.1", "0-2", "0.8-0.2", "٠"),
    ],
)
def test_anything_else_is_refused_as_it_was_typed(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        subtlety_range(text)
    assert refused.value.code == "phantom-subtlety"
    assert refused.value.message.startswith(
        f"subtlety is {text!r}; allowed is a number from 0 to 1"
    )


@pytest.mark.parametrize("subtlety", [(-0.1, 0.5), (0.5, 0.2), (0.5, 1.1), (math.nan, math.nan)])
def test_a_style_of_no_range_cannot_be_made(subtlety: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="phantom-subtlety"):
        Style(subtlety=subtlety)


def test_a_style_of_no_view_cannot_be_made() -> None:
    with pytest.raises(UsageError, match=r"phantom-view.*allowed are frontal, lateral"):
        Style("oblique")  # type: ignore[arg-type]
    assert Style("frontal", SUBTLETY) == USUAL
