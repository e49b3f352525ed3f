"""Which images teach, which steer and which judge: decided by patient, never by image."""

import hashlib
from collections.abc import Sequence
from typing import Final

from thorax.data.samples import Sample
from thorax.errors import DataError, UsageError

SPLITS: Final = ("train", "val", "test")


def by_patient(
    rows: Sequence[Sample],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
) -> list[str]:
    """Return the split of each row.

    A split that a row brings is kept, and the patient's other rows follow it. Every other patient
    is placed by a hash of (seed, patient) alone, so adding images or patients moves nobody. The
    seed chooses one of many equally good splits; fractions are the expected shares of the patients
    in train, val and test, and sum to 1.

    Raises:
        DataError: `split-unknown` for a name other than train, val or test;
            `split-conflict` when a row without a split has a patient in two.
        UsageError: `split-fractions`.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> row = Sample("a.png", Path("a.png"), "17", np.zeros(14, np.int8))
        >>> by_patient([row, row]) == by_patient([row]) * 2
        True
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise UsageError(
            "split-fractions",
            f"split fractions are {fractions}; train, val and test must be 0 or more and sum to 1",
        )
    given: dict[str, str] = {}
    torn: set[str] = set()
    for row in rows:
        if row.split is None:
            continue
        if row.split not in SPLITS:
            raise DataError(
                "split-unknown",
                f"{row.image} is in split {row.split!r}; allowed are {', '.join(SPLITS)}",
            )
        if given.setdefault(row.patient, row.split) != row.split:
            torn.add(row.patient)
    placed = []
    for row in rows:
        if row.split is None and row.patient in torn:
            raise DataError(
                "split-conflict",
                f"{row.image} has no split and its patient is in two; give its split or one split "
                "to the patient",
            )
        placed.append(row.split or given.get(row.patient) or _drawn(row.patient, seed, fractions))
    return placed


def _drawn(patient: str, seed: int, fractions: tuple[float, float, float]) -> str:
    digest = hashlib.sha256(f"{seed}\0{patient}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    if point < fractions[0]:
        return "train"
    # A patient that rounding leaves between the last share and 1 must not land in an empty test.
    return "val" if point < fractions[0] + fractions[1] or fractions[2] == 0 else "test"
