"""Folding batch normalisation and constants, and the account of what was folded."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import openvino as ov

# The only door to these passes from Python; OpenVINO's own `ovc` goes through it.
from openvino._offline_transformations import apply_moc_transformations

from thorax.ir.head import constant
from thorax.ir.layouts import cancel_transposes, count_transposes
from thorax.ir.names import WEIGHTED, layers_of, module_name, readable_names
from thorax.results.optimize import GraphRewrite, Normalisation

ORIGINAL_NAME: Final = "thorax_original_name"
_KERNEL_NAME: Final = "thorax_kernel_name"
_SCALE: Final = "thorax_scale_"
"""Notes on nodes while passes run; when nodes merge, notes that disagree are lost."""

_SHIFTS: Final = ("Add", "Subtract")
_SCALES: Final = ("Multiply", "Divide")
_ARITHMETIC: Final = (*_SHIFTS, *_SCALES)


def fold(model: ov.Model) -> GraphRewrite:
    """Fold batch normalisation and constants in place, each layer keeping its framework's name.

    Returned is what came of it, without grey stem and heat map, which are not of its doing. Layers
    are nodes that compute: no constants, inputs, outputs. Dead is what handed on what it got: zero
    padding of no width, casts to the same type, reshapes to the same shape, times one, plus
    nothing. Transposes are layers that only move axes, with those that turn the input.

    Transposes that undo each other go too. An axis that is open stays open: give the batch as -1
    to keep shapes that are computed of it from turning into constants. A layer that is held by a
    variable in Python counts as one more user of its inputs, and does not fold.
    """
    before, fate = _by_type(model), _note_names(model)
    transposes = count_transposes(model)
    cancel_transposes(model)
    scales = _note_scales(model)
    apply_moc_transformations(model, cf=True, smart_reshape=False)
    survivors = _restore_names(model)
    readable_names(model)
    gone = [kind for name, kind in fate.items() if name not in survivors]
    return _account(model, before, transposes, tuple(_where_they_went(model, scales)), gone)


def unchanged(model: ov.Model) -> GraphRewrite:
    """Return the account of a graph that was left as it is."""
    return _account(model, _by_type(model), count_transposes(model))


def _account(
    model: ov.Model,
    before: dict[str, int],
    transposes: int,
    normalisations: tuple[Normalisation, ...] = (),
    gone: Sequence[str] = (),
) -> GraphRewrite:
    after = _by_type(model)
    return GraphRewrite(
        layers_before=sum(before.values()),
        layers_after=sum(after.values()),
        normalisations=len(normalisations),
        normalisations_folded=sum(each.into is not None for each in normalisations),
        constants_folded=gone.count("constant"),
        dead_layers_removed=gone.count("dead"),
        transposes_removed=transposes - count_transposes(model),
        transposes_left=count_transposes(model),
        layers_before_by_type=before,
        layers_after_by_type=after,
        normalisation_layers=normalisations,
        grey_stem=False,
        heatmap=False,
    )


def _by_type(model: ov.Model) -> dict[str, int]:
    return dict(sorted(Counter(node.get_type_name() for node in layers_of(model)).items()))


def _note_names(model: ov.Model) -> dict[str, str]:
    """Return by name what a layer is that would be no loss: "constant" or "dead"."""
    fate = {}
    ops = model.get_ordered_ops()
    constants = {node.get_friendly_name() for node in ops if node.get_type_name() == "Constant"}
    for node in ops:
        name = node.get_friendly_name()
        node.get_rt_info()[ORIGINAL_NAME] = name
        kind = node.get_type_name()
        # A layer made of several loses what they disagree on; only one of them has a kernel.
        if kind in WEIGHTED:
            node.get_rt_info()[_KERNEL_NAME] = name
        if kind in ("Constant", "Parameter", "Result"):
            continue
        sources = {value.get_node().get_friendly_name() for value in node.input_values()}
        # The sizes of what is computed are no part of the image.
        if kind == "ShapeOf" or sources <= constants:
            constants.add(name)
            fate[name] = "constant"
        elif _hands_on(node):
            fate[name] = "dead"
    return fate


def _hands_on(node: ov.Node) -> bool:
    kind = node.get_type_name()
    if len(node.outputs()) != 1 or not node.inputs():
        return False
    given, answer = node.input(0), node.output(0)
    same_shape = given.get_partial_shape() == answer.get_partial_shape()
    if kind == "Convert":
        return bool(given.get_element_type() == answer.get_element_type())
    if kind in ("Reshape", "Squeeze", "Unsqueeze", "Broadcast"):
        return bool(same_shape and answer.get_partial_shape().is_static)
    if kind == "Pad":
        begin, end = (constant(node.input_value(index)) for index in (1, 2))
        return begin is not None and end is not None and not begin.any() and not end.any()
    if kind == "Concat":
        return len(node.inputs()) == 1
    if kind in _ARITHMETIC:
        right = constant(node.input_value(1))
        neutral = 0 if kind in _SHIFTS else 1
        return bool(same_shape and right is not None and np.all(right == neutral))
    return False


def _per_channel(node: ov.Node) -> ov.Output | None:
    """Return what a layer scales or shifts by a constant a channel; None for another layer."""
    if node.get_type_name() not in _ARITHMETIC:
        return None
    for data, factor in ((0, 1), (1, 0)):
        values = constant(node.input_value(factor))
        if values is not None and values.size > 1 and max(values.shape) == values.size:
            return node.input_value(data)
    return None


@dataclass(frozen=True, slots=True)
class _Scale:
    name: str
    after: str | None
    """The layer with a kernel whose only user it is."""


def _note_scales(model: ov.Model) -> list[_Scale]:
    """Note each normalisation on the nodes that scale, and return them in order.

    Scales and shifts that follow one another directly (Caffe's BatchNorm and Scale) are one.
    """
    scales: list[_Scale] = []
    member: dict[str, int] = {}
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        if kind == "BatchNormInference":
            member[name] = len(scales)
            scales.append(_Scale(_source_name(node), _kernel_before(node.input_value(0))))
            node.get_rt_info()[f"{_SCALE}{member[name]}"] = "yes"
            continue
        data = _per_channel(node)
        if data is None:
            continue
        source = data.get_node()
        alone = len(data.get_target_inputs()) == 1
        group = member.get(source.get_friendly_name()) if alone else None
        if group is None and kind in _SCALES:
            group = len(scales)
            scales.append(_Scale(_source_name(node), _kernel_before(data)))
        if group is not None:
            member[name] = group
            if kind in _SCALES:
                node.get_rt_info()[f"{_SCALE}{group}"] = "yes"
    return scales


def _source_name(node: ov.Node) -> str:
    """Return what the framework calls a node that passes may have renamed since."""
    tags, original = node.get_rt_info(), str(node.get_friendly_name())
    if ORIGINAL_NAME in tags:
        original = tags[ORIGINAL_NAME].astype(str)
    return module_name(original, node.get_type_name()) or original


def _kernel_before(data: ov.Output) -> str | None:
    node = data.get_node()
    alone = len(data.get_target_inputs()) == 1
    return _source_name(node) if alone and node.get_type_name() in WEIGHTED else None


def _is_scaled(node: ov.Node) -> bool:
    users = list(node.output(0).get_target_inputs())
    while len(users) == 1 and _per_channel(user := users[0].get_node()) is not None:
        if user.get_type_name() in _SCALES:
            return True
        users = list(user.output(0).get_target_inputs())
    return False


def _where_they_went(model: ov.Model, scales: list[_Scale]) -> Iterator[Normalisation]:
    into: dict[int, str] = {}
    stays: set[int] = set()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        # Where a pass made the node anew, the note is on the constant that it made for it.
        sources = (port.get_source_output().get_node() for port in node.inputs())
        noted = [node, *(each for each in sources if each.get_type_name() == "Constant")]
        for group in {group for each in noted for group in _groups(each)}:
            if kind in WEIGHTED:
                into[group] = node.get_friendly_name()
            elif kind in (*_SCALES, "BatchNormInference"):
                stays.add(group)
    for node in model.get_ordered_ops():
        for group in _groups(node):
            del node.get_rt_info()[f"{_SCALE}{group}"]
    # Notes do not outlive two scales that became one; the layer before them shows where they are.
    unscaled = {
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in WEIGHTED and not _is_scaled(node)
    }
    for group, scale in enumerate(scales):
        if group not in into and scale.after is not None and scale.after in unscaled:
            into[group] = scale.after
        # A scale by one all over is in neither.
        if group in into or group in stays:
            yield Normalisation(name=scale.name, into=None if group in stays else into[group])


def _groups(node: ov.Node) -> list[int]:
    keys = [key for key in node.get_rt_info() if key.startswith(_SCALE)]
    return [int(key.removeprefix(_SCALE)) for key in keys]


def _restore_names(model: ov.Model) -> set[str]:
    """Take the notes off again, name nodes by them, and return which names are still there."""
    survivors = set()
    for node in model.get_ordered_ops():
        tags = node.get_rt_info()
        names = {key: tags[key].astype(str) for key in (ORIGINAL_NAME, _KERNEL_NAME) if key in tags}
        for key in names:
            del tags[key]
        name = names.get(ORIGINAL_NAME)
        if node.get_type_name() in WEIGHTED:
            name = names.get(_KERNEL_NAME, name)
        if name is not None and node.get_type_name() != "Constant":
            node.set_friendly_name(name)
            survivors.add(name)
    return survivors
