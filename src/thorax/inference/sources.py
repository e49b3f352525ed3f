"""Where radiographs come from: files, folders, ZIP archives, stores, and standard input."""

import functools
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from thorax.data.store import Store, is_store, open_store
from thorax.errors import ImageError
from thorax.files.atomic import is_ours
from thorax.images.kinds import ENDINGS, PICTURES, ZipArchive, kind_of
from thorax.images.radiograph import Limits

STDIN: Final = Path("-")
"""The source that is read from standard input."""

_UNREAD_PICTURES: Final = frozenset((".gif", ".jls", ".jxl", ".heic", ".avif"))
"""Endings of pictures of other formats: somebody expects an answer for them, and gets an error."""
_READ: Final = frozenset(("png", "jpeg", "dicom", *PICTURES))
_HEAD_BYTES: Final = 1024
_SOP_CLASS: Final = re.compile(rb"\x02\x00\x02\x00UI(..)([0-9.]{1,64})", re.DOTALL)
_WITHOUT_PIXELS: Final = (
    "1.2.840.10008.1.3.10",  # DICOMDIR
    "1.2.840.10008.5.1.4.1.1.9.",  # waveforms
    "1.2.840.10008.5.1.4.1.1.11.",  # presentation states
    "1.2.840.10008.5.1.4.1.1.88.",  # reports and key objects
    "1.2.840.10008.5.1.4.1.1.104.",  # documents
)
"""SOP classes, or how they begin, of PS3.4 table B.5-1 that a CD holds beside its images."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a store, prepared already; its text is the store's path and its name there.

    `store` is the folder of the store, `number` the row of its table, `name` what the image goes by
    in it.
    """

    store: Path
    number: int
    name: str

    def __str__(self) -> str:
        return str(self.store / self.name)


@dataclass(frozen=True, slots=True)
class ZippedImage:
    """A file in a ZIP archive; its text is the archive's path and its name there."""

    archive: Path
    member: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.member}"

    def content(self) -> bytes:
        """Return its bytes.

        Raises:
            ImageError: as `thorax.images.kinds.ZipArchive`.
        """
        return _archive(self.archive, os.getpid()).read(self.member, Limits().file_bytes)


@functools.lru_cache(maxsize=4)
def _archive(path: Path, process: int) -> ZipArchive:
    """Return an archive, opened once in a process: those that share a file would move it."""
    del process
    return ZipArchive(path)


Source = Path | StoredImage | ZippedImage
"""Where a radiograph is read from: a file, a store, or a ZIP archive."""


def file_of(source: Source) -> Path:
    """Return the file, store or archive that a source is in."""
    if isinstance(source, StoredImage):
        return source.store
    return source.archive if isinstance(source, ZippedImage) else source


@dataclass(slots=True)
class PassedOver:
    """Files of folders and archives that are no radiographs, and why: how many of each reason."""

    names: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, reason: str) -> None:
        """Note a file."""
        self.names.append(name)
        self.reasons[reason] += 1

    def text(self) -> str:
        """Return how many there are of each reason, most first."""
        return ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())


def find_sources(
    inputs: Sequence[Path],
    side: int,
    passed_over: PassedOver | None = None,
    *,
    follow_links: bool = False,
) -> Iterator[Source]:
    """Yield what `find_files` does, and of each store and ZIP archive its images, in its order.

    `side` is that of the images that the network takes, pixels; for the rest see `find_files`.

    Raises:
        DataError: as `thorax.data.store.open_store`.
        UsageError: `store-side` for a store of images of another size.
    """
    passed_over = passed_over or PassedOver()
    for path in inputs:
        if _holds(is_store, path):
            store = opened(path)
            store.require_side(side)
            yield from (StoredImage(path, number, name) for number, name in enumerate(store.names))
            continue
        for file, kind in _files(path, passed_over, follow_links=follow_links):
            if kind == "zip":
                yield from _unzipped(file, passed_over)
            else:
                yield file


@functools.lru_cache(maxsize=8)
def opened(path: Path) -> Store:
    """Return a store, opened once."""
    return open_store(path)


def _unzipped(path: Path, passed_over: PassedOver) -> Iterator[Source]:
    """Yield the images in a ZIP archive; one that is damaged itself."""
    try:
        archive = _archive(path, os.getpid())
    except ImageError:
        # Whoever reads it is told.
        yield path
        return
    for name in archive.names:
        member, reason = ZippedImage(path, name), None
        with suppress(ImageError):
            reason, _ = _judged(Path(name), archive.read(name, _HEAD_BYTES, whole=False))
        if reason is None:
            yield member
        else:
            passed_over.add(str(member), reason)


def _holds(test: Callable[[Path], bool], path: Path) -> bool:
    """Return what a test says; False where nobody may look, which whoever reads it is told."""
    try:
        return test(path)
    except OSError:
        return False


def find_files(
    inputs: Sequence[Path], passed_over: PassedOver | None = None, *, follow_links: bool = False
) -> Iterator[Path]:
    """Yield the files named, and below each folder named what may be a radiograph, sorted.

    In a folder a file counts by its ending, and under any other name, as files named by their UID,
    when it begins as an image does. What cannot be looked at is yielded too, so that whoever reads
    it is told why: folders and files that the system does not let be read, links to folders unless
    these are followed, and links in circles; and pictures of formats that are not read. What is
    hidden, by a name that begins with a point, is passed over. `passed_over` gets the files of a
    folder that are nothing of all this, such as tables, the DICOM objects without pixels of a CD,
    and what is hidden, a folder as one.
    """
    passed_over = passed_over or PassedOver()
    for path in inputs:
        for file, _ in _files(path, passed_over, follow_links=follow_links):
            yield file


def _files(
    path: Path, passed_over: PassedOver, *, follow_links: bool
) -> Iterator[tuple[Path, str]]:
    """Yield what `find_files` does of one input, each with what it is by how it begins."""
    if path == STDIN or not _holds(Path.is_dir, path):
        yield path, _named_kind(path)
        return
    # The folders that are open, each with what is left of it.
    waiting = [_entries(path)]
    seen: set[tuple[int, int]] = set()
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
        elif isinstance(entry, Path):
            yield entry, ""
        elif entry.name.startswith("."):
            if not is_ours(entry.name):
                passed_over.add(entry.path, "hidden")
        elif entry.is_dir(follow_symlinks=False) or (follow_links and _is_new_folder(entry, seen)):
            waiting.append(_entries(Path(entry.path)))
        else:
            reason, kind = _looked_at(Path(entry.path))
            if reason is None:
                yield Path(entry.path), kind
            else:
                passed_over.add(entry.path, reason)


def _named_kind(path: Path) -> str:
    """Return what a file that was named is; "" of what is no file, which is not opened."""
    if path == STDIN or not _holds(Path.is_file, path):
        return ""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(_HEAD_BYTES))
    except OSError:
        return ""


def _is_new_folder(entry: "os.DirEntry[str]", seen: set[tuple[int, int]]) -> bool:
    """Return whether a link leads to a folder that no other link led to, nor one above it."""
    try:
        status = Path(entry.path).stat()
    except OSError:
        return False
    above = {(parent.stat().st_dev, parent.stat().st_ino) for parent in Path(entry.path).parents}
    place = status.st_dev, status.st_ino
    new = stat.S_ISDIR(status.st_mode) and place not in seen | above
    seen.add(place)
    return new


def _entries(folder: Path) -> "Iterator[os.DirEntry[str] | Path]":
    """Yield what is in a folder, sorted, or the folder itself when it cannot be read."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    yield from entries


def _looked_at(path: Path) -> tuple[str | None, str]:
    """Return why a file of a folder is no radiograph, None for what may be, and what it is.

    The reason is in words that are counted; the kind is of `kind_of`, "" where nobody may look.
    """
    try:
        mode = path.stat().st_mode
        # Of a link to a folder nobody knows what is behind it; a pipe is no file.
        if stat.S_ISDIR(mode) or (not stat.S_ISREG(mode) and path.suffix.lower() in ENDINGS):
            return None, ""
        if not stat.S_ISREG(mode):
            return "no file", ""
        with path.open("rb") as file:
            return _judged(path, file.read(_HEAD_BYTES))
    except FileNotFoundError:
        # A link that leads nowhere is a radiograph by its name only.
        return (None if path.suffix.lower() in ENDINGS else _ending(path)), ""
    except OSError:
        return None, ""


def _judged(path: Path, head: bytes) -> tuple[str | None, str]:
    """Return why a file is no radiograph, by its name and its first bytes, and what it is."""
    kind = inner = kind_of(head)
    suffix = path.suffix.lower()
    if kind == "gzip":
        inner, suffix = kind_of(_first_inflated(head)), path.with_suffix("").suffix.lower()
    if inner == "dicom":
        return _without_pixels(head), kind
    if inner in (*_READ, "zip") or suffix in ENDINGS | _UNREAD_PICTURES:
        return None, kind
    return _ending(path), kind


def _ending(path: Path) -> str:
    """Return the ending of a file, of at most eight letters."""
    suffix = path.suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9_~-]{1,8}", suffix) else "no image by its content"


def _without_pixels(head: bytes) -> str | None:
    sop_class = _SOP_CLASS.search(head)
    if sop_class is not None and sop_class[2].decode("ascii").startswith(_WITHOUT_PIXELS):
        return "DICOM without pixels"
    return None


def _first_inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return b""
