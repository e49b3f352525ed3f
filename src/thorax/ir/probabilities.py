"""Answers that are probabilities already: made of sigmoids or softmaxes by a monotone remainder.

Quantised heads, ensembles, clipped answers, pairs of which one is answered, and probabilities that
were calibrated inside the network: what follows their activations is cut off and run on numbers
from 0 to 1. It must never lead down, and must lead 0 to 0 and 1 to 1, or each number to itself but
for what is cut off at both ends, as a quantizer does with what it has not seen.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
from openvino.passes import ConstantFolding, Manager

from thorax.artifact import Activation
from thorax.errors import ModelError
from thorax.importers.options import Run
from thorax.ir.head import sigmoid_input, softmax_input
from thorax.ir.names import WEIGHTED

_STEPS: Final = 65
"""Numbers from 0 to 1 that the remainder is run on."""

_ROUNDING: Final = 2e-2
"""What quantising, clipping or narrow floats may take off at 0 and 1."""

_SORTED: Final = ("TopK", "NonMaxSuppression", "MatrixNms", "MulticlassNms")
"""Layers that answer values by their size, so that no label has a place of its own."""

_EPSILON: Final = 1e-3
"""By how much a value may lie out of order, or outside 0 to 1."""


def probabilities_of(model: ov.Model, compile_model: Callable[[ov.Model], Run]) -> set[Activation]:
    """Return the activations that a network's one output makes its probabilities of, else none.

    The model is [1,C,S,S] -> [1,K] and stays as it is; `compile_model` as `Imported.compile`. A
    network that ends in the activation itself is one too.
    """
    tail = model.clone()
    folding = Manager()
    # Sizes that are asked of the image are no part of the answer.
    folding.register_pass(ConstantFolding())
    folding.run_passes(tail)
    ends = _ends(tail)
    if not ends:
        return set()
    fed = []
    for value, _ in ends:
        entry = ops.parameter(list(value.get_shape()), np.float32)
        for user in value.get_target_inputs():
            user.replace_source_output(entry.output(0))
        fed.append(entry)
    remainder = ov.Model(tail.get_results(), fed, "probabilities")
    try:
        answers = _answers(compile_model(remainder.clone()), fed)
    except ModelError:
        return set()
    return {activation for _, activation in ends} if _are_probabilities(answers) else set()


def _ends(model: ov.Model) -> list[tuple[ov.Output, Activation]]:
    """Return the activations that an output is made of; none where anything else goes into it."""
    ends: dict[tuple[str, int], tuple[ov.Output, Activation]] = {}
    waiting, seen = [model.outputs[0].get_node().input_value(0)], set()
    while waiting:
        value = waiting.pop()
        node = value.get_node()
        if (place := (node.get_name(), value.get_index())) in seen:
            continue
        seen.add(place)
        activation = _activation(node)
        if activation is not None:
            if value.get_partial_shape().is_dynamic or value.get_element_type() != ov.Type.f32:
                return []
            ends[place] = (value, activation)
        elif node.get_type_name() in (*WEIGHTED, *_SORTED, "Parameter", "Einsum"):
            return []
        else:
            waiting += node.input_values()
    return list(ends.values())


def _activation(node: ov.Node) -> Activation | None:
    kind = node.get_type_name()
    if kind in ("Sigmoid", "HardSigmoid", "HSigmoid") or sigmoid_input(node) is not None:
        return "sigmoid"
    if kind == "Softmax":
        shape = node.get_input_partial_shape(0)
        # Over the images of a batch it is none of an image.
        over_images = shape.rank.is_dynamic or node.get_attributes()["axis"] % len(shape) == 0
        return None if over_images else "softmax"
    return "softmax" if softmax_input(node) is not None else None


def _answers(run: Run, fed: list[ov.Node]) -> npt.NDArray[np.float64]:
    """Return float64 [steps,K], what is made of activations that all have one value."""
    rows = []
    for number in np.linspace(0, 1, _STEPS, dtype=np.float32):
        arrays = [np.full(list(entry.get_output_shape(0)), number) for entry in fed]
        rows.append(np.asarray(run(arrays)[0], np.float64).ravel())
    return np.array(rows)


def _are_probabilities(answers: npt.NDArray[np.float64]) -> bool:
    if not np.isfinite(answers).all() or np.diff(answers, axis=0).min() < -_EPSILON:
        return False
    if answers.min() < -_EPSILON or answers.max() > 1 + _EPSILON:
        return False
    first, last = answers[0], answers[-1]
    whole = first.max() <= _ROUNDING and last.min() >= 1 - _ROUNDING
    cut = np.clip(np.linspace(0, 1, _STEPS)[:, None], first, last)
    return bool(whole or (np.ptp(answers) > 0 and np.abs(answers - cut).max() <= _ROUNDING))


def require_probabilities(scores: npt.NDArray[np.float32], name: str) -> None:
    """Refuse answers that are said to be probabilities and are not, float32 [K].

    Raises:
        ModelError: `model-probabilities`.
    """
    if not np.all((scores >= -_EPSILON) & (scores <= 1 + _EPSILON)):
        worst = scores[np.argmax(np.abs(scores - 0.5))]
        raise ModelError(
            "model-probabilities",
            f"{name} answers {worst:.4g}, and probabilities lie between 0 and 1; say "
            "--activation sigmoid or softmax if its answers are logits",
        )
