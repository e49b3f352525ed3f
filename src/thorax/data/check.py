"""Check that a store is fit to learn from: leaks between splits, copies, label counts."""

import hashlib
from collections.abc import Callable

import numpy as np

from thorax.data.copies import find_copies
from thorax.data.split import SPLITS
from thorax.data.store import Store, label_counts
from thorax.results.data import CheckResult, Copies, Leak


def check(store: Store, *, on_progress: Callable[[int, int], None] | None = None) -> CheckResult:
    """Read the whole store and report what would spoil a measurement.

    The first image that is not what was written ends it; `store.verify_images` names them all.
    Progress is (images looked at, images in all); comparing them comes after.

    Raises:
        DataError: `store-damaged` when the pixels are not those that were written.
    """
    leaks, duplicates = patients_across_splits(store), _duplicates(store)
    near_duplicates = _near_duplicates(store, on_progress)
    return CheckResult(
        clean=not leaks and not any(group.across for group in (*duplicates, *near_duplicates)),
        images=len(store),
        patients=len(set(store.patients)),
        splits={split: len(store.select(split)) for split in SPLITS if split in store.splits},
        leaks=leaks,
        duplicates=duplicates,
        near_duplicates=near_duplicates,
        labels={
            split: label_counts(store.labels[store.select(split)], store.label_set)
            for split in SPLITS
            if split in store.splits
        },
    )


def patients_across_splits(store: Store) -> tuple[Leak, ...]:
    """Return the patients that are in more than one split."""
    by_patient: dict[str, set[str]] = {}
    for patient, split in zip(store.patients, store.splits, strict=True):
        by_patient.setdefault(patient, set()).add(split)
    return tuple(
        Leak(patient=patient, splits=tuple(split for split in SPLITS if split in splits))
        for patient, splits in by_patient.items()
        if len(splits) > 1
    )


def _copies(
    store: Store, rows: tuple[int, ...], correlation: float, changes: tuple[str, ...] = ()
) -> Copies:
    splits = tuple(store.splits[row] for row in rows)
    return Copies(
        images=tuple(store.names[row] for row in rows),
        patients=tuple(store.patients[row] for row in rows),
        splits=splits,
        correlation=correlation,
        changes=changes,
        across=len(set(splits)) > 1,
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
        _copies(store, group.members, group.correlation, group.changes)
        for group in find_copies(store.images, equal=equal, on_progress=on_progress)
        if len({store.digests[row] for row in group.members}) > 1
    )
