"""What bytes are, told by how they begin, and what is packed in gzip and ZIP."""

import io
import re
import struct
import threading
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final

from thorax.images.error_codes import image_error
from thorax.images.jpeg import JPEG_SIGNATURE
from thorax.images.png import PNG_SIGNATURE

PICTURES: Final = frozenset(("tiff", "bmp", "webp", "jpeg2000"))
"""Kinds that `thorax.images.picture` decodes."""
ENDINGS: Final = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".webp"),
        *(".jp2", ".j2k", ".j2c", ".jpf", ".dcm", ".dicom", ".dic"),
    )
)
"""How names of files end that are read."""

_GZIP: Final = b"\x1f\x8b\x08"
_READ: Final = (
    ("png", PNG_SIGNATURE),
    ("jpeg", JPEG_SIGNATURE),
    ("tiff", b"II*\0"),
    ("tiff", b"MM\0*"),
    ("tiff", b"II+\0"),
    ("tiff", b"MM\0+"),
    ("jpeg2000", b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("jpeg2000", b"\xff\x4f\xff\x51"),
    ("gzip", _GZIP),
    ("zip", b"PK\x03\x04"),
    ("zip", b"PK\x05\x06"),
)
_NAMED: Final = (
    ("a GIF picture", b"GIF8"),
    ("a JPEG XL picture", b"\xff\x0a"),
    ("a JPEG XL picture", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("a JPEG-LS picture", b"\xff\xd8\xff\xf7"),
    ("a PNM picture", b"P1"),
    ("a PNM picture", b"P2"),
    ("a PNM picture", b"P4"),
    ("a PNM picture", b"P5"),
    ("a PNM picture", b"P6"),
    ("a Photoshop picture", b"8BPS"),
    ("a JPEG XR picture", b"II\xbc"),
    ("a MetaImage header", b"ObjectType"),
    ("an OpenEXR picture", b"\x76\x2f\x31\x01"),
    ("a NumPy array", b"\x93NUMPY"),
    ("an HDF5 file", b"\x89HDF\r\n\x1a\n"),
    ("an NRRD file", b"NRRD"),
    ("a PDF document", b"%PDF"),
    ("a 7z archive", b"7z\xbc\xaf\x27\x1c"),
    ("a RAR archive", b"Rar!\x1a\x07"),
    ("an xz archive", b"\xfd7zXZ\0"),
    ("a bzip2 archive", b"BZh"),
    ("a Zstandard archive", b"\x28\xb5\x2f\xfd"),
    ("a web page or XML", b"<"),
)
_AT_FOUR: Final = {b"ftypavif": "an AVIF picture", b"ftyphei": "an HEIC picture"}
_PACKED: Final = ("gzip", "zip")
_MOST_GZIP_MEMBERS: Final = 1 << 14
"""A block-compressed file has one each 64 KiB."""
_PIECE_BYTES: Final = 1 << 16
_ZIP_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_OTHER_METHOD: Final = "the ZIP archive is compressed by another method than deflate; unpack it"
_ZIP_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError)
_ZIP_TAIL_BYTES: Final = 76 + 22 + 65535
"""Of the records at the end of a ZIP archive, its comment included."""
_MOST_MEMBERS: Final = 1 << 16
_MOST_DIRECTORY_BYTES: Final = 16 << 20
"""Of a ZIP archive: so many members with names of 200 letters."""


_JPEG_SEGMENT: Final = re.compile(rb"\xff[\xc0-\xc4\xdb\xe0-\xef\xfe]")
"""How a segment begins that JPEGs have first, after stray bytes perhaps."""


def kind_of(data: bytes) -> str:
    """Return what bytes are: "png", "jpeg", "dicom", one of `PICTURES`, "gzip", "zip", or words.

    The first 132 bytes are enough. What is not known is "".
    """
    if data[128:132] == b"DICM":
        # Before all else: the preamble of such a file may be the head of a TIFF (PS3.10 7.1).
        return "dicom"
    for kind, signature in _READ:
        if data.startswith(signature) and not data.startswith(b"\xff\xd8\xff\xf7"):
            return kind
    if data.startswith(b"\xff\xd8") and _JPEG_SEGMENT.search(data, 2, 132):
        return "jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM") and data[14:18] in _BMP_HEADERS:
        return "bmp"
    if _is_bare_dicom(data):
        return "dicom"
    if data[344:348] in (b"n+1\0", b"ni1\0"):
        return "a NIfTI volume"
    at_four = next((name for begin, name in _AT_FOUR.items() if data[4:].startswith(begin)), "")
    return at_four or next((name for name, begin in _NAMED if data.startswith(begin)), "")


_BMP_HEADERS: Final = frozenset(
    size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)
)
"""Sizes of the header that follows that of the file."""


def _is_bare_dicom(data: bytes) -> bool:
    """Return whether it is a data set without preamble, of group 2 or 8, of either byte order."""
    if len(data) < 8:
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    if data[:2] in (b"\x00\x02", b"\x00\x08"):
        return explicit or int.from_bytes(data[4:8], "big") < len(data)
    return data[:2] in (b"\x02\x00", b"\x08\x00") and (
        explicit or int.from_bytes(data[4:8], "little") < len(data)
    )


def unpacked(data: bytes, most_bytes: int) -> bytes:
    """Return what gzip or a ZIP archive of one file holds, of so many bytes at most; else the data.

    Raises:
        ImageError: `image-corrupt`, `image-truncated`, `image-too-large`, `image-members`.
    """
    kind = kind_of(data)
    if kind not in _PACKED:
        return data
    inner = _inflated(data, most_bytes) if kind == "gzip" else _only_member(data, most_bytes)
    if kind_of(inner) in _PACKED:
        what = f"the {kind} file holds a {kind_of(inner)} file; unpack it"
        raise image_error("image-members", what)
    return inner


def _only_member(data: bytes, most_bytes: int) -> bytes:
    archive = ZipArchive(io.BytesIO(data))
    if len(archive.names) != 1:
        raise image_error(
            "image-members",
            f"the ZIP archive holds {len(archive.names)} files, not one; unpack it, or name it as "
            "an input of thorax classify",
        )
    return archive.read(archive.names[0], most_bytes)


def _inflated(data: bytes, most_bytes: int) -> bytes:
    """Inflate the members of a gzip file, which follow each other (RFC 1952 section 2.2)."""
    parts: list[bytes] = []
    room, position = most_bytes, 0
    for _ in range(_MOST_GZIP_MEMBERS):
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not inflate.eof:
            piece = data[position : position + _PIECE_BYTES]
            if not piece:
                what = "the gzip file ends before its content does"
                raise image_error("image-truncated", what)
            try:
                parts.append(inflate.decompress(piece, room + 1))
            except zlib.error as error:
                raise image_error("image-corrupt", "the gzip file does not inflate") from error
            position += len(piece)
            room -= len(parts[-1])
            if room < 0:
                what = f"the gzip file inflates to over {most_bytes} bytes"
                raise image_error("image-too-large", what)
        position -= len(inflate.unused_data)
        if not data.startswith(_GZIP, position):
            return b"".join(parts)
    raise image_error("image-too-large", f"the gzip file has over {_MOST_GZIP_MEMBERS} members")


class ZipArchive:
    """The files of a ZIP archive, whose directory is read once; threads may read at once.

    Of a path the file stays open as long as this lives.

    Raises:
        ImageError: `image-corrupt`, `image-too-large`, `image-unreadable`.
    """

    def __init__(self, archive: Path | BinaryIO) -> None:
        self._lock = threading.Lock()
        try:
            if isinstance(archive, Path):
                with archive.open("rb") as file:
                    _check_directory(file)
            else:
                _check_directory(archive)
            self._zip = zipfile.ZipFile(archive)
        except (*_ZIP_DAMAGE, NotImplementedError) as error:
            raise image_error("image-corrupt", "the ZIP archive cannot be read") from error
        except OSError as error:
            why = f"the ZIP archive cannot be read: {error.strerror}"
            raise image_error("image-unreadable", why) from error
        members = self._zip.infolist()
        if len(members) > _MOST_MEMBERS:
            what = f"the ZIP archive holds over {_MOST_MEMBERS} files"
            raise image_error("image-too-large", what)
        self.names: tuple[str, ...] = tuple(
            member.filename
            for member in members
            if not member.is_dir() and not _is_litter(member.filename)
        )
        """Names of the files, in the archive's order; not what macOS and Windows add."""

    def read(self, name: str, most_bytes: int, *, whole: bool = True) -> bytes:
        """Return a file, of so many bytes at most; where not `whole`, its first bytes.

        Raises:
            ImageError: `image-corrupt`, `image-missing`, `image-too-large`, `image-members`.
        """
        try:
            data = self._read(name, most_bytes + whole)
        except KeyError as error:
            raise image_error("image-missing", "the ZIP archive holds no such file") from error
        except NotImplementedError as error:
            raise image_error("image-members", _OTHER_METHOD) from error
        except RuntimeError as error:
            why = "the ZIP archive is locked by a password; unpack it"
            raise image_error("image-members", why) from error
        except (*_ZIP_DAMAGE, OSError) as error:
            raise image_error("image-corrupt", "the ZIP archive does not unpack") from error
        if len(data) > most_bytes:
            raise image_error("image-too-large", f"a file in the ZIP holds over {most_bytes} bytes")
        return data

    def _read(self, name: str, length: int) -> bytes:
        if self._zip.getinfo(name).compress_type not in _ZIP_METHODS:
            raise NotImplementedError
        # ZipFile counts the files that are open, and closes itself when it has miscounted.
        with self._lock:
            file = self._zip.open(name)
        try:
            return file.read(length)
        finally:
            with self._lock:
                file.close()


def _is_litter(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "__MACOSX" or parts[-1].startswith(".") or parts[-1] == "Thumbs.db"


def _check_directory(archive: BinaryIO) -> None:
    """Refuse too long a directory, which ZipFile reads whole into memory."""
    length = archive.seek(0, io.SEEK_END)
    archive.seek(max(0, length - _ZIP_TAIL_BYTES))
    tail = archive.read(_ZIP_TAIL_BYTES)
    end = tail.rfind(b"PK\x05\x06")
    size = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07":
        # ZIP64 (APPNOTE 4.3.14 and 4.3.15), whose sizes are those that count.
        size = int.from_bytes(tail[end - 36 : end - 28], "little")
    if size > _MOST_DIRECTORY_BYTES:
        raise image_error("image-too-large", "the ZIP archive has too long a directory")
