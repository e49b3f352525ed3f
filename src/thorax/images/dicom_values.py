"""Values of DICOM elements as plain numbers and codes, whatever a file wrote there.

Nothing here repeats text of a file but codes, which say nothing of a patient.
"""

import math
import re
from typing import Final

from pydicom import Dataset
from pydicom.multival import MultiValue

from thorax.images.error_codes import image_error

_CODE: Final = re.compile(r"[A-Z0-9][A-Z0-9_ ]{0,15}")
_UID: Final = re.compile(r"[0-9][0-9.]{0,63}")


def values_of(dataset: Dataset, keyword: str) -> list[object]:
    """Return the values of an element: none, one or several."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def code(dataset: Dataset, keyword: str, number: int = 0) -> str | None:
    """Return a code string (VR CS); None where absent, empty or not of its form."""
    values = values_of(dataset, keyword)
    value = values[number] if number < len(values) else None
    text = str(value).strip(" \0").upper() if isinstance(value, str) else ""
    return text if _CODE.fullmatch(text) else None


def identifier(dataset: Dataset, keyword: str) -> str | None:
    """Return a UID; None where absent or not of its form."""
    text = str(dataset.get(keyword) or "").strip(" \0")
    return text if _UID.fullmatch(text) else None


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return a whole number, or the default where the element is absent.

    Raises:
        ImageError: `dicom-corrupt`.
    """
    value = dataset.get(keyword)
    if value is None and default is not None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise image_error("dicom-corrupt", f"{keyword} is not one whole number") from error


def real(value: object) -> float:
    """Return a number; a comma is a point (PS3.5 6.2 allows a point only), NaN is no number."""
    try:
        return float(str(value).strip(" \0").replace(",", "."))
    except ValueError:
        return math.nan


def has_comma(dataset: Dataset, *keywords: str) -> bool:
    """Return whether a number is written with a decimal comma."""
    return any("," in str(value) for keyword in keywords for value in values_of(dataset, keyword))


def pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Return two positive numbers; None where they are absent or cannot be a spacing."""
    values = [real(value) for value in values_of(dataset, keyword)]
    if len(values) == 2 and all(value > 0 and math.isfinite(value) for value in values):
        return values[0], values[1]
    return None
