"""Whether a converted graph still says what its source said."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.devices.engine import PROBABILITY
from thorax.devices.process_core import open_core
from thorax.errors import ModelError

FP32_TOLERANCE: Final = 1e-4
"""Largest difference of a probability that reordered FP32 arithmetic explains."""


def probe_images(side: int, *, count: int = 4) -> npt.NDArray[np.uint8]:
    """Return uint8 [N,1,S,S]: black, white, a ramp, then noise at several scales; fixed."""
    random = np.random.Generator(np.random.Philox(key=2018))
    images = np.zeros((count, 1, side, side), np.uint8)
    images[1] = 255
    images[2] = np.linspace(0, 255, side, dtype=np.uint8)
    for index in range(3, count):
        cells = min(4 ** (index - 1), side)
        coarse = random.integers(0, 256, (cells, cells), np.uint8)
        wanted = np.arange(side) * cells // side
        images[index] = coarse[np.ix_(wanted, wanted)]
    return images


def largest_difference(
    model: ov.Model,
    reference: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
    *,
    mean: npt.NDArray[np.float32],
    std: npt.NDArray[np.float32],
) -> float:
    """Return the largest absolute difference of any probability on the probe images.

    Args:
        model: input uint8 [1,1,S,S], computed in FP32.
        reference: float32 [1,C,S,S], normalised -> float32 [K], probabilities.
        mean: float32 [C].
        std: float32 [C].
    """
    compiled = open_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = np.float32(0)
    for image in probe_images(int(model.inputs[0].get_shape()[-1]), count=6):
        grey = image[None].astype(np.float32) / 255
        wanted = reference((grey - mean[:, None, None]) / std[:, None, None])
        got = np.asarray(compiled(image[None])[PROBABILITY][0])
        # Not Python's max, which passes over what is not a number.
        worst = np.maximum(worst, np.abs(got - wanted).max())
    return float(worst)


def require_equal(difference: float, *, tolerance: float, what: str) -> None:
    """Refuse a graph whose outputs strayed.

    Raises:
        ModelError: `model-differs`; a difference that is not a number is one too.
    """
    if not difference <= tolerance:
        raise ModelError(
            "model-differs",
            f"{what}: a probability differs by {difference:.2g} from the source's, allowed is "
            f"{tolerance:.2g}; nothing was written",
        )
