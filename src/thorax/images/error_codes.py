"""Codes of images that cannot be read, and of those that are read with a doubt, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
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
        "image-format": "by its content no picture, DICOM file, gzip or ZIP that is read",
        "image-truncated": "the file ends before its image does",
        "image-corrupt": "the file contradicts itself or its format",
        "image-unsupported": "a valid picture of a kind that radiographs do not come in",
        "image-members": "an archive that does not hold one image, or is locked",
        "image-timeout": "decoding took longer than allowed and was stopped",
        "image-memory": "decoding needed more memory than allowed and was stopped",
        "image-decoder-crashed": "the decoding process died on this file",
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
        "dicom-lut": "a Modality LUT or a palette contradicts itself",
        "dicom-spacing": "pixels too far from square to be resampled",
    }
)
"""Code to meaning. Codes are stable: scripts match on them."""

WARNINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "image-uniform": "every pixel has the same value: the image says nothing",
        "image-faint": "all pixels lie within an eighth of the range from black to white",
        "image-small": "fewer than 32 pixels a side: no radiograph is so small",
        "image-bits-corrected": "values use fewer bits than the picture has; white is their range",
        "image-transparent": "every pixel is transparent; the transparency is ignored",
        "image-repaired": "a JPEG with stray bytes or without its end, all pixels being there",
        "image-pages": "several pictures in one file; the first is read",
        "dicom-window-unusable": "a window or VOI LUT shows nothing or is none; the next, or the "
        "range of the image, is shown",
        "dicom-lut-corrected": "a LUT whose entries are not as many, or not of as many bits, as "
        "it says; the entries count",
        "dicom-rescale-ignored": "Rescale Slope is 0; stored values are shown as they are",
        "dicom-bits-corrected": "pixels have more bits than Bits Stored says; the pixels count",
        "dicom-number-corrected": "a number with a decimal comma, read as one with a point",
        "dicom-frames-corrected": "Number of Frames is 0; one frame is read",
        "dicom-modality-unusual": "Modality is no term of the standard, but says radiograph",
        "dicom-turned": "turned or mirrored to be upright, as Patient Orientation says",
        "dicom-view": "the view is not frontal, and networks here are made for frontal views",
        "dicom-body-part": "the body part is not the chest",
    }
)
"""Code to meaning of what is doubtful about an image that was read. Codes are stable."""


@dataclass(frozen=True, slots=True)
class ImageWarning:
    """What is doubtful about an image that was read: a code of `WARNINGS`, and a line of text."""

    code: str
    message: str

    def __post_init__(self) -> None:
        assert self.code in WARNINGS, self.code


def image_error(code: str, message: str) -> ImageError:
    """Return the error of an image that cannot be read, to be raised by the caller.

    Messages hold no attribute of a patient, and no text copied from a file.

    Example:
        >>> image_error("image-empty", "the file holds no bytes").code
        'image-empty'
    """
    assert code in REFUSALS, code
    return ImageError(code, message)
