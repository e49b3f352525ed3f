"""How good an artifact is on a store: AUROC with intervals, calibration, where it looks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.artifact import Artifact, HeatmapGrid, Precision
from thorax.benchmark.measurement import Speed, side_by_side
from thorax.data.store import Store
from thorax.devices.core import simulates
from thorax.devices.describe import describe, environment
from thorax.devices.engine import Engine, Outputs
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.forecast import forecast_engine
from thorax.errors import DataError, UsageError
from thorax.evaluate import pointing
from thorax.evaluate.flips import Answers, flips
from thorax.evaluate.score import tabulate
from thorax.inference.operating_points import OperatingPoints
from thorax.inference.predictor import calibrate
from thorax.labels import LabelSet
from thorax.results.accuracy import (
    Comparison,
    Measured,
    MedianLatency,
    Pointed,
    Score,
    ValidationResult,
)
from thorax.results.shared import Interval

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Takes what is done and of how many images; yields what takes how many more are done."""

MeasuredT = TypeVar("MeasuredT", bound=Measured)
PointedT = TypeVar("PointedT", bound=Pointed)


def silent(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show nothing."""
    return nullcontext(lambda count: None)


@dataclass(frozen=True, slots=True)
class Scope:
    """Findings that can be scored of a model on a store.

    Attributes:
        columns: of the model's answers.
        findings: their names, as the model has them.
        unlabelled: those of the model that the store has no labels of.
        unanswered: those of the store that the model does not answer.
        uncompared: those that both have, and another model of a comparison has not.
    """

    columns: tuple[int, ...]
    findings: tuple[str, ...]
    unlabelled: tuple[str, ...]
    unanswered: tuple[str, ...]
    uncompared: tuple[str, ...]

    @classmethod
    def of(cls, answers: LabelSet, labelled: LabelSet, others: Sequence[LabelSet]) -> "Scope":
        """Return what a model with these answers, and all others, can be scored on.

        Raises:
            UsageError: `labels-differ` where models share no finding that the store labels.
        """
        overlap = answers.overlap(labelled)
        names = {column: answers.findings[column] for column in overlap.columns}
        shared = {
            column: name
            for column, name in names.items()
            if all(other.find(name) is not None for other in others)
        }
        if names and not shared:
            raise UsageError(
                "labels-differ",
                f"the models share no finding that the store labels; one answers "
                f"{', '.join(answers.findings)}; compare models of the same findings",
            )
        return cls(
            tuple(shared),
            tuple(shared.values()),
            overlap.alone,
            overlap.foreign,
            tuple(name for column, name in names.items() if column not in shared),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """An engine's answers on one split of a store.

    `indices`, int64 [N], are the images of the split that the engine was asked. `scope` has the K
    findings that it answers and the store labels, in the engine's order, and what only one of them
    has; labels are int8 [N,K], 1 / 0 / -1, and probabilities float64 [N,K], calibrated where the
    card says how; `raw` are those before, float32 [N,K]. The score is AUROC with patient-bootstrap
    intervals, calibration error and curves, with so many resamples of patients; `games` are hits
    of the heat-map peak in lesion boxes; empty without heat maps.
    """

    engine: Engine
    store: Store
    split: str
    indices: npt.NDArray[np.int64]
    scope: Scope
    labels: npt.NDArray[np.int8]
    probability: npt.NDArray[np.float64]
    raw: npt.NDArray[np.float32]
    score: Score
    games: pointing.Games
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
    engines: Sequence[Engine],
    store: Store,
    *,
    split: str = "test",
    samples: int = 1000,
    timed: bool = False,
    say: Callable[[str], None] = lambda text: None,
    bar: Bar = silent,
) -> ValidationResult:
    """Validate an engine, the first, on a split of a store, and compare the others with it.

    Patients are resampled `samples` times; `timed` also measures the speed of all in turns.

    Raises:
        DataError: `split-empty`.
        UsageError: `store-side` or `store-labels` when store and model do not fit;
            `labels-differ` for models that share no finding.
    """
    answers = [engine.artifact.card.labels_as_set() for engine in engines]
    first, *others = (
        score_split(engine, store, split=split, samples=samples, others=answers, bar=bar)
        for engine in engines
    )
    speeds = []
    if timed:
        say(f"timing {len(engines)} artifacts in turns on {engines[0].device}")
        speeds = side_by_side(engines)
    return validation_result(first, others, speeds, bar=bar)


def validate_each(engines: Iterable[Engine], store: Store) -> Iterator[ValidationResult]:
    """Yield the validation of each engine on the test split, compared with that of the first.

    Raises:
        DataError, UsageError: as `validate`.
    """
    reference: list[Validation] = []
    for engine in engines:
        validation = score_split(engine, store)
        yield validation_result(validation, reference)
        reference = reference or [validation]


def score_split(
    engine: Engine,
    store: Store,
    *,
    split: str = "test",
    samples: int = 1000,
    others: Sequence[LabelSet] = (),
    bar: Bar = silent,
) -> Validation:
    """Run a split of a store through an engine and score it, with so many resamples of patients.

    Findings are those that the engine answers, the store labels, and all others have.

    Raises:
        DataError, UsageError: as `validate`.
    """
    card = engine.artifact.card
    scope = Scope.of(card.labels_as_set(), store.label_set, others)
    store = store.relabelled(card.input.side, card.labels_as_set())
    indices = store.select(split)
    if not len(indices):
        raise DataError("split-empty", f"{store.path} has no images in its {split} split")
    with bar(f"validating {card.name}", len(indices)) as advance:
        outputs = engine.infer_many(store.images, indices, advance)
    columns = list(scope.columns)
    probability = calibrate(outputs.probability, card)[:, columns]
    labels = store.labels[indices][:, columns]
    return Validation(
        engine=engine,
        store=store,
        split=split,
        indices=indices,
        scope=scope,
        labels=labels,
        probability=probability,
        raw=outputs.probability[:, columns],
        score=tabulate(
            scope.findings,
            labels,
            probability,
            [store.patients[index] for index in indices],
            samples=samples,
        ),
        games=_games(outputs, card.heatmap, store, indices, scope, samples=samples),
        samples=samples,
    )


def _games(
    outputs: Outputs,
    grid: HeatmapGrid | None,
    store: Store,
    indices: npt.NDArray[np.int64],
    scope: Scope,
    *,
    samples: int,
) -> pointing.Games:
    if outputs.heatmap is None or grid is None:
        return pointing.Games({}, None)
    maps = outputs.heatmap[:, list(scope.columns)]
    return pointing.point(maps, grid, store, indices, scope.findings, samples=samples)


def _with_pointing(result: PointedT, validation: Validation) -> PointedT:
    """Return a result with what heat maps of its artifact are, and where they point."""
    facts = {
        "heatmap_kind": validation.engine.artifact.card.heatmap_kind,
        "pointing_mean": validation.games.mean,
    }
    stated = {key: fact for key, fact in facts.items() if fact}
    return result.model_copy(update={"pointing": validation.games.by_finding, **stated})


def validation_result(
    validation: Validation,
    against: Sequence[Validation] = (),
    speeds: Sequence[Speed] = (),
    *,
    bar: Bar = silent,
) -> ValidationResult:
    """Return the result of a validation.

    Others, on the same images, get their paired difference from the model, and what they call
    otherwise; speeds are of the model and the others in that order, or none.
    """
    engine = validation.engine
    result = ValidationResult(
        **dict(describe(engine)),
        **dict(validation.score),
        size_bytes=engine.artifact.card.size_bytes,
        modelled=forecast_engine(engine),
        store=validation.store.path.name,
        split=validation.split,
        calibrated=engine.artifact.card.calibration is not None,
        environment=environment(),
        images_sha256=validation.store.sources_sha256(validation.split),
        unlabelled=validation.scope.unlabelled,
        unanswered=validation.scope.unanswered,
        uncompared=validation.scope.uncompared,
    )
    result = _with_pointing(result, validation)
    others = tuple(
        _timed(_with_pointing(_compare(validation, other), other), speeds[number : number + 1])
        for number, other in enumerate(against, 1)
    )
    if others:
        answers = [
            _answers(each, validation.scope.findings, bar) for each in (validation, *against)
        ]
        others = tuple(
            _with_flips(other, answers[0], each)
            for other, each in zip(others, answers[1:], strict=True)
        )
    result = _timed(result, speeds[:1])
    return result.model_copy(update={"against": others}) if others else result


def _timed(result: MeasuredT, speeds: Sequence[Speed]) -> MeasuredT:
    """Return a result with its speed, if there is one."""
    for speed in speeds:
        measured = {"images_per_s": speed.images_per_s, "modelled": speed.modelled}
        latency = MedianLatency(p50=speed.latency_s * 1e3)
        result = result.model_copy(update={**measured, "latency_ms": latency})
    return result


def _compare(validation: Validation, other: Validation) -> Comparison:
    """Return how another differs; what runs off a card is the reference of a model on one."""
    store = validation.store
    findings = LabelSet("other", other.scope.findings)
    columns = [findings.index(name) for name in validation.scope.findings]
    difference = metrics.bootstrap_difference(
        validation.labels,
        validation.probability,
        other.probability[:, columns],
        [store.patients[index] for index in validation.indices],
        samples=validation.samples,
    )
    mean = Interval.of(difference.mean)
    by_finding = {
        name: Interval.of(bounds)
        for name, bounds in zip(validation.scope.findings, difference.labels, strict=True)
    }
    from_other = validation.engine.simulated and not other.engine.simulated
    drops = by_finding if from_other else {name: one.negated() for name, one in by_finding.items()}
    return Comparison(
        **dict(describe(other.engine)),
        **dict(other.score),
        size_bytes=other.engine.artifact.card.size_bytes,
        modelled=forecast_engine(other.engine),
        difference_is="against minus model",
        mean_difference=mean,
        difference=by_finding,
        auroc_drop=mean if from_other else mean.negated(),
        auroc_drop_is="against minus model" if from_other else "model minus against",
        auroc_drop_by_finding=drops,
    )


def _answers(validation: Validation, findings: Sequence[str], bar: Bar) -> Answers:
    """Return what an engine answered on these findings, with its operating points.

    Those of the card, where it was judged in what the engine computes in. A simulated card computes
    in another format than the artifact was judged in, and an artifact may have none: then they are
    chosen on the val split of the store, if it has one, by what the engine answers.
    """
    engine, store = validation.engine, validation.store
    card, own = engine.artifact.card, LabelSet("own", validation.scope.findings)
    places = [own.index(name) for name in findings]
    columns = [validation.scope.columns[place] for place in places]
    indices = store.select("val")
    val = _val_scores(validation, indices, bar)[:, columns] if len(indices) else None
    points, source = OperatingPoints.of(card), f"card of {card.name}"
    if points is None or (engine.simulated and card.precision is not Precision.FP11):
        points, source = None, ""
        if val is not None:
            points = OperatingPoints.fit(findings, store.labels[indices][:, columns], val)
            source = f"val split of {store.path.name}"
    name = f"{card.name} on {engine.device}"
    return Answers(name, validation.raw[:, places], points, source, val)


def _val_scores(
    validation: Validation, indices: npt.NDArray[np.int64], bar: Bar
) -> npt.NDArray[np.float32]:
    engine, store = validation.engine, validation.store
    what = f"asking {engine.artifact.card.name} for the val split"
    with bar(what, len(indices)) as advance:
        return engine.infer_many(store.images, indices, advance).probability


def _with_flips(comparison: Comparison, model: Answers, other: Answers) -> Comparison:
    """Return a comparison with what the two call otherwise."""
    pair = (other, model) if comparison.is_reference else (model, other)
    found = flips(list(comparison.difference), *pair)
    return comparison if found is None else comparison.model_copy(update={"flips": found})
