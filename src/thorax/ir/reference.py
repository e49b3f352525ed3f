"""A foreign network's own scores, run as it was read, which its artifact is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.artifact import Activation
from thorax.importers.options import Imported, Layout, Run
from thorax.ir.element_types import as_fed, computes_in, is_quantized
from thorax.ir.output import answers_logarithms, inputs_of, joined
from thorax.ir.probabilities import require_probabilities

Scores = npt.NDArray[np.float32]
Reference = Callable[[npt.NDArray[np.float32]], Scores]
"""float32 [1,C,S,S], normalised -> float32 [K]."""

FP32_TOLERANCE: Final = 1e-4
"""Largest difference of a probability that reordered FP32 arithmetic explains."""

_TOLERANCES: Final = {"f32": FP32_TOLERANCE, "f16": 5e-3, "bf16": 5e-2, "i8": 5e-2}
"""Largest difference of a probability that other arithmetic of one type explains: FP32 sums in
another order; activations rounded to 11, 8 bits; a step of a quantizer, taken or not."""


@dataclass(frozen=True, slots=True)
class SourceNetwork:
    """What a network takes and answers before anything is done to it.

    `inputs` are its shapes, `types` their elements as NumPy has them, `image` the place of the one
    that its scores depend on, `outputs` the places of its scores. `arithmetic` is the type that it
    computes in: a key of the tolerances.
    """

    inputs: tuple[ov.PartialShape, ...]
    types: tuple[str, ...]
    image: int
    outputs: tuple[int, ...]
    arithmetic: str

    @classmethod
    def of(cls, model: ov.Model, outputs: tuple[int, ...]) -> "SourceNetwork":
        """Return what is known of a graph as its importer left it."""
        return cls(
            tuple(port.get_partial_shape() for port in model.inputs),
            tuple(port.get_element_type().get_type_name() for port in model.inputs),
            next(iter(inputs_of(model, outputs)), 0),
            outputs,
            _arithmetic(model),
        )

    @property
    def batch(self) -> int:
        """Images that it takes at once, where it fixes them; else 1."""
        shape = self.inputs[self.image]
        return shape[0].get_length() if len(shape) and shape[0].is_static else 1

    @property
    def tolerance(self) -> float:
        """Largest difference of a probability that is not taken for a broken graph."""
        return _TOLERANCES[self.arithmetic]

    @property
    def is_quantized(self) -> bool:
        """Whether it was quantised to 8 bits."""
        return self.arithmetic == "i8"

    def arrays(self, image: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        """Return what it is fed for an image in its own layout, [1,...]: zeros beside it."""
        arrays = []
        for index, (shape, kind) in enumerate(zip(self.inputs, self.types, strict=True)):
            element = ov.Type(np.dtype(np.float32)) if kind == "bf16" else getattr(ov.Type, kind)
            if index == self.image:
                values = np.repeat(image, self.batch, axis=0)
            else:
                values = np.zeros([max(1, axis.min_length) for axis in shape], np.float32)
            arrays.append(as_fed(values, element.to_dtype()))
        return arrays

    def scores(self, answers: Sequence[npt.NDArray[np.float32]]) -> Scores:
        """Return the scores of one image, float32 [K], of all its outputs' arrays."""
        chosen = [answers[index] for index in self.outputs]
        if self.batch > 1:
            chosen = [answer[:1] for answer in chosen]
        return joined(chosen)


def source_tolerance(model: ov.Model) -> float:
    """Return the largest difference, of 1, that the arithmetic of a graph as read explains."""
    return _TOLERANCES[_arithmetic(model)]


def _arithmetic(model: ov.Model) -> str:
    return "i8" if is_quantized(model) else computes_in(model)


def reference_of(
    imported: Imported,
    model: ov.Model,
    network: SourceNetwork,
    layout: Layout,
    ends: tuple[Activation | None, Activation],
) -> Reference:
    """Return the source's own scores as probabilities, after having it compiled once.

    The model takes [1,C,S,S] by now, the framework images in `layout`; `ends` are the activation
    that the network ends in, None of logits, and the one that makes probabilities.
    """
    own, activation = ends
    logarithms = own is not None and answers_logarithms(model)
    alone = len(network.inputs) == 1 and network.batch == 1
    compiled: Run | None = None
    if imported.run is None or imported.attempt is None or not alone:
        compiled = imported.compile(model)
    else:
        _, channels, *sides = model.inputs[0].get_shape()
        imported.attempt((1, *sides, channels) if layout == "NHWC" else (1, channels, *sides))

    def answer(images: npt.NDArray[np.float32]) -> Scores:
        if imported.run is None:
            # OpenVINO's own is of the graph as it is here: channels first, fed with floats.
            assert compiled is not None
            return joined(compiled([images]))
        fed = images if layout == "NCHW" else images.transpose(0, 2, 3, 1)
        return network.scores(imported.run(network.arrays(fed)))

    def reference(images: npt.NDArray[np.float32]) -> Scores:
        scores = answer(images)
        if logarithms:
            return np.exp(scores)
        if own is None and activation == "sigmoid":
            # Not 1 / (1 + exp(-x)), which overflows.
            return np.asarray(np.exp(-np.logaddexp(0, -scores)), np.float32)
        if own is None and activation == "softmax":
            grown = np.exp(scores - scores.max())
            return np.asarray(grown / grown.sum(), np.float32)
        if activation == "none":
            require_probabilities(scores, model.get_friendly_name())
            return np.asarray(np.clip(scores, 0, 1), np.float32)
        return scores

    return reference
