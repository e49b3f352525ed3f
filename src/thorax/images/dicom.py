"""DICOM bytes to stored values, a grey-scale table and a few harmless attributes.

Runs in a child process (`thorax.images.sandbox`); nothing else imports it. Whatever leaves this
module says nothing of the patient: attributes are numbers or short codes, messages name attributes
only.
"""

import io
import math
import re
import struct
import zlib
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, config, dcmread, uid
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut

from thorax.errors import ImageError
from thorax.images.dicom_frame import Layout, check_syntax, stored_values
from thorax.images.error_codes import image_error
from thorax.images.greyscale import Chain, Lut, Window, patterns_seen
from thorax.images.sandbox import serve

SOP_CLASSES: Final = frozenset(
    (
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    )
)
MODALITIES: Final = frozenset(("CR", "DX", "RG", "OT", "SC"))
"""Accepted where Modality is filled: OT and SC are what secondary captures of radiographs say."""
_OTHER_MODALITIES: Final = frozenset(
    "CT ES IO MG MR NM OP PT PX RF RTIMAGE SM SR US XA XC".split()  # noqa: SIM905 - one line
)

_MONOCHROME: Final = ("MONOCHROME1", "MONOCHROME2")
_COLOUR: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_CODE: Final = re.compile(r"[A-Z0-9][A-Z0-9_ ]{0,15}")
_LONG_VRS: Final = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OD", b"OF", b"OL", b"OV", b"UC", b"UR")
_VIEW_CODES: Final = {
    "AP": ("399348003", "R-10206"),
    "PA": ("272479007", "R-10214"),
    "LATERAL": ("399067008",),
    "LL": ("399173006", "R-10236"),
    "RL": ("399198007", "R-10232"),
}
"""View Code Sequence (PS3.16 CID 4010; SNOMED CT and the retired SRT codes) by View Position."""


def main() -> None:
    """Answer requests until standard input ends; see `thorax.images.sandbox.serve`."""
    # Values are judged where they are used; validation of the rest costs time and says nothing.
    config.settings.reading_validation_mode = config.IGNORE
    serve(answer)


def answer(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], list[memoryview]]:
    """Decode one DICOM file within the `file_bytes`, `pixels` and `frames` of `Limits`.

    Returned are a description (`shape`, `bits`, `table`, `contrast`, attributes), and the stored
    values (uint8 or uint16 [H,W] or [H,W,3]) followed by the table that shows them, if any.

    Raises:
        ImageError: any of the `dicom-` codes, `image-too-large`.
    """
    try:
        return _answer(head, data)
    except (ImageError, MemoryError):
        raise
    except RecursionError as error:
        raise image_error("dicom-corrupt", "the sequences are nested too deep") from error
    except Exception as error:
        # pydicom meets lies of a file with any exception, whose text may quote the file.
        raise image_error("dicom-corrupt", "the data set cannot be parsed") from error


def _answer(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], list[memoryview]]:
    dataset, syntax = _parse(data, head["file_bytes"])
    _check_kind(dataset)
    layout = _layout(dataset, head["pixels"], head["frames"])
    check_syntax(syntax)
    description, tables = _attributes(dataset), []
    chain = _chain(dataset, layout) if layout.photometric in _MONOCHROME else None
    codes = stored_values(dataset, layout, syntax)
    if chain is not None:
        tables.append(chain.table(patterns_seen(codes, chain.bits)))
        description |= {"table": tables[0].dtype.str, "contrast": chain.contrast}
    elif layout.photometric == "PALETTE COLOR":
        codes = _palette(codes, dataset)
    facts = {"shape": codes.shape, "dtype": codes.dtype.str, "bits": layout.stored}
    return description | facts, [_bytes(array) for array in (codes, *tables)]


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _parse(data: bytes, limit: int) -> tuple[Dataset, str]:
    if uid.DeflatedExplicitVRLittleEndian.encode() in data[132:4096]:
        dataset = _inflated(data, limit)
    else:
        try:
            dataset = dcmread(io.BytesIO(data), force=True)
        except EOFError as error:
            raise image_error("dicom-truncated", "the file ends inside the data set") from error
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        native = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else native
    return dataset, str(dataset.file_meta.TransferSyntaxUID)


def _inflated(data: bytes, limit: int) -> Dataset:
    """Parse a deflated data set (PS3.5 A.5), inflated by no more than `limit` bytes."""
    end = _meta_end(data)
    meta = read_dataset(io.BytesIO(data[132:end]), is_implicit_VR=False, is_little_endian=True)
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        raise image_error("dicom-corrupt", "the transfer syntax is told twice")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflate.decompress(data[end:], limit)
    except zlib.error as error:
        raise image_error("dicom-corrupt", "the deflated data set does not inflate") from error
    if inflate.unconsumed_tail:
        raise image_error("image-too-large", f"the data set inflates to more than {limit} bytes")
    if not inflate.eof:
        raise image_error("dicom-truncated", "the file ends inside the deflated data set")
    dataset = read_dataset(io.BytesIO(plain), is_implicit_VR=False, is_little_endian=True)
    whole = Dataset(dataset)
    whole.file_meta = meta  # type: ignore[assignment]
    whole.set_original_encoding(False, True)
    return whole


def _meta_end(data: bytes) -> int:
    """Return where the file meta information ends (PS3.10 section 7.1)."""
    position = 132
    while position + 12 <= len(data) and data[position : position + 2] == b"\x02\x00":
        if data[position + 4 : position + 6] in _LONG_VRS:
            position += 12 + int(struct.unpack_from("<I", data, position + 8)[0])
        else:
            position += 8 + int(struct.unpack_from("<H", data, position + 6)[0])
    return position


def _check_kind(dataset: Dataset) -> None:
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise image_error(
            "dicom-pixel-format", "pixels are floating-point numbers; allowed: integers"
        )
    sop_class = str(dataset.get("SOPClassUID") or "")
    name = uid.UID(sop_class).name
    name = name if name and name != sop_class else "of an unknown class"
    if "PixelData" not in dataset or "Rows" not in dataset:
        raise image_error("dicom-not-an-image", f"the object is {name} and holds no pixels")
    if sop_class == uid.DigitalXRayImageStorageForProcessing or (
        _code(dataset, "PresentationIntentType") == "FOR PROCESSING"
    ):
        raise image_error(
            "dicom-for-processing",
            "the image is raw detector data; send the one that is FOR PRESENTATION",
        )
    modality = _code(dataset, "Modality")
    if sop_class and sop_class not in SOP_CLASSES:
        raise image_error(
            "dicom-modality", f"the object is {name}; allowed: CR, DX, secondary capture"
        )
    if modality is not None and modality not in MODALITIES:
        name = modality if modality in _OTHER_MODALITIES else "none that is known here"
        raise image_error(
            "dicom-modality", f"Modality is {name}; allowed: {', '.join(sorted(MODALITIES))}"
        )


def _layout(dataset: Dataset, most_pixels: int, most_frames: int) -> Layout:
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise image_error("dicom-corrupt", f"Rows x Columns is {rows} x {columns}")
    if rows * columns > most_pixels:
        raise image_error(
            "image-too-large",
            f"{rows} x {columns} pixels; allowed are {most_pixels}: raise Limits.pixels",
        )
    frames = _integer(dataset, "NumberOfFrames", 1)
    if not 1 <= frames <= most_frames:
        raise image_error(
            "dicom-frames", f"Number of Frames is {frames}; allowed: 1 to {most_frames}"
        )
    allocated = _integer(dataset, "BitsAllocated")
    stored = _integer(dataset, "BitsStored", allocated)
    layout = Layout(
        rows,
        columns,
        _integer(dataset, "SamplesPerPixel", 1),
        allocated,
        stored,
        _integer(dataset, "HighBit", stored - 1),
        _integer(dataset, "PixelRepresentation", 0) == 1,
        _code(dataset, "PhotometricInterpretation") or "",
    )
    _check_layout(layout)
    return layout


def _check_layout(layout: Layout) -> None:
    grey = layout.photometric in (*_MONOCHROME, "PALETTE COLOR") and layout.samples == 1
    colour = layout.photometric in _COLOUR and layout.samples == 3
    for allowed, what in (
        (
            layout.allocated in (8, 16) and 1 <= layout.stored <= layout.allocated,
            f"{layout.stored} bits stored in {layout.allocated}; allowed: 1-8 in 8, 1-16 in 16",
        ),
        (
            layout.stored - 1 <= layout.high_bit < layout.allocated,
            f"High Bit {layout.high_bit} does not fit {layout.stored} bits in {layout.allocated}",
        ),
        (
            grey or (colour and layout.stored == layout.allocated),
            f"{layout.samples} samples a pixel with this Photometric Interpretation; allowed: "
            "1 with MONOCHROME1, MONOCHROME2 or PALETTE COLOR, 3 with RGB or YBR",
        ),
    ):
        if not allowed:
            raise image_error("dicom-pixel-format", what)


def _chain(dataset: Dataset, layout: Layout) -> Chain:
    slope = _number(dataset, "RescaleSlope", "dicom-rescale")
    intercept = _number(dataset, "RescaleIntercept", "dicom-rescale")
    shape = _code(dataset, "PresentationLUTShape")
    chain = Chain(
        bits=layout.stored,
        signed=layout.signed,
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        modality=_lut(dataset, "ModalityLUTSequence", layout.signed),
        inverted=layout.photometric == "MONOCHROME1" or shape == "INVERSE",
        padding=_padding(dataset, layout),
    )
    negative = chain.modality is None and (layout.signed or chain.intercept < 0 or chain.slope < 0)
    voi = _lut(dataset, "VOILUTSequence", negative) or _window(dataset)
    return replace(chain, voi=voi)


def _window(dataset: Dataset) -> Window | None:
    """Return the first window; the others are alternatives (PS3.3 C.11.2.1.2)."""
    center = _number(dataset, "WindowCenter", "dicom-window")
    width = _number(dataset, "WindowWidth", "dicom-window")
    if center is None or width is None:
        return None
    return Window(center, width, _code(dataset, "VOILUTFunction") or "LINEAR")


def _lut(dataset: Dataset, keyword: str, signed: bool) -> Lut | None:
    """Return the first LUT of a sequence (PS3.3 C.11.1.1 and C.11.2.1.1)."""
    items = dataset.get(keyword)
    if not items:
        return None
    try:
        count, first, bits = (int(value) for value in items[0].LUTDescriptor)
        data = items[0].LUTData
    except (AttributeError, TypeError, ValueError) as error:
        raise image_error(
            "dicom-lut", f"{keyword} holds no LUT Descriptor of three numbers"
        ) from error
    count = count % 65536 or 65536
    first = first % 65536
    if signed and first > 32767:
        first -= 65536
    little = dataset.original_encoding[1] is not False
    entries = _lut_entries(data, count, bits, "<u2" if little else ">u2")
    if entries.size != count:
        raise image_error("dicom-lut", f"LUT of {count} entries holds {entries.size}")
    return Lut(first, bits, entries)


def _lut_entries(data: object, count: int, bits: int, order: str) -> npt.NDArray[np.uint16]:
    if not isinstance(data, bytes):
        words = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
        data = bytes(words.astype(order).tobytes())
    if bits <= 8 and len(data) in (count, count + 1) and len(data) != 2 * count:
        return np.frombuffer(data, np.uint8)[:count].astype(np.uint16)
    return np.frombuffer(data[: len(data) // 2 * 2], order).astype(np.uint16)


def _padding(dataset: Dataset, layout: Layout) -> tuple[int, int] | None:
    if not dataset.get("PixelPaddingValue") and dataset.get("PixelPaddingValue") != 0:
        return None
    value = limit = _stored(dataset, "PixelPaddingValue", layout)
    if dataset.get("PixelPaddingRangeLimit") is not None:
        limit = _stored(dataset, "PixelPaddingRangeLimit", layout)
    return min(value, limit), max(value, limit)


def _stored(dataset: Dataset, keyword: str, layout: Layout) -> int:
    """Return a stored value, whose VR may be read as the wrong one of US and SS."""
    value = _integer(dataset, keyword) % 65536
    return value - 65536 if layout.signed and value > 32767 else value


def _palette(
    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], dataset: Dataset
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    try:
        colour = apply_color_lut(codes, dataset)
    except Exception as error:
        raise image_error("dicom-lut", "the colour palette contradicts itself") from error
    if colour.dtype not in (np.uint8, np.uint16):
        raise image_error("dicom-lut", "the colour palette is not of 8 or 16 bits")
    return np.asarray(colour[:, :, :3])


def _attributes(dataset: Dataset) -> dict[str, Any]:
    view = _code(dataset, "ViewPosition")
    codes = dataset.get("ViewCodeSequence")
    if view is None and codes:
        code = str(codes[0].get("CodeValue"))
        view = next((name for name, own in _VIEW_CODES.items() if code in own), None)
    keywords = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    spacing = next(filter(None, (_pair(dataset, keyword) for keyword in keywords)), None)
    ratio = spacing or _pair(dataset, "PixelAspectRatio")
    return {
        "view": view,
        "modality": _code(dataset, "Modality"),
        "body_part": _code(dataset, "BodyPartExamined"),
        "laterality": _code(dataset, "ImageLaterality") or _code(dataset, "Laterality"),
        "spacing_mm": spacing,
        "tallness": ratio[0] / ratio[1] if ratio else 1.0,
    }


def _first(dataset: Dataset, keyword: str) -> object:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue | list):
        return value[0] if value else None
    return value


def _code(dataset: Dataset, keyword: str) -> str | None:
    """Return a code string (VR CS); None where absent, empty or not of its form."""
    value = _first(dataset, keyword)
    text = str(value).strip(" \0").upper() if isinstance(value, str) else ""
    return text if _CODE.fullmatch(text) else None


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None and default is not None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise image_error("dicom-corrupt", f"{keyword} is not one whole number") from error


def _number(dataset: Dataset, keyword: str, code: str) -> float | None:
    try:
        value = _first(dataset, keyword)
        return None if value is None or value == "" else float(str(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise image_error(code, f"{keyword} is not a number") from error


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Return two positive numbers; None where they are absent or cannot be a spacing."""
    try:
        first, second = (float(value) for value in dataset.get(keyword) or ())
    except (TypeError, ValueError, OverflowError):
        return None
    if first > 0 and second > 0 and math.isfinite(first) and math.isfinite(second):
        return first, second
    return None
