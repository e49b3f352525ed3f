"""Decoded radiographs on disk: one file of uint8 pixels, an index, and what was left out.

A finished store is a folder of

    store.json    format, side, count, label set, source, SHA-256 of each table and of itself
    images.u8     uint8 [N,S,S], as `thorax.images.preprocess.prepare` made them
    index.csv     image, patient, split, view, age, sex, sha256 of the source file and of the
                  prepared pixels, one column a finding
    boxes.csv     image, finding, x, y, width, height in pixels of the prepared square
    skipped.csv   image, code, message of every file that could not be read
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.data.samples import Box, Images, Sample, Skipped
from thorax.data.split import SPLITS, by_patient
from thorax.data.store_facts import (
    FACTS,
    FORMAT,
    HEADS,
    JOURNAL,
    PIXELS,
    PLAN,
    Facts,
    Plan,
    damaged,
    head_of,
    partial_of,
    read_facts,
    read_part,
    read_plan,
    write_facts,
)
from thorax.data.store_pixels import Decoded, find_damage, open_pixels
from thorax.data.store_verify import verify
from thorax.data.table import write_rows
from thorax.errors import DataError, UsageError
from thorax.files.atomic import LockedError, is_ours, locked, sha256, sync, write_text
from thorax.files.documents import checked_line
from thorax.images.error_codes import WARNINGS
from thorax.images.preprocess import InputSpec, placement
from thorax.labels import NEGATIVE, POSITIVE, UNKNOWN, LabelSet
from thorax.results.data import ImportResult, LabelCounts, SkippedImage
from thorax.results.shared import ReadWarning

_LONGEST_CELL: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """N radiographs of S x S pixels with K labels each, read-only.

    Attributes:
        path: the folder; of joined stores, their folders joined by " + ".
        images: uint8 [N,S,S], on disk; each is compared with its digest when it is read.
        labels: int8 [N,K], 1 / 0 / -1 (unknown).
        names: the image's name in the source, N.
        patients: opaque identifiers, N.
        splits: "train", "val" or "test", N.
        views: "PA", "AP", another view where all were imported, or None, N.
        ages: of the patients, years, or None, N.
        sexes: "F", "M", "O" or None, N.
        digests: SHA-256 of the source files, N.
        boxes: lesion boxes in pixels of `images`, N.
        label_set: names of the K columns.
        source: what kind of source it was made of.
        warnings: codes of what is doubtful about how each image was read, N.
    """

    path: Path
    images: Images
    labels: npt.NDArray[np.int8]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    splits: tuple[str, ...]
    views: tuple[str | None, ...]
    ages: tuple[int | None, ...]
    sexes: tuple[str | None, ...]
    digests: tuple[str, ...]
    boxes: tuple[tuple[Box, ...], ...]
    label_set: LabelSet
    source: str
    warnings: tuple[tuple[str, ...], ...] = ()

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

    def sources_sha256(self, split: str) -> str:
        """Return one SHA-256 of the source files of a split, whatever their order and names.

        Raises:
            UsageError: `split-name`.
        """
        digests = sorted(self.digests[index] for index in self.select(split))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

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

    def relabelled(self, side: int, labels: LabelSet) -> "Store":
        """Return the store with the findings of a model as its columns, in the model's order.

        A finding that the store does not label is unknown in every image; those that the model
        does not answer are left out. Boxes bear the model's names. `labels.overlap(label_set)` says
        which these are.

        Raises:
            UsageError: `store-side`, or `store-labels` where no finding is shared.
        """
        self.require_side(side)
        if self.label_set.findings == labels.findings:
            return self
        overlap = labels.overlap(self.label_set)
        if not overlap.columns:
            raise UsageError(
                "store-labels",
                f"{self.path} is labelled {self.label_set.name} "
                f"({', '.join(self.label_set.findings)}), and the model answers none of it, but "
                f"{labels.name} ({', '.join(labels.findings)}); import with --findings that the "
                "model has, or say with `optimize --labels` what it answers",
            )
        columns = np.full((len(self), len(labels)), UNKNOWN, np.int8)
        columns[:, overlap.columns] = self.labels[:, overlap.others]
        columns.flags.writeable = False
        names = {
            self.label_set.findings[other]: labels.findings[own]
            for own, other in zip(overlap.columns, overlap.others, strict=True)
        }
        boxes = tuple(
            tuple(
                replace(box, finding=names[box.finding]) for box in lesions if box.finding in names
            )
            for lesions in self.boxes
        )
        return replace(self, labels=columns, label_set=labels, boxes=boxes)

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
    return (path / FACTS).is_file()


def open_store(path: Path) -> Store:
    """Open a finished store; the pixels stay on disk.

    The tables are compared with their digests here, an image whenever it is read: `store.images`
    raises `store-damaged` for one that is not what was written. `verify_images` reads them all.

    Raises:
        DataError: `store-missing`, `store-unfinished`, `store-format` or `store-damaged`.
    """
    facts = read_facts(path)
    index, boxes = read_part(path, facts, "index.csv"), read_part(path, facts, "boxes.csv")
    read_part(path, facts, "skipped.csv")
    width = len(HEADS["index.csv"])
    names, patients, splits, views, ages, sexes, warnings, sources, _ = zip(
        *(row[:width] for row in index), strict=True
    )
    try:
        years = tuple(int(age) if age else None for age in ages)
        labels = np.array([row[width:] for row in index], np.int8)
        lesions = _boxes(boxes)
    except (ValueError, OverflowError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    labels.flags.writeable = False
    return Store(
        path=path,
        images=open_pixels(path, facts, index),
        labels=labels,
        names=names,
        patients=patients,
        splits=splits,
        views=tuple(view or None for view in views),
        ages=years,
        sexes=tuple(sex or None for sex in sexes),
        digests=sources,
        boxes=tuple(tuple(lesions.get(name, ())) for name in names),
        label_set=facts.label_set,
        source=facts.source,
        warnings=tuple(tuple(codes.split("|")) if codes else () for codes in warnings),
    )


def verify_images(store: Store, *, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Read all pixels of a store, of one folder or of several, and compare them with the digests.

    Progress is (images read, images in all).

    Raises:
        DataError: `store-damaged`, naming the images.
    """
    error = find_damage(store.path, store.images, store.names, on_progress)
    if error is not None:
        raise error


@dataclass(frozen=True, slots=True)
class _Import:
    """What is written into a store: a split for each row, and what the source left out."""

    rows: Sequence[Sample]
    splits: Sequence[str]
    skipped: Sequence[Skipped]
    side: int
    label_set: LabelSet
    source: str


def write(
    rows: Sequence[Sample],
    out: Path,
    spec: InputSpec,
    label_set: LabelSet,
    *,
    source: str = "rows",
    skipped: Sequence[Skipped] = (),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ImportResult:
    """Decode every row and write the store `out`, which appears only when it is complete.

    Work goes on in `<out>.partial`. The same call after an interruption goes on where that
    stopped, tries the files that failed once more, and ends in the same bytes; after completion it
    only answers. A file that cannot be read is listed in skipped.csv and one of the last images
    takes its place; but for those the order is that of `rows`.

    Args:
        rows: what to decode, names unique; what has no split is given one by `split.by_patient`.
        out: the folder to make.
        spec: only `side` matters here.
        label_set: what the labels are.
        source: what kind of source the rows are of, for the record.
        skipped: what the source left out already, listed with the rest.
        workers: decoding threads, None = one a processor, 8 at most; each holds one image.
        on_progress: called with (images done, images in all) from the calling thread.

    Raises:
        DataError: `store-exists`, `store-other-import`, `store-locked`, `store-empty`,
            `store-write` (the disk refuses), `image-twice` or `labels-width`.
    """
    if out.is_symlink() and not out.exists():
        raise DataError(
            "store-exists", f"{out} is a link that leads nowhere; choose another folder"
        )
    job = _Import(rows, by_patient(rows), skipped, spec.side, label_set, source)
    plan = _plan(job)
    if out.exists():
        return _answer(out, plan)
    partial = partial_of(out)
    try:
        with _held(out):
            if out.exists():
                return _answer(out, plan)
            partial.mkdir(exist_ok=True)
            _begin(partial, Plan(plan, spec.side))
            if not _is_whole(partial):
                order, failed = _decoded(job, partial, workers, on_progress)
                _write_tables(partial, job, order, failed)
                tables = {name: sha256(partial / name) for name in HEADS}
                write_facts(partial, Facts(len(order), spec.side, label_set, source, plan, tables))
            _publish(partial, out)
    except OSError as error:
        raise DataError(
            "store-write",
            f"cannot write {out}: {error.strerror or error}; make room or choose another folder, "
            "then run the same import again",
        ) from error
    return _answer(out, plan)


def _decoded(
    job: _Import,
    partial: Path,
    workers: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[Decoded], list[Skipped]]:
    """Decode all rows and return the images in their order, and the failures."""
    # Only who writes a store decodes; readers are spared the decoders: 0.2 s.
    from thorax.data.ingest import decode  # noqa: PLC0415

    done, failed = decode(
        job.rows,
        InputSpec(job.side),
        pixels=partial / PIXELS,
        journal=partial / JOURNAL,
        workers=workers,
        on_progress=on_progress,
    )
    if not done:
        why = (
            f"none of {len(job.rows)} images could be read; the first is {failed[0].image}: "
            f"{failed[0].code}: {failed[0].message}"
            if failed
            else "there are no rows to import; check the source"
        )
        raise DataError("store-empty", why)
    return _close_gaps(partial / PIXELS, done, job.side), failed


def _plan(job: _Import) -> str:
    """Return a digest of everything that the store depends on, but for the files' content."""
    label_set = job.label_set
    facts = [FORMAT, job.side, label_set.name, label_set.findings, job.source]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for skip in job.skipped:
        digest.update(json.dumps([skip.image, skip.code, skip.message]).encode())
    names: set[str] = set()
    for row, split in zip(job.rows, job.splits, strict=True):
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
        digest.update(json.dumps([*facts, row.age, row.sex]).encode())
    return digest.hexdigest()


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Hold the name of a store for this process alone; a killed process lets go of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out):
            yield
    except LockedError as error:
        raise DataError(
            "store-locked", f"{out} is being imported by {error.holder}; wait for it or stop it"
        ) from error


def _begin(partial: Path, plan: Plan) -> None:
    """Claim a new folder for this plan, or make sure that an old one is of it."""
    found: str | None = None
    if (partial / PLAN).exists():
        found = read_plan(partial).digest
    elif (partial / FACTS).exists():
        found = read_facts(partial).plan
    elif not any(path.name for path in partial.iterdir() if not is_ours(path.name)):
        write_text(partial / PLAN, checked_line(asdict(plan)))
        return
    if found != plan.digest:
        raise DataError(
            "store-other-import",
            f"{partial} holds an unfinished import with other images, labels, splits or size, or "
            "of another version of Thorax; repeat that one, or delete the folder to begin anew",
        )


def _is_whole(partial: Path) -> bool:
    """Return whether an import only lacks its name, all that it wrote being read once more."""
    return (partial / FACTS).exists() and all(
        piece.damage is None for piece in verify(partial, exact=False)
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
    partial: Path, job: _Import, order: Sequence[Decoded], failed: Sequence[Skipped]
) -> None:
    placed = [(job.rows[item.number], job.splits[item.number], item) for item in order]
    write_rows(
        partial / "index.csv",
        head_of("index.csv", job.label_set),
        (
            (
                *(row.image, row.patient, split, row.view or ""),
                *("" if row.age is None else row.age, row.sex or "", "|".join(item.warnings)),
                *(item.sha256, item.pixels_sha256, *row.labels.tolist()),
            )
            for row, split, item in placed
        ),
    )
    write_rows(
        partial / "boxes.csv",
        HEADS["boxes.csv"],
        (
            (row.image, box.finding, box.x, box.y, box.width, box.height)
            for row, _, item in placed
            for box in _mapped(row, item, job.side)
        ),
    )
    write_rows(
        partial / "skipped.csv",
        HEADS["skipped.csv"],
        ((_short(skip.image), skip.code, _short(skip.message)) for skip in (*job.skipped, *failed)),
    )


def _short(cell: str) -> str:
    """Return a name or message without its middle where a table could not be read with it."""
    half = _LONGEST_CELL // 2
    return cell if len(cell) <= _LONGEST_CELL else f"{cell[:half]} ... {cell[-half:]}"


def _mapped(row: Sample, item: Decoded, side: int) -> Iterator[Box]:
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


def _publish(partial: Path, out: Path) -> None:
    """Drop what only the import needed and give the folder its name."""
    facts = read_facts(partial)
    os.truncate(partial / PIXELS, facts.count * facts.side**2)
    sync(partial / PIXELS)
    for path in partial.iterdir():
        if path.name in (JOURNAL, PLAN) or is_ours(path.name):
            path.unlink()
    sync(partial)
    partial.rename(out)
    sync(out.parent)


def _answer(out: Path, plan: str) -> ImportResult:
    """Return the counts of a finished store, if it is of this plan."""
    if not is_store(out):
        raise DataError("store-exists", f"{out} is there and no store; choose another folder")
    store, facts = open_store(out), read_facts(out)
    if facts.plan != plan:
        raise DataError(
            "store-exists",
            f"{out} is a store made of other images, labels, splits or size, or by another version "
            "of Thorax; choose another folder or delete it",
        )
    skipped = read_part(out, facts, "skipped.csv")
    return ImportResult(
        store=str(out),
        images=len(store),
        patients=len(set(store.patients)),
        skipped=tuple(
            SkippedImage(image=image, code=code, message=message)
            for image, code, message in skipped
        ),
        left_out=dict(Counter(code for _, code, _ in skipped)),
        splits={split: len(store.select(split)) for split in SPLITS if split in store.splits},
        views=dict(Counter(view or "unknown" for view in store.views)),
        labels=label_counts(store.labels, store.label_set),
        label_set=store.label_set.name,
        boxes=sum(map(len, store.boxes)),
        warnings=_doubtful(store),
    )


def _doubtful(store: Store) -> tuple[ReadWarning, ...]:
    """Return how many images were read with a warning of each code, and the first of them."""
    images: dict[str, list[str]] = {}
    for name, codes in zip(store.names, store.warnings, strict=True):
        for code in codes:
            images.setdefault(code, []).append(name)
    return tuple(
        ReadWarning(
            code=code,
            message=f"{len(names):,} image{'s' * (len(names) > 1)}, the first {names[0]}: "
            + WARNINGS.get(code, "see a later version"),
        )
        for code, names in images.items()
    )


def label_counts(labels: npt.NDArray[np.int8], label_set: LabelSet) -> dict[str, LabelCounts]:
    """Return how often each finding is positive, negative and unknown in labels int8 [N,K]."""
    return {
        finding: LabelCounts(
            positive=int(np.count_nonzero(labels[:, column] == POSITIVE)),
            negative=int(np.count_nonzero(labels[:, column] == NEGATIVE)),
            unknown=int(np.count_nonzero(labels[:, column] == UNKNOWN)),
        )
        for column, finding in enumerate(label_set.findings)
    }


def _boxes(rows: Sequence[Sequence[str]]) -> dict[str, list[Box]]:
    found: dict[str, list[Box]] = {}
    for image, finding, *edges in rows:
        x, y, width, height = map(float, edges)
        found.setdefault(image, []).append(Box(finding, x, y, width, height))
    return found
