"""Splits are by patient, by hash, and keep what a source says."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from thorax.data.samples import Sample
from thorax.data.split import by_patient
from thorax.errors import DataError, UsageError


def row(patient: str, split: str | None = None) -> Sample:
    return Sample(f"{patient}.png", Path("x"), patient, np.zeros(14, np.int8), split)


def test_adding_images_and_patients_moves_nobody() -> None:
    few = [row(f"{number}") for number in range(100)]
    more = [row(f"new{number}") for number in range(50)]
    assert by_patient([*more, *few, *few])[50:] == by_patient(few) * 2


def test_shares_are_as_asked() -> None:
    counts = Counter(by_patient([row(f"{number}") for number in range(20_000)]))
    # Five standard deviations of a binomial count.
    for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        spread = (20_000 * share * (1 - share)) ** 0.5
        assert abs(counts[split] - 20_000 * share) < 5 * spread


def test_a_share_of_nothing_gets_nobody() -> None:
    rows = [row(f"{number}") for number in range(1000)]
    assert set(by_patient(rows, fractions=(0.5, 0.5, 0.0))) == {"train", "val"}
    assert set(by_patient(rows, fractions=(0.0, 0.0, 1.0))) == {"test"}


def test_the_seed_chooses_another_split() -> None:
    rows = [row(f"{number}") for number in range(100)]
    assert by_patient(rows, seed=1) != by_patient(rows, seed=2)


def test_given_splits_are_kept_and_followed_by_the_patient() -> None:
    rows = [row("a", "test"), row("a"), row("b", "train"), row("b", "val")]
    assert by_patient(rows, fractions=(1.0, 0.0, 0.0)) == ["test", "test", "train", "val"]


def test_a_patient_in_two_splits_cannot_place_another_image() -> None:
    with pytest.raises(DataError, match="split-conflict"):
        by_patient([row("b", "train"), row("b", "val"), row("b")])


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match=r"split-unknown.*'holdout'.*train, val, test"):
        by_patient([row("a", "holdout")])


@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.1), (1.2, -0.1, -0.1)])
def test_fractions_must_be_shares(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="split-fractions"):
        by_patient([], fractions=fractions)
