"""How far two models of one network differ: their answers, and the layers that are to blame."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.analysis.inputs import aligned, matching_inputs, probe_images
from thorax.analysis.layerwise import GraphComparison, LayerError, Place, compare_layers
from thorax.artifact import Precision
from thorax.devices.core import physical_devices, supports
from thorax.devices.engine import PROBABILITY
from thorax.devices.process_core import open_core
from thorax.errors import DeviceError, ModelError
from thorax.ir.open import OpenedModel
from thorax.results.optimize import ComparedModel, CompareResult, LayerNoise, OutputNoise

FP32_TOLERANCE: Final = 1e-4
"""Largest difference of a probability that reordered FP32 arithmetic explains."""

BLAMED: Final = ("Convolution", "GroupConvolution", "MatMul")
"""Layers that `thorax optimize --keep` takes: those that INT8 gives 8-bit weights."""

APART_DB: Final = 6.0
"""A layer that adds four times the noise of the median one stands out."""

QUIET_DB: Final = 30.0
"""A layer whose own noise is a thousandth of its signal's power is not to blame for much."""

MOST: Final = 16
"""Layers that are suggested at most: with more of them in floating point little of INT8 is left."""


def suggested_ignore(layers: Sequence[LayerError]) -> tuple[str, ...]:
    """Return the layers that add far more noise than the others, worst first.

    It is their own noise that counts, not what reaches them: a layer stands out whose own SQNR is
    below `QUIET_DB` and `APART_DB` below the median of those that add any.
    """
    noisy = [layer for layer in layers if layer.type in BLAMED and layer.own_sqnr_db < 100]
    if not noisy:
        return ()
    limit = min(QUIET_DB, statistics.median(layer.own_sqnr_db for layer in noisy) - APART_DB)
    worst = sorted(noisy, key=lambda layer: layer.own_sqnr_db)
    return tuple(layer.name for layer in worst if layer.own_sqnr_db < limit)[:MOST]


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Where two models run, and on how many fixed patterns.

    Attributes:
        devices: of the first and the second.
        compute: arithmetic of floating-point layers in place of what the cards say.
        count: of patterns.
    """

    devices: tuple[str, str] = ("CPU", "CPU")
    compute: str | None = None
    count: int = 8


def compare(
    first: OpenedModel,
    second: OpenedModel,
    images: npt.NDArray[np.uint8] | None = None,
    options: CompareOptions | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> CompareResult:
    """Noise of each layer between two models of one network, and which layers are to blame.

    Args:
        first: the reference.
        second: of the same network.
        images: uint8 [N,1,S,S]; None takes fixed patterns.
        options: devices and arithmetic.
        on_progress: as `compare_layers`.

    Raises:
        ModelError: as `aligned`, `matching_inputs` and `compare_layers`.
        UsageError: as `matching_inputs`.
        DeviceError: as `compile_graph`, `precision-unsupported` for INT8 where there is none.
    """
    options = options or CompareOptions()
    first, second = aligned(first, second)
    places = []
    for opened, device in zip((first, second), options.devices, strict=True):
        _require_int8(opened, device)
        places.append(Place(device, options.compute or opened.compute))
    inputs = matching_inputs(first, second, images, count=options.count)
    comparison = compare_layers(
        first.model, second.model, inputs, a=places[0], b=places[1], on_progress=on_progress
    )
    ignored = suggested_ignore(comparison.layers)
    return CompareResult(
        model=first.name,
        digest=first.card.digest if first.card else None,
        precision=first.precision,
        device=places[0].device,
        compute=places[0].compute,
        against=ComparedModel(
            model=second.name,
            digest=second.card.digest if second.card else None,
            precision=second.precision,
            device=places[1].device,
            compute=places[1].compute,
        ),
        images=len(inputs),
        probes=images is None,
        layers=tuple(map(_layer_noise, worst_first(comparison.layers))),
        outputs=tuple(map(_output_noise, comparison.outputs)),
        unmatched=comparison.unmatched,
        extra=comparison.extra,
        suggested_ignore=ignored,
        verdict=verdict(comparison, ignored),
    )


def _layer_noise(layer: LayerError) -> LayerNoise:
    return LayerNoise(
        name=layer.name,
        type=layer.type,
        sqnr_db=_finite(layer.sqnr_db),
        max_error=layer.max_error,
        own_sqnr_db=_finite(layer.own_sqnr_db),
    )


def _output_noise(output: LayerError) -> OutputNoise:
    return OutputNoise(
        name=output.name,
        type=output.type,
        sqnr_db=_finite(output.sqnr_db),
        max_error=output.max_error,
    )


def worst_first(layers: Sequence[LayerError]) -> list[LayerError]:
    """Return layers by SQNR, the noisiest first; of equals the one that runs first."""
    return sorted(layers, key=lambda layer: layer.sqnr_db)


def verdict(comparison: GraphComparison, ignored: Sequence[str]) -> str:
    """Return what came of a comparison, in one line."""
    outputs = ", ".join(f"{each.name} {_decibels(each.sqnr_db)}" for each in comparison.outputs)
    if not comparison.layers:
        return f"outputs: {outputs}; no layer has one name in both, the outputs alone are compared"
    if all(each.max_error == 0 for each in [*comparison.layers, *comparison.outputs]):
        return f"equal: {len(comparison.layers)} layers and every output agree bit for bit"
    worst = worst_first(comparison.layers)[0]
    parts = [f"outputs: {outputs}; noisiest layer {worst.name} {_decibels(worst.sqnr_db)}"]
    if ignored:
        many = f"{len(ignored)} layers add" if len(ignored) > 1 else "one layer adds"
        parts.append(f"{many} far more noise than the rest, keep with --keep {','.join(ignored)}")
    else:
        parts.append("no layer adds far more noise than the rest")
    return "; ".join(parts)


def _decibels(value: float) -> str:
    return "equal" if value == float("inf") else f"{value:.1f} dB"


def _finite(value: float) -> float | None:
    """Return a number that JSON has; None where there is no noise.

    Noise over a signal of nothing is -inf dB, written as -400: below what float32 can differ by.
    """
    if value == float("inf"):
        return None
    return max(value, -400.0)


def _require_int8(opened: OpenedModel, device: str) -> None:
    if opened.precision != Precision.INT8.value:
        return
    for part in physical_devices(device):
        if not supports(part, Precision.INT8):
            raise DeviceError(
                "precision-unsupported",
                f"device {part} does not compute int8 natively and would quietly compute f32 "
                "instead; name a device that does (`thorax devices` lists what each has)",
            )


def largest_difference(
    model: ov.Model,
    reference: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
    *,
    mean: npt.NDArray[np.float32],
    std: npt.NDArray[np.float32],
) -> float:
    """Return the largest absolute difference of any probability on the probe images.

    Args:
        model: input uint8 [1,1,S,S], computed in FP32.
        reference: float32 [1,C,S,S], normalised -> float32 [K], probabilities.
        mean: float32 [C].
        std: float32 [C].
    """
    compiled = open_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = np.float32(0)
    for image in probe_images(int(model.inputs[0].get_shape()[-1]), count=6):
        grey = image[None].astype(np.float32) / 255
        truth = reference((grey - mean[:, None, None]) / std[:, None, None])
        answer = np.asarray(compiled(image[None])[PROBABILITY][0])
        # Not Python's max, which passes over what is not a number.
        worst = np.maximum(worst, np.abs(answer - truth).max())
    return float(worst)


def require_equal(difference: float, *, tolerance: float, what: str) -> None:
    """Refuse a graph whose outputs strayed.

    Raises:
        ModelError: `model-differs`; a difference that is not a number is one too.
    """
    if not difference <= tolerance:
        raise ModelError(
            "model-differs",
            f"{what}: a probability differs by {difference:.2g} from the source's, allowed is "
            f"{tolerance:.2g}; nothing was written",
        )
