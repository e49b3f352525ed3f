"""The stored values of a DICOM image's first frame, through one named decoder an encoding."""

import importlib.util
import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any, Final

import gdcm
import numpy as np
import numpy.typing as npt
from kornia_rs import io as kornia
from pydicom import Dataset, uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from thorax.images.dicom_values import values_of
from thorax.images.error_codes import ImageWarning, image_error
from thorax.images.greyscale import Codes

_NATIVE: Final = frozenset(
    (
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    )
)
_PLUGINS: Final = {
    uid.JPEGBaseline8Bit: "gdcm",  # colour; grey goes to libjpeg-turbo
    uid.JPEGExtended12Bit: "gdcm",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.RLELossless: "pydicom",
}
"""One decoder an encoding, named, so that what else is installed changes no pixel."""
_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
_DEFLATED: Final = "1.2.840.10008.1.2.8.1"
_JPEG_XL: Final = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}
_NEWER: Final = {
    **_JPEG_XL,
    _UNCOMPRESSED: "Encapsulated Uncompressed Explicit VR Little Endian",
    _DEFLATED: "Deflated Image Frame Compression",
    "1.2.840.10008.1.2.4.204": "JPIP HTJ2K Referenced",
    "1.2.840.10008.1.2.4.205": "JPIP HTJ2K Referenced Deflate",
}
"""Of PS3.5 section 10 and PS3.6 table A-1, what pydicom 3.0 does not know."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How Pixel Data are laid out (PS3.3 C.7.6.3), already found to make sense."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str


@dataclass(frozen=True, slots=True)
class _Codestream:
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool | None = None
    """Whether its values are; None where it cannot say, as JPEG cannot."""


def check_syntax(syntax: str) -> None:
    """Refuse an encoding that no decoder here reads.

    Raises:
        ImageError: `dicom-transfer-syntax`.
    """
    if syntax in _NATIVE or syntax in _PLUGINS or syntax in (_UNCOMPRESSED, _DEFLATED):
        return
    identifier = uid.UID(syntax)
    name = _NEWER.get(syntax)
    if name is None:
        known = identifier in uid.AllTransferSyntaxes
        name = identifier.name if known else "none of the standard that is known here"
    if syntax not in _JPEG_XL:
        raise image_error(
            "dicom-transfer-syntax",
            f"the transfer syntax is {name}; convert it, as by: gdcmconv --raw",
        )
    if importlib.util.find_spec("imagecodecs") is None:
        raise image_error(
            "dicom-transfer-syntax",
            f"the transfer syntax is {name}; its decoder: pip install 'thorax[jpegxl]'",
        )


def stored_values(
    dataset: Dataset, layout: Layout, syntax: str, warnings: list[ImageWarning]
) -> tuple[Codes, Layout]:
    """Return the first frame, and its layout with the bits that it really has.

    It is [H,W], bit patterns of `stored` bits, or [H,W,3] RGB.

    Raises:
        ImageError: `dicom-truncated`, `dicom-corrupt`, `dicom-pixel-format`.
    """
    _complete(dataset, layout)
    pixels, shift, layout = _container(dataset, layout, syntax, warnings)
    native = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))
    if native.size != layout.rows * layout.columns * layout.samples:
        raise image_error("dicom-corrupt", "the pixel data decode to another size")
    if native.dtype.itemsize == 4:
        (native, layout), shift = _narrowed(np.right_shift(native, shift), layout), 0
    codes: Codes
    codes = native.view(np.uint8) if native.dtype.itemsize == 1 else native.view(np.uint16)
    if layout.samples == 3:
        return codes, layout
    overlays = _overlay_bits(dataset)
    if overlays:
        codes = np.bitwise_and(codes, codes.dtype.type(~overlays & (256**codes.itemsize - 1)))
    if shift and _are_low(codes, layout, shift):
        text = f"High Bit says {layout.high_bit}, the pixels lie in the lowest {layout.stored} bits"
        warnings.append(ImageWarning("dicom-bits-corrected", text))
        shift = 0
    if shift:
        codes = np.right_shift(codes, shift)
    if int(codes.max()) >> layout.stored == 0:
        return codes, layout
    if _are_more_bits(codes, layout, shift) and not _confirmed(dataset, layout):
        bits = 8 * codes.itemsize - shift
        text = f"pixels have up to {bits} bits, Bits Stored says {layout.stored}"
        warnings.append(ImageWarning("dicom-bits-corrected", text))
        return codes, replace(layout, stored=bits)
    # Other bits above Bits Stored are old overlays or sign: no image (PS3.5 section 8.1.1).
    return np.bitwise_and(codes, codes.dtype.type((1 << layout.stored) - 1)), layout


def _narrowed(pixels: npt.NDArray[Any], layout: Layout) -> tuple[npt.NDArray[Any], Layout]:
    """Return pixels of 32 bits in 16, which is all that detectors have."""
    kind = np.int16 if layout.signed else np.uint16
    bounds = np.iinfo(kind)
    if int(pixels.min()) < bounds.min or int(pixels.max()) > bounds.max or layout.samples != 1:
        raise image_error("dicom-pixel-format", "pixels have more than 16 bits; allowed: 1 to 16")
    return pixels.astype(kind), replace(layout, allocated=16, stored=16, high_bit=15)


def _overlay_bits(dataset: Dataset) -> int:
    """Return the bits of a pixel that hold overlays, retired in 2004 (PS3.3 C.9.2.1.2)."""
    bits = 0
    for group in range(0x6000, 0x6020, 2):
        position = dataset.get((group, 0x0102))
        if position is not None and (group, 0x3000) not in dataset:
            bits |= 1 << (int(position.value or 0) % 16)
    # Bit 0 is where overlays of their own data say to be: there it is a bit of the image.
    return bits & ~1


def _are_low(codes: Codes, layout: Layout, shift: int) -> bool:
    """Return whether values lie in the lowest bits, whatever High Bit says.

    No bit above those that a value has is set, and the bits below it change.
    """
    below = np.bitwise_and(codes, (1 << shift) - 1)
    return int(codes.max()) >> layout.stored == 0 and int(below.min()) != int(below.max())


def _confirmed(dataset: Dataset, layout: Layout) -> bool:
    """Return whether the Modality LUT has an entry for each value of Bits Stored."""
    items = dataset.get("ModalityLUTSequence")
    descriptor = values_of(items[0], "LUTDescriptor") if items else []
    return bool(descriptor) and descriptor[0] == (1 << layout.stored) % 65536


def _are_more_bits(codes: Codes, layout: Layout, shift: int) -> bool:
    """Return whether bits above Bits Stored belong to the values, so that less would wrap them.

    They do when the lowest of them changes from pixel to pixel, unless it repeats the sign.
    """
    varying = int(np.bitwise_or.reduce(codes, axis=None) & ~np.bitwise_and.reduce(codes, axis=None))
    if not varying >> layout.stored & 1:
        return False
    if not layout.signed:
        return True
    width = 8 * codes.itemsize
    signed = np.left_shift(codes, shift).view(np.int8 if width == 8 else np.int16)
    half = 1 << (layout.stored - 1 + shift)
    return bool(signed.min() < -half or signed.max() >= half)


def _complete(dataset: Dataset, layout: Layout) -> None:
    """Write the layout into a data set that leaves some of it out, as pydicom decodes by that."""
    dataset.SamplesPerPixel = layout.samples
    dataset.BitsStored = layout.stored
    dataset.PixelRepresentation = int(layout.signed)
    dataset.PhotometricInterpretation = layout.photometric
    if layout.samples > 1 and dataset.get("PlanarConfiguration") is None:
        dataset.PlanarConfiguration = 0


def _container(
    dataset: Dataset, layout: Layout, syntax: str, warnings: list[ImageWarning]
) -> tuple[npt.NDArray[Any], int, Layout]:
    """Return the decoded pixels, by how many bits they are shifted up, and what is laid out so."""
    shift = layout.high_bit + 1 - layout.stored
    if syntax in (_UNCOMPRESSED, _DEFLATED):
        frame = _first_frame(dataset)
        dataset.PixelData = frame if syntax == _UNCOMPRESSED else _inflated(frame, layout)
        dataset["PixelData"].is_undefined_length = False
        syntax = uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    if syntax in _NATIVE:
        _check_length(dataset, layout)
        return _decoded(dataset, layout, syntax), shift, layout
    if syntax == uid.RLELossless:
        return _decoded(dataset, layout, syntax), shift, layout
    frame = _first_frame(dataset)
    if syntax in _JPEG_XL:
        return _jpeg_xl(frame, layout), 0, layout
    stream = _codestream(frame)
    _check_codestream(stream, layout)
    if stream.precision <= layout.high_bit:
        # The codestream holds the values alone, whatever High Bit says of the container.
        shift = 0
    if stream.signed is not None and stream.signed != layout.signed:
        signs = ("signed", "unsigned") if stream.signed else ("unsigned", "signed")
        text = f"the compressed values are {signs[0]}, Pixel Representation says {signs[1]}"
        warnings.append(ImageWarning("dicom-bits-corrected", text))
        if layout.signed and not shift:
            # Bits above Bits Stored are not the sign again: it is the highest of the codestream.
            layout = replace(layout, stored=max(layout.stored, stream.precision))
    # GDCM cuts values off at Bits Stored, which the codestream knows better.
    dataset.BitsStored = max(layout.stored, stream.precision)
    jpeg = syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit) and layout.samples == 1
    if jpeg and stream.precision == 8:
        return _eight_bits(frame), shift, layout
    if syntax == uid.JPEGExtended12Bit and stream.precision > 8:
        return _twelve_bits(frame, layout, dataset.BitsStored), shift, layout
    return _decoded(dataset, layout, syntax), shift, layout


def _inflated(frame: bytes, layout: Layout) -> bytes:
    """Inflate a frame (PS3.5 A.4.13), to no more than the header asks for."""
    most = layout.rows * layout.columns * layout.samples * layout.allocated // 8
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, most)
    except zlib.error as error:
        raise image_error("dicom-corrupt", "the pixel data do not inflate") from error


def _jpeg_xl(frame: bytes, layout: Layout) -> npt.NDArray[Any]:
    """Decode by libjxl; what it needs is bounded by the limits of this process."""
    import imagecodecs  # noqa: PLC0415 - of an extra

    try:
        pixels = np.asarray(imagecodecs.jpegxl_decode(frame))
    except MemoryError:
        raise
    except Exception as error:
        raise image_error("dicom-corrupt", "the pixel data do not decode") from error
    return _of_shape(pixels, layout)


def _check_length(dataset: Dataset, layout: Layout) -> None:
    bits = layout.rows * layout.columns * layout.samples * layout.allocated
    if layout.photometric == "YBR_FULL_422":
        bits = bits * 2 // 3
    held = len(dataset.PixelData)
    if held * 8 < bits:
        raise image_error(
            "dicom-truncated", f"{held} bytes of pixel data; the header needs {bits // 8}"
        )


def _first_frame(dataset: Dataset) -> bytes:
    try:
        return get_frame(dataset.PixelData, 0, number_of_frames=1)
    except MemoryError:
        raise
    except Exception as error:
        raise image_error("dicom-corrupt", "the encapsulated pixel data hold no frame") from error


def _codestream(frame: bytes) -> _Codestream:
    try:
        siz = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
        if siz >= 0:
            # ITU-T T.800 A.5.1: image extent less its offset.
            x, y, x0, y0 = struct.unpack_from(">4I", frame, siz + 8)
            components, precision = struct.unpack_from(">HB", frame, siz + 40)
            return _Codestream(
                y - y0, x - x0, components, (precision & 0x7F) + 1, signed=precision >= 0x80
            )
        position = frame.index(b"\xff\xd8") + 2
        while True:
            marker, length = struct.unpack_from(">HH", frame, position)
            if marker == 0xFFFF:
                position += 1
                continue
            if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
                break
            if marker == 0xFFF7:
                break
            if marker < 0xFFC0 or length < 2:
                raise ValueError(marker)
            position += 2 + length
        precision, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 4)
        if frame.find(b"\xff\xd9", position) < 0:
            # CharLS never returns from a codestream that does not end.
            raise image_error("dicom-truncated", "the compressed pixel data do not end")
        return _Codestream(rows, columns, components, precision)
    except (struct.error, ValueError) as error:
        raise image_error("dicom-corrupt", "the compressed pixel data have no header") from error


def _check_codestream(stream: _Codestream, layout: Layout) -> None:
    if (stream.rows, stream.columns) != (layout.rows, layout.columns):
        raise image_error(
            "dicom-corrupt",
            f"the compressed image is {stream.rows} x {stream.columns} pixels, "
            f"the header says {layout.rows} x {layout.columns}",
        )
    if stream.components != layout.samples or not 1 <= stream.precision <= layout.allocated:
        raise image_error(
            "dicom-corrupt",
            f"the compressed image has {stream.components} samples of {stream.precision} bits, "
            f"the header allows {layout.samples} of {layout.allocated}",
        )


def _decoded(dataset: Dataset, layout: Layout, syntax: str) -> npt.NDArray[Any]:
    """Decode through pydicom; colour comes as RGB, colour by pixel."""
    try:
        pixels, _ = get_decoder(uid.UID(syntax)).as_array(
            dataset,
            index=0,
            raw=layout.samples == 1,
            decoding_plugin=_PLUGINS.get(uid.UID(syntax), ""),
            # It takes High Bit for Bits Stored - 1; `stored_values` reads them as they are.
            correct_unused_bits=False,  # type: ignore[arg-type]
        )
    except MemoryError:
        raise
    except Exception as error:
        raise image_error("dicom-corrupt", "the pixel data do not decode") from error
    return _of_shape(np.asarray(pixels), layout)


def _of_shape(pixels: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    expected = (layout.rows, layout.columns, 3)[: 3 if layout.samples == 3 else 2]
    if pixels.shape != expected or pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 4:
        raise image_error("dicom-corrupt", "the pixel data decode to another shape or depth")
    return pixels


def _eight_bits(frame: bytes) -> npt.NDArray[Any]:
    """Decode JPEG by libjpeg-turbo, which takes damage for an error where GDCM does not."""
    try:
        return np.asarray(kornia.decode_image_jpegturbo(frame, "mono"), np.uint8)[:, :, 0]
    except Exception as error:
        raise image_error("dicom-corrupt", "the pixel data do not decode") from error


def _twelve_bits(frame: bytes, layout: Layout, bits: int) -> npt.NDArray[Any]:
    """Decode JPEG process 4, which pydicom 3.0 refuses to hand to GDCM."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(layout.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, int(layout.signed)))
    # GDCM hands bytes over as text.
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    if len(decoded) != 2 * layout.rows * layout.columns:
        raise image_error("dicom-corrupt", "the pixel data do not decode")
    return np.frombuffer(decoded, "<u2").reshape(layout.rows, layout.columns)
