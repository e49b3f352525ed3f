"""Layers of the SSD detector (Liu et al., ECCV 2016), as its fork of Caffe has them."""

from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers.caffe_layer import Build, Layer, channels, inner_shape
from thorax.importers.layers import Array, constant, named
from thorax.importers.prototxt import Block

_MOST_PRIORS: Final = 1 << 22
_SAME: Final = 1e-6
"""Aspect ratios that differ by less are one (prior_box_layer.cpp)."""


def _prior_box(layer: Layer, data: list[ov.Output]) -> ov.Output:
    """Return boxes [1,2,4n] around each cell, and their variances (prior_box_layer.cpp)."""
    param = layer.param("prior_box_param")
    rows, columns = inner_shape(layer, data[0], 2, 4)
    image = inner_shape(layer, data[1], 2, 4)
    height, width = _pair(param, "img_size", "img_h", "img_w") or image
    step = _pair(param, "step", "step_h", "step_w") or (height / rows, width / columns)
    sides = _sides(layer, param)
    if not 0 < rows * columns * len(sides) <= _MOST_PRIORS or min(height, width) <= 0:
        raise layer.refuse(f"makes {rows * columns * len(sides)} boxes; {_MOST_PRIORS} is the most")
    offset = param.number("offset", 0.5)
    centres = np.empty((rows, columns, 1, 2))
    centres[..., 0] = ((np.arange(columns) + offset) * step[1])[None, :, None]
    centres[..., 1] = ((np.arange(rows) + offset) * step[0])[:, None, None]
    size = np.array([width, height])
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], -1) / np.tile(size, 2)
    if param.flag("clip", False):
        boxes = boxes.clip(0, 1)
    variance = param.numbers("variance") or [0.1]
    if len(variance) not in (1, 4):
        raise layer.refuse(f"has {len(variance)} variances; it takes 1 or 4")
    both = np.stack([boxes.reshape(-1, 4), np.broadcast_to(variance, (boxes.size // 4, 4))])
    return named(constant(both.reshape(1, 2, -1)).get_node(), layer.name)


def _pair(param: Block, both: str, first: str, second: str) -> tuple[float, float] | None:
    side = param.number(both, 0)
    pair = (param.number(first, side), param.number(second, side))
    return pair if all(pair) else None


def _sides(layer: Layer, param: Block) -> Array:
    """Return width and height of the boxes of a cell, [n,2], in pixels and Caffe's order."""
    small, large = param.numbers("min_size"), param.numbers("max_size")
    if not small or min(small) <= 0 or (large and len(large) != len(small)):
        raise layer.refuse(f"has {len(small)} min_size above 0 and {len(large)} max_size")
    flip, ratios = param.flag("flip", True), [1.0]
    for ratio in param.numbers("aspect_ratio"):
        if not _SAME < ratio < 1 / _SAME:
            raise layer.refuse(f"has aspect_ratio {ratio}; {_SAME} to {1 / _SAME} can be drawn")
        if all(abs(ratio - other) >= _SAME for other in ratios):
            ratios += [ratio, 1 / ratio] if flip else [ratio]
    sides = []
    for index, side in enumerate(small):
        sides.append((side, side))
        if large:
            middle = (side * large[index]) ** 0.5
            sides.append((middle, middle))
        sides += [
            (side * ratio**0.5, side / ratio**0.5) for ratio in ratios if abs(ratio - 1) >= _SAME
        ]
    return np.array(sides, np.float32)


def _detection_output(layer: Layer, data: list[ov.Output]) -> ov.Output:
    """Return [1,1,n,7]: image, label, score and corners of each box; image -1 ends the list."""
    param = layer.param("detection_output_param")
    classes = layer.positive(param.integer("num_classes", 0), "num_classes")
    nms = param.block("nms_param")
    code = layer.choice(param, "code_type", ("CORNER", "CENTER_SIZE"))
    for unused in ("save_output_param", "visualize", "visualize_threshold", "save_file"):
        param.read.add(unused)
    priors, shared = channels(layer, data[2], 2) // 4, param.flag("share_location", True)
    wanted = {0: priors * 4 * (1 if shared else classes), 1: priors * classes}
    for index, size in wanted.items():
        if channels(layer, data[index]) != size:
            raise layer.refuse(
                f"takes {channels(layer, data[index])} values in blob {index + 1}; "
                f"{priors} boxes of {classes} classes want {size}"
            )
    if nms.number("eta", 1) != 1:
        raise layer.refuse("lowers its threshold as it goes; nms_param.eta other than 1 cannot be")
    keep = layer.positive(param.integer("keep_top_k", -1), "keep_top_k")
    attributes = {
        "background_label_id": param.integer("background_label_id", 0),
        "top_k": nms.integer("top_k", -1),
        "variance_encoded_in_target": param.flag("variance_encoded_in_target", False),
        "keep_top_k": [keep],
        "code_type": f"caffe.PriorBoxParameter.{code}",
        "share_location": shared,
        "nms_threshold": nms.number("nms_threshold", 0.3),
        "confidence_threshold": param.number("confidence_threshold", -3.4e38),
        "normalized": True,
    }
    return named(ops.detection_output(*data[:3], attributes), layer.name)


BUILD: Final[dict[str, Build]] = {
    "PRIORBOX": _prior_box,
    "DETECTIONOUTPUT": _detection_output,
}
"""By type in capitals."""

BOTTOMS: Final = {"PRIORBOX": (2, 2), "DETECTIONOUTPUT": (3, 3)}
"""How many blobs a layer may take, where it is not one."""
