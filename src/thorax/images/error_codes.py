"""Error codes of images that cannot be read, all in one place."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from thorax.errors import ImageError

REFUSALS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "image-missing": "no file of that name",
        "image-not-a-file": "a folder, pipe, socket or device, not a regular file",
        "image-unreadable": "the operating system does not let the file be read",
        "image-empty": "the file holds no bytes",
        "image-too-large": "more bytes or pixels than the limits allow",
        "image-format": "neither PNG, JPEG nor DICOM by its content",
        "image-truncated": "the file ends before its image does",
        "image-corrupt": "the file contradicts itself or its format",
        "image-unsupported": "a valid PNG or JPEG of a kind that radiographs do not come in",
        "image-timeout": "decoding took longer than allowed and was stopped",
        "image-memory": "decoding needed more memory than allowed and was stopped",
        "dicom-corrupt": "the DICOM data set contradicts itself or cannot be parsed",
        "dicom-decoder-crashed": "the decoding process died on this file",
        "dicom-truncated": "less pixel data than Rows x Columns need",
        "dicom-not-an-image": "a DICOM object without pixels, such as a report or a document",
        "dicom-modality": "pixels of another modality than plain radiography",
        "dicom-for-processing": "raw detector data, not meant to be looked at",
        "dicom-frames": "several frames, or a number of frames that makes no sense",
        "dicom-pixel-format": "bit depth, sample count or photometric interpretation unsupported",
        "dicom-transfer-syntax": "an encoding that no decoder here reads",
        "dicom-rescale": "Rescale Slope or Intercept makes no sense",
        "dicom-window": "Window Center, Width or VOI LUT Function makes no sense",
        "dicom-lut": "a Modality or VOI LUT contradicts itself",
        "dicom-spacing": "pixels too far from square to be resampled",
    }
)
"""Code to meaning. Codes are stable: scripts match on them."""


def image_error(code: str, message: str) -> ImageError:
    """Return the error of an image that cannot be read, to be raised by the caller.

    Messages hold no attribute of a patient, and no text copied from a file.

    Example:
        >>> image_error("image-empty", "the file holds no bytes").code
        'image-empty'
    """
    assert code in REFUSALS, code
    return ImageError(code, message)
