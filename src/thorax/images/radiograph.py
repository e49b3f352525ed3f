"""Bytes of a picture or a DICOM file to a `Radiograph`."""

import math
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.errors import UsageError
from thorax.images.error_codes import ImageWarning, image_error
from thorax.images.greyscale import look_up
from thorax.images.jpeg import JPEG_SIGNATURE, LastPixel, decode_jpeg
from thorax.images.kinds import PICTURES, kind_of, unpacked
from thorax.images.png import PNG_SIGNATURE, decode_png
from thorax.images.raster import Grey, Raster, check_size, luma, turned
from thorax.images.sandbox import NONSENSE, Sandbox

PATIENT: Final = ("patient_id", "patient_name", "birth_date", "sex", "age")
"""Attributes of a patient, (0010,0020), (0010,0010), (0010,0030), (0010,0040), (0010,1010)."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is known of a radiograph beside its pixels; None where the file does not say.

    Attributes:
        format: "png", "jpeg", "tiff", "bmp", "webp", "jpeg2000" or "dicom".
        view: "PA", "AP", "LATERAL", ... as in View Position (0018,5101).
        modality: "CR", "DX", ... (0008,0060).
        body_part: Body Part Examined (0018,0015).
        laterality: "L", "R", ... (0020,0060) or (0020,0062).
        spacing_mm: row and column spacing of `pixels`, mm.
        bits: significant bits of the stored values.
        contrast: what set black and white: "stored" (the file's full range), "window",
            "voi-lut", or "range" (the lowest and highest value of the image).
        study_uid, series_uid, sop_uid: (0020,000D), (0020,000E), (0008,0018).
        accession: Accession Number (0008,0050).
        patient: those of `PATIENT`, where they were asked for.
        warnings: what is doubtful about how the image was read.
    """

    format: str
    view: str | None = None
    modality: str | None = None
    body_part: str | None = None
    laterality: str | None = None
    spacing_mm: tuple[float, float] | None = None
    bits: int = 8
    contrast: str = "stored"
    study_uid: str | None = None
    series_uid: str | None = None
    sop_uid: str | None = None
    accession: str | None = None
    patient: Mapping[str, str | None] = field(default_factory=dict)
    warnings: tuple[ImageWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a DICOM file shows, and from where, as its header says; None where it does not.

    Attributes:
        patient: a digest of Patient ID (0010,0020), which stands for the patient and names nobody.
        age: Age String (0010,1010), such as 058Y.
        sex: Patient's Sex (0010,0040), "F", "M" or "O".
        view: as of `Meaning`.
        body_part: as of `Meaning`.
    """

    patient: str | None = None
    age: str | None = None
    sex: str | None = None
    view: str | None = None
    body_part: str | None = None


class Radiograph:
    """One frontal image, white = dense, with what is known about it.

    Made from uint8 [H,W] (0-255) or float32 [H,W] (0-1); either is kept as it is, because most
    files are 8-bit and a copy in float costs more than decoding saves.
    """

    __slots__ = ("_values", "meaning", "source")

    def __init__(
        self, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32], meaning: Meaning, source: str
    ) -> None:
        self._values = pixels
        self.meaning = meaning
        self.source = source

    def __repr__(self) -> str:
        height, width = self.shape
        return f"Radiograph({height} x {width}, {self.meaning}, {self.source!r})"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self._values.shape
        return height, width

    def range(self, step: int = 1) -> tuple[float, float]:
        """Return the lowest and highest value, 0-1, of each `step`-th row and column."""
        few, top = self._values[::step, ::step], 255.0 if self._values.dtype == np.uint8 else 1.0
        return float(few.min()) / top, float(few.max()) / top

    def doubted(self, *warnings: ImageWarning) -> "Radiograph":
        """Return it with more warnings."""
        meaning = replace(self.meaning, warnings=(*self.meaning.warnings, *warnings))
        return Radiograph(self._values, meaning, self.source)

    @property
    def pixels(self) -> npt.NDArray[np.float32]:
        """float32 [H,W], 0-1, white = dense."""
        if self._values.dtype == np.uint8:
            return self._values.astype(np.float32) / np.float32(255)
        return self._values.astype(np.float32, copy=False)

    @property
    def grey8(self) -> npt.NDArray[np.uint8]:
        """uint8 [H,W], 0-255: `pixels` rounded to eight bits, half up."""
        if self._values.dtype == np.uint8:
            return self._values.astype(np.uint8, copy=False)
        return (self._values * np.float32(255) + np.float32(0.5)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it is decoded.

    Attributes:
        file_bytes: longest file, and longest data set that a deflated DICOM file may hold.
        pixels: most Rows x Columns; a PNG may inflate to two bytes for each of them.
        frames: most frames of a DICOM file; the first is read.
        seconds: longest time that decoding a DICOM file may take, s. Files of little data are
            stopped sooner: after 1.2 s of processor time and 0.5 s more a megabyte, or five
            times that by the clock.
    """

    file_bytes: int = 256 << 20
    pixels: int = 6000 * 6000
    frames: int = 1
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise UsageError("image-limits", f"Limits.{name} is {value}; it must be above 0")


_DEFAULT_LIMITS: Final = Limits()
_DICOM: Final = Sandbox("thorax.images.dicom", crash="dicom-decoder-crashed")
_PICTURES: Final = Sandbox("thorax.images.picture", crash="image-decoder-crashed")
_CPU_S: Final = 1.2
_CPU_S_PER_BYTE: Final = 0.5e-6
_PATIENCE: Final = 5
"""Times its processor time that a child may take by the clock."""
_MOST_UNSQUARE: Final = 4.0
_LATE_BYTES: Final = 1 << 16
_LEVEL: Final = 1 / 255
_FAINT: Final = 1 / 8
"""Share of the range from black to white, within which an image shows little; radiographs with
their markers and edges fill nearly all of it."""
_SMALL: Final = 32
"""Pixels a side, below which nothing of a chest can be seen."""


def read(
    source: Path | str | bytes | bytearray | memoryview | BinaryIO,
    *,
    limits: Limits = _DEFAULT_LIMITS,
    patient: bool = False,
) -> Radiograph:
    """Read one radiograph, told by its content and not by its name.

    The source is a path, the content of a file, or a file open for reading bytes. It is a PNG, a
    JPEG, a TIFF, BMP, WebP or JPEG 2000 picture, a DICOM file, any of these compressed by gzip, or
    a ZIP archive of one of them. Colour becomes grey by BT.601 luma, transparency is composited on
    black, and it is turned as its EXIF orientation or Patient Orientation says. DICOM goes through
    its whole grey-scale pipeline; pixels that are not square are resampled. What is neither PNG nor
    JPEG is decoded in a child process, which the first such file starts. With `patient`, attributes
    of the patient are kept.

    Raises:
        ImageError: any code of `thorax.images.error_codes.REFUSALS`.

    Example:
        >>> import cv2, numpy
        >>> _, png = cv2.imencode(".png", numpy.full((2, 3), 51, numpy.uint8))
        >>> read(png.tobytes()).pixels.tolist()[0]
        [0.20000000298023224, 0.20000000298023224, 0.20000000298023224]
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "<bytes>"
        _check_length(len(data), limits)
    elif isinstance(source, str | os.PathLike):
        data, name = _content(source, limits), str(source)
    else:
        data, name = source.read(limits.file_bytes + 1), str(getattr(source, "name", "<file>"))
        _check_length(len(data), limits)
    return _checked(_decode(unpacked(data, limits.file_bytes), name, limits, patient=patient))


def read_subject(path: Path | str, *, limits: Limits = _DEFAULT_LIMITS) -> Subject | None:
    """Read whom a DICOM file shows, without decoding it; None of a file that is no DICOM.

    Raises:
        ImageError: as `read`.
    """
    data = unpacked(_content(path, limits), limits.file_bytes)
    if kind_of(data) != "dicom":
        return None
    head, _ = _ask(_DICOM, {"file_bytes": limits.file_bytes, "subject": True}, data, limits)
    told = {name: head.get(name) for name in ("patient", "age", "sex", "view", "body_part")}
    if not all(value is None or isinstance(value, str) for value in told.values()):
        raise image_error("dicom-decoder-crashed", NONSENSE)
    return Subject(**told)


def _decode(data: bytes, name: str, limits: Limits, *, patient: bool) -> Radiograph:
    kind = kind_of(data)
    if kind == "dicom":
        return _decode_dicom(data, name, limits, patient=patient)
    if kind == "png":
        return _of_raster(decode_png(data, limits.pixels), kind, name)
    if kind == "jpeg":
        return _of_raster(decode_jpeg(data, limits.pixels, _last_pixel(limits)), kind, name)
    if kind in PICTURES:
        return _of_raster(_decode_picture(data, kind, limits), kind, name)
    what = f"the content is {kind}, and" if kind else f"{_late_begin(data)}the content is"
    raise image_error(
        "image-format",
        f"{what} neither PNG, JPEG, TIFF, BMP, WebP, JPEG 2000 nor DICOM: save it as one of these",
    )


def _late_begin(data: bytes) -> str:
    """Return where a picture begins behind other bytes, in words; nothing where none does."""
    for name, signature in (("JPEG", JPEG_SIGNATURE), ("PNG", PNG_SIGNATURE), ("DICOM", b"DICM")):
        place = data.find(signature, 1, _LATE_BYTES)
        if place > 0:
            return f"a {name} signature stands at byte {place}; what is before it is to go: "
    return ""


def _of_raster(raster: Raster, kind: str, name: str) -> Radiograph:
    meaning = Meaning(kind, bits=raster.bits, warnings=raster.warnings)
    return Radiograph(raster.grey, meaning, name)


def _checked(radiograph: Radiograph) -> Radiograph:
    """Return it with a warning where nothing of a chest can be seen in it."""
    doubts = []
    height, width = radiograph.shape
    if max(height, width) < _SMALL:
        text = f"{height} x {width} pixels; a radiograph has at least {_SMALL} a side"
        doubts.append(ImageWarning("image-small", text))
    low, high = radiograph.range(16)
    if high - low < _FAINT:
        # Hardly any image has to be looked at whole.
        low, high = radiograph.range()
    if high - low < _LEVEL:
        text = "every pixel has the same value: there is nothing to see"
        doubts.append(ImageWarning("image-uniform", text))
    elif high - low < _FAINT:
        text = f"all pixels lie between {low:.3f} and {high:.3f} of black 0 and white 1"
        doubts.append(ImageWarning("image-faint", text))
    if not doubts:
        return radiograph
    return radiograph.doubted(*doubts)


def _last_pixel(limits: Limits) -> LastPixel:
    def ask(data: bytes, begin: int, end: int) -> int:
        request = {"kind": "jpeg-end", "begin": begin, "end": end}
        try:
            return int(_ask(_PICTURES, request, data, limits)[0]["last"])
        except (KeyError, TypeError, ValueError) as error:
            raise image_error("image-decoder-crashed", NONSENSE) from error

    return ask


def _decode_picture(data: bytes, kind: str, limits: Limits) -> Raster:
    head, body = _ask(_PICTURES, {"kind": kind, "pixels": limits.pixels}, data, limits)
    try:
        shape = tuple(int(size) for size in head["shape"])
        dtype = np.dtype(np.uint8 if head["dtype"] == "|u1" else np.float32)
        grey = np.frombuffer(body, dtype, math.prod(shape)).reshape(shape)
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(shape)
        return Raster(grey, int(head["bits"]), _warnings(head))
    except (KeyError, TypeError, ValueError, OverflowError, AssertionError) as error:
        raise image_error("image-decoder-crashed", NONSENSE) from error


def _warnings(head: Mapping[str, Any]) -> tuple[ImageWarning, ...]:
    return tuple(ImageWarning(str(code), str(message)) for code, message in head["warnings"])


def _ask(
    sandbox: Sandbox, head: dict[str, Any], data: bytes, limits: Limits
) -> tuple[dict[str, Any], bytearray]:
    """Have a child decode a file in the time that so many bytes may take."""
    cpu_s = min(limits.seconds, _CPU_S + _CPU_S_PER_BYTE * len(data))
    wall_s, most_bytes = min(limits.seconds, _PATIENCE * cpu_s), 6 * limits.pixels + 4 * 65536
    answer = sandbox.ask(head | {"cpu_s": cpu_s}, data, wall_s=wall_s, most_bytes=most_bytes)
    return answer.head, answer.body


def _check_length(length: int, limits: Limits) -> None:
    if length == 0:
        raise image_error("image-empty", "the file holds no bytes")
    if length > limits.file_bytes:
        raise image_error(
            "image-too-large",
            f"{length} bytes; allowed are {limits.file_bytes}: raise Limits.file_bytes",
        )


def _content(path: Path | str, limits: Limits) -> bytes:
    """Read a regular file once; what is not one is never opened, nor waited for."""
    name = ascii(str(path))
    try:
        _require_file(path, Path(path).stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise image_error("image-missing", f"no file {name}") from error
    except OSError as error:
        why = f"{name} cannot be opened: {error.strerror}"
        raise image_error("image-unreadable", why) from error
    try:
        status = os.fstat(descriptor)
        _require_file(path, status.st_mode)
        _check_length(status.st_size, limits)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            data = file.read(status.st_size) or b""
            while len(data) < status.st_size and (more := file.read(status.st_size - len(data))):
                data += more
    except OSError as error:
        why = f"{name} cannot be read: {error.strerror}"
        raise image_error("image-unreadable", why) from error
    finally:
        os.close(descriptor)
    _check_length(len(data), limits)
    return data


def _require_file(path: Path | str, mode: int) -> None:
    """Refuse what is no regular file, and say of a folder why what is in it was not read."""
    name = ascii(str(path))
    if stat.S_ISREG(mode):
        return
    if not stat.S_ISDIR(mode):
        raise image_error("image-not-a-file", f"{name} is not a regular file")
    if not os.access(path, os.R_OK | os.X_OK):
        raise image_error("image-unreadable", f"the folder {name} must not be read")
    raise image_error(
        "image-not-a-file", f"{name} is a folder, or a link to one; name it as an input of its own"
    )


def _decode_dicom(data: bytes, name: str, limits: Limits, *, patient: bool) -> Radiograph:
    request = {name: getattr(limits, name) for name in ("file_bytes", "pixels", "frames")}
    head, body = _ask(_DICOM, request | {"patient": patient}, data, limits)
    try:
        return _radiograph(head, body, name, limits)
    except (KeyError, TypeError, ValueError, OverflowError, AssertionError) as error:
        raise image_error("dicom-decoder-crashed", NONSENSE) from error


def _radiograph(head: dict[str, Any], body: bytearray, name: str, limits: Limits) -> Radiograph:
    values, spacing, tallness = _pixels(head, body), head["spacing_mm"], float(head["tallness"])
    if abs(tallness - 1) > 0.01:
        values = _square(values, tallness, limits)
        if spacing:
            spacing = [min(spacing)] * 2
    transposed, mirrored, flipped = head["turn"]
    values = turned(values, transposed=transposed, mirrored=mirrored, flipped=flipped)
    if transposed and spacing:
        spacing = spacing[::-1]
    same = {key: head[key] for key in ("view", "modality", "body_part", "laterality", "bits")}
    meaning = Meaning(
        "dicom",
        spacing_mm=tuple(spacing) if spacing else None,
        contrast=head.get("contrast", "stored"),
        patient=dict(head["patient"]),
        warnings=_warnings(head),
        **same,
        **head["identifiers"],
    )
    return Radiograph(values, meaning, name)


def _pixels(head: dict[str, Any], body: bytearray) -> Grey:
    """Return uint8 or float32 [H,W] from a decoder's answer, which is believed in nothing."""
    shape = tuple(int(size) for size in head["shape"])
    dtype = np.dtype(np.uint8 if head["dtype"] == "|u1" else np.uint16)
    count = math.prod(shape)
    if len(shape) not in (2, 3) or min(shape) < 1 or count * dtype.itemsize > len(body):
        raise image_error("dicom-decoder-crashed", NONSENSE)
    codes = np.frombuffer(body, dtype, count).reshape(shape)
    if len(shape) == 3:
        grey = luma(np.ascontiguousarray(codes[:, :, ::-1]))
        if dtype == np.uint16:
            return grey.astype(np.float32) / np.float32(65535)
        return grey.astype(np.uint8, copy=False)
    rest = memoryview(body)[count * dtype.itemsize :]
    if head["table"] == "|u1":
        return look_up(codes, np.frombuffer(rest, np.uint8))
    return look_up(codes, np.frombuffer(rest, np.float32))


def _square(values: Grey, tallness: float, limits: Limits) -> Grey:
    """Enlarge the side with the coarser pixels, so that nothing that was seen is lost."""
    if not 1 / _MOST_UNSQUARE <= tallness <= _MOST_UNSQUARE:
        raise image_error(
            "dicom-spacing",
            f"pixels are {tallness:.3g} times as tall as wide; allowed: "
            f"{1 / _MOST_UNSQUARE:g} to {_MOST_UNSQUARE:g}",
        )
    height, width = values.shape
    if tallness > 1:
        height = round(height * tallness)
    else:
        width = round(width / tallness)
    check_size(height, width, limits.pixels)
    resized: Grey = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized
