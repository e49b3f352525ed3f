"""The grey-scale attributes of a DICOM data set as a `Chain`; what is doubtful about them is told.

A window or a VOI LUT is how somebody wished to see the image, so that one which makes no sense is
passed over for the next. A rescale or a Modality LUT says what the values are.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from thorax.images.dicom_frame import Layout
from thorax.images.dicom_values import code, has_comma, integer, real, values_of
from thorax.images.error_codes import ImageWarning, image_error
from thorax.images.greyscale import Chain, Lut, Window

_FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_NUMBERS: Final = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")


def chain_of(dataset: Dataset, layout: Layout, warnings: list[ImageWarning]) -> Chain:
    """Return the grey-scale attributes of an image whose pixels are laid out so.

    Raises:
        ImageError: `dicom-rescale`, `dicom-lut`.
    """
    if has_comma(dataset, *_NUMBERS):
        warnings.append(
            ImageWarning("dicom-number-corrected", "a number has a decimal comma, read as a point")
        )
    slope, intercept = _rescale(dataset, warnings)
    modality = _modality(dataset, layout.signed, warnings)
    negative = modality is None and (layout.signed or intercept < 0 or slope < 0)
    luts = _vois(dataset, negative, warnings)
    windows = _windows(dataset, abs(slope) if modality is None else 1.0, warnings)
    shape = code(dataset, "PresentationLUTShape")
    return Chain(
        bits=layout.stored,
        signed=layout.signed,
        slope=slope,
        intercept=intercept,
        modality=modality,
        voi=(*luts, *windows),
        presentation=_presentation(dataset, warnings),
        inverted=layout.photometric == "MONOCHROME1" or shape == "INVERSE",
        padding=_padding(dataset, layout),
    )


def _rescale(dataset: Dataset, warnings: list[ImageWarning]) -> tuple[float, float]:
    numbers = []
    for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        values = values_of(dataset, keyword)
        numbers.append(real(values[0]) if values else default)
        if not math.isfinite(numbers[-1]):
            raise image_error("dicom-rescale", f"{keyword} is not a finite number")
    slope, intercept = numbers
    if not math.isfinite(slope * 65536 + intercept):
        raise image_error("dicom-rescale", "Rescale Slope is too large")
    if slope == 0:
        text = "Rescale Slope is 0; stored values are shown as they are"
        warnings.append(ImageWarning("dicom-rescale-ignored", text))
        return 1.0, 0.0
    return slope, intercept


def _windows(dataset: Dataset, step: float, warnings: list[ImageWarning]) -> list[Window]:
    """Return the windows that can be used; neighbouring values are a `step` apart.

    LINEAR means widths from 1 on (PS3.3 C.11.2.1.2.1), as values were whole numbers then. A
    narrower one of values that are closer to each other can only mean LINEAR_EXACT.
    """
    function = code(dataset, "VOILUTFunction") or "LINEAR"
    centers, widths = values_of(dataset, "WindowCenter"), values_of(dataset, "WindowWidth")
    windows = []
    for number, values in enumerate(zip(centers, widths, strict=False), start=1):
        center, width = map(real, values)
        if not (math.isfinite(center) and math.isfinite(width)):
            why = "is not of finite numbers"
        elif width <= 0:
            why = f"is {width:g} wide"
        elif function not in _FUNCTIONS:
            why = "has a VOI LUT Function that is none of the standard"
        elif function == "LINEAR" and width < min(1.0, step):
            why = f"is {width:g} wide, less than from one value to the next"
        else:
            exact = function == "LINEAR" and width < 1
            windows.append(Window(center, width, "LINEAR_EXACT" if exact else function))
            continue
        warnings.append(ImageWarning("dicom-window-unusable", f"window {number} {why}"))
    return windows


def _vois(dataset: Dataset, signed: bool, warnings: list[ImageWarning]) -> list[Lut]:
    luts = []
    for number, item in enumerate(dataset.get("VOILUTSequence") or (), start=1):
        try:
            luts.append(_lut(item, f"VOI LUT {number}", dataset, warnings, signed=signed))
        except ValueError as error:
            warnings.append(ImageWarning("dicom-window-unusable", str(error)))
    return luts


def _modality(dataset: Dataset, signed: bool, warnings: list[ImageWarning]) -> Lut | None:
    items = dataset.get("ModalityLUTSequence")
    if not items:
        return None
    if "LUTData" in items[0] and not items[0].LUTData:
        text = "the Modality LUT is empty, and is passed over"
        warnings.append(ImageWarning("dicom-lut-corrected", text))
        return None
    try:
        return _lut(items[0], "the Modality LUT", dataset, warnings, signed=signed, scaled=False)
    except ValueError as error:
        raise image_error("dicom-lut", str(error)) from error


def _presentation(dataset: Dataset, warnings: list[ImageWarning]) -> Lut | None:
    items = dataset.get("PresentationLUTSequence")
    if not items:
        return None
    try:
        return _lut(items[0], "the Presentation LUT", dataset, warnings, signed=False)
    except ValueError as error:
        warnings.append(ImageWarning("dicom-window-unusable", str(error)))
        return None


def _lut(
    item: Dataset,
    name: str,
    dataset: Dataset,
    warnings: list[ImageWarning],
    *,
    signed: bool,
    scaled: bool = True,
) -> Lut:
    """Return a LUT of a sequence (PS3.3 C.11.1.1 and C.11.2.1.1).

    Its input is `signed` or not; what comes out is `scaled` to what is shown, or is a value.

    Raises:
        ValueError: it has no descriptor, no entries, or less than half as many as it says.
    """
    try:
        count, first, bits = (int(str(value)) for value in values_of(item, "LUTDescriptor"))
    except ValueError as error:
        raise ValueError(f"{name} has no LUT Descriptor of three numbers") from error
    count = count % 65536 or 65536
    first = first % 65536
    if signed and first > 32767:
        first -= 65536
    little = dataset.original_encoding[1] is not False
    entries = _lut_entries(item.get("LUTData"), count, bits, "<u2" if little else ">u2")
    if 2 * entries.size < count:
        raise ValueError(f"{name} of {count} entries holds {entries.size}")
    if entries.size != count:
        text = f"{name} of {count} entries holds {entries.size}"
        warnings.append(ImageWarning("dicom-lut-corrected", text))
    lut = Lut(first, entries[:count])
    if scaled and lut.bits != bits:
        text = f"{name} is of {bits} bits, its largest entry of {lut.bits}: white is their range"
        warnings.append(ImageWarning("dicom-lut-corrected", text))
    return lut


def _lut_entries(data: object, count: int, bits: int, order: str) -> npt.NDArray[np.uint16]:
    if not isinstance(data, bytes):
        words = np.atleast_1d(np.asarray([] if data is None else data, np.int64)) & 0xFFFF
        data = bytes(words.astype(order).tobytes())
    if bits <= 8 and len(data) in (count, count + 1) and len(data) != 2 * count:
        return np.frombuffer(data, np.uint8)[:count].astype(np.uint16)
    return np.frombuffer(data[: len(data) // 2 * 2], order).astype(np.uint16)


def _padding(dataset: Dataset, layout: Layout) -> tuple[int, int] | None:
    if not values_of(dataset, "PixelPaddingValue"):
        return None
    value = limit = _stored(dataset, "PixelPaddingValue", layout)
    if values_of(dataset, "PixelPaddingRangeLimit"):
        limit = _stored(dataset, "PixelPaddingRangeLimit", layout)
    return min(value, limit), max(value, limit)


def _stored(dataset: Dataset, keyword: str, layout: Layout) -> int:
    """Return a stored value, whose VR may be read as the wrong one of US and SS."""
    value = integer(dataset, keyword) % 65536
    return value - 65536 if layout.signed and value > 32767 else value
