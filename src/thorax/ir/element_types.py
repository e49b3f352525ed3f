"""Element types of a foreign graph: it computes in FP32, and takes and answers real numbers.

Exporters leave networks that compute in fp16, bf16 or double, and quantised ones whose inputs and
outputs are bytes. What is done to a graph here, and what it is fed, is float32.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError, last_line

OTHER_REAL: Final = {"f16": ov.Type.f16, "bf16": ov.Type.bf16, "f64": ov.Type.f64}
"""Real types that are widened, or cut, to f32."""

_WHOLE: Final = ("u8", "i8", "u16", "i16", "i32", "u32", "i64", "u64")
_SLACK: Final = 0.25
"""How far beyond an input's range values may lie, of that range: a quantizer cuts off outliers."""

_LEAST_STEPS: Final = 100
"""Whole numbers that an image must be told apart by."""

_MOVES: Final = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Convert")


def computes_in(model: ov.Model) -> str:
    """Return the coarsest real type that a graph computes in: "bf16", "f16" or "f32".

    Weights that are stored with 16 bits and widened before they are used do not count.
    """
    types = {
        node.get_output_element_type(0).get_type_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Result") and not _widens(node)
    }
    return next((name for name in ("bf16", "f16") if name in types), "f32")


def is_quantized(model: ov.Model) -> bool:
    """Return whether a graph quantises what its layers compute, as those for INT8 do."""
    return any(
        node.get_type_name() == "FakeQuantize" and not _is_constant(node.input_value(0))
        for node in model.get_ordered_ops()
    )


def compute_in_f32(model: ov.Model, name: str) -> None:
    """Let everything real be computed in FP32, in place; inputs and outputs become f32 too.

    Raises:
        ModelError: `model-layer` where a layer keeps another type.
    """
    others = list(OTHER_REAL.values())
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "Parameter" and node.get_element_type() in others:
            node.set_element_type(ov.Type.f32)
        elif kind == "Constant" and node.get_element_type() in others and not _is_stored(node):
            wide = ops.constant(np.asarray(node.get_data(dtype=np.float32)))
            wide.set_friendly_name(node.get_friendly_name())
            for user in node.output(0).get_target_inputs():
                user.replace_source_output(wide.output(0))
        elif kind == "Convert" and node.get_attributes()["destination_type"] in OTHER_REAL:
            node.set_attribute("destination_type", "f32")
    try:
        model.validate_nodes_and_infer_types()
    except RuntimeError as error:
        raise ModelError(
            "model-layer",
            f"{name} mixes types of numbers in a layer that cannot be computed in fp32: "
            f"{last_line(error)}; export it in fp32",
        ) from error


def _is_stored(constant: ov.Node) -> bool:
    """Return whether a weight is only stored so: each reader widens it first."""
    users = [port.get_node() for port in constant.output(0).get_target_inputs()]
    return bool(users) and all(
        user.get_type_name() == "Convert" and user.get_attributes()["destination_type"] == "f32"
        for user in users
    )


def _widens(node: ov.Node) -> bool:
    return node.get_type_name() == "Convert" and _is_constant(node.input_value(0))


def _is_constant(value: ov.Output) -> bool:
    node = value.get_node()
    while node.get_type_name() in (*_MOVES, "Multiply", "Subtract") and node.get_input_size():
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def feed_reals(model: ov.Model, name: str, span: tuple[float, float]) -> None:
    """Let each input of whole numbers take real ones, in place.

    An input that the network quantises itself takes what its bytes stand for; any other takes
    values that are rounded to its type. Normalised images have values from and to `span`.

    Raises:
        ModelError: `model-input` for an input that is no number, or that would cut most of them.
    """
    for old in model.get_parameters():
        kind = old.get_element_type().get_type_name()
        if kind == "f32":
            continue
        if kind not in _WHOLE:
            raise ModelError(
                "model-input",
                f"{name} takes {kind} values; export it with an input of numbers, best of 32-bit "
                "floating point",
            )
        users = old.output(0).get_target_inputs()
        quantizer = _input_quantizer(old)
        if quantizer is not None:
            _require_within(name, kind, span, _out_span(quantizer))
            _quantize_what_it_stands_for(quantizer)
            old.set_element_type(ov.Type.f32)
            continue
        bounds = np.iinfo(old.get_element_type().to_dtype())
        _require_within(name, kind, span, (float(bounds.min), float(bounds.max)), whole=True)
        image = ops.parameter(old.get_partial_shape(), ov.Type.f32)
        image.set_friendly_name(old.get_friendly_name())
        image.output(0).set_names(old.output(0).get_names())
        rounded = ops.clamp(ops.round(image), float(bounds.min), float(bounds.max))
        number = ops.convert(rounded, old.get_element_type())
        for user in users:
            user.replace_source_output(number.output(0))
        model.replace_parameter(model.get_parameter_index(old), image)
    model.validate_nodes_and_infer_types()


def _require_within(
    name: str,
    kind: str,
    span: tuple[float, float],
    bounds: tuple[float, float],
    *,
    whole: bool = False,
) -> None:
    """Refuse values that would be cut off at the bounds of an input, or `whole` ones that round."""
    (low, high), (least, most) = span, bounds
    slack = _SLACK * (most - least)
    if low >= least - slack and high <= most + slack and (not whole or high - low >= _LEAST_STEPS):
        return
    words = "whole numbers" if whole else "quantised numbers"
    raise ModelError(
        "model-input",
        f"{name} takes {words} ({kind}) from {least:g} to {most:g}, and --mean and --std make "
        f"values from {low:.4g} to {high:.4g} of an image; give those that it was made for (its "
        "bytes as they are: --mean 0 --std 0.00392157, one a channel)",
    )


def _input_quantizer(parameter: ov.Node) -> ov.Node | None:
    """Return the layer that makes of an input's whole numbers what they stand for, if one does."""
    node, widened = parameter, False
    while True:
        users = list(node.output(0).get_target_inputs())
        if len(users) != 1:
            return None
        node = users[0].get_node()
        if node.get_type_name() == "FakeQuantize":
            return node if widened and _bounds(node) is not None else None
        if node.get_type_name() not in ("Transpose", "Convert"):
            return None
        widened = widened or node.get_type_name() == "Convert"


def _quantize_what_it_stands_for(quantizer: ov.Node) -> None:
    for bound in (1, 2):
        quantizer.input(bound).replace_source_output(quantizer.input_value(bound + 2))


def _out_span(quantizer: ov.Node) -> tuple[float, float]:
    bounds = _bounds(quantizer)
    assert bounds is not None
    return float(bounds[2].min()), float(bounds[3].max())


def _bounds(quantizer: ov.Node) -> list[npt.NDArray[np.float32]] | None:
    """Return the four bounds of a quantizer: input low, high, output low, high."""
    nodes = [quantizer.input_value(index).get_node() for index in range(1, 5)]
    if any(node.get_type_name() != "Constant" for node in nodes):
        return None
    return [np.asarray(node.data, np.float32) for node in nodes]


def answer_reals(model: ov.Model, name: str) -> None:
    """Let each output answer real numbers, in place: of quantised bytes what they stand for.

    Raises:
        ModelError: `model-outputs` for whole numbers that nothing says the meaning of.
    """
    for result in model.get_results():
        value = result.input_value(0)
        kind = value.get_element_type().get_type_name()
        if kind == "f32":
            continue
        quantizer = _output_quantizer(value)
        if quantizer is None:
            raise ModelError(
                "model-outputs",
                f"{name} answers {kind} values, which are no scores; export it up to its scores, "
                "or name another output with --output",
            )
        for bound in (3, 4):
            quantizer.input(bound).replace_source_output(quantizer.input_value(bound - 2))
        node = value.get_node()
        while node.get_type_name() != "FakeQuantize":
            if node.get_type_name() == "Convert":
                node.set_attribute("destination_type", "f32")
            node = node.input_value(0).get_node()
    model.validate_nodes_and_infer_types()


def _output_quantizer(value: ov.Output) -> ov.Node | None:
    node = value.get_node()
    while node.get_type_name() in _MOVES:
        node = node.input_value(0).get_node()
    alone = len(node.output(0).get_target_inputs()) == 1
    quantizes = node.get_type_name() == "FakeQuantize" and alone
    return node if quantizes and _bounds(node) is not None else None


def as_fed(values: npt.NDArray[np.float32], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values as a network takes them that was given no `feed_reals`: whole ones rounded."""
    if not np.issubdtype(kind, np.integer):
        return values.astype(kind)
    bounds = np.iinfo(kind)
    return np.clip(np.rint(values), bounds.min, bounds.max).astype(kind)
