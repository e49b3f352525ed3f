"""Resizing of Keras as TensorFlow does it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from thorax.importers.keras_resizing import cubic_weights, nearest_pixels, same_resizing


@pytest.mark.parametrize(("before", "after"), [(8, 16), (7, 20), (5, 9)])
def test_enlarging_has_the_kernel_of_pytorch_with_antialias(before: int, after: int) -> None:
    """That one has a = -1/2 too, and leaves out what lies beyond the border."""
    image = np.random.default_rng(1).normal(size=(1, 1, before, before)).astype(np.float32)
    peer = torch.nn.functional.interpolate(
        torch.from_numpy(image), (after, after), mode="bicubic", antialias=True
    )
    weights = cubic_weights(before, after)
    # TensorFlow looks its kernel up at 1024 places.
    np.testing.assert_allclose(weights @ image[0, 0] @ weights.T, peer[0, 0], atol=4e-3)


def test_shrinking_looks_at_four_pixels_and_keeps_a_slope() -> None:
    weights = cubic_weights(64, 16)
    assert (np.count_nonzero(weights, axis=1) <= 4).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    slope = weights[1:-1] @ np.arange(64, dtype=np.float32)
    np.testing.assert_allclose(slope, np.arange(1, 15) * 4 + 1.5, atol=1e-3)


@pytest.mark.parametrize(("before", "after"), [(8, 3), (3, 8), (10, 7)])
def test_the_nearest_pixel_is_that_of_the_centre(before: int, after: int) -> None:
    line = torch.arange(before, dtype=torch.float32)[None, None]
    peer = torch.nn.functional.interpolate(line, after, mode="nearest-exact")
    np.testing.assert_array_equal(nearest_pixels(before, after), peer[0, 0].numpy())


class Resizing(SimpleNamespace):
    """A layer of Keras as far as it is looked at."""


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("interpolation", ["nearest", "bicubic"])
def test_rows_and_columns_are_resized_wherever_channels_are(last: bool, interpolation: str) -> None:
    image = torch.arange(2 * 6 * 4, dtype=torch.float32).reshape(1, 2, 6, 4)
    layer = Resizing(height=3, width=8, interpolation=interpolation,
                     data_format="channels_last" if last else "channels_first")  # fmt: skip
    resize = same_resizing(layer)
    assert resize is not None
    resized = resize(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if last else resize(image)
    assert resized.shape == (1, 2, 3, 8)
    if interpolation == "nearest":
        wanted = image[:, :, nearest_pixels(6, 3)][..., nearest_pixels(4, 8)]
    else:
        rows, columns = (torch.from_numpy(cubic_weights(*pair)) for pair in ((6, 3), (4, 8)))
        wanted = rows @ image @ columns.T
    torch.testing.assert_close(resized, wanted)


def test_other_layers_resize_as_keras_does() -> None:
    assert same_resizing(SimpleNamespace(interpolation="bicubic")) is None
    assert same_resizing(Resizing(interpolation="bilinear")) is None
    assert same_resizing(Resizing(interpolation="bicubic", crop_to_aspect_ratio=True)) is None
