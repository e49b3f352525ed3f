"""Layers that OpenVINO's CPU computes otherwise than the frameworks, written so that it cannot.

Pooling that rounds up becomes pooling that rounds down over explicit padding; a normalisation over
neighbouring channels gets a whole bias. Each keeps its name.
"""

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset1 as first_ops
import openvino.opset8 as indexed_ops
import openvino.opset13 as ops
import openvino.opset14 as torch_ops
import openvino.opset16 as dilated_ops

from thorax.errors import ModelError
from thorax.importers.layers import local_response_norm, mean_of_cells


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


class _Pool:
    """A pooling layer, its numbers one a spatial axis; it is open where a side of the input is."""

    def __init__(self, node: ov.Node) -> None:
        self.data, self.said = node.input_value(0), node.get_attributes()
        self.kernel, self.strides = list(self.said["kernel"]), list(self.said["strides"])
        none = [0] * len(self.kernel)
        self.dilations = list(self.said.get("dilations") or [1] * len(none))
        valid = self.said["auto_pad"] == "valid"
        self.begin = none if valid else list(self.said["pads_begin"])
        self.end = none if valid else list(self.said["pads_end"])
        shape = self.data.get_partial_shape()
        self.is_open = shape.rank.is_dynamic or any(side.is_dynamic for side in list(shape)[2:])

    @property
    def rounds_up(self) -> bool:
        """Whether it does, and over padding of its own."""
        ceil = self.said["rounding_type"] in ("ceil", "ceil_torch")
        return ceil and not self.said["auto_pad"].startswith("same")

    def windows(self) -> tuple[list[int], list[npt.NDArray[np.int64]]]:
        """Return what padding the last window needs behind the input, and cells of each, int [o].

        Cells are those that lie in the input and its padding.
        """
        ends, cells = [], []
        sides = list(self.data.get_partial_shape())[2:]
        numbers = (sides, self.kernel, self.strides, self.begin, self.end, self.dilations)
        for side, kernel, step, begin, end, gap in zip(*numbers, strict=True):
            length, reach = side.get_length(), (kernel - 1) * gap + 1
            windows = -(-(length + begin + end - reach) // step) + 1
            if (windows - 1) * step >= length + begin:
                windows -= 1
            starts = np.arange(windows) * step - begin
            taps = starts[:, None] + np.arange(kernel) * gap
            ends.append(max(0, int(starts[-1]) + reach - length))
            cells.append((taps < length + end).sum(axis=1))
        return ends, cells


def _max_pool(node: ov.Node) -> ov.Node | None:
    pool = _Pool(node)
    if not pool.rounds_up:
        return None
    said = pool.said
    dilated = (pool.data, pool.strides, pool.dilations, pool.begin)
    index = (said.get("index_element_type", "i64"), said.get("axis", 0))
    if pool.is_open:
        ways = ("ceil_torch", said["auto_pad"])
        return torch_ops.max_pool(*dilated, pool.end, pool.kernel, *ways, *index)
    ends, _ = pool.windows()
    if set(pool.dilations) == {1} and not (
        node.get_output_size() > 1 and node.output(1).get_target_inputs()
    ):
        return first_ops.max_pool(pool.data, pool.strides, pool.begin, ends, pool.kernel, "floor")
    return indexed_ops.max_pool(*dilated, ends, pool.kernel, "floor", "explicit", *index)


def _average_pool(node: ov.Node) -> ov.Node | None:
    pool = _Pool(node)
    if not pool.rounds_up:
        return None
    padded, exclude = any([*pool.begin, *pool.end]), bool(pool.said["exclude-pad"])
    if pool.is_open:
        return _open_average(node, pool, counts=padded and not exclude)
    ends, cells = pool.windows()
    # Without padding, what lies outside is all that a window could leave out.
    exclude = exclude or (not padded and any(ends))
    geometry = (pool.begin, ends, pool.kernel, exclude, "floor")
    if set(pool.dilations) == {1}:
        mean = ops.avg_pool(pool.data, pool.strides, *geometry)
    else:
        mean = dilated_ops.avg_pool(pool.data, pool.strides, pool.dilations, *geometry)
    name = node.get_friendly_name()
    return mean if exclude else mean_of_cells(mean, pool.kernel, cells, name=name)


def _open_average(node: ov.Node, pool: _Pool, *, counts: bool) -> ov.Node | None:
    if counts:
        raise ModelError(
            "model-input",
            f"layer {node.get_friendly_name()} averages {node.get_input_partial_shape(0)}, counts "
            "padding and rounds up, which is right for a fixed shape alone; say --side, or "
            "--input_shape of `thorax mo`",
        )
    if pool.said["rounding_type"] == "ceil_torch":
        return None
    exclude, way = bool(pool.said["exclude-pad"]), pool.said["auto_pad"]
    geometry = (pool.strides, pool.begin, pool.end, pool.kernel, exclude)
    return torch_ops.avg_pool(pool.data, *geometry, "ceil_torch", way)


def _response_norm(node: ov.Node) -> ov.Node | None:
    said = node.get_attributes()
    if said["bias"] == round(said["bias"]):
        return None
    return local_response_norm(
        node.input_value(0),
        size=said["size"],
        alpha=said["alpha"],
        beta=said["beta"],
        k=said["bias"],
        axes=node.input_value(1),
        name=node.get_friendly_name(),
    ).get_node()
