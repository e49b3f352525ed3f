"""Static analysis of a graph."""

import hashlib

import numpy as np
import openvino as ov


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
    """Return how many numbers the convolutions and matrix products were trained to hold.

    Weights are counted where they are used, so a head that serves two outputs counts once.
    """
    total = 0
    seen: set[bytes] = set()
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or not node.get_element_type().is_real():
            continue
        values = np.asarray(node.data)
        content = hashlib.sha256(values.tobytes()).digest()
        if values.size > 1 and content not in seen:
            seen.add(content)
            total += values.size
    return total
