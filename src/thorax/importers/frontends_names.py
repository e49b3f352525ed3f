"""The names of layers whose kernels a frontend turned around and called by a number."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

_KERNELS: Final = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
)  # fmt: skip
_NUMBERED: Final = re.compile(r"(?:MatMul|Transpose|Multiply|Add)_\d+")
_SUFFIXES: Final = ("/ReadVariableOp", "/resource")

Kernel = tuple[str, npt.NDArray[Any]]
"""What a layer is called, and its kernel with the axes in any order."""


def name_kernels(model: ov.Model, kernels: Iterable[Kernel]) -> None:
    """Call each convolution, and each matrix product that has a number, after its kernel.

    A kernel is known by its values in order of size, which turning it from [H,W,I,O] to [O,I,H,W]
    leaves as they are. A kernel that is there twice names nobody.

    Args:
        model: converted, nothing folded into kernels yet; its layers are renamed.
        kernels: of the same file before conversion.
    """
    names: dict[bytes, str] = {}
    seen: Counter[bytes] = Counter()
    for name, values in kernels:
        key = _fingerprint(values)
        seen[key] += 1
        names[key] = name
    taken = {node.get_friendly_name() for node in model.get_ordered_ops()}
    for node in model.get_ordered_ops():
        kind, own = node.get_type_name(), node.get_friendly_name()
        if kind not in _KERNELS and not (kind == "MatMul" and _NUMBERED.fullmatch(own)):
            continue
        weight = node.input_value(1).get_node()
        while weight.get_input_size():
            weight = weight.input_value(0).get_node()
        if weight.get_type_name() != "Constant":
            continue
        key = _fingerprint(np.asarray(weight.data))
        if seen[key] == 1 and names[key] not in taken:
            node.set_friendly_name(names[key])
            taken.add(names[key])


def decoded_kernels(decoded: ov.Model) -> Iterator[Kernel]:
    """Yield the kernels of a TensorFlow Lite file, as the frontend decoded it."""
    for node in decoded.get_ordered_ops():
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) >= 4:
            yield _plain(node.get_friendly_name()), np.asarray(node.data)


def _fingerprint(values: npt.NDArray[Any]) -> bytes:
    ordered = np.sort(values, axis=None)
    return hashlib.sha256(ordered.tobytes() + str(ordered.dtype).encode()).digest()


def _plain(name: str) -> str:
    """Return the layer's own name out of those that TensorFlow Lite joined."""
    plain = name.split(";")[0]
    for suffix in _SUFFIXES:
        plain = plain.removesuffix(suffix)
    return plain
