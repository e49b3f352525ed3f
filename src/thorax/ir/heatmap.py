"""The heat map as an output of the graph: class activation maps."""

from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.devices.engine import HEATMAP
from thorax.ir.head import Head

CELLS: Final = "head/cells"
"""Layer that weighs the features of each cell."""


def class_activation_map(head: Head) -> ov.Node:
    """Return the evidence for each label in each cell, float [N,K,h,w].

    The linear head, applied to every cell of the last features in place of their mean (Zhou et
    al., 1512.04150, Eq. 2): the mean of the cells, of fine features every second, is the logit.
    """
    kernel = ops.constant(np.ascontiguousarray(head.weight[:, :, None, None]))
    cells = ops.convolution(head.features, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    cells.set_friendly_name(CELLS)
    return ops.add(cells, ops.constant(head.bias[None, :, None, None]))


def subtract(model: ov.Model, typical: npt.NDArray[np.float32]) -> None:
    """Make the output `heatmap` of a graph, in place, what is above a typical one, float [K,h,w].

    Maps have places where their evidence is high whatever the image shows: borders, the heart. What
    is above the mean map of many images is what this one has and they have not.
    """
    result = model.output(HEATMAP).get_node()
    evidence = result.input_value(0)
    above = ops.subtract(evidence, ops.constant(np.ascontiguousarray(typical[None], np.float32)))
    evidence.get_node().set_friendly_name("head/evidence")
    evidence.set_names(set())
    above.set_friendly_name(HEATMAP)
    above.output(0).set_names({HEATMAP})
    result.input(0).replace_source_output(above.output(0))
    model.validate_nodes_and_infer_types()
