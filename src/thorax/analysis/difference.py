"""Which layers part two models of one network, and which of them are to blame."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.analysis.inputs import aligned, feeds
from thorax.analysis.layerwise import Comparison, LayerError, Place, compare_layers
from thorax.artifact import Precision
from thorax.devices.core import physical_devices, supports
from thorax.errors import DeviceError
from thorax.ir.graphs import Graph

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


def compare(
    first: Graph,
    second: Graph,
    images: npt.NDArray[np.uint8] | None = None,
    *,
    devices: tuple[str, str] = ("CPU", "CPU"),
    compute: str | None = None,
    count: int = 8,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Return the JSON document of `thorax compare`.

    Args:
        first: the reference.
        second: of the same network.
        images: uint8 [N,1,S,S]; None takes fixed patterns.
        devices: where each runs.
        compute: arithmetic of floating-point layers in place of what the cards say.
        count: of patterns.
        on_progress: as `compare_layers`.

    Raises:
        ModelError: as `aligned`, `feeds` and `compare_layers`.
        UsageError: as `feeds`.
        DeviceError: as `compile_graph`, `precision-unsupported` for INT8 where there is none.
    """
    first, second = aligned(first, second)
    places = []
    for graph, device in zip((first, second), devices, strict=True):
        _require_int8(graph, device)
        places.append(Place(device, compute or graph.compute))
    fed = feeds(first, second, images, count=count)
    found = compare_layers(
        first.model, second.model, fed, a=places[0], b=places[1], on_progress=on_progress
    )
    ignored = suggested_ignore(found.layers)
    return {
        "command": "compare",
        **_told(first, places[0]),
        "against": _told(second, places[1]),
        "images": len(fed),
        "probes": images is None,
        "layers": [_entry(layer) for layer in worst_first(found.layers)],
        "outputs": [_entry(output, own=False) for output in found.outputs],
        "unmatched": list(found.unmatched),
        "extra": list(found.extra),
        "suggested_ignore": list(ignored),
        "verdict": verdict(found, ignored),
    }


def worst_first(layers: Sequence[LayerError]) -> list[LayerError]:
    """Return layers by SQNR, the noisiest first; of equals the one that runs first."""
    return sorted(layers, key=lambda layer: layer.sqnr_db)


def verdict(found: Comparison, ignored: Sequence[str]) -> str:
    """Return what came of a comparison, in one line."""
    if not found.layers:
        told = ", ".join(f"{one.name} {_decibels(one.sqnr_db)}" for one in found.outputs)
        return f"outputs: {told}; no layer has one name in both, the outputs alone are compared"
    differing = [layer for layer in found.layers if layer.max_error > 0]
    noisy = [output for output in found.outputs if output.max_error > 0]
    if not differing and not noisy:
        return f"equal: {len(found.layers)} layers and every output agree bit for bit"
    told = ", ".join(f"{one.name} {_decibels(one.sqnr_db)}" for one in found.outputs)
    worst = worst_first(found.layers)[0]
    parts = [f"outputs: {told}; noisiest layer {worst.name} {_decibels(worst.sqnr_db)}"]
    if ignored:
        many = f"{len(ignored)} layers add" if len(ignored) > 1 else "one layer adds"
        parts.append(f"{many} far more noise than the rest, keep with --keep {','.join(ignored)}")
    else:
        parts.append("no layer adds far more noise than the rest")
    return "; ".join(parts)


def _decibels(value: float) -> str:
    return "equal" if value == float("inf") else f"{value:.1f} dB"


def _told(graph: Graph, place: Place) -> dict[str, Any]:
    return {
        "model": graph.name,
        "digest": graph.card.digest if graph.card else None,
        "precision": graph.precision,
        "device": place.device,
        "compute": place.compute,
    }


def _entry(layer: LayerError, *, own: bool = True) -> dict[str, Any]:
    entry = {
        "name": layer.name,
        "type": layer.type,
        "sqnr_db": _finite(layer.sqnr_db),
        "max_error": layer.max_error,
    }
    return {**entry, "own_sqnr_db": _finite(layer.own_sqnr_db)} if own else entry


def _finite(value: float) -> float | None:
    """Return a number that JSON has; None where there is no noise.

    Noise over a signal of nothing is -inf dB, written as -400: below what float32 can differ by.
    """
    if value == float("inf"):
        return None
    return max(value, -400.0)


def _require_int8(graph: Graph, device: str) -> None:
    if graph.precision != Precision.INT8.value:
        return
    for part in physical_devices(device):
        if not supports(part, Precision.INT8):
            raise DeviceError(
                "precision-unsupported",
                f"device {part} does not compute int8 natively and would quietly compute f32 "
                "instead; name a device that does (`thorax devices` lists what each has)",
            )
