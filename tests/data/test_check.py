"""What spoils a measurement is found, and named."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.data.chests import recompressed

from thorax.data.check import check
from thorax.data.store import Store
from thorax.errors import DataError
from thorax.phantoms.phantom import draw

Image = npt.NDArray[np.uint8]
Noise = Callable[..., list[Image]]
MakeStore = Callable[..., Store]

SIDE = 128


@pytest.fixture(scope="module")
def chests() -> list[Image]:
    return [draw(1, index, side=SIDE).pixels for index in range(10)]


def test_a_patient_in_two_splits_fails(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(3), patients=("a", "b", "a"), splits=("train", "train", "test"))
    report = check(store)
    assert [(leak.patient, leak.splits) for leak in report.leaks] == [("a", ("train", "test"))]
    assert not report.clean
    with pytest.raises(DataError, match=r"store-leaks.*1 patients") as caught:
        report.require_clean()
    assert caught.value.exit_code == 3


def test_identical_files_fail_across_splits_and_are_listed_within(
    noise: Noise, make_store: MakeStore
) -> None:
    one, two, three = noise(3)
    store = make_store([one, two, one, three, two], splits=("train",) * 4 + ("test",))
    report = check(store)
    assert [(group.images, group.across) for group in report.duplicates] == [
        (("0000.png", "0002.png"), False),
        (("0001.png", "0004.png"), True),
    ]
    assert report.near_duplicates == ()
    assert not report.clean


def test_a_near_copy_across_splits_fails(chests: list[Image], make_store: MakeStore) -> None:
    images = [*chests, recompressed(chests[3])]
    report = check(make_store(images, splits=["train"] * 10 + ["val"]))
    assert [(group.images, group.across) for group in report.near_duplicates] == [
        (("0003.png", "0010.png"), True)
    ]
    assert report.duplicates == ()
    assert not report.clean


def test_equal_pixels_in_other_bytes_are_near_copies(
    chests: list[Image], make_store: MakeStore
) -> None:
    packed = cv2.imencode(".png", chests[0], [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()
    store = make_store([*chests[:3], packed], splits=("train",) * 4)
    (group,) = check(store).near_duplicates
    assert (group.images, group.correlation) == (("0000.png", "0003.png"), 1.0)


def test_labels_are_counted_in_each_split(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(20), splits=("train",) * 15 + ("test",) * 5)
    report = check(store)
    report.require_clean()
    assert report.splits == {"train": 15, "test": 5}
    assert [len(counts) for counts in report.labels.values()] == [14, 14]
    for split, counts in report.labels.items():
        for finding, count in counts.items():
            column = store.labels[store.select(split), store.label_set.index(finding)]
            assert count.positive == (column == 1).sum()
            assert count.negative == (column == 0).sum()
            assert count.unknown == (column == -1).sum()


def test_the_document_is_json_with_the_promised_keys(noise: Noise, make_store: MakeStore) -> None:
    one, two = noise(2)
    store = make_store([one, two, one], splits=("train", "test", "test"), patients=("a", "b", "a"))
    document = json.loads(json.dumps(check(store).document()))
    assert document["leaks"] == [{"patient": "a", "splits": ["train", "test"]}]
    assert document["duplicates"][0]["across"] is True
    assert document["labels"]["train"]["Atelectasis"] == {
        "positive": 1,
        "negative": 0,
        "unknown": 0,
    }
    assert document["clean"] is False


def test_changed_pixels_are_found_before_anything_is_said(
    noise: Noise, make_store: MakeStore
) -> None:
    store = make_store(noise(2))
    path: Path = store.path / "images.u8"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DataError, match="store-damaged"):
        check(store)
