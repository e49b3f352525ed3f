"""Which layers INT8 hurts, and how few of them kept in floating point save the AUROC."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.analysis.layerwise import layer_sqnr
from thorax.artifact import Precision
from thorax.devices.process_core import open_core
from thorax.quantization.accuracy_budget import Guard, Verdict, Watcher
from thorax.quantization.candidates import Candidate, Workshop
from thorax.quantization.quantize import calibration_images, quantize, restore_accuracy

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
    return tuple(
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in _WITH_KERNEL and _is_quantised(node)
    )


def _is_quantised(node: ov.Node) -> bool:
    source = node.input_value(0).get_node()
    while source.get_type_name() in _BETWEEN:
        source = source.input_value(0).get_node()
    return bool(source.get_type_name() == "FakeQuantize")


def noisiest(
    model: ov.Model, quantised: ov.Model, images: npt.NDArray[np.uint8]
) -> tuple[str, ...]:
    """Return the layers that are computed in 8 bits, the one that adds the most noise first.

    Each is fed what the float graph feeds it, so that none answers for those before it: see
    `LayerError.own_sqnr_db`.

    Args:
        model: the float graph.
        quantised: the same graph, quantised.
        images: uint8 [N,1,S,S].
    """
    own = {one.name: one.own_sqnr_db for one in layer_sqnr(model, quantised, images)}
    return tuple(
        sorted((name for name in quantised_layers(quantised) if name in own), key=own.__getitem__)
    )


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
        ranked = noisiest(model, lowered, images)[:MOST_KEPT]
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
