"""The journal of an import: which images are on disk, a checked line each."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from thorax.data.store_pixels import opened_regular, read_pixels
from thorax.files.documents import read_line

_LONGEST_LINE: Final = 1024


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image that is on disk.

    Attributes:
        number: its row.
        sha256: of the source file, hexadecimal.
        height: rows of the source image, pixels; 0 for a row without boxes.
        width: columns of it.
        pixels_sha256: of the S*S bytes that were made of it, hexadecimal.
    """

    number: int
    sha256: str
    height: int
    width: int
    pixels_sha256: str


def holds(pixels: int, item: Decoded, side: int) -> bool:
    """Return whether an open file of pixels holds an image as the journal tells of it.

    Raises:
        OSError: when the disk refuses.
    """
    image = np.empty((side, side), np.uint8)
    whole = read_pixels(pixels, item.number, image)
    return whole and hashlib.sha256(image.data).hexdigest() == item.pixels_sha256


@dataclass(frozen=True, slots=True)
class Journal:
    """What the sound lines of a journal say.

    Attributes:
        done: the images, by row; of two lines of a row the later.
        lines: the sound lines.
        bad: how many others there are.
        torn: whether the last of those ends without a line end, as after a kill.
    """

    done: dict[int, Decoded]
    lines: tuple[bytes, ...]
    bad: int
    torn: bool


def read_journal(path: Path) -> Journal:
    """Read a journal; nothing is changed.

    Raises:
        OSError: when the disk refuses.
    """
    done: dict[int, Decoded] = {}
    lines = []
    bad, torn = 0, False
    with opened_regular(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        while line := file.readline(_LONGEST_LINE):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("the line is torn")
                item = Decoded(**read_line(line))
            except (ValueError, TypeError):
                bad, torn = bad + 1, not line.endswith(b"\n")
                continue
            done[item.number] = item
            lines.append(line)
    return Journal(done, tuple(lines), bad, torn)
