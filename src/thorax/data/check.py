"""Is a store fit to learn from and to judge by: leaks between splits, copies, label counts."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from thorax.data.copies import find_copies
from thorax.data.split import SPLITS
from thorax.data.store import Store
from thorax.errors import DataError
from thorax.labels import NEGATIVE, POSITIVE, UNKNOWN


@dataclass(frozen=True, slots=True)
class Leak:
    """A patient in more than one split."""

    patient: str
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """Images that show one exposure.

    Attributes:
        images: their names, two or more.
        patients: whose they are said to be, one an image.
        splits: where they are, one an image.
        correlation: 1 where files or pixels are equal, else how far the fine structure agrees.
    """

    images: tuple[str, ...]
    patients: tuple[str, ...]
    splits: tuple[str, ...]
    correlation: float

    @property
    def across(self) -> bool:
        """Whether they are in more than one split."""
        return len(set(self.splits)) > 1


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How often a finding is there in a split."""

    split: str
    finding: str
    positive: int
    negative: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found.

    Attributes:
        images: N.
        patients: how many.
        splits: images in each split, of those that have any.
        leaks: patients in more than one split.
        duplicates: groups whose source files are equal byte for byte.
        near_duplicates: groups that show one exposure though their files differ.
        labels: every finding in every split that has images.
    """

    images: int
    patients: int
    splits: dict[str, int]
    leaks: tuple[Leak, ...]
    duplicates: tuple[Copies, ...]
    near_duplicates: tuple[Copies, ...]
    labels: tuple[LabelCount, ...]

    @property
    def clean(self) -> bool:
        """Whether what one split has learned cannot be known in another.

        Copies within a split are listed but do no harm to a measurement.
        """
        return not self.leaks and not self._across

    @property
    def _across(self) -> list[Copies]:
        return [group for group in (*self.duplicates, *self.near_duplicates) if group.across]

    def require_clean(self) -> None:
        """Refuse a store whose splits know of each other.

        Raises:
            DataError: `store-leaks`.
        """
        if not self.clean:
            raise DataError(
                "store-leaks",
                f"{len(self.leaks)} patients and {len(self._across)} groups of copies are in more "
                "than one split; put each patient, and all copies of an image, into one",
            )

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `thorax data check`."""
        document: dict[str, Any] = {"command": "data check", "clean": self.clean, **asdict(self)}
        for kind, groups in (
            ("duplicates", self.duplicates),
            ("near_duplicates", self.near_duplicates),
        ):
            document[kind] = [{**asdict(group), "across": group.across} for group in groups]
        document["labels"] = {
            split: {
                count.finding: {
                    "positive": count.positive,
                    "negative": count.negative,
                    "unknown": count.unknown,
                }
                for count in self.labels
                if count.split == split
            }
            for split in self.splits
        }
        return document


def check(store: Store, *, on_progress: Callable[[int, int], None] | None = None) -> Report:
    """Read the whole store and report what would spoil a measurement.

    The first image that is not what was written ends it; `store.verify_images` names them all.

    Args:
        store: an open store.
        on_progress: called with (images looked at, images in all); comparing them comes after.

    Raises:
        DataError: `store-damaged` when the pixels are not those that were written.
    """
    return Report(
        images=len(store),
        patients=len(set(store.patients)),
        splits={split: len(store.select(split)) for split in SPLITS if split in store.splits},
        leaks=_leaks(store),
        duplicates=_duplicates(store),
        near_duplicates=_near_duplicates(store, on_progress),
        labels=_labels(store),
    )


def _leaks(store: Store) -> tuple[Leak, ...]:
    found: dict[str, set[str]] = {}
    for patient, split in zip(store.patients, store.splits, strict=True):
        found.setdefault(patient, set()).add(split)
    return tuple(
        Leak(patient, tuple(split for split in SPLITS if split in splits))
        for patient, splits in found.items()
        if len(splits) > 1
    )


def _copies(store: Store, rows: tuple[int, ...], correlation: float) -> Copies:
    return Copies(
        images=tuple(store.names[row] for row in rows),
        patients=tuple(store.patients[row] for row in rows),
        splits=tuple(store.splits[row] for row in rows),
        correlation=correlation,
    )


def _duplicates(store: Store) -> tuple[Copies, ...]:
    rows: dict[str, list[int]] = {}
    for row, digest in enumerate(store.digests):
        rows.setdefault(digest, []).append(row)
    return tuple(_copies(store, tuple(group), 1.0) for group in rows.values() if len(group) > 1)


def _near_duplicates(
    store: Store, on_progress: Callable[[int, int], None] | None
) -> tuple[Copies, ...]:
    first: dict[bytes, int] = {}
    equal = [
        first.setdefault(hashlib.sha256(np.ascontiguousarray(image).data).digest(), row)
        for row, image in enumerate(store.images)
    ]
    return tuple(
        _copies(store, group.members, group.correlation)
        for group in find_copies(store.images, equal=equal, on_progress=on_progress)
        if len({store.digests[row] for row in group.members}) > 1
    )


def _labels(store: Store) -> tuple[LabelCount, ...]:
    counts = []
    for split in SPLITS:
        labels = store.labels[store.select(split)]
        for column, finding in enumerate(store.label_set.findings if len(labels) else ()):
            values = labels[:, column]
            positive, negative, unknown = (
                int(np.count_nonzero(values == value)) for value in (POSITIVE, NEGATIVE, UNKNOWN)
            )
            counts.append(LabelCount(split, finding, positive, negative, unknown))
    return tuple(counts)
