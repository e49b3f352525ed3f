"""How many epochs a batch needs: constant, or by published points of convergence.

The points are the means of the reference convergence points of MLPerf Training 4.0 for ResNet-50
on ImageNet to 75.9 % (mlcommons/logging, 4.0.0, `rcps_resnet.json`). For chest X-rays no such
points are published. Taking ImageNet's as they are, or at batches smaller by the ratio of the
images of an epoch, is *assumed*; so is a number that does not depend on the batch.
"""

import math
from enum import StrEnum
from typing import Final

import numpy as np

from thorax.errors import UsageError

REFERENCE: Final[tuple[tuple[int, float], ...]] = (
    (1632, 35.0), (3264, 35.2), (4096, 40.0), (8192, 42.0), (13056, 45.4), (32768, 56.0),
    (49152, 68.0), (58880, 79.9), (65536, 84.5), (67840, 85.9),
)  # fmt: skip
"""Batch and mean epochs to 75.9 %; several submitters' settings, so the line is not smooth."""

REFERENCE_IMAGES: Final = 1_281_167
"""Training images of ImageNet (Russakovsky et al., 1409.0575, table 2)."""

SOURCE: Final = (
    "MLPerf Training 4.0, reference convergence points of ResNet-50 on ImageNet to 75.9 %, "
    "mlcommons/logging 4.0.0"
)


class Curve(StrEnum):
    """How epochs follow the batch."""

    CONSTANT = "constant"
    MLPERF = "mlperf"
    MLPERF_SCALED = "mlperf-scaled"


ASSUMED: Final = {
    Curve.CONSTANT: "assumed: the number of epochs does not depend on the batch",
    Curve.MLPERF: f"assumed: as many more as ImageNet needs at the same batch; {SOURCE}",
    Curve.MLPERF_SCALED: (
        "assumed: as many more as ImageNet needs at a batch that is the same share of its "
        f"images; {SOURCE}"
    ),
}
"""What each curve takes for granted, in words."""


def reference_epochs(batch: float) -> float:
    """Return the epochs of ResNet-50 on ImageNet, by lines between points in log2 of the batch.

    Below the first point it is that of the first.

    Raises:
        UsageError: `plan-epochs-batch` above the last point.
    """
    largest = REFERENCE[-1][0]
    if batch > largest:
        raise UsageError(
            "plan-epochs-batch",
            f"no epochs are published for a batch of {batch:,.0f} of ImageNet, at most "
            f"{largest:,}; take a smaller batch or --epochs-curve constant",
        )
    batches, epochs = zip(*REFERENCE, strict=True)
    return float(np.interp(np.log2(batch), np.log2(batches), epochs))


def epochs_for(
    epochs: float, batch: float, *, images: int, stated_batch: float, curve: Curve
) -> float:
    """Return the epochs at a batch, of so many at `stated_batch` and images of an epoch.

    Raises:
        UsageError: as `reference_epochs`.
    """
    if curve is Curve.CONSTANT:
        return epochs
    ratio = REFERENCE_IMAGES / images if curve is Curve.MLPERF_SCALED else 1.0
    largest = math.floor(REFERENCE[-1][0] / ratio)
    if stated_batch > largest:
        raise UsageError(
            "plan-epochs-batch",
            f"the {epochs:g} epochs are stated for a batch of {stated_batch:,.0f}, and {curve} has "
            f"points up to {largest:,.0f} of {images:,} images; give --epochs-batch, at most that, "
            "for which they hold",
        )
    if batch > largest:
        raise UsageError(
            "plan-epochs-batch",
            f"{curve} has points up to a batch of {largest:,.0f} of {images:,} images, not for "
            f"{batch:,.0f}; take fewer workers, a smaller batch or --epochs-curve constant",
        )
    return epochs * reference_epochs(batch * ratio) / reference_epochs(stated_batch * ratio)
