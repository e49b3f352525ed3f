"""The one preprocessing: any radiograph to the bytes that a network takes.

Training, calibration, the command line and every server call `prepare`; normalisation is inside
the network, so what `prepare` returns is what the network is fed, byte for byte.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.images.radiograph import Radiograph


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a network was trained to be fed.

    `side` is S, the side of the square input, pixels, 16 to 2048. Inside the network, after bytes
    are scaled to 0-1, `mean` is subtracted and then divided by `std`.
    """

    side: int
    mean: float = 0.5
    std: float = 0.25

    def __post_init__(self) -> None:
        if not 16 <= self.side <= 2048:
            raise UsageError(
                "input-side", f"input side is {self.side} pixels; allowed is 16 to 2048"
            )
        if not 0 < self.std < math.inf:
            raise UsageError("input-std", f"input std is {self.std}; it must be above 0 and end")
        if not math.isfinite(self.mean):
            raise UsageError("input-mean", f"input mean is {self.mean}; it must be a finite number")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a source image lies in the prepared square.

    A source point (x, y) in pixels lands on (left + x * width / source_width, ...).
    """

    left: int
    top: int
    width: int
    height: int


def placement(height: int, width: int, side: int) -> Placement:
    """Return where an image of height x width lies after letterboxing into side x side.

    The longer edge fills the square, the shorter is centred on black: nothing is cropped.
    """
    longer = max(height, width)
    new_width = max(1, round(side * width / longer))
    new_height = max(1, round(side * height / longer))
    return Placement((side - new_width) // 2, (side - new_height) // 2, new_width, new_height)


def prepare(radiograph: "Radiograph", spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Return uint8 [1,S,S], 0 = black, 255 = dense: the array every network is fed.

    The recipe, frozen: 8 bits, exact 2x2 means while the image is at least twice the target,
    area interpolation (linear when enlarging), centred on black.
    """
    return letterbox(radiograph.grey8, spec.side)


def letterbox(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return uint8 [1,S,S] from uint8 [H,W]."""
    # Who only needs to know what a network is fed is spared OpenCV: 0.15 s.
    import cv2  # noqa: PLC0415

    target = placement(image.shape[0], image.shape[1], side)
    while image.shape[0] >= 2 * target.height and image.shape[1] >= 2 * target.width:
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        image = cv2.resize(
            even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA
        ).astype(np.uint8, copy=False)
    if image.shape != (target.height, target.width):
        shrinks = image.shape[0] >= target.height and image.shape[1] >= target.width
        image = cv2.resize(
            image,
            (target.width, target.height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        ).astype(np.uint8, copy=False)
    if image.shape == (side, side):
        return image[None]
    square = np.zeros((1, side, side), np.uint8)
    rows = slice(target.top, target.top + target.height)
    square[0, rows, target.left : target.left + target.width] = image
    return square
