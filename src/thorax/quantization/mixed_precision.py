"""INT8 with the fewest layers left in floating point that keep an AUROC budget."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.analysis.layerwise import compare_layers
from thorax.artifact import Precision
from thorax.devices.process_core import open_core
from thorax.quantization.accuracy_budget import AccuracyBudget, OnProgress, Verdict
from thorax.quantization.candidates import Candidate, CandidateBuilder
from thorax.quantization.quantize import calibration_images, quantize, restore_accuracy

MOST_KEPT: Final = 16
"""Layers after which the search by SQNR gives up: more of them leave little of INT8."""

_WITH_KERNEL: Final = ("Convolution", "GroupConvolution", "MatMul")
_BETWEEN: Final = ("MaxPool", "Reshape", "Squeeze", "Transpose")
"""Layers that a quantised value passes unchanged on its way to the next kernel."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A candidate and what it costs."""

    candidate: Candidate
    verdict: Verdict


def kernel_layers(model: ov.Model, *, quantised: bool = False) -> tuple[str, ...]:
    """Return the names of the layers that have weights, or 8-bit ones, in the order they run."""
    return tuple(
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in _WITH_KERNEL and (not quantised or _is_quantised(node))
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
    `LayerNoise.own_sqnr_db`. Images are uint8 [N,1,S,S].
    """
    layers = compare_layers(model, quantised, images).layers
    own = {
        layer.name: math.inf if layer.own_sqnr_db is None else layer.own_sqnr_db for layer in layers
    }
    return tuple(
        sorted(
            (name for name in kernel_layers(quantised, quantised=True) if name in own),
            key=own.__getitem__,
        )
    )


def fewest_float_layers(
    first: Judged, ranked: Sequence[str], max_drop: float, make: Callable[[tuple[str, ...]], Judged]
) -> Judged:
    """Return what keeps the budget with the fewest of the first layers of a ranking left out.

    `first` leaves out none and breaks the budget; `make` judges a candidate without some. The
    number of layers is doubled until the budget is kept, then halved down to where it no longer is;
    that more layers left out never cost more is taken for granted, not proven. Where no number
    keeps the budget, what came nearest is returned.
    """
    best, too_few, enough = first, 0, 1
    while best.verdict.drop > max_drop:
        if too_few == len(ranked):
            return best
        enough = min(enough, len(ranked))
        judged = make(tuple(ranked[:enough]))
        best = min(best, judged, key=lambda each: each.verdict.drop)
        if best.verdict.drop > max_drop:
            too_few, enough = enough, enough * 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        judged = make(tuple(ranked[:middle]))
        if judged.verdict.drop <= max_drop:
            best, enough = judged, middle
        else:
            too_few = middle
    return best


@dataclass(slots=True)
class MixedPrecisionSearch:
    """INT8 candidates of a source, all `judged` in order, and the search for one in the budget.

    The budget's store calibrates; `keep` are layers that the user wants in floating point.
    """

    builder: CandidateBuilder
    budget: AccuracyBudget
    on_progress: OnProgress
    keep: tuple[str, ...]
    judged: list[Judged] = field(default_factory=list)

    def make(self, kept: tuple[str, ...] = ()) -> Judged:
        """Quantise all layers but these and the user's, and judge what comes of it."""
        names = (*self.keep, *(name for name in kept if name not in self.keep))
        what = f", {len(names)} layers kept in floating point" if names else ""
        self.on_progress.say(f"calibrating int8{what}")
        return self._judge(quantize(self.builder.model, self.budget.store, kept=names), names)

    def _judge(self, lowered: ov.Model, kept: tuple[str, ...]) -> Judged:
        candidate = self.builder.write(Precision.INT8, lowered, kept)
        judged = Judged(candidate, self.budget.judge(candidate.artifact))
        self.on_progress.say(f"int8: mean AUROC drop {judged.verdict.drop:.4f}")
        self.judged.append(judged)
        return judged

    def within(self, first: Judged, max_drop: float) -> Judged:
        """Return a candidate that keeps the budget with few layers in floating point.

        By SQNR first, by NNCF's accuracy control if that fails; where both fail, what came nearest.
        """
        if first.verdict.drop <= max_drop:
            return first
        self.on_progress.say("ranking layers by signal to quantisation noise")
        store, model = self.budget.store, self.builder.model
        lowered = open_core().read_model(first.candidate.artifact.xml)
        images = store.images[calibration_images(store, count=8)][:, None]
        ranked = noisiest(model, lowered, images)[:MOST_KEPT]
        best = fewest_float_layers(first, ranked, max_drop, self.make)
        if best.verdict.drop <= max_drop:
            return best
        self.on_progress.say("the layers of most noise do not suffice: NNCF's accuracy control")
        return min(best, self._restored(lowered, max_drop), key=lambda each: each.verdict.drop)

    def _restored(self, quantised: ov.Model, max_drop: float) -> Judged:
        lowered = restore_accuracy(
            self.builder.model,
            self.budget.store,
            kept=self.keep,
            indices=self.budget.indices,
            mean_auroc=self.budget.mean_auroc,
            max_drop=max_drop,
            most=MOST_KEPT,
        )
        remaining = set(kernel_layers(lowered, quantised=True))
        turned = [
            name for name in kernel_layers(quantised, quantised=True) if name not in remaining
        ]
        return self._judge(lowered, (*self.keep, *turned))
