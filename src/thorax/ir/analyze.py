"""Static analysis of a graph."""

import numpy as np
import openvino as ov

from thorax.devices.engine import HEATMAP
from thorax.ir.rewrite import BORDER, CELLS, NORMALISE


def count_macs(model: ov.Model) -> int:
    """Return the multiply-accumulates of one inference: convolutions and matrix products."""
    total = 0
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in ("Convolution", "GroupConvolution"):
            # [O,I,kh,kw] or [G,O/G,I/G,kh,kw]: inputs seen by one output = all but outputs.
            kernel = list(node.get_input_shape(1))
            reach = kernel[1:] if kind == "Convolution" else kernel[2:]
            total += int(np.prod(node.get_output_shape(0)) * np.prod(reach))
        elif kind == "MatMul":
            inner = node.get_input_shape(0)[-2 if node.get_attributes()["transpose_a"] else -1]
            total += int(np.prod(node.get_output_shape(0)) * inner)
    return total


def count_parameters(model: ov.Model) -> int:
    """Return how many weights and biases the graph holds that were trained.

    The head counts once, though the heat map applies it to each cell again; normalisation of the
    input is not trained.
    """
    return sum(
        int(np.prod(node.get_output_shape(0)))
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant"
        and node.get_element_type().is_real()
        and any(_trained(user.get_node()) for user in node.output(0).get_target_inputs())
    )


def _trained(user: ov.Node) -> bool:
    """Return whether the constants of a layer come from training, and only from there."""
    kind, name = user.get_type_name(), user.get_friendly_name()
    if name in (CELLS, HEATMAP) or name.startswith(f"{NORMALISE}/") or name.endswith(f"/{BORDER}"):
        return False
    return kind in ("Convolution", "GroupConvolution", "MatMul", "Add", "Multiply", "PRelu")
