"""The names of convolutions whose kernels a frontend turned around and called by a number."""

import hashlib
from collections import Counter
from typing import Final

import numpy as np
import openvino as ov

_KERNELS: Final = ("Convolution", "GroupConvolution")
_SUFFIXES: Final = ("/ReadVariableOp", "/resource")


def name_kernels(model: ov.Model, decoded: ov.Model) -> None:
    """Call each convolution what its kernel was called before conversion.

    A kernel is known by its values in order of size, which turning it from [H,W,I,O] to [O,I,H,W]
    leaves as they are. A kernel that is there twice names nobody.

    Args:
        model: converted; its layers are renamed.
        decoded: the same file before conversion, its constants under the names of the file.
    """
    names: dict[bytes, str] = {}
    seen: Counter[bytes] = Counter()
    for node in decoded.get_ordered_ops():
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) >= 4:
            key = _fingerprint(node)
            seen[key] += 1
            names[key] = _plain(node.get_friendly_name())
    taken = {node.get_friendly_name() for node in model.get_ordered_ops()}
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _KERNELS:
            continue
        weight = node.input_value(1).get_node()
        while weight.get_input_size():
            weight = weight.input_value(0).get_node()
        if weight.get_type_name() != "Constant":
            continue
        key = _fingerprint(weight)
        if seen[key] == 1 and names[key] not in taken:
            node.set_friendly_name(names[key])
            taken.add(names[key])


def _fingerprint(constant: ov.Node) -> bytes:
    values = np.sort(np.asarray(constant.data), axis=None)
    return hashlib.sha256(values.tobytes() + str(values.dtype).encode()).digest()


def _plain(name: str) -> str:
    """Return the layer's own name out of those that TensorFlow Lite joined."""
    plain = name.split(";")[0]
    for suffix in _SUFFIXES:
        plain = plain.removesuffix(suffix)
    return plain
