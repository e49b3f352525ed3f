"""Resizing layers of Keras as TensorFlow computes them, which their networks were trained with.

On PyTorch, Keras 3.15 resizes bicubically with another kernel (a = -0.75 for TensorFlow's -0.5) and
other borders, and to the nearest pixel by an operation that OpenVINO does not convert.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_TABLE: Final = 1024
"""Steps between two pixels that TensorFlow knows the cubic kernel at (resize_bicubic_op.cc)."""

_ALONG: Final = {1: "nhwc,oh->nowc", 2: "nhwc,ow->nhoc", 3: "nchw,ow->ncho"}
"""Weighted sums along an axis; rows of [N,C,H,W] lie as columns of [N,H,W,C] do."""


def same_resizing(layer: Any) -> Callable[..., Any] | None:  # noqa: ANN401
    """Return the call of a layer that resizes to nearest or bicubic pixels; None for any other."""
    kind = type(layer).__name__
    if kind not in ("Resizing", "UpSampling2D"):
        return None
    whole = not any(
        getattr(layer, flag, False) for flag in ("crop_to_aspect_ratio", "pad_to_aspect_ratio")
    )
    if not whole or layer.interpolation not in ("nearest", "bicubic"):
        return None
    if kind == "UpSampling2D" and layer.interpolation == "nearest":
        return None

    def run(values: Any, training: bool | None = None) -> Any:  # noqa: ANN401
        last = layer.data_format == "channels_last"
        rows, columns = (1, 2) if last else (2, 3)
        for axis, index in ((rows, 0), (columns, 1)):
            before = int(values.shape[axis])
            after = (
                (layer.height, layer.width)[index]
                if kind == "Resizing"
                else before * int(layer.size[index])
            )
            values = _resized(values, axis, before, int(after), layer.interpolation)
        return values

    return run


def _resized(values: Any, axis: int, before: int, after: int, interpolation: str) -> Any:  # noqa: ANN401
    import torch  # noqa: PLC0415

    if interpolation == "nearest":
        return values.index_select(axis, torch.from_numpy(nearest_pixels(before, after)))
    weights = torch.from_numpy(cubic_weights(before, after)).to(values.dtype)
    # Not a matrix product, whose weights would pass for trained ones.
    return torch.einsum(_ALONG[axis], values, weights)


def nearest_pixels(before: int, after: int) -> npt.NDArray[np.int64]:
    """Return which of `before` pixels each of `after` is, int64, by centres as TensorFlow does."""
    places = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * np.float32(before / after)
    return np.asarray(np.minimum(np.floor(places), before - 1), np.int64)


def cubic_weights(before: int, after: int) -> npt.NDArray[np.float32]:
    """Return float32 [after,before], how much of each pixel goes into each (Keys, IEEE TASSP 1981).

    Pixels beyond the border have no weight, and the others make up for it, as in TensorFlow.
    """
    places = (np.arange(after) + 0.5) * (before / after) - 0.5
    first = np.floor(places)
    offset = np.rint((places - first) * _TABLE) / _TABLE
    weights = np.zeros((after, before))
    for step in (-1, 0, 1, 2):
        pixel = (first + step).astype(int)
        inside = (pixel >= 0) & (pixel < before)
        rows = np.flatnonzero(inside)
        weights[rows, pixel[inside]] += _keys(np.abs(offset - step))[inside]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cubic kernel of Keys with a = -1/2 (equation 15)."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
