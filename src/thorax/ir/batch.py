"""Whether a network answers each image of a batch as it answers that image alone."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.errors import ModelError
from thorax.importers.options import Run
from thorax.ir.shapes import open_batch

_TOGETHER: Final = 2
"""Images of the batch that is tried."""

_ROUNDING: Final = 2e-5
"""Difference, relative to the largest answer, that another order of FP32 sums explains."""


def answers_each_alone(
    model: ov.Model,
    compile_model: Callable[[ov.Model], Run],
    mean: Sequence[float],
    std: Sequence[float],
) -> bool:
    """Return whether a network [1,C,S,S] -> [1,K] may be given a batch, which it takes or not.

    Normalisation by what is in the batch (batch normalisation in training, MVN over N) and layers
    that hold a batch of one fast say no. Mean and std are what images are normalised by, on the
    0-1 scale; `compile_model` as `Imported.compile`. The model stays as it is.
    """
    together = model.clone()
    try:
        open_batch(together)
        together.reshape([_TOGETHER, *list(model.inputs[0].get_shape())[1:]])
        rows = together.outputs[0].get_shape()[0]
        run = compile_model(together)
        images = _images(tuple(model.inputs[0].get_shape()), mean, std)
        answers = np.asarray(run([images])[0])
    except (RuntimeError, ModelError):
        return False
    if rows != _TOGETHER or len(answers) != _TOGETHER:
        return False
    alone = compile_model(model)
    wanted = np.concatenate([np.asarray(alone([image[None]])[0]) for image in images])
    # Not a comparison that is true of what is no number.
    close = np.abs(answers - wanted) <= _ROUNDING * max(1.0, float(np.abs(wanted).max()))
    return bool(close.all())


def _images(
    shape: tuple[int, ...], mean: Sequence[float], std: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return two images that have little in common, dark noise and a bright slope, normalised."""
    _, channels, height, width = shape
    random = np.random.Generator(np.random.Philox(key=12))
    noise = random.uniform(0, 0.4, (1, height, width))
    slope = np.broadcast_to(np.linspace(0.5, 1, width), (1, height, width))
    grey = np.stack([np.repeat(image, channels, 0) for image in (noise, slope)])
    centre, scale = (np.reshape(values, (1, -1, 1, 1)) for values in (mean, std))
    return np.asarray((grey - centre) / scale, np.float32)
