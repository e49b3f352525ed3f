"""The pixels of a store, read where they lie, each image against its digest each time it is read.

`pread` and not a memory map: what is checked is what is used, pages read are not this process's
memory, and a file that was cut short in use is an error and not a bus error. While an import fills
the file, a journal has a checked line for each image that is in it.
"""

import errno
import hashlib
import os
import stat
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.data.samples import Images
from thorax.data.store_facts import HEADS, PIXELS, Facts, damaged, unreadable
from thorax.errors import DataError
from thorax.files.documents import read_line

_SHOWN: Final = 5
_LONGEST_LINE: Final = 1024
"""Of a journal."""


@contextmanager
def opened_regular(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Yield the descriptor of a regular file; a pipe is refused and not waited for.

    Raises:
        OSError: it is no regular file, or the disk refuses.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def read_pixels(descriptor: int, row: int, out: npt.NDArray[np.uint8]) -> bool:
    """Fill `out`, contiguous, with image `row` of a file of images; False where the file ends.

    Raises:
        OSError: when the disk refuses.
    """
    view, offset = out.data.cast("B"), row * out.nbytes
    while view:
        read = os.preadv(descriptor, [view], offset)
        if not read:
            return False
        view, offset = view[read:], offset + read
    return True


class StoredPixels:
    """The images of one store, uint8 [N,S,S], read-only; may be read from several threads."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        side: int,
        digests: npt.NDArray[np.uint8],
        *,
        exact: bool = True,
    ) -> None:
        """Open images.u8 and compare its size; nothing of it is read.

        Of N images of S x S pixels are given the names, for messages, and the SHA-256, uint8
        [N,32]. Where not `exact` the file may go on after them, as that of an import may.

        Raises:
            DataError: `store-damaged`.
        """
        self.shape = (len(names), side, side)
        self._folder, self._names, self._digests = folder, names, digests
        try:
            with opened_regular(folder / PIXELS) as descriptor:
                size = os.fstat(descriptor).st_size
                self._descriptor = os.dup(descriptor)
        except OSError as error:
            raise unreadable(folder, PIXELS, error) from error
        weakref.finalize(self, os.close, self._descriptor)
        if size < self.nbytes or (exact and size > self.nbytes):
            raise damaged(folder, f"{PIXELS} does not hold {len(names)} images of {side} x {side}")

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        count, height, width = self.shape
        return count * height * width

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return map(self.__getitem__, range(len(self)))

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("the pixels of a store are on disk: an array of them is a copy")
        whole = self[np.arange(len(self))]
        return whole if dtype is None else whole.astype(dtype)

    def __getitem__(self, rows: Any, /) -> npt.NDArray[np.uint8]:  # noqa: ANN401
        if isinstance(rows, tuple):
            # Whole images are read and judged; other axes are cut afterwards, as of an array.
            first, *rest = rows
            images = self[first]
            return images[(*(slice(None),) * (images.ndim - 2), *rest)]
        if isinstance(rows, int | np.integer):
            image = np.empty(self.shape[1:], np.uint8)
            self._read(int(rows), image)
            image.flags.writeable = False
            return image
        wanted = np.arange(len(self))[rows]
        images = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for row, image in zip(wanted.tolist(), images, strict=True):
            self._read(row, image)
        return images

    def _read(self, row: int, out: npt.NDArray[np.uint8]) -> None:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} images")
        try:
            whole = read_pixels(self._descriptor, row, out)
        except OSError as error:
            name = f"image {self._names[row]!r}, {row} of {PIXELS},"
            raise unreadable(self._folder, name, error) from error
        if not whole:
            raise self._bad(row, "is cut off")
        if hashlib.sha256(out.data).digest() != self._digests[row].tobytes():
            raise self._bad(row, "is not what was written")

    def _bad(self, row: int, what: str) -> DataError:
        return damaged(self._folder, f"image {self._names[row]!r}, {row} of {PIXELS}, {what}")


def open_pixels(
    path: Path, facts: Facts, index: Sequence[Sequence[str]], *, exact: bool = True
) -> StoredPixels:
    """Open the images of a store by the rows of its index.csv; see `StoredPixels`.

    Raises:
        DataError: `store-damaged`.
    """
    column = HEADS["index.csv"].index("pixels_sha256")
    try:
        digests = np.frombuffer(bytes.fromhex("".join(row[column] for row in index)), np.uint8)
        digests = digests.reshape(len(index), hashlib.sha256().digest_size)
    except ValueError as error:
        raise damaged(path, f"index.csv: {error}") from error
    return StoredPixels(path, [row[0] for row in index], facts.side, digests, exact=exact)


def find_damage(
    path: Path,
    images: Images,
    names: Sequence[str],
    on_progress: Callable[[int, int], None] | None = None,
) -> DataError | None:
    """Read all images and return the error that names those that are not what was written.

    Names, and the path of the store, are for the message; progress is (images read, images in all).
    """
    bad = []
    for row, name in enumerate(names):
        try:
            images[row]
        except DataError as error:
            bad.append((name, error))
        if on_progress is not None:
            on_progress(row + 1, len(names))
    if len(bad) < 2:
        return bad[0][1] if bad else None
    more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
    listed = ", ".join(repr(name) for name, _ in bad[:_SHOWN])
    return damaged(
        path, f"{len(bad):,} images of {PIXELS} are not what was written: {listed}{more}"
    )


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image that is on disk.

    Attributes:
        number: its row.
        sha256: of the source file, hexadecimal.
        height: rows of the source image, pixels; 0 for a row without boxes.
        width: columns of it.
        pixels_sha256: of the S*S bytes that were made of it, hexadecimal.
        warnings: codes of what is doubtful about how it was read.
    """

    number: int
    sha256: str
    height: int
    width: int
    pixels_sha256: str
    warnings: tuple[str, ...] = ()


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
                item = replace(item, warnings=tuple(item.warnings))
            except (ValueError, TypeError):
                bad, torn = bad + 1, not line.endswith(b"\n")
                continue
            done[item.number] = item
            lines.append(line)
    return Journal(done, tuple(lines), bad, torn)
