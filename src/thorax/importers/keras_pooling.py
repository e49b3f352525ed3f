"""Pooling with padding "same" as every backend of Keras but PyTorch's computes it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def same_pooling(layer: Any) -> Callable[..., Any] | None:  # noqa: ANN401
    """Return what a pooling layer with padding "same" computes; None for any other layer.

    Padding counts for nothing: a mean is over the cells of the image alone (TensorFlow,
    tf.nn.avg_pool). On PyTorch, Keras 3.15 repeats the edge where one side is padded more than
    the other, and counts it; the network was trained without. Its padding is no number either
    while a network is traced, which OpenVINO does not convert.

    Args:
        layer: of Keras, or an operation of `keras.ops`.
    """
    if getattr(layer, "padding", None) != "same" or not hasattr(layer, "pool_size"):
        return None
    largest = "Max" in type(layer).__name__

    def run(values: Any, training: bool | None = None) -> Any:  # noqa: ANN401
        first = layer.data_format == "channels_first"
        moved = values if first else values.movedim(-1, 1)
        axes = moved.ndim - 2
        sizes = _each(layer.pool_size, axes)
        pooled = _pool(moved, sizes, _each(layer.strides or sizes, axes), largest=largest)
        return pooled if first else pooled.movedim(1, -1)

    return run


def _each(given: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (given,) * axes if isinstance(given, int) else tuple(given)


def _pool(values: Any, sizes: tuple[int, ...], strides: tuple[int, ...], *, largest: bool) -> Any:  # noqa: ANN401
    import torch  # noqa: PLC0415
    from torch.nn import functional  # noqa: PLC0415

    # A traced length is a tensor; the operation takes a number.
    lengths = [int(length) for length in values.shape[2:]]
    pads = [
        _same(length, size, stride)
        for length, size, stride in zip(lengths, sizes, strides, strict=True)
    ]
    kind = f"{'max' if largest else 'avg'}_pool{len(sizes)}d"
    pool = getattr(functional, kind)
    if all(before == after for before, after in pads):
        padding = tuple(before for before, _ in pads)
        more = {} if largest else {"count_include_pad": False}
        return pool(values, sizes, strides, padding, **more)
    flat = [pad for both in reversed(pads) for pad in both]
    if largest:
        # The edge is in every window that reaches beyond it.
        return pool(functional.pad(values, flat, mode="replicate"), sizes, strides)
    # Through NumPy, so that a trace takes it for the constant that it is.
    correction = np.ones((1, 1), np.float32)
    for length, size, stride, (before, _) in zip(lengths, sizes, strides, pads, strict=True):
        starts = np.arange(-before, length - before, stride)
        inside = np.minimum(starts + size, length) - np.maximum(starts, 0)
        correction = correction[..., None] * (size / inside).astype(np.float32)
    return pool(functional.pad(values, flat), sizes, strides) * torch.from_numpy(correction)


def _same(length: int, size: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after an axis (TensorFlow, padding "SAME")."""
    total = max(0, (-(-length // stride) - 1) * stride + size - length)
    return total // 2, total - total // 2
