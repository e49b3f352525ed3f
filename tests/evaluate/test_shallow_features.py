"""Simple features of radiographs."""

from dataclasses import replace

import numpy as np
import pytest

from thorax.data.store import Store
from thorax.evaluate.shallow_features import (
    Shallow,
    neighbour_labels,
    of_facts,
    of_order,
    of_pixels,
)


@pytest.fixture(scope="module")
def kinds(tiny_store: Store) -> dict[str, Shallow]:
    return {kind.name: kind for kind in of_pixels(tiny_store)}


def test_blocks_are_means_and_deviations_of_areas(
    tiny_store: Store, kinds: dict[str, Shallow]
) -> None:
    # 48 pixels are 16 blocks of 3.
    areas = np.asarray(tiny_store.images[:]).reshape(-1, 16, 3, 16, 3) / 255
    means = areas.mean(axis=(2, 4)).reshape(len(areas), -1)
    deviations = areas.std(axis=(2, 4)).reshape(len(areas), -1)
    np.testing.assert_allclose(kinds["block_means"].values, means, atol=1e-5)
    both = kinds["block_deviations"].values
    np.testing.assert_allclose(both[:, :256], means, atol=1e-5)
    np.testing.assert_allclose(both[:, 256:], deviations, atol=1e-3)


def test_statistics_are_of_all_pixels_wherever_they_are(
    tiny_store: Store, kinds: dict[str, Shallow]
) -> None:
    images = np.asarray(tiny_store.images[:])
    flat = images.reshape(len(images), -1)
    values = kinds["statistics"].values
    wanted = [flat.mean(1), flat.std(1), flat.min(1), flat.max(1)]
    wanted += [np.percentile(flat, q, axis=1, method="inverted_cdf") for q in (1, 5, 25, 50)]
    np.testing.assert_allclose(values[:, :8], np.stack(wanted, 1) / 255, atol=1e-5)
    np.testing.assert_allclose(values[:, 11:].sum(axis=1), 1, atol=1e-5)
    shuffled = np.random.default_rng(0).permuted(flat, axis=1).reshape(images.shape)
    again = {kind.name: kind for kind in of_pixels(replace(tiny_store, images=shuffled))}
    np.testing.assert_array_equal(again["statistics"].values, values)


def test_the_border_knows_nothing_of_the_inside(
    tiny_store: Store, kinds: dict[str, Shallow]
) -> None:
    images = np.array(tiny_store.images[:])
    images[:, 2:-2, 2:-2] = 0
    hollow = {kind.name: kind for kind in of_pixels(replace(tiny_store, images=images))}
    np.testing.assert_array_equal(hollow["border"].values, kinds["border"].values)
    assert not np.array_equal(hollow["block_means"].values, kinds["block_means"].values)


def test_neighbours_are_train_images_of_other_patients() -> None:
    values = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    owners = np.array([0, 1, 2, 2, 3])
    near, wide = neighbour_labels(values, owners, np.array([0, 2, 3]))
    # Of image 1 those beside it, of 2 and 3 not each other, of 4 (no train image) 3 alone.
    assert near[:, 0].tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert wide[1, 0] == pytest.approx(1 / 3)


def test_order_and_facts_are_columns_of_numbers(tiny_store: Store) -> None:
    order = of_order(tiny_store)
    assert order.values.shape == (64, 4 + 2 * 14)
    assert np.isfinite(order.values).all()
    count = len(tiny_store)
    known = replace(
        tiny_store,
        views=("PA", None) * (count // 2),
        ages=(60, None) * (count // 2),
        sexes=("F", "M") * (count // 2),
    )
    facts = of_facts(known)
    assert facts is not None
    assert facts.values[0].tolist() == [1, 1, 0, 60, 3600, 0]
    assert facts.values[1].tolist() == [0, 0, 1, 60, 3600, 1]
    bare = replace(known, views=(None,) * count, ages=(None,) * count, sexes=(None,) * count)
    assert of_facts(bare) is None
