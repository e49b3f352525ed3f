"""Heat maps that a result of `classify` names: where they lie, and which of them may be shown.

A document comes from a stranger, and the page that is made of it goes to others. So a picture that
it names is shown only if it is one that its maker had: beside the document, or with its digest in
it.
"""

import errno
import hashlib
import os
import struct
from pathlib import Path
from typing import Final

from thorax.errors import DataError
from thorax.files.documents import read_limited
from thorax.results.findings import ClassifyResult, Findings

_MOST_BYTES: Final = 1 << 25
_MOST_PIXELS: Final = 1 << 24
"""A heat map of `classify` has some 0.6 million."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HEAD: Final = struct.Struct(">8s4s4sII")
"""Signature, length and name of the first chunk, width and height (PNG, sections 5.2 and 11.2.1).
"""


def place_pictures(result: ClassifyResult, path: Path) -> ClassifyResult:
    """Return what was read of `path` with its heat maps named by where they lie, each judged.

    Raises:
        DataError: `report-damaged`, or `report-picture` for one that is no heat map of it.
    """
    return result.model_copy(
        update={"results": tuple(_with_pictures(row, path) for row in result.results)}
    )


def _with_pictures(row: Findings, path: Path) -> Findings:
    if not row.heatmaps.keys() <= row.findings.keys():
        raise DataError(
            "report-damaged",
            f"{path}: a heat map is of no finding of its image, as classify prints none; run it "
            "again",
        )
    if not row.heatmaps:
        return row
    places = {
        finding: _place(path, name, row.heatmaps_sha256.get(finding))
        for finding, name in row.heatmaps.items()
    }
    return row.model_copy(update={"heatmaps": places})


def _place(document: Path, name: str, digest: str | None) -> str:
    """Return where a picture lies; that of a missing one as it is named."""
    try:
        beside = document.parent / name
        picture = beside if os.path.lexists(beside) else Path(name)
        if not os.path.lexists(picture):
            return name
        content = read_png(picture)
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise OSError(errno.EBADMSG, "it is not what the document was made with")
        folder = os.path.realpath(document.parent)
        within = os.path.commonpath([folder, os.path.realpath(picture)]) == folder
        if digest is None and not within:
            raise OSError(errno.EPERM, "it lies outside the folder of the document")
    except ValueError:
        # No file has such a name.
        return name
    except OSError as error:
        raise DataError(
            "report-picture",
            f"{document} names the heat map {name[:200]}: {error.strerror}; put the pictures that "
            "classify drew beside the document that it printed",
        ) from error
    return str(picture)


def read_png(path: Path) -> bytes:
    """Return a PNG file.

    Raises:
        OSError: it is none, or too large.
    """
    content = read_limited(path, _MOST_BYTES)
    if len(content) < _HEAD.size:
        raise OSError(errno.EINVAL, "it is no PNG")
    signature, _, kind, width, height = _HEAD.unpack_from(content)
    if signature != _PNG or kind != b"IHDR":
        raise OSError(errno.EINVAL, "it is no PNG")
    if not 0 < width * height <= _MOST_PIXELS:
        raise OSError(errno.EFBIG, f"it has {width} x {height} pixels")
    return content
