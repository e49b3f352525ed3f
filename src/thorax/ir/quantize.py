"""INT8 by calibration on radiographs."""

import contextlib
import io
import logging
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.data.store import Store
from thorax.errors import UsageError

CALIBRATION_IMAGES: Final = 300
"""NNCF's own default for statistics of convolutional networks."""

_HEAD: Final = ["head/linear", "head/logits", "head/cells", "heatmap", "embedding"]


def calibration_images(store: Store, *, count: int = CALIBRATION_IMAGES) -> npt.NDArray[np.int64]:
    """Return which training images calibrate: evenly spaced, so that patients differ.

    Raises:
        UsageError: `calibration-empty` when the store has no training images.
    """
    train = store.select("train")
    if not len(train):
        raise UsageError(
            "calibration-empty", "the store has no images in its train split to calibrate INT8 with"
        )
    return train[np.linspace(0, len(train) - 1, min(count, len(train))).astype(np.int64)]


def quantize(model: ov.Model, store: Store) -> ov.Model:
    """Return the graph with 8-bit convolutions; the tiny linear head stays in floating point.

    Weights use half the INT8 range where sums could saturate 16 bits, so that the artifact is
    right on CPUs without VNNI too (NNCF: overflow fix). Biases are corrected layer by layer on
    what the layers before them really answer; NNCF's quicker estimate costs AUROC, see
    docs/decisions/0001.

    Args:
        model: float graph, input uint8 [1,1,S,S].
        store: radiographs; those of its train split calibrate.
    """
    # NNCF takes seconds to import, and most artifacts are not INT8.
    import nncf  # noqa: PLC0415

    nncf.set_log_level(logging.ERROR)
    chosen = calibration_images(store)
    dataset = nncf.Dataset(chosen, lambda index: store.images[index][None, None])
    names = {node.get_friendly_name() for node in model.get_ordered_ops()}
    ignored = nncf.IgnoredScope(names=[name for name in _HEAD if name in names], validate=False)
    # NNCF draws its progress on standard output, which belongs to the caller's result.
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(
            # NNCF also walks to nodes that only the source graph, still in memory, has.
            model.clone(),
            dataset,
            subset_size=len(chosen),
            fast_bias_correction=False,
            ignored_scope=ignored,
            target_device=nncf.TargetDevice.CPU,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE
            ),
        )
