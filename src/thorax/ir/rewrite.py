"""Graph passes: bytes in, probability, heat map and embedding out, names a person can read."""

from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.artifact import Activation, Card
from thorax.devices.engine import EMBEDDING, HEATMAP, INPUT, PROBABILITY
from thorax.ir.atrous import every_second
from thorax.ir.head import Head
from thorax.ir.heatmap import class_activation_map
from thorax.ir.stem import fold_grey_stem
from thorax.results.optimize import GraphRewrite

NORMALISE: Final = "normalise"
"""What the names of layers begin with that make bytes what the network was trained on."""


def counts(rewritten: GraphRewrite) -> dict[str, int | bool]:
    """Return the figures of a rewrite alone, for the card."""
    figures = rewritten.model_dump()
    return {key: value for key, value in figures.items() if isinstance(value, int)}


def line(rewritten: GraphRewrite) -> str:
    """Return a rewrite in one line for people."""
    parts = [f"{rewritten.layers_before} layers became {rewritten.layers_after}"]
    if rewritten.normalisations:
        of = f"of {rewritten.normalisations} normalisations folded"
        parts.append(f"{rewritten.normalisations_folded} {of}")
    gone = {
        "constant": rewritten.constants_folded,
        "dead": rewritten.dead_layers_removed,
        "transpose": rewritten.transposes_removed,
    }
    parts += [f"{count} {what} layers gone" for what, count in gone.items() if count]
    if rewritten.grey_stem:
        parts.append("stem takes one grey channel")
    if not rewritten.heatmap:
        parts.append("no heat map: no logits of a pooled linear head")
    return "; ".join(parts)


def take_bytes(
    model: ov.Model, mean: npt.NDArray[np.float32], std: npt.NDArray[np.float32]
) -> bool:
    """Make the input uint8 [N,1,S,S] named `image`, normalised inside as (x / 255 - mean) / std.

    The one input was float [N,C,S,S]; mean and std are float32 [C]. Returned is whether a first
    convolution over several channels now takes the one grey channel.
    """
    scale, shift = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    grey_stem = False
    if len(mean) > 1:
        before = model.inputs[0].get_node()
        scale, shift = fold_grey_stem(model, scale, shift)
        grey_stem = model.inputs[0].get_node() is not before
    old = model.inputs[0].get_node()
    shape = [int(d) for d in old.get_output_shape(0)]
    image = ops.parameter([shape[0], 1, *shape[2:]], np.uint8, name=INPUT)
    image.set_layout(ov.Layout("NCHW"))
    image.set_friendly_name(INPUT)
    image.output(0).set_names({INPUT})
    value = ops.convert(image, np.float32)
    value.set_friendly_name(f"{NORMALISE}/convert")
    if len(scale):
        per_channel = (1, -1, 1, 1)
        value = ops.multiply(value, ops.constant(scale.reshape(per_channel)))
        value.set_friendly_name(f"{NORMALISE}/scale")
        value = ops.add(value, ops.constant(shift.reshape(per_channel)))
        value.set_friendly_name(f"{NORMALISE}/shift")
    for user in old.output(0).get_target_inputs():
        user.replace_source_output(value.output(0))
    model.add_parameters([image])
    model.remove_parameter(old)
    return grey_stem


def is_image(value: ov.Output) -> bool:
    """Return whether a value is the image that `take_bytes` made, or was before."""
    node = value.get_node()
    name = node.get_friendly_name()
    return bool(node.get_type_name() == "Parameter" or name.startswith(f"{NORMALISE}/"))


def expose_outputs(
    model: ov.Model, logits: ov.Output, head: Head | None, activation: Activation
) -> ov.Model:
    """Return the graph with output `probability`, and of a known head `heatmap`, `embedding`.

    Of activation "none" the logits are probabilities.
    """
    results = []
    if head is None:
        sizes = list(logits.get_shape())
        flat = np.array([-1, int(np.prod(sizes[1:] or sizes))])
        rows = len(sizes) == 2
        scores = logits if rows else ops.reshape(logits, ops.constant(flat), False).output(0)
    else:
        averaged = every_second(head.features) if head.fine else head.features
        pooled = ops.reduce_mean(averaged, ops.constant(np.array([2, 3])), keep_dims=False)
        _name(pooled, EMBEDDING)
        linear = ops.matmul(pooled, ops.constant(head.weight), False, True)
        linear.set_friendly_name("head/linear")
        added = ops.add(linear, ops.constant(head.bias[None]))
        added.set_friendly_name("head/logits")
        scores = added.output(0)
        evidence = class_activation_map(head)
        _name(evidence, HEATMAP)
        results = [ops.result(evidence), ops.result(pooled)]
    match activation:
        case "sigmoid":
            probability = ops.sigmoid(scores)
        case "softmax":
            probability = ops.softmax(scores, 1)
        case "none":
            # Rounding leaves what a network calibrated itself a little outside.
            probability = ops.clamp(scores, 0, 1)
    _name(probability, PROBABILITY)
    rewritten = ov.Model(
        [ops.result(probability), *results], model.get_parameters(), model.get_friendly_name()
    )
    # Layers that were made anew before others know the shapes of those that they replaced.
    rewritten.validate_nodes_and_infer_types()
    # A copy, because the head that was left still hangs on the features.
    return rewritten.clone()


def _name(node: ov.Node, name: str) -> None:
    node.set_friendly_name(name)
    node.output(0).set_names({name})


def store_weights_as_bf16(model: ov.Model) -> None:
    """Round every floating-point weight of more than one element to bfloat16 and store it so."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        if np.prod(node.get_output_shape(0)) <= 1:
            continue
        small = ops.constant(_nearest_bf16(np.asarray(node.data, np.float32)), ov.Type.bf16)
        wide = ops.convert(small, np.float32)
        wide.set_friendly_name(node.get_friendly_name())
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(wide.output(0))


def _nearest_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the nearest values that bfloat16 holds, ties to even; OpenVINO would cut bits off."""
    bits = values.view(np.uint32)
    odd = (bits >> 16) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)


def write_model_info(model: ov.Model, card: Card) -> None:
    """Repeat the card in rt_info/model_info, in the OpenVINO Model API convention.

    Of a softmax it says that Model API's ClassificationModel runs the graph, on images as `prepare`
    makes them. That applies a sigmoid of its own to findings that may occur together, so of others
    nothing is claimed (model_api 0.4.7, models/classification.py, `get_multilabel_predictions`).
    """
    spec = card.input
    info = {
        "labels": " ".join(label.replace(" ", "_") for label in card.labels),
        "resize_type": "fit_to_window_letterbox",
        "pad_value": "0",
        "embedded_processing": "True",
        "orig_width": str(spec.side),
        "orig_height": str(spec.side),
        "thorax_version": card.thorax_version,
        "thorax_topology": card.topology,
        "thorax_precision": card.precision.value,
        "intended_use": card.intended_use,
    }
    if card.activation == "softmax":
        info |= {
            "model_type": "Classification",
            "multilabel": "False",
            "output_raw_scores": "True",
            "topk": str(len(card.labels)),
        }
    for key, value in info.items():
        model.set_rt_info(value, ["model_info", key])
