"""Which layers INT8 hurts, and how few of them kept in floating point save the AUROC."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.artifact import Precision
from thorax.devices.core import open_core
from thorax.ir.candidate import Candidate, Workshop
from thorax.ir.guard import Guard, Verdict, Watcher
from thorax.ir.quantize import calibration_images, quantize, restore_accuracy

MOST_KEPT: Final = 16
"""Layers after which the search by SQNR gives up: more of them leave little of INT8."""

_RANKING_IMAGES: Final = 8
_WITH_KERNEL: Final = ("Convolution", "GroupConvolution", "MatMul")
_BETWEEN: Final = ("MaxPool", "Reshape", "Squeeze", "Transpose")
"""Layers that a quantised value passes unchanged on its way to the next kernel."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A candidate and what it costs."""

    candidate: Candidate
    verdict: Verdict


def kernel_layers(model: ov.Model) -> tuple[str, ...]:
    """Return the names of the layers that have weights, in the order they run."""
    return tuple(
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in _WITH_KERNEL
    )


def quantised_layers(model: ov.Model) -> tuple[str, ...]:
    """Return the names of the layers that are computed in 8 bits, in the order they run."""
    return tuple(node.get_friendly_name() for node, _ in _quantised(model))


def layer_noise(
    model: ov.Model, quantised: ov.Model, images: npt.NDArray[np.uint8]
) -> dict[str, float]:
    """Return what INT8 adds in each layer alone: signal to quantisation noise of its output, dB.

    Each layer is fed what the float graph feeds it, so that none answers for those before it. Its
    own weights and the activations that it takes are quantised. SQNR = 10 log10(sum of y^2 / sum
    of (y - y')^2), y the float layer's output over all images.

    Args:
        model: the float graph.
        quantised: the same graph, quantised; layers have the same names.
        images: uint8 [N,1,S,S].
    """
    alone = quantised.clone()
    layers = _quantised(alone)
    doors = {quantiser.get_friendly_name(): quantiser for _, quantiser in layers}
    sources = {name: node.input_value(0) for name, node in doors.items()}
    parameters = {}
    for name, node in doors.items():
        value = ops.parameter(list(sources[name].get_shape()), np.float32)
        parameters[name] = value
        node.input(0).replace_source_output(value.output(0))
    small = ov.Model(
        [ops.result(node) for node, _ in layers], list(parameters.values()), "layers alone"
    )
    own = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    feeds = [_known(source, own) for source in sources.values()]
    answers = [own[node.get_friendly_name()].output(0) for node, _ in layers]
    whole = ov.Model(
        [ops.result(port) for port in (*feeds, *answers)], model.get_parameters(), "float"
    ).clone()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    float_run, int8_run = (open_core().compile_model(one, "CPU", hint) for one in (whole, small))
    signal, noise = np.zeros(len(layers)), np.zeros(len(layers))
    for image in images:
        outputs = [np.array(value) for value in float_run(image[None]).to_tuple()]
        wanted = outputs[len(feeds) :]
        got = int8_run(outputs[: len(feeds)]).to_tuple()
        for place, (one, other) in enumerate(zip(wanted, got, strict=True)):
            signal[place] += np.square(one, dtype=np.float64).sum()
            noise[place] += np.square(one - other, dtype=np.float64).sum()
    return {
        node.get_friendly_name(): _decibel(signal[place], noise[place])
        for place, (node, _) in enumerate(layers)
    }


def _known(output: ov.Output, own: dict[str, ov.Node]) -> ov.Output:
    """Return the same value in the float graph; biases that NNCF added are not there."""
    while output.get_node().get_friendly_name() not in own:
        output = output.get_node().input_value(0)
    return own[output.get_node().get_friendly_name()].output(output.get_index())


def _decibel(signal: float, noise: float) -> float:
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _quantised(model: ov.Model) -> list[tuple[ov.Node, ov.Node]]:
    """Return each layer that has a kernel and 8-bit activations, with what quantises them."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() in _WITH_KERNEL:
            source = node.input_value(0).get_node()
            while source.get_type_name() in _BETWEEN:
                source = source.input_value(0).get_node()
            if source.get_type_name() == "FakeQuantize":
                found.append((node, source))
    return found


def smallest_prefix(
    first: Judged, ranked: Sequence[str], budget: float, make: Callable[[tuple[str, ...]], Judged]
) -> Judged:
    """Return what keeps the budget with the fewest of the first layers of a ranking left out.

    The number of layers is doubled until the budget is kept, then halved down to where it no
    longer is; that more layers kept never cost more is taken for granted, not proven. Where no
    number keeps the budget, what came nearest is returned.

    Args:
        first: with none of them left out; it breaks the budget.
        ranked: worst first.
        budget: largest drop allowed.
        make: layers to leave out -> candidate without them, judged.
    """
    best, broken, count = first, 0, 1
    while broken < len(ranked):
        count = min(count, len(ranked))
        found = make(tuple(ranked[:count]))
        if found.verdict.drop <= budget:
            best = found
            break
        best = min(best, found, key=lambda one: one.verdict.drop)
        broken, count = count, count * 2
    else:
        return best
    kept = count
    while kept - broken > 1:
        middle = (broken + kept) // 2
        found = make(tuple(ranked[:middle]))
        if found.verdict.drop <= budget:
            best, kept = found, middle
        else:
            broken = middle
    return best


class Int8:
    """INT8 candidates of a workshop, and the search for one that keeps a budget.

    Attributes:
        judged: every candidate so far, in the order it was made.
    """

    def __init__(
        self, workshop: Workshop, guard: Guard, watcher: Watcher, *, asked: tuple[str, ...]
    ) -> None:
        """Remember what to make candidates of.

        Args:
            workshop: makes them.
            guard: judges them; its store calibrates.
            watcher: is told.
            asked: layers that the user wants in floating point.
        """
        self.judged: list[Judged] = []
        self._workshop, self._guard, self._watcher, self._asked = workshop, guard, watcher, asked

    def make(self, kept: tuple[str, ...] = ()) -> Judged:
        """Quantise all layers but these and those asked for, and judge what comes of it."""
        names = (*self._asked, *(name for name in kept if name not in self._asked))
        what = f", {len(names)} layers kept in floating point" if names else ""
        self._watcher.say(f"calibrating int8{what}")
        return self._judge(quantize(self._workshop.model, self._guard.store, kept=names), names)

    def _judge(self, lowered: ov.Model, kept: tuple[str, ...]) -> Judged:
        candidate = self._workshop.write(Precision.INT8, lowered, kept)
        found = Judged(candidate, self._guard.judge(candidate.artifact))
        self._watcher.say(f"int8: mean AUROC drop {found.verdict.drop:.4f}")
        self.judged.append(found)
        return found

    def within(self, first: Judged, budget: float) -> Judged:
        """Return a candidate that keeps the budget with few layers in floating point.

        By SQNR first, by NNCF's accuracy control if that fails; where both fail, what came nearest.
        """
        if first.verdict.drop <= budget:
            return first
        self._watcher.say("ranking layers by signal to quantisation noise")
        store, model = self._guard.store, self._workshop.model
        lowered = open_core().read_model(first.candidate.artifact.xml)
        images = store.images[calibration_images(store, count=_RANKING_IMAGES)][:, None]
        noise = layer_noise(model, lowered, images)
        ranked = sorted(noise, key=lambda name: noise[name])[:MOST_KEPT]
        best = smallest_prefix(first, ranked, budget, self.make)
        if best.verdict.drop <= budget:
            return best
        self._watcher.say("the layers of most noise do not suffice: NNCF's accuracy control")
        return min(best, self._restored(lowered, budget), key=lambda one: one.verdict.drop)

    def _restored(self, quantised: ov.Model, budget: float) -> Judged:
        lowered = restore_accuracy(
            self._workshop.model,
            self._guard.store,
            kept=self._asked,
            indices=self._guard.indices,
            mean_auroc=self._guard.mean_auroc,
            max_drop=budget,
            most=MOST_KEPT,
        )
        left = set(quantised_layers(lowered))
        turned = [name for name in quantised_layers(quantised) if name not in left]
        return self._judge(lowered, (*self._asked, *turned))
