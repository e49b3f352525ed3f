"""Which layers part two models of one network, and which of them are to blame."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.artifact import Precision
from thorax.devices.core import physical_devices, supports
from thorax.errors import DeviceError, ModelError, UsageError
from thorax.ir.compare import probe_images
from thorax.ir.graphs import Graph
from thorax.ir.layerwise import Comparison, LayerError, Place, compare_layers

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


def feed(graph: Graph, images: npt.NDArray[np.uint8] | None, *, count: int) -> npt.NDArray[Any]:
    """Return images as a graph takes them: [N,...] of its input's type.

    An input of bytes takes them as `prepare` makes them, one of floats on the scale 0 to 1, the
    grey value in each of its channels.

    Args:
        graph: with one input that is an image.
        images: uint8 [N,1,S,S]; None takes the fixed probe images.
        count: of probe images.

    Raises:
        ModelError: `compare-input` for a graph that takes no square image.
        UsageError: `compare-images` for images of another side.
    """
    side, channels_last = image_side(graph), graph.layout == "NHWC"
    if images is None:
        images = probe_images(side, count=count)
    if images.shape[-1] != side:
        raise UsageError(
            "compare-images",
            f"the images are {images.shape[-1]} pixels wide, {graph.name} takes {side}; prepare "
            "them for this model",
        )
    port = graph.model.inputs[0]
    shape = list(port.get_shape())
    wide = np.repeat(images, shape[3 if channels_last else 1], axis=1)
    if channels_last:
        wide = wide.transpose(0, 2, 3, 1)
    if port.get_element_type().is_real():
        return np.asarray(wide, np.float32) / np.float32(255)
    return wide


def image_side(graph: Graph) -> int:
    """Return the side of the image that a graph takes, pixels.

    Raises:
        ModelError: `compare-input`.
    """
    shapes = [list(port.get_shape()) for port in graph.model.inputs]
    square = slice(1, 3) if graph.layout == "NHWC" else slice(2, 4)
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(set(shapes[0][square])) != 1:
        raise ModelError(
            "compare-input",
            f"{graph.name} takes {', '.join(map(str, shapes))}; models of one square image "
            "[1,C,S,S] or [1,S,S,C] can be compared",
        )
    return int(shapes[0][square][0])


def require_pair(first: Graph, second: Graph) -> None:
    """Refuse two models that are not of one network.

    Raises:
        ModelError: `compare-shape` or `compare-labels`.
    """
    shapes = [list(graph.model.inputs[0].get_shape()) for graph in (first, second)]
    if shapes[0] != shapes[1]:
        raise ModelError(
            "compare-shape",
            f"{first.name} takes {shapes[0]} and {second.name} {shapes[1]}; compare models of one "
            "network",
        )
    labels = [graph.card.labels if graph.card else None for graph in (first, second)]
    if None not in labels and labels[0] != labels[1]:
        raise ModelError(
            "compare-labels",
            f"{first.name} finds {', '.join(labels[0] or ())} and {second.name} "
            f"{', '.join(labels[1] or ())}; compare models of one network",
        )


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
        images: uint8 [N,1,S,S]; None takes the fixed probe images.
        devices: where each runs.
        compute: arithmetic of floating-point layers in place of what the cards say.
        count: of probe images.
        on_progress: as `compare_layers`.

    Raises:
        ModelError: as `require_pair`, `feed` and `compare_layers`.
        UsageError: as `feed`.
        DeviceError: as `compile_graph`, `precision-unsupported` for INT8 where there is none.
    """
    require_pair(first, second)
    places = []
    for graph, device in zip((first, second), devices, strict=True):
        _require_int8(graph, device)
        places.append(Place(device, compute or graph.compute))
    fed = feed(first, images, count=count)
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
