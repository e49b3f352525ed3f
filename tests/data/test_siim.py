"""SIIM's masks are runs down the columns, each after what it skips."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.tables import counts, save, touch

from thorax.data import siim
from thorax.data.samples import Box
from thorax.errors import DataError

UIDS = tuple(f"1.2.276.0.7230010.3.1.4.8323329.{number}.1517875201.85" for number in range(3))
LABELS = (
    "ImageId, EncodedPixels",
    f"{UIDS[0]}, -1",
    f"{UIDS[1]},2060 10 1014 12",
    f"{UIDS[1]},0 1",
    f"{UIDS[2]},-1",
)


def encoded(mask: npt.NDArray[np.bool_]) -> str:
    """Return a mask as the challenge writes it."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(flat))
    starts, ends = edges[::2], edges[1::2]
    skips = starts - np.concatenate([[0], ends[:-1]])
    return " ".join(f"{skip} {end - start}" for skip, start, end in zip(skips, starts, ends))  # noqa: B905


@given(st.lists(st.booleans(), min_size=25, max_size=25).filter(any))
def test_a_box_is_what_the_mask_fills(cells: list[bool]) -> None:
    mask = np.array(cells).reshape(5, 5)
    rows, columns = np.nonzero(mask)
    x, y = float(columns.min()), float(rows.min())
    box = Box("Pneumothorax", x, y, columns.max() + 1 - x, rows.max() + 1 - y)
    assert siim.mask_box(encoded(mask), side=5) == box


def test_images_are_counted_once_and_masks_all(tmp_path: Path) -> None:
    touch(tmp_path / "images", *(f"study{k}/series/{uid}.dcm" for k, uid in enumerate(UIDS)))
    table = save(tmp_path / "train-rle.csv", *LABELS)
    read = siim.read(tmp_path / "images", labels=table)
    assert counts(read) == {"Pneumothorax": (1, 2, 0)}
    assert [one.image for one in read.rows] == list(UIDS)
    assert read.rows[1].boxes == (
        Box("Pneumothorax", 2.0, 12.0, 2.0, 12.0),
        Box("Pneumothorax", 0.0, 0.0, 1.0, 1.0),
    )
    assert read.rows[1].box_frame == (1024, 1024)
    # Headers name the patients, unless names of files do.
    assert {one.patient for one in read.rows} == {""}
    read = siim.read(tmp_path / "images", labels=table, patient_from=r"8323329\.(\d+)\.")
    assert [one.patient for one in read.rows] == ["0", "1", "2"]


@pytest.mark.parametrize("mask", ["", "nan", "1", "1 -2", "a b", "5 0", "1048576 1", "1 2 3"])
def test_a_mask_that_is_none_is_refused(tmp_path: Path, mask: str) -> None:
    touch(tmp_path, f"{UIDS[0]}.dcm")
    table = save(tmp_path / "t.csv", LABELS[0], f"{UIDS[0]},{mask}")
    with pytest.raises(DataError, match=r"mask-damaged.*t\.csv, row 1"):
        siim.read(tmp_path, labels=table)


def test_a_split_column_of_the_users_own_counts(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{uid}.dcm" for uid in UIDS))
    splits = ("train", "val", "val", "test")
    lines = [f"{line},{split}" for line, split in zip(LABELS[1:], splits, strict=True)]
    read = siim.read(tmp_path, labels=save(tmp_path / "t.csv", f"{LABELS[0]},split", *lines))
    assert [one.split for one in read.rows] == ["train", "val", "test"]
