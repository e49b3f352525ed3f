"""AUROC and modelled speed of a network in falling precision on an FPGA overlay.

AUROC is computed: the network with the overlay's arithmetic, on radiographs. Speed is modelled: of
the fastest overlay of that precision that a board has room for.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import metrics
from thorax.artifact import Artifact, Precision
from thorax.data.store import Store
from thorax.devices.describe import environment
from thorax.devices.engine import PROBABILITY
from thorax.devices.graph import compile_graph
from thorax.devices.process_core import open_core
from thorax.errors import DataError, DeviceError, ModelError
from thorax.evaluate.validate import Bar
from thorax.fpga.architecture import Architecture, OverlayPrecision, Weights
from thorax.fpga.area import area
from thorax.fpga.boards import SOURCE, Board, board_power
from thorax.fpga.emulation import emulate
from thorax.fpga.formats import FORMATS
from thorax.fpga.overlay import estimate
from thorax.fpga.search import search
from thorax.fpga.weights import coarsen, replace_weights
from thorax.fpga.workload import LayerKind, WorkloadLayer, describe
from thorax.results.fpga import (
    PrecisionLadder,
    Reference,
    VariantOverlay,
    VariantResult,
)
from thorax.results.shared import Interval

Scores = npt.NDArray[np.float32]

_ARRAY: Final = (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION, LayerKind.FULLY_CONNECTED)


_PATIENTS: Final = 30
"""Patients below which no verdict is given on a difference (assumed)."""

_SIDES: Final = 2
"""Patients with a finding, and without, below which resampling knows no spread of its AUROC."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to compute a network on an overlay.

    `name` is what tables and plots call it, `precision` that of the numbers that are multiplied;
    `weights` are of the filters, as `precision` or of few values.
    """

    name: str
    precision: OverlayPrecision
    weights: Weights = "block"

    @property
    def exploratory(self) -> bool:
        """Whether no vendor's overlay computes so."""
        return self.weights != "block" or FORMATS[self.precision].exploratory


VARIANTS: Final = (
    Variant("FP16", "fp16"),
    Variant("FP13AGX", "fp13agx"),
    Variant("FP12AGX", "fp12agx"),
    Variant("FP11", "fp11"),
    Variant("FP9", "fp9"),
    Variant("FP8", "fp8"),
    Variant("Ternary", "fp11", "ternary"),
    Variant("Binary", "fp11", "binary"),
)
"""From the most bits to the fewest. The last two have filters of few values and all else FP11."""


@dataclass(frozen=True, slots=True)
class ExploreOptions:
    """Radiographs, image side and resamples of an exploration.

    Of the split of the store so many images are taken, evenly spaced, None takes all. Speed is
    modelled for images of `side` pixels, None that of the network; `samples` are bootstrap
    resamples of patients.
    """

    split: str
    images: int | None
    side: int | None
    samples: int


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """A network with the radiographs that judge it and the layers that an overlay computes."""

    artifact: Artifact
    store: Store
    indices: npt.NDArray[np.int64]
    layers: Sequence[WorkloadLayer]
    samples: int
    bar: Bar

    @property
    def labels(self) -> npt.NDArray[np.int8]:
        """Labels of the radiographs, int8 [N,K]."""
        return self.store.labels[self.indices]

    @property
    def patients(self) -> list[str]:
        """The patient of each radiograph."""
        return [self.store.patients[index] for index in self.indices]

    def scores(self, model: ov.Model, name: str) -> Scores:
        """Return the probabilities that a variant of the network answers."""
        with self.bar(f"asking {name}", len(self.indices)) as advance:
            return _answers(model, self.store, self.indices, advance)

    def judge(self, variant: Variant, board: Board, reference: Scores) -> VariantResult:
        """Return what a variant leaves of the network, and what it would bring on a board."""
        best = search(
            self.layers, board.family, precision=variant.precision, weights=variant.weights
        )
        model = _imitate(self.artifact, self.layers, variant, best.c_vector)
        scores = self.scores(model, variant.name)
        judged = self.labels, self.patients
        auroc = metrics.bootstrap_auroc(judged[0], scores, judged[1], samples=self.samples)
        difference = metrics.bootstrap_difference(
            judged[0], reference, scores, judged[1], samples=self.samples
        )
        return VariantResult(
            name=variant.name,
            precision=variant.precision,
            weights=variant.weights,
            exploratory=variant.exploratory,
            mean_auroc=Interval.of(auroc.mean),
            mean_difference=Interval.of(difference.mean),
            auroc_drop=Interval.of(difference.mean).negated(),
            difference_is="variant minus FP32",
            auroc=dict(
                zip(self.store.label_set.findings, map(Interval.of, auroc.labels), strict=True)
            ),
            pareto=False,
            modelled=self._modelled(best, board),
        )

    def _modelled(self, design: Architecture, board: Board) -> VariantOverlay:
        speed = estimate(self.layers, design)
        macs = sum(layer.macs for layer in self.layers if layer.kind in _ARRAY)
        power_w = board_power(board, design, speed.images_per_s * macs)
        return VariantOverlay(
            images_per_s=speed.images_per_s,
            latency_s=speed.latency_s,
            power_w=power_w,
            images_per_s_per_w=speed.images_per_s / power_w if power_w else None,
            utilization=speed.utilization,
            vectors=design.vectors,
            clock_hz=design.clock_hz,
            area=area(design),
            architecture=design.model_dump(mode="json", exclude_defaults=True),
            source="cycles and area of the overlay as modelled, for one image at a time; host and "
            "transfers not counted; " + (SOURCE if power_w else "power not published"),
        )


def explore(
    artifact: Artifact,
    store: Store,
    board: Board,
    options: ExploreOptions,
    *,
    variants: Sequence[Variant] = VARIANTS,
    bar: Bar,
) -> PrecisionLadder:
    """Compute a network in every precision, and model the overlay that each would run on.

    All layers with filters run in the precision, the first and the last too. Filters are rounded as
    they are: nothing is trained or calibrated after it. The artifact is of fp32 or fp16, the store
    has labels, and the board gives the device to fill, and power; `bar` shows progress, as
    `thorax.quantization.accuracy_budget.OnProgress.bar`.

    Raises:
        DeviceError: `precision-unsupported` for an artifact of another precision.
        DataError: `split-empty`.
        UsageError: `store-side`, `store-labels` or `split-name`.
        ModelError: as `describe`, `fpga-weights`, or `model-side` for a network that takes images
            of no other side.
    """
    card = artifact.card
    side = options.side or card.input.side
    subject = _subject(artifact, store, options, side, bar)
    labels, patients = subject.labels, subject.patients
    reference = subject.scores(_read(artifact), "FP32")
    judged = [subject.judge(variant, board, reference) for variant in variants]
    mean = metrics.bootstrap_auroc(labels, reference, patients, samples=options.samples).mean
    return PrecisionLadder(
        model=card.name,
        precision=card.precision.value,
        store=store.path.name,
        split=options.split,
        images=len(labels),
        patients=len(set(patients)),
        samples=options.samples,
        doubt=_doubt(labels, patients, card.labels),
        side=card.input.side,
        modelled_side=side,
        board=board.name,
        board_full_name=board.full_name,
        simulated=True,
        reference=Reference(precision="fp32", mean_auroc=Interval.of(mean)),
        variants=tuple(mark_front(judged)),
        environment=environment(),
    )


def _subject(
    artifact: Artifact, store: Store, options: ExploreOptions, side: int, bar: Bar
) -> _Subject:
    card = artifact.card
    if card.precision not in (Precision.FP32, Precision.FP16):
        raise DeviceError(
            "precision-unsupported",
            f"{artifact.path.name} is {card.precision}; an overlay computes in its own precision "
            "from floating point: give an artifact of fp32 or fp16",
        )
    store = store.relabelled(card.input.side, card.labels_as_set())
    indices = _spread(store.select(options.split), options.images)
    if not len(indices):
        raise DataError("split-empty", f"{store.path} has no images in its {options.split} split")
    layers = describe(_resized(artifact, side))
    return _Subject(artifact, store, indices, layers, options.samples, bar)


def worth(variant: VariantResult) -> float:
    """Return what a variant brings: images/s/W, or images/s where power is unknown."""
    return variant.modelled.images_per_s_per_w or variant.modelled.images_per_s


def mark_front(variants: Sequence[VariantResult]) -> Iterator[VariantResult]:
    """Yield variants, those marked that none beats in both AUROC and what it brings."""

    def mean(variant: VariantResult) -> float:
        value = variant.mean_auroc.value
        return math.nan if value is None else value

    front: list[VariantResult] = []
    for variant in sorted(variants, key=lambda variant: (-worth(variant), -mean(variant))):
        if not front or mean(variant) > mean(front[-1]):
            front.append(variant)
    for variant in variants:
        yield variant.model_copy(update={"pareto": variant in front})


def _read(artifact: Artifact) -> ov.Model:
    return open_core().read_model(artifact.xml, artifact.bin)


def _resized(artifact: Artifact, side: int) -> ov.Model:
    """Return the network for images of a side, whose layers are called the same."""
    model = _read(artifact)
    try:
        model.reshape([1, int(model.input(0).shape[1]), side, side])
    except RuntimeError as error:
        raise ModelError(
            "model-side",
            f"{artifact.path.name} takes images of {artifact.card.input.side} pixels a side, not "
            f"{side}; leave out --side",
        ) from error
    return model


def _spread(indices: npt.NDArray[np.int64], count: int | None) -> npt.NDArray[np.int64]:
    if count is None or count >= len(indices):
        return indices
    return indices[(np.arange(count) * len(indices)) // count]


def _doubt(
    labels: npt.NDArray[np.int8], patients: Sequence[str], findings: Sequence[str]
) -> str | None:
    """Return why radiographs are too few for a verdict, None where they are not.

    A finding that nobody has, or all have, has no AUROC and does not count.
    """
    owners = np.asarray(patients)
    count = len(set(patients))
    if count < _PATIENTS:
        return f"{count} patients, fewer than {_PATIENTS}"
    for column, name in enumerate(findings):
        sides = [len(set(owners[labels[:, column] == side])) for side in (1, 0)]
        if min(sides) and min(sides) < _SIDES:
            which = "with" if sides[0] < _SIDES else "without"
            return f"{min(sides)} patient {which} {name}"
    return None


def _imitate(
    artifact: Artifact, layers: Sequence[WorkloadLayer], variant: Variant, block: int
) -> ov.Model:
    model = _read(artifact)
    names = [layer.name for layer in layers if layer.kind in _ARRAY]
    few = {} if variant.weights == "block" else coarsen(model, names, variant.weights)
    # Sums of maps pass the array too; it is the emulation that knows them from biases.
    every = {name for layer in layers for name in (layer.name, *layer.fused)}
    emulate(model, every, precision=variant.precision, block=block)
    # After, so that their scales are not rounded: an overlay would apply them to the sums.
    replace_weights(model, few)
    return model


def _answers(
    model: ov.Model,
    store: Store,
    indices: npt.NDArray[np.int64],
    advance: Callable[[int], None],
) -> Scores:
    """Return float32 [N,K], the probabilities of each image, computed in f32 on the CPU."""
    compiled = compile_graph(model, "CPU", hint="throughput")
    answers: dict[int, Scores] = {}

    def keep(request: ov.InferRequest, row: int) -> None:
        answers[row] = request.get_tensor(PROBABILITY).data[0].copy()
        advance(1)

    requests = ov.AsyncInferQueue(compiled)
    requests.set_callback(keep)
    for row, index in enumerate(indices):
        requests.start_async({0: np.asarray(store.images[index])[None, None]}, row)
    requests.wait_all()
    # By row, so that one that is missing cannot shift the others against their labels.
    return np.stack([answers[row] for row in range(len(indices))])
