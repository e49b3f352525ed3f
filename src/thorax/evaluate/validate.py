"""How good an artifact is on a store: AUROC with intervals, calibration, where it looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.artifact import Artifact, Precision
from thorax.benchmark.measurement import Speed
from thorax.data.store import Store
from thorax.devices.core import simulates
from thorax.devices.describe import describe, environment
from thorax.devices.engine import Engine, Outputs
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.forecast import forecast_engine
from thorax.errors import DataError
from thorax.evaluate.score import tabulate
from thorax.inference.heatmap_picture import peak
from thorax.inference.predictor import calibrate
from thorax.results.accuracy import Comparison, Pointing, Score, ValidationResult
from thorax.results.shared import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """An engine's answers on one split of a store.

    `indices`, int64 [N], are the images of the split that the engine was asked; probabilities are
    float64 [N,K], calibrated where the card says how. The score is AUROC with patient-bootstrap
    intervals, calibration error and curves, with so many resamples of patients; `pointing` are hits
    of the heat-map peak in lesion boxes, by finding; empty without heat maps.
    """

    engine: Engine
    store: Store
    split: str
    indices: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    score: Score
    pointing: dict[str, Pointing]
    samples: int


def open_engines(model: Artifact, others: Sequence[Artifact], device: str) -> list[Engine]:
    """Compile a model and what it is compared with, for the same device.

    A simulated card computes in the format of its bitstream. What a model on one is compared with
    runs on the CPU as its own precision says, so that the difference is what the card's format
    costs; FP11, which nothing else computes, stays on the card. Without any, the model is compared
    with itself so.

    Raises:
        DeviceError, ModelError: as `thorax.devices.engine.compile`.
    """
    engines = [compile_artifact(model, device, hint="throughput")]
    if simulates(device) and not others and model.card.precision is not Precision.FP11:
        others = [model]
    for other in others:
        apart = simulates(device) and other.card.precision is not Precision.FP11
        engines.append(compile_artifact(other, "CPU" if apart else device, hint="throughput"))
    return engines


def validate(
    engine: Engine,
    store: Store,
    *,
    split: str = "test",
    samples: int = 1000,
    on_progress: Callable[[int], None] | None = None,
) -> Validation:
    """Run a split of a store through an engine and score it.

    Raises:
        DataError: `split-empty`.
        UsageError: `store-side` or `store-labels` when store and model do not fit.
    """
    card = engine.artifact.card
    store.require(card.input.side, card.labels_as_set())
    indices = store.select(split)
    if not len(indices):
        raise DataError("split-empty", f"{store.path} has no images in its {split} split")
    outputs = engine.infer_many(store.images, indices, on_progress)
    probability = calibrate(outputs.probability, card)
    return Validation(
        engine=engine,
        store=store,
        split=split,
        indices=indices,
        probability=probability,
        score=tabulate(
            card.labels,
            store.labels[indices],
            probability,
            [store.patients[index] for index in indices],
            samples=samples,
        ),
        pointing=_pointing(engine, store, indices, outputs),
        samples=samples,
    )


def _pointing(
    engine: Engine, store: Store, indices: npt.NDArray[np.int64], outputs: Outputs
) -> dict[str, Pointing]:
    grid = engine.artifact.card.heatmap
    if outputs.heatmap is None or grid is None:
        return {}
    games = {}
    for column, name in enumerate(store.label_set.findings):
        peaks, boxes = [], []
        for row, index in enumerate(indices):
            lesions = [box for box in store.boxes[index] if box.finding == name]
            if lesions:
                peaks.append(peak(outputs.heatmap[row, column], grid))
                boxes.append([(box.x, box.y, box.width, box.height) for box in lesions])
        if peaks:
            games[name] = metrics.pointing_game(peaks, boxes)
    return games


def result_of(
    validation: Validation, against: Sequence[Validation] = (), speeds: Sequence[Speed] = ()
) -> ValidationResult:
    """Return the result of `thorax validate`.

    Others, on the same images, get their paired difference from the model; speeds are of the model
    and the others in that order, or none.
    """
    comparisons = tuple(
        _compare(validation, other, speeds[number : number + 1])
        for number, other in enumerate(against, 1)
    )
    result = ValidationResult(
        **_measured(validation, speeds[:1]),
        store=validation.store.path.name,
        split=validation.split,
        calibrated=validation.engine.artifact.card.calibration is not None,
        **dict(validation.score),
        pointing=validation.pointing,
        environment=environment(),
    )
    return result.model_copy(update={"against": comparisons}) if comparisons else result


def _measured(validation: Validation, speeds: Sequence[Speed]) -> dict[str, Any]:
    """Return the fields of `Measured`: the engine, its size and, where measured, its speed."""
    engine = validation.engine
    modelled = speeds[0].modelled if speeds else forecast_engine(engine)
    fields = {
        **dict(describe(engine)),
        "size_bytes": engine.artifact.card.size_bytes,
        "modelled": modelled,
    }
    for speed in speeds:
        fields["latency_ms"] = {"p50": speed.latency_s * 1e3}
        fields["images_per_s"] = speed.images_per_s
    return fields


def _compare(validation: Validation, other: Validation, speeds: Sequence[Speed]) -> Comparison:
    store = validation.store
    difference = metrics.bootstrap_difference(
        store.labels[validation.indices],
        validation.probability,
        other.probability,
        [store.patients[index] for index in validation.indices],
        samples=validation.samples,
    )
    return Comparison(
        **_measured(other, speeds),
        **dict(other.score),
        difference_is="against minus model",
        mean_difference=Interval.of(difference.mean),
        difference={
            name: Interval.of(bounds)
            for name, bounds in zip(store.label_set.findings, difference.labels, strict=True)
        },
    )
