"""ONNX operators that OpenVINO's frontend lacks, written as standard ones before it reads a file.

Functions that a file defines itself are put in where they are called (ONNX IR, Functions), and
quantised operators become what they stand for between DequantizeLinear and QuantizeLinear (ONNX
operators, QLinearConv; onnxruntime, docs/ContribOperators.md).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thorax.importers.wire import fields

if TYPE_CHECKING:
    from onnx import NodeProto

_CONTRIBUTED: Final = "com.microsoft"
_FLOAT: Final = 1
"""TensorProto.DataType"""

_MARKS: Final = (b"QLinear", b"QGemm")
"""In a file that has quantised operators; those of ONNX Runtime the frontend would read without
rounding, and let values wrap around that are to be cut off."""

_FUNCTIONS: Final = 25
"""ModelProto.functions"""

_AXES: Final = 13
"""The first operator set whose DequantizeLinear has an axis."""


def is_needed(path: Path) -> bool:
    """Return whether a file has functions or such operators, or may have them.

    Raises:
        WireError: it is no ONNX file.
    """
    content = path.read_bytes()
    if any(mark in content for mark in _MARKS):
        return True
    return any(field.number == _FUNCTIONS for field in fields(memoryview(content)))


def with_standard_operators(path: Path) -> bytes | None:
    """Return a file rewritten, weights beside it taken in; None where there is nothing to rewrite.

    Raises:
        ModuleNotFoundError: the package onnx is not installed.
    """
    import onnx  # noqa: PLC0415
    from onnx.inliner import inline_local_functions  # noqa: PLC0415

    model = onnx.load(path)
    if model.functions:
        model = inline_local_functions(model)
    elif all(_rewrite(node) is None for node in model.graph.node):
        return None
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        rewrite = _rewrite(node)
        nodes += [node] if rewrite is None else rewrite(node)
    if min(each.version for each in model.opset_import if each.domain == "") < _AXES:
        for node in nodes:
            # ONNX Runtime's own has had an axis from the first.
            node.domain = _CONTRIBUTED if node.op_type == "DequantizeLinear" else node.domain
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _rewrite(node: "NodeProto") -> "Callable[[NodeProto], list[NodeProto]] | None":
    if node.op_type in _PLAIN and not _attributes(node).get("channels_last", 0):
        return _plain
    return _REWRITES.get((node.domain.removeprefix("ai.onnx"), node.op_type))


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> "NodeProto":  # noqa: ANN401
    from onnx import helper  # noqa: PLC0415

    return helper.make_node(kind, inputs, [output], output, **attributes)


def _attributes(node: "NodeProto") -> dict[str, Any]:
    from onnx import helper  # noqa: PLC0415

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _real(values: list[str], output: str, axis: int = 1) -> "NodeProto":
    """Return what values, their scale and zero point stand for."""
    inputs = values if values[2] else values[:2]
    return _node("DequantizeLinear", inputs, output, axis=axis)


def _bias(name: str, bias: str, scales: list[str], alpha: float = 1.0) -> "list[NodeProto]":
    """Return a bias, whole numbers in units of alpha times two scales, as the real `name`/c."""
    from onnx import helper  # noqa: PLC0415

    unit = helper.make_tensor(f"{name}/alpha", _FLOAT, [], [alpha])
    return [
        _node("Constant", [], f"{name}/alpha", value=unit),
        _node("Mul", scales, f"{name}/units"),
        _node("Mul", [f"{name}/units", f"{name}/alpha"], f"{name}/unit"),
        _node("Cast", [bias], f"{name}/whole", to=_FLOAT),
        _node("Mul", [f"{name}/whole", f"{name}/unit"], f"{name}/c"),
    ]


def _between(node: "NodeProto", real: "list[NodeProto]", ends: list[str]) -> "list[NodeProto]":
    """Return layers whose last makes `output`/y, quantised by a scale and zero point, if any."""
    name = node.output[0]
    real[-1].name = node.name or name
    ends = [end for end in ends if end]
    if not ends:
        real[-1].output[0] = name
        return real
    return [*real, _node("QuantizeLinear", [f"{name}/y", *ends], name)]


def _plain(node: "NodeProto") -> "list[NodeProto]":
    """Return an operator of quantised values, scale and zero point each, as `_PLAIN` says."""
    kind, kept = _PLAIN[node.op_type]
    inputs, name = list(node.input), node.output[0]
    # QLinearConcat begins with scale and zero point of its output; with others they are last.
    first = 2 if kind == "Concat" else 0
    last = len(inputs) - (2 if first == 0 and len(inputs) % 3 != 0 else 0)
    ends = inputs[:2] if first else inputs[last:]
    starts = range(first, last, 3)
    terms = [f"{name}/x{number}" for number, _ in enumerate(starts)]
    real = [_real(inputs[at : at + 3], term) for at, term in zip(starts, terms, strict=True)]
    attributes = {key: value for key, value in _attributes(node).items() if key in kept}
    real.append(_node(kind, terms, f"{name}/y", **attributes))
    return _between(node, real, ends)


def _gemm(node: "NodeProto") -> "list[NodeProto]":
    inputs = [*node.input, *[""] * (9 - len(node.input))]
    given, name = _attributes(node), node.output[0]
    alpha, turned = given.get("alpha", 1.0), given.get("transB", 0)
    terms = [f"{name}/a", f"{name}/b"]
    real = [_real(inputs[:3], terms[0]), _real(inputs[3:6], terms[1], axis=0 if turned else 1)]
    if inputs[6]:
        real += _bias(name, inputs[6], [inputs[1], inputs[4]], alpha)
        terms.append(f"{name}/c")
    flags = {"transA": given.get("transA", 0), "transB": turned}
    real.append(_node("Gemm", terms, f"{name}/y", alpha=alpha, **flags))
    return _between(node, real, inputs[7:9])


def _convolution(node: "NodeProto") -> "list[NodeProto]":
    inputs = [*node.input, *[""] * (9 - len(node.input))]
    name = node.output[0]
    terms = [f"{name}/a", f"{name}/b"]
    real = [_real(inputs[:3], terms[0]), _real(inputs[3:6], terms[1], axis=0)]
    if inputs[8]:
        real += _bias(name, inputs[8], [inputs[1], inputs[4]])
        terms.append(f"{name}/c")
    real.append(_node("Conv", terms, f"{name}/y", **_attributes(node)))
    return _between(node, real, inputs[6:8])


_PLAIN: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "QLinearMatMul": ("MatMul", ()),
    "QLinearAdd": ("Add", ()),
    "QLinearMul": ("Mul", ()),
    "QLinearSigmoid": ("Sigmoid", ()),
    "QLinearLeakyRelu": ("LeakyRelu", ("alpha",)),
    "QLinearSoftmax": ("Softmax", ("axis",)),
    "QLinearConcat": ("Concat", ("axis",)),
    "QLinearReduceMean": ("ReduceMean", ("axes", "keepdims")),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", ()),
    "QLinearAveragePool": (
        "AveragePool",
        ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"),
    ),
}
"""Quantised operators by name: the standard one, and its attributes."""

_REWRITES: Final = {("", "QLinearConv"): _convolution, (_CONTRIBUTED, "QGemm"): _gemm}
