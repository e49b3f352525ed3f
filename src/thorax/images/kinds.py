"""What bytes are, told by how they begin, and what is packed in gzip and ZIP."""

import io
import zipfile
import zlib
from typing import Final

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

_READ: Final = (
    ("png", PNG_SIGNATURE),
    ("jpeg", JPEG_SIGNATURE),
    ("tiff", b"II*\0"),
    ("tiff", b"MM\0*"),
    ("tiff", b"II+\0"),
    ("tiff", b"MM\0+"),
    ("jpeg2000", b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("jpeg2000", b"\xff\x4f\xff\x51"),
    ("gzip", b"\x1f\x8b\x08"),
    ("zip", b"PK\x03\x04"),
    ("zip", b"PK\x05\x06"),
)
_NAMED: Final = (
    ("a GIF picture", b"GIF8"),
    ("a JPEG XL picture", b"\xff\x0a"),
    ("a JPEG XL picture", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("a JPEG-LS picture", b"\xff\xd8\xff\xf7"),
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
_MOST_MEMBERS: Final = 1 << 16
_MOST_DIRECTORY_BYTES: Final = 16 << 20
"""Of a ZIP archive: so many members with names of 200 letters."""


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
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM") and data[6:10] == b"\0\0\0\0" and data[14:18] in _BMP_HEADERS:
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
        return explicit
    return data[:2] in (b"\x02\x00", b"\x08\x00") and (
        explicit or int.from_bytes(data[4:8], "little") < len(data)
    )


def unpacked(data: bytes, most_bytes: int) -> bytes:
    """Return what gzip or a ZIP archive of one file holds, of so many bytes at most; else the data.

    Raises:
        ImageError: `image-corrupt`, `image-truncated`, `image-too-large`, `image-members`.
    """
    kind = kind_of(data)
    if kind == "gzip":
        return _inflated(data, most_bytes)
    if kind == "zip":
        names = zip_members(io.BytesIO(data))
        if len(names) != 1:
            raise image_error(
                "image-members",
                f"the ZIP archive holds {len(names)} files, not one; unpack it, or name it as an "
                "input of thorax classify",
            )
        return zip_member(io.BytesIO(data), names[0], most_bytes)
    return data


def _inflated(data: bytes, most_bytes: int) -> bytes:
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = inflate.decompress(data, most_bytes + 1)
    except zlib.error as error:
        raise image_error("image-corrupt", "the gzip file does not inflate") from error
    if len(plain) > most_bytes:
        raise image_error("image-too-large", f"the gzip file inflates to over {most_bytes} bytes")
    if not inflate.eof:
        raise image_error("image-truncated", "the gzip file ends before its content does")
    return plain


def zip_members(archive: io.BufferedIOBase) -> tuple[str, ...]:
    """Return the names of the files in a ZIP archive, in its order.

    What macOS and Windows add is left out, as are folders.

    Raises:
        ImageError: `image-corrupt`, `image-too-large`.
    """
    with _opened(archive) as opened:
        members = opened.infolist()
    if len(members) > _MOST_MEMBERS:
        raise image_error("image-too-large", f"the ZIP archive holds over {_MOST_MEMBERS} files")
    return tuple(
        member.filename
        for member in members
        if not member.is_dir() and not _is_litter(member.filename)
    )


def _is_litter(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "__MACOSX" or parts[-1].startswith(".") or parts[-1] == "Thumbs.db"


def zip_member(
    archive: io.BufferedIOBase, name: str, most_bytes: int, *, whole: bool = True
) -> bytes:
    """Return a file of a ZIP archive, of so many bytes at most; where not `whole`, its first bytes.

    Raises:
        ImageError: `image-corrupt`, `image-missing`, `image-too-large`, `image-members`.
    """
    with _opened(archive) as opened:
        try:
            with opened.open(name) as file:
                data = file.read(most_bytes + whole)
        except KeyError as error:
            raise image_error("image-missing", "the ZIP archive holds no such file") from error
        except RuntimeError as error:
            why = "the ZIP archive is locked by a password; unpack it"
            raise image_error("image-members", why) from error
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError) as error:
            raise image_error("image-corrupt", "the ZIP archive does not unpack") from error
    if len(data) > most_bytes:
        raise image_error("image-too-large", f"a file in the ZIP holds over {most_bytes} bytes")
    return data


def _opened(archive: io.BufferedIOBase) -> zipfile.ZipFile:
    """Open an archive, whose directory is read whole into memory and therefore measured first."""
    length = archive.seek(0, io.SEEK_END)
    archive.seek(max(0, length - 65557))
    tail = archive.read(65557)
    end = tail.rfind(b"PK\x05\x06")
    if end >= 0 and int.from_bytes(tail[end + 12 : end + 16], "little") > _MOST_DIRECTORY_BYTES:
        raise image_error("image-too-large", "the ZIP archive has too long a directory")
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise image_error("image-corrupt", "the ZIP archive cannot be read") from error
