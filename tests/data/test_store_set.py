"""Joined stores are one store, and what would make them a bad one is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from thorax.data.loader import Augmentation, BatchOrder, batches
from thorax.data.samples import Sample
from thorax.data.store import Store, open_store, write
from thorax.data.store_pixels import StoredPixels
from thorax.data.store_set import ShardedImages, open_stores
from thorax.errors import DataError
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14, LabelSet

Image = npt.NDArray[np.uint8]
Noise = Callable[..., list[Image]]
MakeRows = Callable[..., list[Sample]]


def put(rows: list[Sample], out: Path, *, side: int = 32, labels: LabelSet = NIH14) -> Path:
    write(rows, out, InputSpec(side), labels)
    return out


@pytest.fixture
def rows(noise: Noise, make_rows: MakeRows) -> list[Sample]:
    """Twelve images of six patients, each patient in one split."""
    patients = [f"p{number // 2}" for number in range(12)]
    splits = [("train", "train", "val")[number // 2 % 3] for number in range(12)]
    return make_rows(noise(12), patients=patients, splits=splits)


@pytest.fixture
def shards(rows: list[Sample], tmp_path: Path) -> list[Path]:
    """The same images in three stores."""
    cuts = ((0, 3), (3, 4), (4, 12))
    return [put(rows[a:b], tmp_path / f"shard{number}") for number, (a, b) in enumerate(cuts)]


def test_shards_are_the_store_they_were_cut_from(
    rows: list[Sample], shards: list[Path], tmp_path: Path
) -> None:
    whole, joined = open_store(put(rows, tmp_path / "whole")), open_stores(shards)
    assert len(joined) == 12
    assert (joined.side, joined.label_set, joined.source) == (32, whole.label_set, whole.source)
    for name in ("names", "patients", "splits", "views", "digests", "boxes"):
        assert getattr(joined, name) == getattr(whole, name)
    np.testing.assert_array_equal(joined.labels, whole.labels)
    np.testing.assert_array_equal(np.stack(list(joined.images)), whole.images)
    assert joined.images.shape == whole.images.shape
    assert joined.images.nbytes == whole.images.nbytes
    assert joined.select("val").tolist() == whole.select("val").tolist()


def test_training_reads_the_same_batches_from_shards(
    rows: list[Sample], shards: list[Path], tmp_path: Path
) -> None:
    def read(store: Store) -> list[Image]:
        changes = Augmentation(flip=0.5, rotation_deg=5)
        return [
            batch.images
            for batch in batches(
                store,
                store.select("train"),
                BatchOrder(batch=4, shuffle=True),
                augmentation=changes,
            )
        ]

    whole = open_store(put(rows, tmp_path / "whole"))
    for one, other in zip(read(whole), read(open_stores(shards)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_path_is_that_store(shards: list[Path]) -> None:
    alone = open_stores(shards[:1])
    assert alone.path == shards[0]
    assert isinstance(alone.images, StoredPixels)


def test_rows_are_found_where_they_lie() -> None:
    parts = [np.full((count, 2, 2), number, np.uint8) for number, count in enumerate((2, 0, 3))]
    images = ShardedImages(parts)
    assert [int(image[0, 0]) for image in images] == [0, 0, 2, 2, 2]
    assert images[np.array([4, 0])][:, 0, 0].tolist() == [2, 0]
    assert images.locate(3)[1] == 1
    for row in (-1, 5):
        with pytest.raises(IndexError, match=f"row {row} of 5"):
            images[row]


def test_another_side_is_refused(rows: list[Sample], tmp_path: Path) -> None:
    paths = [put(rows[:6], tmp_path / "a"), put(rows[6:], tmp_path / "b", side=16)]
    with pytest.raises(DataError, match=r"shard-side.*32.*16"):
        open_stores(paths)


def test_other_labels_are_refused(rows: list[Sample], tmp_path: Path) -> None:
    turned = LabelSet("turned", NIH14.findings[::-1])
    paths = [put(rows[:6], tmp_path / "a"), put(rows[6:], tmp_path / "b", labels=turned)]
    with pytest.raises(DataError, match=r"shard-labels.*turned"):
        open_stores(paths)


def test_an_image_in_two_shards_is_refused_by_its_name(rows: list[Sample], tmp_path: Path) -> None:
    paths = [put(rows[:7], tmp_path / "a"), put(rows[6:], tmp_path / "b")]
    with pytest.raises(DataError, match=r"shard-twice.*0006\.png"):
        open_stores(paths)
    with pytest.raises(DataError, match=r"shard-twice.*0000\.png"):
        open_stores([paths[0], paths[0]])


def test_a_file_in_two_shards_is_refused_under_any_name(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    one, two, _ = noise(3)
    rows = make_rows([one, two, one], patients=["a", "b", "a"], splits=["train"] * 3)
    paths = [put(rows[:2], tmp_path / "a"), put(rows[2:], tmp_path / "b")]
    with pytest.raises(DataError, match=r"shard-twice.*SHA-256"):
        open_stores(paths)
    # Copies within a store are found by `data check`, as they are without shards.
    assert len(open_store(put(rows, tmp_path / "both"))) == 3


def test_a_patient_in_two_splits_is_refused(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(noise(3), patients=["a", "b", "a"], splits=["train", "val", "test"])
    paths = [put(rows[:2], tmp_path / "a"), put(rows[2:], tmp_path / "b")]
    with pytest.raises(DataError, match=r"shard-leak.*patient a .*train.*test"):
        open_stores(paths)
