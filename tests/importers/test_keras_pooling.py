"""Pooling with padding "same" as TensorFlow defines it, and converted so."""

import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest

from thorax.importers import formats
from thorax.importers import keras as importer
from thorax.importers.keras_pooling import same_pooling
from thorax.importers.options import ImportOptions

HINT = {"INFERENCE_PRECISION_HINT": "f32"}
CASES = [(9, 3, 2), (9, 2, 2), (10, 3, 2), (11, 4, 3), (7, 3, 1), (8, 2, 1), (10, 2, 2)]
"""Side, window, stride: padded alike on both sides, more behind, or not at all."""


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    return importer._keras()


def by_definition(
    image: npt.NDArray[np.float32], size: int, stride: int, *, largest: bool
) -> npt.NDArray[np.float32]:
    """Pool [H,W,C] window by window over the cells that the image has."""
    side = len(image)
    cells = -(-side // stride)
    before = max(0, (cells - 1) * stride + size - side) // 2
    pooled = np.empty((cells, cells, image.shape[2]), np.float32)
    for y, x in itertools.product(range(cells), repeat=2):
        top, left = y * stride - before, x * stride - before
        window = image[max(0, top) : top + size, max(0, left) : left + size]
        pooled[y, x] = window.max((0, 1)) if largest else window.mean((0, 1))
    return pooled


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("kind", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize(("side", "size", "stride"), CASES)
def test_windows_hold_the_cells_of_the_image_alone(
    keras: ModuleType,
    tmp_path: Path,
    kind: str,
    side: int,
    size: int,
    stride: int,
    channels_first: bool,
) -> None:
    given = np.random.default_rng(0).standard_normal((side, side, 2)).astype(np.float32)
    wanted = by_definition(given, size, stride, largest=kind.startswith("Max"))
    order = (2, 0, 1) if channels_first else (0, 1, 2)
    given, wanted = given.transpose(order)[None], wanted.transpose(order)[None]
    layer = getattr(keras.layers, kind)(
        size,
        strides=stride,
        padding="same",
        data_format="channels_first" if channels_first else "channels_last",
    )
    path = tmp_path / "net.keras"
    keras.Sequential([keras.Input(given.shape[1:]), layer]).save(path)
    imported = formats.read(path, ImportOptions(shapes={"": given.shape}))
    assert imported.run is not None
    converted = ov.Core().compile_model(imported.model, "CPU", HINT)(given)[0]
    for answer in (imported.run([given])[0], converted):
        assert answer.shape == wanted.shape
        assert np.abs(answer - wanted).max() <= 1e-6


def test_padding_alike_on_both_sides_is_one_layer(keras: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    pool = keras.layers.AveragePooling2D(3, strides=2, padding="same")
    keras.Sequential([keras.Input((9, 9, 1)), pool]).save(path)
    kinds = [node.get_type_name() for node in formats.read(path).model.get_ops()]
    assert "AvgPool" in kinds
    assert "Pad" not in kinds


def test_other_layers_are_left_alone(keras: ModuleType) -> None:
    assert same_pooling(keras.layers.Conv2D(1, 3, padding="same")) is None
    assert same_pooling(keras.layers.MaxPooling2D(2, padding="valid")) is None
    assert same_pooling(keras.layers.GlobalAveragePooling2D()) is None
