"""Order and augmentation are functions of (seed, epoch, image) and of nothing else."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from thorax.data.loader import Augmentation, Batch, BatchOrder, augment, batches
from thorax.data.store import Store
from thorax.errors import UsageError

Image = npt.NDArray[np.uint8]
Noise = Callable[..., list[Image]]
MakeStore = Callable[..., Store]

ALL = Augmentation(flip=0.5, rotation_deg=10, scale=0.1, shift=0.1, intensity=0.2)


@pytest.fixture
def store(noise: Noise, make_store: MakeStore) -> Store:
    return make_store(noise(30))


def by_index(found: list[Batch]) -> dict[int, Image]:
    return {
        int(index): image
        for batch in found
        for index, image in zip(batch.indices, batch.images, strict=True)
    }


def order(found: list[Batch]) -> list[int]:
    return [int(index) for batch in found for index in batch.indices]


def test_untouched_batches_are_the_store(store: Store) -> None:
    indices = np.array([5, 2, 9, 2], np.int64)
    found = list(batches(store, indices, BatchOrder(batch=3)))
    assert [batch.images.shape for batch in found] == [(3, 1, 32, 32), (1, 1, 32, 32)]
    assert order(found) == indices.tolist()
    for batch in found:
        np.testing.assert_array_equal(batch.images[:, 0], store.images[batch.indices])
        np.testing.assert_array_equal(batch.labels, store.labels[batch.indices])
        assert batch.images.dtype == np.uint8
        assert batch.labels.dtype == np.int8
        assert batch.indices.dtype == np.int64


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (7, 2), (30, 5), (100, 3)])
def test_batch_size_and_threads_change_neither_order_nor_pixels(
    store: Store, batch: int, workers: int
) -> None:
    indices = np.arange(30)
    reference = list(
        batches(store, indices, BatchOrder(batch=4, seed=3, shuffle=True), augmentation=ALL)
    )
    found = list(
        batches(
            store,
            indices,
            BatchOrder(batch=batch, seed=3, shuffle=True),
            workers=workers,
            augmentation=ALL,
        )
    )
    assert order(found) == order(reference)
    expected = by_index(reference)
    for index, image in by_index(found).items():
        np.testing.assert_array_equal(image, expected[index])


def test_which_other_images_take_part_changes_nothing_for_an_image(store: Store) -> None:
    every = list(batches(store, np.arange(30), BatchOrder(batch=8, shuffle=True), augmentation=ALL))
    some = list(
        batches(store, np.arange(0, 30, 3), BatchOrder(batch=8, shuffle=True), augmentation=ALL)
    )
    assert order(some) == [index for index in order(every) if index % 3 == 0]
    expected = by_index(every)
    for index, image in by_index(some).items():
        np.testing.assert_array_equal(image, expected[index])


def test_a_shuffle_is_a_permutation_and_another_in_each_epoch_and_for_each_seed(
    store: Store,
) -> None:
    orders = {
        tuple(
            order(
                list(
                    batches(
                        store, np.arange(30), BatchOrder(batch=8, seed=s, epoch=e, shuffle=True)
                    )
                )
            )
        )
        for s in range(3)
        for e in range(3)
    }
    assert len(orders) == 9
    assert all(sorted(found) == list(range(30)) for found in orders)


def test_the_random_words_of_an_image_can_be_had_by_counting_to_it(store: Store) -> None:
    found = by_index(
        list(batches(store, np.arange(30), BatchOrder(batch=30, seed=5, epoch=2), augmentation=ALL))
    )
    for index in (0, 17):
        philox = np.random.Philox(key=np.array([5, 2], np.uint64)).advance(2 * index)
        words = np.asarray(philox.random_raw(8), np.uint64)
        out = np.empty((32, 32), np.uint8)
        augment(store.images[index], ALL, words, out)
        np.testing.assert_array_equal(found[index][0], out)


def test_drop_last_leaves_out_what_does_not_fill_a_batch(store: Store) -> None:
    found = list(batches(store, np.arange(30), BatchOrder(batch=8, drop_last=True)))
    assert [len(batch.indices) for batch in found] == [8, 8, 8]
    assert list(batches(store, np.arange(0), BatchOrder(batch=8))) == []


def test_leaving_early_ends_the_threads(store: Store) -> None:
    import threading

    before = threading.active_count()
    some = batches(store, np.arange(30), BatchOrder(batch=2))
    next(some)
    some.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_the_ranks_of_any_number_see_the_global_batches_of_one(store: Store) -> None:
    def ask(workers: int = 2, **how: int) -> list[Batch]:
        return list(
            batches(
                store,
                np.arange(30),
                BatchOrder(batch=12, seed=3, shuffle=True, drop_last=True, **how),
                augmentation=ALL,
                workers=workers,
            )
        )

    alone = ask()
    assert len(alone) == 2
    for ranks in (2, 3, 12):
        shares = [ask(rank=rank, ranks=ranks, workers=rank % 3 + 1) for rank in range(ranks)]
        for number, whole in enumerate(alone):
            parts = [share[number] for share in shares]
            for name in ("images", "labels", "indices"):
                joined = np.concatenate([getattr(part, name) for part in parts])
                np.testing.assert_array_equal(joined, getattr(whole, name))
            assert {part.known for part in parts} == {whole.known}


def test_known_counts_the_labels_of_the_global_batch(store: Store) -> None:
    (first, *_) = batches(
        store, np.arange(30), BatchOrder(batch=10, drop_last=True, rank=1, ranks=5)
    )
    assert first.known == int((store.labels[:10] != -1).sum())
    assert len(first.labels) == 2


def test_skipping_batches_leaves_the_others_as_they_are(store: Store) -> None:
    def ask(skip: int) -> list[Batch]:
        return list(
            batches(
                store,
                np.arange(30),
                BatchOrder(batch=8, seed=3, shuffle=True, skip=skip),
                augmentation=ALL,
            )
        )

    every = ask(0)
    for skip in range(5):
        rest = ask(skip)
        assert len(rest) == 4 - skip
        for found, expected in zip(rest, every[skip:], strict=True):
            np.testing.assert_array_equal(found.images, expected.images)
            np.testing.assert_array_equal(found.indices, expected.indices)


def test_skipped_batches_are_not_read(store: Store) -> None:
    read: list[int] = []

    class Watched(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
        def __getitem__(self, row: int) -> Image:  # type: ignore[override]
            read.append(int(row))
            found: Image = np.asarray(self)[row]
            return found

    watched = replace(store, images=np.asarray(store.images).view(Watched))
    (last,) = batches(watched, np.arange(30), BatchOrder(batch=8, shuffle=True, skip=3), workers=1)
    assert read == last.indices.tolist()


@pytest.mark.parametrize(("side", "how"), [(16, cv2.INTER_AREA), (40, cv2.INTER_LINEAR)])
def test_images_are_resized_after_they_are_changed(store: Store, side: int, how: int) -> None:
    for augmentation in (None, ALL):
        (whole,) = batches(store, np.arange(30), BatchOrder(batch=30), augmentation=augmentation)
        (found,) = batches(
            store, np.arange(30), BatchOrder(batch=30), augmentation=augmentation, side=side
        )
        assert found.images.shape == (30, 1, side, side)
        for image, original in zip(found.images, whole.images, strict=True):
            expected = cv2.resize(original[0], (side, side), interpolation=how)
            np.testing.assert_array_equal(image[0], expected)
    (same,) = batches(store, np.arange(30), BatchOrder(batch=30), side=32)
    np.testing.assert_array_equal(same.images[:, 0], store.images)


def words(**even: float) -> npt.NDArray[np.uint64]:
    """Return an image's words from the numbers in [0, 1) they stand for; 0.5 changes nothing."""
    names = ("key", "flip", "rotation", "scale", "across", "down", "contrast", "brightness")
    values = [even.get(name, 0.5) for name in names]
    return np.array([int(value * 2**53) << 11 for value in values], np.uint64)


def changed(image: Image, augmentation: Augmentation, draw: npt.NDArray[np.uint64]) -> Image:
    out = np.empty_like(image)
    augment(image, augmentation, draw, out)
    return out


@pytest.mark.parametrize("side", [32, 33])
def test_augmentations_are_what_they_are_called(noise: Noise, side: int) -> None:
    (image,) = noise(1, side)
    np.testing.assert_array_equal(changed(image, ALL, words()), image)
    np.testing.assert_array_equal(
        changed(image, Augmentation(flip=1), words(flip=0.99)), image[:, ::-1]
    )
    # A shift of four pixels to the right and two up, black coming in.
    shift = Augmentation(shift=8 / side)
    shifted = changed(image, shift, words(across=0.75, down=0.375))
    np.testing.assert_array_equal(shifted[:-2, 4:], image[2:, :-4])
    assert not shifted[-2:].any()
    assert not shifted[:, :4].any()


def test_rotation_and_scale_move_points_as_geometry_says() -> None:
    image = np.zeros((101, 101), np.uint8)
    image[48:53, 78:83] = 255
    turned = np.argwhere(changed(image, Augmentation(rotation_deg=45), words(rotation=0.0)) > 127)
    # Thirty pixels right of the centre; half a turn of 90 degrees puts it on a diagonal.
    distance = turned.mean(0) - 50
    assert abs(distance) == pytest.approx((30 / 2**0.5,) * 2, abs=0.5)
    grown = np.argwhere(changed(image, Augmentation(scale=0.5), words(scale=0.9)) > 127)
    assert grown.mean(0) - 50 == pytest.approx((0, 30 * 1.4), abs=0.5)


def test_intensity_turns_about_mid_grey_and_clips() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    only = Augmentation(intensity=0.5)
    levels = image.astype(float)
    np.testing.assert_allclose(
        changed(image, only, words(contrast=0.0)), (levels - 127.5) * 0.5 + 127.5, atol=0.5
    )
    np.testing.assert_allclose(
        changed(image, only, words(brightness=0.75)), (levels + 127.5 * 0.25).clip(0, 255), atol=0.5
    )


@pytest.mark.parametrize("corner", [(0.0, 0.0), (1 - 2**-53, 0.0), (0.25, 0.75)])
def test_a_crop_enlarges_a_square_window_that_lies_inside(corner: tuple[float, float]) -> None:
    # Where a pixel is dark says where it was: one channel a coordinate.
    across, down = np.meshgrid(np.arange(64.0), np.arange(64.0))
    only = Augmentation(crop=0.75)
    draw = words(scale=1 - 2**-53, across=corner[0], down=corner[1])
    found = [changed((4 * axis).astype(np.uint8), only, draw) / 4 for axis in (across, down)]
    # A quarter of the area is half the side: 32 of 64 pixels, from pixel edge to pixel edge.
    for axis, start, plane in zip((1, 0), corner, found, strict=True):
        line = np.take(plane, 32, axis=1 - axis)
        inside = 32 * start - 0.5 + (np.arange(64) + 0.5) / 2
        # Half a pixel at an edge of the image is mixed with the black around it.
        np.testing.assert_allclose(line[1:-1], inside[1:-1], atol=0.15)


def test_the_area_a_crop_keeps_is_drawn_evenly_from_one_to_the_smallest() -> None:
    image = np.zeros((100, 100), np.uint8)
    image[40:60, 40:60] = 255
    for even, kept in ((0.0, 1.0), (0.5, 0.7), (1 - 2**-53, 0.4)):
        found = changed(image, Augmentation(crop=0.6), words(scale=even))
        assert found.sum() / image.sum() == pytest.approx(1 / kept, rel=0.02)


@pytest.mark.parametrize(
    "change",
    [
        {"flip": 1.1},
        {"rotation_deg": -1},
        {"scale": 0.6},
        {"shift": float("nan")},
        {"intensity": 2},
        {"crop": 0.96},
    ],
)
def test_an_augmentation_out_of_range_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        Augmentation(**change)


def test_what_cannot_be_loaded_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="batch-size"):
        next(batches(store, np.arange(3), BatchOrder(batch=0)))
    with pytest.raises(UsageError, match="loader-workers"):
        next(batches(store, np.arange(3), BatchOrder(batch=1), workers=0))
    with pytest.raises(UsageError, match=r"loader-indices.*0 to 30.*has 30"):
        next(batches(store, np.arange(31), BatchOrder(batch=1)))
    with pytest.raises(UsageError, match="loader-seed"):
        next(batches(store, np.arange(3), BatchOrder(batch=1, seed=-1)))
    with pytest.raises(UsageError, match=r"loader-skip.*has 2"):
        next(batches(store, np.arange(3), BatchOrder(batch=2, skip=3)))
    with pytest.raises(UsageError, match="loader-side"):
        next(batches(store, np.arange(3), BatchOrder(batch=2), side=0))


@pytest.mark.parametrize(
    "how",
    [
        {"rank": 2, "ranks": 2, "drop_last": True},
        {"rank": -1},
        {"ranks": 0},
        {"ranks": 3, "drop_last": True},
        {"ranks": 2},
    ],
)
def test_ranks_that_cannot_share_a_batch_are_refused(store: Store, how: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="batch-ranks"):
        next(batches(store, np.arange(30), BatchOrder(batch=4, **how)))  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [{"scale": 0.1}, {"shift": 0.1}])
def test_a_crop_beside_scale_or_shift_is_refused(other: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="crop, or scale and shift, but not both"):
        Augmentation(crop=0.5, **other)
