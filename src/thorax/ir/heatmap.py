"""The heat map as an output of the graph: class activation maps."""

from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.ir.head import Head

CELLS: Final = "head/cells"
"""Layer that weighs the features of each cell."""


def class_activation_map(head: Head) -> ov.Node:
    """Return the evidence for each label in each cell, float [N,K,h,w].

    The linear head, applied to every cell of the last features in place of their mean (Zhou et
    al., 1512.04150, Eq. 2): the mean of the cells is the logit.
    """
    kernel = ops.constant(np.ascontiguousarray(head.weight[:, :, None, None]))
    cells = ops.convolution(head.features, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    cells.set_friendly_name(CELLS)
    return ops.add(cells, ops.constant(head.bias[None, :, None, None]))
