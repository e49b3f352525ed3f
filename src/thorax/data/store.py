"""Decoded radiographs on disk: one uint8 memory map, an index, and what was left out.

A finished store is a folder of

    store.json    format, side, count, label set, source, SHA-256 of each other file
    images.u8     uint8 [N,S,S], as `thorax.preprocess.prepare` made them
    index.csv     image, patient, split, view, sha256 of the source file, one column a finding
    boxes.csv     image, finding, x, y, width, height in pixels of the prepared square
    skipped.csv   image, code, message of every file that could not be read
"""

import csv
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.data.ingest import Decoded, decode
from thorax.data.rows import Box, Images, Row, Skipped
from thorax.data.split import SPLITS, by_patient
from thorax.data.table import read_rows, write_rows
from thorax.errors import DataError, UsageError
from thorax.files import sha256, sync, write_text
from thorax.labels import LabelSet
from thorax.preprocess import InputSpec, placement

_FORMAT: Final = 1
_HEAD: Final = ("image", "patient", "split", "view", "sha256")
_BOX_HEAD: Final = ("image", "finding", "x", "y", "width", "height")
_SKIPPED_HEAD: Final = ("image", "code", "message")
_TABLES: Final = ("index.csv", "boxes.csv", "skipped.csv")
_BLOCK_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """N radiographs of S x S pixels with K labels each, read-only.

    Attributes:
        path: the folder; of joined stores, their folders joined by " + ".
        images: uint8 [N,S,S], a memory map, or several.
        labels: int8 [N,K], 1 / 0 / -1 (unknown).
        names: the image's name in the source, N.
        patients: opaque identifiers, N.
        splits: "train", "val" or "test", N.
        views: "PA", "AP" or None, N.
        digests: SHA-256 of the source files, N.
        boxes: lesion boxes in pixels of `images`, N.
        label_set: names of the K columns.
        source: what kind of source it was made of.
    """

    path: Path
    images: Images
    labels: npt.NDArray[np.int8]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    splits: tuple[str, ...]
    views: tuple[str | None, ...]
    digests: tuple[str, ...]
    boxes: tuple[tuple[Box, ...], ...]
    label_set: LabelSet
    source: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def side(self) -> int:
        """S, pixels."""
        return int(self.images.shape[1])

    def select(self, split: str) -> npt.NDArray[np.int64]:
        """Return int64 indices of a split, ascending; empty when it has no image.

        Raises:
            UsageError: `split-name`.
        """
        if split not in SPLITS:
            raise UsageError(
                "split-name", f"split {split!r} does not exist; allowed are {', '.join(SPLITS)}"
            )
        return np.flatnonzero(np.array(self.splits) == split).astype(np.int64)

    def require_side(self, side: int) -> None:
        """Refuse a model that was made for images of another size.

        Raises:
            UsageError: `store-side`.
        """
        if self.side != side:
            raise UsageError(
                "store-side",
                f"{self.path} holds {self.side}-pixel images but the model takes {side}; "
                f"import the images again with --size {side}",
            )

    def require(self, side: int, labels: LabelSet) -> None:
        """Refuse a model that was made for other images or findings.

        Raises:
            UsageError: `store-side` or `store-labels`.
        """
        self.require_side(side)
        if self.label_set.findings != labels.findings:
            raise UsageError(
                "store-labels",
                f"{self.path} is labelled {self.label_set.name} but the model answers "
                f"{labels.name} ({', '.join(labels.findings)})",
            )


def is_store(path: Path) -> bool:
    """Return whether a folder is a finished store; `open_store` verifies it."""
    return (path / "store.json").is_file()


def open_store(path: Path) -> Store:
    """Open a finished store; the pixels stay on disk.

    The tables are checked against their digests, the pixels by their size; `verify_images` reads
    them all.

    Raises:
        DataError: `store-missing`, `store-unfinished`, `store-format` or `store-damaged`.
    """
    facts = _facts(path)
    try:
        label_set = LabelSet(str(facts["labels"]["name"]), tuple(facts["labels"]["findings"]))
        side, count, source = int(facts["side"]), int(facts["count"]), str(facts["source"])
        digests = dict(facts["sha256"])
        for name in _TABLES:
            if sha256(path / name) != digests[name]:
                raise _damaged(path, f"{name} is not what was written")
        if (path / "images.u8").stat().st_size != count * side * side:
            raise _damaged(path, f"images.u8 does not hold {count} images of {side} x {side}")
        index = read_rows(path / "index.csv", (*_HEAD, *label_set.findings))
        boxes = _boxes(path / "boxes.csv")
        images = np.memmap(path / "images.u8", np.uint8, "r", shape=(count, side, side))
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if len(index) != count:
        raise _damaged(path, f"index.csv has {len(index)} rows, store.json says {count}")
    labels = np.array([row[len(_HEAD) :] for row in index], np.int8).reshape(count, len(label_set))
    labels.flags.writeable = False
    names, patients, splits, views, sources = zip(
        *(row[: len(_HEAD)] for row in index), strict=True
    )
    return Store(
        path=path,
        images=images,
        labels=labels,
        names=names,
        patients=patients,
        splits=splits,
        views=tuple(view or None for view in views),
        digests=sources,
        boxes=tuple(tuple(boxes.get(name, ())) for name in names),
        label_set=label_set,
        source=source,
    )


def verify_images(store: Store) -> None:
    """Read all pixels and compare their digest with the one written.

    Raises:
        DataError: `store-damaged`.
    """
    found = _pixels_digest(store.path / "images.u8", store.images.nbytes)
    if found != _facts(store.path)["sha256"]["images.u8"]:
        raise _damaged(store.path, "images.u8 is not what was written")


@dataclass(frozen=True, slots=True)
class Summary:
    """What an import made: counts of the finished store, and every file that was left out."""

    images: int
    patients: int
    skipped: tuple[Skipped, ...]


def write(
    rows: Sequence[Row],
    out: Path,
    spec: InputSpec,
    label_set: LabelSet,
    *,
    source: str = "rows",
    splits: Sequence[str] | None = None,
    skipped: Sequence[Skipped] = (),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Decode every row and write the store `out`, which appears only when it is complete.

    Work goes on in `<out>.partial`. The same call after an interruption goes on where that
    stopped, tries the files that failed once more, and ends in the same bytes; after completion it
    only answers. A file that cannot be read is listed in skipped.csv and one of the last images
    takes its place; but for those the order is that of `rows`.

    Args:
        rows: what to decode, names unique.
        out: the folder to make.
        spec: only `side` matters here.
        label_set: what the labels are.
        source: what kind of source the rows are of, for the record.
        splits: one a row; None asks `split.by_patient` with its defaults.
        skipped: what the source left out already, listed with the rest.
        workers: decoding threads, None = one a processor, 8 at most; each holds one image.
        on_progress: called with (images done, images in all) from the calling thread.

    Raises:
        DataError: `store-exists`, `store-other-import`, `store-locked`, `store-empty`,
            `store-write` (the disk refuses), `image-twice` or `labels-width`.
    """
    chosen = list(by_patient(rows) if splits is None else splits)
    plan = _plan(rows, chosen, out, spec, label_set, source, skipped)
    if out.exists():
        return _answer(out, plan)
    partial = _partial(out)
    try:
        with _locked(partial):
            _begin(partial, plan)
            if not (partial / "store.json").exists():
                done, failed = decode(
                    rows,
                    spec,
                    pixels=partial / "images.u8",
                    journal=partial / "progress.jsonl",
                    workers=workers,
                    on_progress=on_progress,
                )
                if not done:
                    raise DataError("store-empty", _none_read(rows, failed))
                order = _close_gaps(partial / "images.u8", done, spec.side)
                _write_tables(partial, rows, chosen, order, (*skipped, *failed), spec, label_set)
                _write_facts(partial, len(order), spec, label_set, source, plan)
            _publish(partial, out)
    except OSError as error:
        raise DataError(
            "store-write",
            f"cannot write {out}: {error.strerror or error}; make room or choose another folder, "
            "then run the same import again",
        ) from error
    return _answer(out, plan)


def _plan(
    rows: Sequence[Row],
    splits: Sequence[str],
    out: Path,
    spec: InputSpec,
    label_set: LabelSet,
    source: str,
    skipped: Sequence[Skipped],
) -> str:
    """Return a digest of everything that the store depends on, but for the files' content."""
    facts = [_FORMAT, spec.side, label_set.name, label_set.findings, source]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for skip in skipped:
        digest.update(json.dumps([skip.image, skip.code, skip.message]).encode())
    names: set[str] = set()
    for row, split in zip(rows, splits, strict=True):
        if row.image in names:
            raise DataError("image-twice", f"two rows are named {row.image!r}; names are unique")
        if row.labels.shape != (len(label_set),):
            raise DataError(
                "labels-width",
                f"{row.image} has labels of shape {row.labels.shape}; label set {label_set.name} "
                f"has {len(label_set)}",
            )
        names.add(row.image)
        boxes = [[box.finding, box.x, box.y, box.width, box.height] for box in row.boxes]
        path, labels = os.fspath(row.path.absolute()), row.labels.tolist()
        facts = [row.image, path, row.patient, labels, split, row.view, boxes, row.box_frame]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Hold the folder for this process alone; a killed process lets go of it."""
    partial.mkdir(parents=True, exist_ok=True)
    folder = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                "store-locked", f"another import is writing {partial}; wait for it or stop it"
            ) from error
        yield
    finally:
        os.close(folder)


def _begin(partial: Path, plan: str) -> None:
    """Claim a new folder for this plan, or make sure that an old one is of it."""
    if (partial / "store.json").exists():
        found = _facts(partial).get("import")
    elif (partial / "plan").exists():
        found = (partial / "plan").read_text("ascii")
    elif any(not path.name.startswith(".") for path in partial.iterdir()):
        found = None
    else:
        write_text(partial / "plan", plan)
        return
    if found != plan:
        raise DataError(
            "store-other-import",
            f"{partial} holds an unfinished import with other images, labels, splits or size; "
            "repeat that one, or delete the folder to begin anew",
        )


def _none_read(rows: Sequence[Row], failed: Sequence[Skipped]) -> str:
    if not failed:
        return "there are no rows to import; check the source"
    first = failed[0]
    return (
        f"none of {len(rows)} images could be read; the first is {first.image}: {first.code}: "
        f"{first.message}"
    )


def _close_gaps(pixels: Path, done: Mapping[int, Decoded], side: int) -> list[Decoded]:
    """Move the last images into the places of those that failed; return the new order.

    Only places that hold no image are written, so it can be done again after an interruption.
    """
    count, size = len(done), side * side
    gaps = [number for number in range(count) if number not in done]
    movers = [done[number] for number in sorted(done) if number >= count]
    order = {number: item for number, item in done.items() if number < count}
    with pixels.open("r+b") as file:
        for gap, mover in zip(gaps, movers, strict=True):
            file.seek(mover.number * size)
            image = file.read(size)
            file.seek(gap * size)
            file.write(image)
            order[gap] = mover
        file.flush()
        os.fsync(file.fileno())
    return [order[number] for number in range(count)]


def _write_tables(
    partial: Path,
    rows: Sequence[Row],
    splits: Sequence[str],
    order: Sequence[Decoded],
    skipped: Sequence[Skipped],
    spec: InputSpec,
    label_set: LabelSet,
) -> None:
    placed = [(rows[item.number], splits[item.number], item) for item in order]
    write_rows(
        partial / "index.csv",
        (*_HEAD, *label_set.findings),
        (
            (row.image, row.patient, split, row.view or "", item.sha256, *row.labels.tolist())
            for row, split, item in placed
        ),
    )
    write_rows(
        partial / "boxes.csv",
        _BOX_HEAD,
        (
            (row.image, box.finding, box.x, box.y, box.width, box.height)
            for row, _, item in placed
            for box in _mapped(row, item, spec.side)
        ),
    )
    write_rows(
        partial / "skipped.csv",
        _SKIPPED_HEAD,
        ((skip.image, skip.code, skip.message) for skip in skipped),
    )


def _mapped(row: Row, item: Decoded, side: int) -> Iterator[Box]:
    """Yield the row's boxes in pixels of the prepared square."""
    if not row.boxes:
        return
    place = placement(item.height, item.width, side)
    frame_height, frame_width = row.box_frame or (item.height, item.width)
    across, down = place.width / frame_width, place.height / frame_height
    for box in row.boxes:
        yield Box(
            box.finding,
            place.left + box.x * across,
            place.top + box.y * down,
            box.width * across,
            box.height * down,
        )


def _write_facts(
    partial: Path, count: int, spec: InputSpec, label_set: LabelSet, source: str, plan: str
) -> None:
    digests = {name: sha256(partial / name) for name in _TABLES}
    digests["images.u8"] = _pixels_digest(partial / "images.u8", count * spec.side * spec.side)
    facts = {
        "format": _FORMAT,
        "count": count,
        "side": spec.side,
        "labels": {"name": label_set.name, "findings": label_set.findings},
        "source": source,
        "import": plan,
        "sha256": digests,
    }
    write_text(partial / "store.json", json.dumps(facts, indent=2) + "\n")


def _pixels_digest(path: Path, size: int) -> str:
    """Return the SHA-256 of the first `size` bytes of a file, hexadecimal."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while done < size and (block := file.read(min(size - done, _BLOCK_BYTES))):
            digest.update(block)
            done += len(block)
    return digest.hexdigest()


def _publish(partial: Path, out: Path) -> None:
    """Drop what only the import needed and give the folder its name."""
    facts = _facts(partial)
    os.truncate(partial / "images.u8", facts["count"] * facts["side"] ** 2)
    for path in partial.iterdir():
        if path.name not in (*_TABLES, "images.u8", "store.json"):
            path.unlink()
    partial.rename(out)
    sync(out.parent)


def _answer(out: Path, plan: str) -> Summary:
    """Return the summary of a finished store, if it is of this plan."""
    store = open_store(out)
    if _facts(out).get("import") != plan:
        raise DataError(
            "store-exists",
            f"{out} is a store made of other images, labels, splits or size; choose another "
            "folder or delete it",
        )
    skipped = tuple(Skipped(*row) for row in read_rows(out / "skipped.csv", _SKIPPED_HEAD))
    return Summary(len(store), len(set(store.patients)), skipped)


def _boxes(path: Path) -> dict[str, list[Box]]:
    found: dict[str, list[Box]] = {}
    for image, finding, *edges in read_rows(path, _BOX_HEAD):
        x, y, width, height = map(float, edges)
        found.setdefault(image, []).append(Box(finding, x, y, width, height))
    return found


def _facts(path: Path) -> dict[str, Any]:
    if not (path / "store.json").is_file():
        if _partial(path).is_dir():
            raise DataError(
                "store-unfinished",
                f"the import into {path} was interrupted; run the same import again to finish it",
            )
        raise DataError(
            "store-missing", f"{path} holds no store (no store.json); make one by `data import`"
        )
    try:
        facts = json.loads((path / "store.json").read_text("utf-8"))
        found = facts["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"store.json cannot be read: {error}") from error
    if found != _FORMAT:
        raise DataError(
            "store-format",
            f"{path} has format {found!r}; this Thorax reads {_FORMAT}; import again",
        )
    return dict(facts)


def _damaged(path: Path, what: str) -> DataError:
    return DataError("store-damaged", f"{path}: {what}; delete it and import again")
