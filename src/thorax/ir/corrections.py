"""Layers that OpenVINO's CPU computes otherwise than the frameworks, written so that it cannot.

Pooling that rounds up becomes pooling that rounds down over explicit padding; a normalisation over
neighbouring channels gets a whole bias. Each keeps its name.
"""

from typing import Any, Final

import numpy as np
import openvino as ov
import openvino.opset1 as first_ops
import openvino.opset8 as indexed_ops
import openvino.opset13 as ops
import openvino.opset14 as torch_ops
import openvino.opset16 as dilated_ops

from thorax.errors import ModelError

_CEIL: Final = ("ceil", "ceil_torch")


def correct(model: ov.Model) -> None:
    """Rewrite in place what would be computed wrongly. Shapes must have been fixed before.

    Rounded up, a last window is left out that begins beyond the input and its first padding, and a
    mean that counts padding is not divided by cells beyond both: PyTorch (Pool.h,
    `pooling_output_shape`; AvgPoolKernel.cpp, `pool_size`), ONNX since opset 19 (AveragePool,
    MaxPool: `ceil_mode`) and Caffe (pooling_layer.cpp) agree. OpenVINO's CPU keeps such a window,
    or divides by all its cells. It also cuts the bias of LRN to a whole number.

    Raises:
        ModelError: `model-input` for a mean that counts padding and rounds up over an axis that is
            open, `model-layer` for a normalisation with a bias below 0.
    """
    rewrites = {"MaxPool": _max_pool, "AvgPool": _average_pool, "LRN": _response_norm}
    changed = False
    for node in model.get_ordered_ops():
        rewrite = rewrites.get(node.get_type_name())
        new = None if rewrite is None else rewrite(node)
        if new is None:
            continue
        changed = True
        new.set_friendly_name(node.get_friendly_name())
        for old, port in zip(node.outputs(), new.outputs(), strict=False):
            port.set_names(old.get_names())
            for user in old.get_target_inputs():
                user.replace_source_output(port)
    if changed:
        model.validate_nodes_and_infer_types()


class _Windows:
    """Where the windows of a pooling layer stand.

    Attributes:
        ends: padding that the last window needs behind the input, a spatial axis each.
        cells: int [o] an axis, of each window that lie in the input and its padding.
    """

    __slots__ = ("cells", "ends")

    def __init__(self, node: ov.Node, said: dict[str, Any]) -> None:
        sides = list(node.get_input_partial_shape(0))[2:]
        count = len(said["kernel"])
        valid = said["auto_pad"] == "valid"
        before = [0] * count if valid else list(said["pads_begin"])
        after = [0] * count if valid else list(said["pads_end"])
        self.ends: list[int] = []
        self.cells: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        dilations = said.get("dilations") or [1] * count
        for side, kernel, step, begin, end, gap in zip(
            sides, said["kernel"], said["strides"], before, after, dilations, strict=True
        ):
            length, reach = side.get_length(), (kernel - 1) * gap + 1
            windows = -(-(length + begin + end - reach) // step) + 1
            if (windows - 1) * step >= length + begin:
                windows -= 1
            starts = np.arange(windows) * step - begin
            taps = starts[:, None] + np.arange(kernel) * gap
            self.ends.append(max(0, int(starts[-1]) + reach - length))
            self.cells.append((taps < length + end).sum(axis=1))


def _is_open(node: ov.Node) -> bool:
    shape = node.get_input_partial_shape(0)
    return shape.rank.is_dynamic or any(side.is_dynamic for side in list(shape)[2:])


def _max_pool(node: ov.Node) -> ov.Node | None:
    said = node.get_attributes()
    if said["rounding_type"] not in _CEIL or said["auto_pad"].startswith("same"):
        return None
    if _is_open(node):
        return torch_ops.max_pool(
            node.input_value(0),
            list(said["strides"]),
            list(said.get("dilations") or [1] * len(said["kernel"])),
            list(said["pads_begin"]),
            list(said["pads_end"]),
            list(said["kernel"]),
            "ceil_torch",
            said["auto_pad"],
            said.get("index_element_type", "i64"),
            said.get("axis", 0),
        )
    windows = _Windows(node, said)
    begin = [0] * len(windows.ends) if said["auto_pad"] == "valid" else list(said["pads_begin"])
    plain = set(said.get("dilations") or [1]) == {1}
    if plain and not (node.get_output_size() > 1 and node.output(1).get_target_inputs()):
        return first_ops.max_pool(
            node.input_value(0),
            list(said["strides"]),
            begin,
            windows.ends,
            list(said["kernel"]),
            "floor",
        )
    return indexed_ops.max_pool(
        node.input_value(0),
        list(said["strides"]),
        list(said["dilations"]),
        begin,
        windows.ends,
        list(said["kernel"]),
        "floor",
        "explicit",
        said["index_element_type"],
        said["axis"],
    )


def _average_pool(node: ov.Node) -> ov.Node | None:
    said = node.get_attributes()
    if said["rounding_type"] not in _CEIL or said["auto_pad"].startswith("same"):
        return None
    valid = said["auto_pad"] == "valid"
    padded = not valid and any([*said["pads_begin"], *said["pads_end"]])
    if _is_open(node):
        return _open_average(node, said, counts=padded and not said["exclude-pad"])
    windows = _Windows(node, said)
    begin = [0] * len(windows.ends) if valid else list(said["pads_begin"])
    # Without padding, what lies outside is all that a window could leave out.
    exclude = bool(said["exclude-pad"]) or (not padded and any(windows.ends))
    geometry = (
        list(said["strides"]), begin, windows.ends, list(said["kernel"]), exclude, "floor",
    )  # fmt: skip
    dilations = list(said.get("dilations") or [1])
    if set(dilations) == {1}:
        pool = ops.avg_pool(node.input_value(0), *geometry)
    else:
        strides, *rest = geometry
        pool = dilated_ops.avg_pool(node.input_value(0), strides, dilations, *rest)
    whole = all(
        np.all(cells == size) for cells, size in zip(windows.cells, said["kernel"], strict=True)
    )
    if exclude or whole:
        return pool
    divisor = np.ones(())
    for cells in windows.cells:
        divisor = divisor[..., None] * cells
    factor = np.asarray(np.prod(said["kernel"]) / divisor, np.float32)[None, None]
    pool.set_friendly_name(f"{node.get_friendly_name()}/pool")
    kind = node.get_output_element_type(0).to_dtype()
    return ops.multiply(pool, ops.constant(factor.astype(kind)))


def _open_average(node: ov.Node, said: dict[str, Any], *, counts: bool) -> ov.Node | None:
    if counts:
        raise ModelError(
            "model-input",
            f"layer {node.get_friendly_name()} averages {node.get_input_partial_shape(0)}, counts "
            "padding and rounds up, which is right for a fixed shape alone; say --side, or "
            "--input_shape of `thorax mo`",
        )
    if said["rounding_type"] == "ceil_torch":
        return None
    return torch_ops.avg_pool(
        node.input_value(0),
        list(said["strides"]),
        list(said["pads_begin"]),
        list(said["pads_end"]),
        list(said["kernel"]),
        bool(said["exclude-pad"]),
        "ceil_torch",
        said["auto_pad"],
    )


def _response_norm(node: ov.Node) -> ov.Node | None:
    said = node.get_attributes()
    bias = said["bias"]
    if bias == round(bias):
        return None
    if bias < 0:
        raise ModelError(
            "model-layer",
            f"layer {node.get_friendly_name()} adds {bias} to its squares; 0 is the least",
        )
    data, axes = node.input_value(0), node.input_value(1)
    # The bias is a factor of what is raised to beta.
    norm = ops.lrn(data, axes, said["alpha"] / bias, said["beta"], 1, said["size"])
    norm.set_friendly_name(f"{node.get_friendly_name()}/norm")
    kind = node.get_output_element_type(0).to_dtype()
    return ops.multiply(norm, ops.constant(np.asarray(bias ** -said["beta"], kind)))
