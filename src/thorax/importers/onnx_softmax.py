"""Softmax of ONNX before operator set 13, which ran over all axes from one on.

OpenVINO's frontend runs it over that axis alone from operator set 11 on.
"""

from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers.wire import WireError, fields

_OPSET_IMPORT: Final = 8
"""ModelProto: opset_import = 8 (OperatorSetIdProto: domain = 1, version = 2)."""

_ONE_AXIS: Final = 13
"""The first operator set whose Softmax, LogSoftmax and Hardmax run over one axis."""


def flatten(model: ov.Model, path: Path) -> None:
    """Let the softmax of an older file run over all axes from its own on (ONNX, Softmax-11).

    Args:
        model: as OpenVINO's frontend read it; changed in place.
        path: .onnx.
    """
    old = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("Softmax", "LogSoftmax") and _more_than_one_axis(node)
    ]
    if not old or _operator_set(path) >= _ONE_AXIS:
        return
    for node in old:
        data = node.input_value(0)
        axis = node.get_attributes()["axis"] % len(data.get_partial_shape())
        flat = ops.reshape(data, ops.constant(np.array([0] * axis + [-1])), special_zero=True)
        flat.set_friendly_name(f"{node.get_friendly_name()}/flat")
        kind = ops.softmax if node.get_type_name() == "Softmax" else ops.log_softmax
        answer = kind(flat, axis)
        answer.set_friendly_name(node.get_friendly_name())
        shaped = ops.reshape(answer, ops.shape_of(data), special_zero=False)
        shaped.set_friendly_name(f"{node.get_friendly_name()}/shaped")
        shaped.output(0).set_names(node.output(0).get_names())
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(shaped.output(0))
    model.validate_nodes_and_infer_types()


def _more_than_one_axis(node: ov.Node) -> bool:
    shape = node.get_input_partial_shape(0)
    if shape.rank.is_dynamic:
        return False
    axis = node.get_attributes()["axis"] % len(shape)
    return any(one.is_dynamic or one.get_length() != 1 for one in list(shape)[axis + 1 :])


def _operator_set(path: Path) -> int:
    """Return the version of ONNX's own operators that a file is written in."""
    version = 1
    try:
        for part in fields(memoryview(path.read_bytes())):
            if part.number != _OPSET_IMPORT:
                continue
            said = {field.number: field for field in fields(part.data())}
            if 2 in said and (1 not in said or said[1].text() in ("", "ai.onnx")):
                version = said[2].integer()
    except WireError:
        # What the frontend read is no file of ours to refuse.
        return _ONE_AXIS
    return version
