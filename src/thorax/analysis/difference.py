"""How far two models of one network differ: their answers, and the layers that are to blame."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.analysis.inputs import aligned, matching_inputs, probe_images
from thorax.analysis.layerwise import GraphComparison, Place, compare_layers
from thorax.artifact import Precision
from thorax.devices.core import physical_devices, supports
from thorax.devices.engine import PROBABILITY
from thorax.devices.process_core import open_core
from thorax.errors import DeviceError, ModelError
from thorax.ir.open import OpenedModel
from thorax.results.optimize import ComparedModel, CompareResult, LayerNoise

_FAINT: Final = 1e-3
"""Noise in normalised units, of which a grey level has about fifteen times as much."""

_STABLE: Final = 1e-3
"""By how much such noise may change a probability."""

BLAMED: Final = ("Convolution", "GroupConvolution", "MatMul")
"""Layers that `thorax optimize --keep` takes: those that INT8 gives 8-bit weights."""

APART_DB: Final = 6.0
"""A layer that adds four times the noise of the median one stands out."""

QUIET_DB: Final = 30.0
"""A layer whose own noise is a thousandth of its signal's power is not to blame for much."""

MOST: Final = 16
"""Layers that are suggested at most: with more of them in floating point little of INT8 is left."""


def suggested_ignore(layers: Sequence[LayerNoise]) -> tuple[str, ...]:
    """Return the layers that add far more noise than the others, worst first.

    It is their own noise that counts, not what reaches them: a layer stands out whose own SQNR is
    below `QUIET_DB` and `APART_DB` below the median of those that add any.
    """
    own = {layer.name: layer.own_sqnr_db for layer in layers if layer.type in BLAMED}
    noisy = {name: noise for name, noise in own.items() if noise is not None and noise < 100}
    if not noisy:
        return ()
    limit = min(QUIET_DB, statistics.median(noisy.values()) - APART_DB)
    worst = sorted(noisy, key=noisy.__getitem__)
    return tuple(name for name in worst if noisy[name] < limit)[:MOST]


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Where two models run, in which arithmetic instead of their cards', on how many patterns."""

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

    The first is the reference; images are uint8 [N,1,S,S], None takes fixed patterns.

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
        layers=tuple(worst_first(comparison.layers)),
        outputs=tuple(comparison.outputs),
        unmatched=comparison.unmatched,
        extra=comparison.extra,
        suggested_ignore=ignored,
        verdict=verdict(comparison, ignored),
    )


def worst_first(layers: Sequence[LayerNoise]) -> list[LayerNoise]:
    """Return layers by SQNR, the noisiest first; of equals the one that runs first."""
    return sorted(layers, key=lambda layer: math.inf if layer.sqnr_db is None else layer.sqnr_db)


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


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f} dB"


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

    The model takes uint8 [1,1,S,S] and computes in FP32; the reference float32 [1,C,S,S],
    normalised by mean and std [C], and answers float32 [K]. Flat images say nothing of a network
    that divides an image by its own deviation, and are left out of it.
    """
    compiled = open_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = np.float32(0)
    for image in probe_images(int(model.inputs[0].get_shape()[-1]), count=6):
        grey = image[None].astype(np.float32) / 255
        fed = (grey - mean[:, None, None]) / std[:, None, None]
        truth = reference(fed)
        if not np.ptp(image) and _is_unstable(reference, fed, truth):
            continue
        answer = np.asarray(compiled(image[None])[PROBABILITY][0])
        # Not Python's max, which passes over what is not a number.
        worst = np.maximum(worst, np.abs(answer - truth).max())
    return float(worst)


def _is_unstable(
    reference: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
    fed: npt.NDArray[np.float32],
    truth: npt.NDArray[np.float32],
) -> bool:
    """Return whether noise far below a grey level changes an answer, as rounding then does too."""
    random = np.random.Generator(np.random.Philox(key=5))
    noise = random.uniform(-_FAINT, _FAINT, fed.shape).astype(np.float32)
    return not np.all(np.abs(reference(fed + noise) - truth) <= _STABLE)


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
