"""DICOM bytes to stored values, a grey-scale table and a few harmless attributes.

Runs in a child process (`thorax.images.sandbox`); nothing else imports it. Whatever leaves this
module says nothing of the patient: attributes are numbers or short codes, messages name attributes
only.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, config, uid
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.pixels.processing import apply_color_lut

from thorax.errors import ImageError
from thorax.images.dicom_attributes import attributes, subject
from thorax.images.dicom_frame import Layout, check_syntax, stored_values
from thorax.images.dicom_greyscale import chain_of
from thorax.images.dicom_values import code, integer
from thorax.images.error_codes import ImageWarning, image_error
from thorax.images.greyscale import Chain, Lut, patterns_seen
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
_UNUSUAL_MODALITIES: Final = frozenset(("DR", "XR"))
"""No terms of the standard, and what many devices write into radiographs."""
_OTHER_MODALITIES: Final = {
    "BI": "biomagnetic imaging",
    "BMD": "bone densitometry",
    "CT": "computed tomography",
    "DG": "diaphanography",
    "DF": "fluoroscopy",
    "DOC": "a document",
    "ECG": "electrocardiography",
    "ES": "endoscopy",
    "GM": "microscopy",
    "IO": "intra-oral radiography",
    "IVUS": "intravascular ultrasound",
    "KO": "key object selection",
    "MG": "mammography",
    "MR": "magnetic resonance",
    "NM": "nuclear medicine",
    "OCT": "optical coherence tomography",
    "OP": "ophthalmic photography",
    "PR": "a presentation state",
    "PT": "positron emission tomography",
    "PX": "panoramic X-ray",
    "RF": "radio fluoroscopy",
    "RTIMAGE": "a radiotherapy image",
    "SEG": "a segmentation",
    "SM": "slide microscopy",
    "SR": "a structured report",
    "US": "ultrasound",
    "XA": "angiography",
    "XC": "photography",
}
"""Terms of PS3.3 C.7.3.1.1.1 that are no plain radiography."""

_DICOMDIR: Final = uid.MediaStorageDirectoryStorage
_MONOCHROME: Final = ("MONOCHROME1", "MONOCHROME2")
_COLOUR: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_MOST_OF_A_CODE: Final = 4
_PIXEL_DATA: Final = 0x7FE00010
_LONG_VRS: Final = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OD", b"OF", b"OL", b"OV", b"UC", b"UR")


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
    if head.get("subject"):
        return subject(dataset), []
    warnings: list[ImageWarning] = []
    _check_kind(dataset, warnings)
    layout = _layout(dataset, head["pixels"])
    _check_frames(dataset, head["frames"], warnings)
    check_syntax(syntax)
    description = attributes(dataset, warnings, patient=head["patient"])
    codes, layout = stored_values(dataset, layout, syntax, warnings)
    tables = []
    if layout.photometric in _MONOCHROME:
        chain = chain_of(dataset, layout, warnings)
        shown = chain.show(patterns_seen(codes, chain.bits))
        for number in shown.useless:
            warnings.append(_useless(chain, number))
        tables.append(shown.table)
        description |= {"table": shown.table.dtype.str, "contrast": shown.contrast}
    elif layout.photometric == "PALETTE COLOR":
        codes = _palette(codes, dataset)
    description["warnings"] = _briefly(warnings)
    facts = {"shape": codes.shape, "dtype": codes.dtype.str, "bits": layout.stored}
    return description | facts, [_bytes(array) for array in (codes, *tables)]


def _briefly(warnings: list[ImageWarning]) -> list[list[str]]:
    """Return code and message of warnings; of a code that comes often, the first and how many."""
    messages: dict[str, list[str]] = {}
    for warning in warnings:
        messages.setdefault(warning.code, []).append(warning.message)
    brief = []
    for kind, texts in messages.items():
        if len(texts) > _MOST_OF_A_CODE:
            texts = [f"{texts[0]} (and {len(texts) - 1:,} more of this kind)"]
        brief += [[kind, text] for text in texts]
    return brief


def _useless(chain: Chain, number: int) -> ImageWarning:
    kind = "VOI LUT" if isinstance(chain.voi[number], Lut) else "window"
    return ImageWarning(
        "dicom-window-unusable", f"a {kind} shows the whole image as one grey, and is passed over"
    )


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _parse(data: bytes, limit: int) -> tuple[Dataset, str]:
    end = _meta_end(data)
    # Group numbers of what may come first are below 256.
    big = data[end : end + 1] == b"\0" and data[end + 1 : end + 2] != b"\0"
    if uid.DeflatedExplicitVRLittleEndian.encode() in data[: min(end, 4096)]:
        dataset = _inflated(data, end, limit)
    elif big != (uid.ExplicitVRBigEndian.encode() + b"\0" in data[:end]):
        dataset = _of_order(data[end:], little=not big)
    else:
        try:
            dataset = read_partial(io.BytesIO(data), _after_pixels(), force=True)
        except EOFError as error:
            raise image_error("dicom-truncated", "the file ends inside the data set") from error
    if _is_cut(dataset):
        raise image_error("dicom-truncated", "the file ends inside the data set")
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        native = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        # Pixels of the big-endian implicit VR of ACR-NEMA are those of the explicit one.
        dataset.file_meta.TransferSyntaxUID = native if little else uid.ExplicitVRBigEndian
    return dataset, str(dataset.file_meta.TransferSyntaxUID)


def _after_pixels() -> Callable[[int, str | None, int], bool]:
    """Return what says of each element whether it is past Pixel Data, where rubbish may be."""
    seen = False

    def past(tag: int, vr: str | None, length: int) -> bool:
        del vr, length
        nonlocal seen
        seen, before = seen or tag == _PIXEL_DATA, seen
        return before and tag > _PIXEL_DATA

    return past


def _is_cut(dataset: Dataset) -> bool:
    """Return whether a data set without pixels ends inside an element, or before the first."""
    if "PixelData" in dataset:
        return False
    if not dataset:
        return True
    last = dataset.get_item(max(dataset.keys()))
    value = getattr(last, "value", None)
    return isinstance(value, bytes) and len(value) < getattr(last, "length", 0) < 0xFFFFFFFF


def _of_order(data: bytes, *, little: bool) -> Dataset:
    """Parse a data set of a byte order that its meta information, if any, does not say."""
    implicit = not (data[4:6].isalpha() and data[4:6].isupper())
    dataset = Dataset(read_dataset(io.BytesIO(data), implicit, little, stop_when=_after_pixels()))
    dataset.file_meta = FileMetaDataset()
    dataset.set_original_encoding(implicit, little)
    return dataset


def _inflated(data: bytes, end: int, limit: int) -> Dataset:
    """Parse a deflated data set (PS3.5 A.5), inflated by no more than `limit` bytes."""
    begin = _meta_begin(data)
    meta = read_dataset(io.BytesIO(data[begin:end]), is_implicit_VR=False, is_little_endian=True)
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
    dataset = read_dataset(io.BytesIO(plain), False, True, stop_when=_after_pixels())
    whole = Dataset(dataset)
    whole.file_meta = meta  # type: ignore[assignment]
    whole.set_original_encoding(False, True)
    return whole


def _meta_begin(data: bytes) -> int:
    return 132 if data[128:132] == b"DICM" else 0


def _meta_end(data: bytes) -> int:
    """Return where the file meta information ends (PS3.10 section 7.1)."""
    position = _meta_begin(data)
    while position + 12 <= len(data) and data[position : position + 2] == b"\x02\x00":
        if data[position + 4 : position + 6] in _LONG_VRS:
            position += 12 + int(struct.unpack_from("<I", data, position + 8)[0])
        else:
            position += 8 + int(struct.unpack_from("<H", data, position + 6)[0])
    return position


def _check_kind(dataset: Dataset, warnings: list[ImageWarning]) -> None:
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise image_error(
            "dicom-pixel-format", "pixels are floating-point numbers; allowed: integers"
        )
    sop_class = str(dataset.get("SOPClassUID") or "")
    name = uid.UID(sop_class).name
    name = name if name and name != sop_class else "of an unknown class"
    if "PixelData" not in dataset or "Rows" not in dataset:
        remedy = "; name the folder that it lies in" if sop_class == _DICOMDIR else ""
        what = f"the object is {name} and holds no pixels{remedy}"
        raise image_error("dicom-not-an-image", what)
    if sop_class == uid.DigitalXRayImageStorageForProcessing or (
        code(dataset, "PresentationIntentType") == "FOR PROCESSING"
    ):
        raise image_error(
            "dicom-for-processing",
            "the image is raw detector data; send the one that is FOR PRESENTATION",
        )
    modality = code(dataset, "Modality")
    if sop_class and sop_class not in SOP_CLASSES:
        raise image_error(
            "dicom-modality", f"the object is {name}; allowed: CR, DX, secondary capture"
        )
    if modality in _UNUSUAL_MODALITIES:
        text = f"Modality is {modality}, no term of the standard; it is taken for a radiograph"
        warnings.append(ImageWarning("dicom-modality-unusual", text))
    elif modality is not None and modality not in MODALITIES:
        meaning = _OTHER_MODALITIES.get(modality)
        name = f"{modality}, {meaning}" if meaning else "none that is known here"
        allowed = ", ".join(sorted(MODALITIES | _UNUSUAL_MODALITIES))
        raise image_error("dicom-modality", f"Modality is {name}; allowed: {allowed}")


def _layout(dataset: Dataset, most_pixels: int) -> Layout:
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise image_error("dicom-corrupt", f"Rows x Columns is {rows} x {columns}")
    if rows * columns > most_pixels:
        raise image_error(
            "image-too-large",
            f"{rows} x {columns} pixels; allowed are {most_pixels}: raise Limits.pixels",
        )
    allocated = integer(dataset, "BitsAllocated")
    stored = integer(dataset, "BitsStored", allocated)
    layout = Layout(
        rows,
        columns,
        integer(dataset, "SamplesPerPixel", 1),
        allocated,
        stored,
        integer(dataset, "HighBit", stored - 1),
        integer(dataset, "PixelRepresentation", 0) == 1,
        code(dataset, "PhotometricInterpretation") or "",
    )
    _check_layout(layout)
    return layout


def _check_frames(dataset: Dataset, most: int, warnings: list[ImageWarning]) -> None:
    frames = integer(dataset, "NumberOfFrames", 1)
    if frames == 0:
        text = "Number of Frames is 0; one frame is read"
        warnings.append(ImageWarning("dicom-frames-corrected", text))
        dataset.NumberOfFrames = 1
    elif not 1 <= frames <= most:
        raise image_error("dicom-frames", f"Number of Frames is {frames}; allowed: 1 to {most}")


def _check_layout(layout: Layout) -> None:
    grey = layout.photometric in (*_MONOCHROME, "PALETTE COLOR") and layout.samples == 1
    colour = layout.photometric in _COLOUR and layout.samples == 3
    for allowed, what in (
        (
            layout.allocated in (8, 16, 32) and 1 <= layout.stored <= layout.allocated,
            f"{layout.stored} bits stored in {layout.allocated}; allowed: in 8, 16 or 32",
        ),
        (
            layout.stored - 1 <= layout.high_bit < layout.allocated,
            f"High Bit {layout.high_bit} does not fit {layout.stored} bits in {layout.allocated}",
        ),
        (
            grey or colour,
            f"{layout.samples} samples a pixel with "
            f"{'this' if layout.photometric else 'no'} Photometric Interpretation; allowed: "
            "1 with MONOCHROME1, MONOCHROME2 or PALETTE COLOR, 3 with RGB or YBR",
        ),
        (
            grey or layout.stored == layout.allocated,
            f"colour of {layout.stored} bits stored in {layout.allocated}; allowed: 8 in 8, "
            "16 in 16; convert it to grey",
        ),
    ):
        if not allowed:
            raise image_error("dicom-pixel-format", what)


def _palette(
    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], dataset: Dataset
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if dataset.original_encoding[1] is False:
        _swap_palette(dataset)
    try:
        colour = apply_color_lut(codes, dataset)
    except Exception as error:
        raise image_error("dicom-lut", "the colour palette contradicts itself") from error
    if colour.dtype not in (np.uint8, np.uint16):
        raise image_error("dicom-lut", "the colour palette is not of 8 or 16 bits")
    return np.asarray(colour[:, :, :3])


def _swap_palette(dataset: Dataset) -> None:
    """Bring the entries of a big-endian palette into the order in which pydicom 3.0 reads them."""
    for colour in ("Red", "Green", "Blue"):
        element = dataset.get(f"{colour}PaletteColorLookupTableData")
        if isinstance(element, bytes):
            words = np.frombuffer(element[: len(element) // 2 * 2], ">u2")
            setattr(dataset, f"{colour}PaletteColorLookupTableData", words.astype("<u2").tobytes())
