"""The promise of falling precision, tried: what is left of a network, and what it would bring.

What is left is computed: the network with the overlay's arithmetic, on radiographs. What it would
bring is modelled: the fastest overlay of that precision that a board has room for.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Final

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
from thorax.evaluate.score import interval_document
from thorax.fpga import power
from thorax.fpga.architecture import Architecture, OverlayPrecision, Weights
from thorax.fpga.area import Area, area
from thorax.fpga.boards import Board
from thorax.fpga.emulation import emulate
from thorax.fpga.formats import FORMATS
from thorax.fpga.overlay import Estimate, estimate
from thorax.fpga.search import search
from thorax.fpga.weights import coarsen, replace_weights
from thorax.fpga.workload import Layer, LayerKind, describe
from thorax.metrics import Intervals

Scores = npt.NDArray[np.float32]
Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

_ARRAY: Final = (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION, LayerKind.FULLY_CONNECTED)


_PATIENTS: Final = 30
"""Patients below which no verdict is given on a difference (assumed)."""

_SIDES: Final = 2
"""Patients with a finding, and without, below which resampling knows no spread of its AUROC."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to compute a network on an overlay.

    Attributes:
        name: what tables and plots call it.
        precision: of the numbers that are multiplied.
        weights: of the filters, as `precision` or of few values.
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


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What one variant leaves of a network, computed, and what it would bring, modelled.

    Attributes:
        variant: which.
        auroc: of each finding and their mean, with patient-bootstrap intervals.
        difference: of those from the FP32 network's, paired.
        architecture: the fastest that fits.
        area: what that takes of the device.
        estimate: of the network on it.
        power_w: of the board at that rate, None where no figures of it are published.
    """

    variant: Variant
    auroc: Intervals
    difference: Intervals
    architecture: Architecture
    area: Area
    estimate: Estimate
    power_w: float | None

    @property
    def images_per_s_per_w(self) -> float | None:
        """Per watt of the board."""
        return self.estimate.images_per_s / self.power_w if self.power_w else None

    @property
    def worth(self) -> float:
        """What a variant brings: images/s/W, or images/s where power is unknown."""
        return self.images_per_s_per_w or self.estimate.images_per_s


@dataclass(frozen=True, slots=True, eq=False)
class Exploration:
    """Every variant of one network.

    Attributes:
        artifact: the network.
        store: radiographs that it was asked about.
        split: which of them.
        images: how many of the split.
        patients: of how many patients.
        samples: bootstrap resamples of patients.
        side: of the images that speed is modelled for, pixels.
        board: that has the overlays.
        reference: AUROC of the FP32 network.
        trials: one a variant.
        doubt: why the data allow no verdict on a difference, None where they do.
    """

    artifact: Artifact
    store: Store
    split: str
    images: int
    patients: int
    samples: int
    side: int
    board: Board
    reference: Intervals
    trials: tuple[Trial, ...]
    doubt: str | None

    def pareto(self) -> tuple[Trial, ...]:
        """Return the trials that none beats in both AUROC and worth, the most worth last."""
        front: list[Trial] = []
        for trial in sorted(self.trials, key=lambda one: (-one.worth, -one.auroc.mean.value)):
            if not front or trial.auroc.mean.value > front[-1].auroc.mean.value:
                front.append(trial)
        return tuple(reversed(front))


def explore(
    artifact: Artifact,
    store: Store,
    board: Board,
    *,
    split: str = "val",
    images: int | None = None,
    side: int | None = None,
    samples: int = 1000,
    variants: Sequence[Variant] = VARIANTS,
    bar: Bar,
) -> Exploration:
    """Compute a network in every precision, and model the overlay that each would run on.

    All layers with filters run in the precision, the first and the last too. Filters are rounded
    as they are: nothing is trained or calibrated after it.

    Args:
        artifact: of fp32 or fp16.
        store: radiographs with labels.
        board: gives the device to fill, and power.
        split: of the store.
        images: how many of the split, evenly spaced; None takes all.
        side: of the images that speed is modelled for, pixels; None: that of the network.
        samples: bootstrap resamples of patients.
        variants: what to try.
        bar: shows progress, as `thorax.quantization.accuracy_budget.OnProgress.bar`.

    Raises:
        DeviceError: `precision-unsupported` for an artifact of another precision.
        DataError: `split-empty`.
        UsageError: `store-side`, `store-labels` or `split-name`.
        ModelError: as `describe`, `fpga-weights`, or `model-side` for a network that takes images
            of no other side.
    """
    card = artifact.card
    if card.precision not in (Precision.FP32, Precision.FP16):
        raise DeviceError(
            "precision-unsupported",
            f"{artifact.path.name} is {card.precision}; an overlay computes in its own precision "
            "from floating point: give an artifact of fp32 or fp16",
        )
    store.require(card.input.side, card.labels_as_set())
    indices = _spread(store.select(split), images)
    if not len(indices):
        raise DataError("split-empty", f"{store.path} has no images in its {split} split")
    labels = store.labels[indices]
    patients = [store.patients[index] for index in indices]
    layers = describe(_resized(artifact, side or card.input.side))
    macs = sum(layer.macs for layer in layers if layer.kind in _ARRAY)

    def ask(model: ov.Model, name: str) -> Scores:
        with bar(f"asking {name}", len(indices)) as advance:
            return _answers(model, store, indices, advance)

    reference = ask(_read(artifact), "FP32")
    trials = []
    for variant in variants:
        best = search(layers, board.family, precision=variant.precision, weights=variant.weights)
        scores = ask(_imitate(artifact, layers, variant, best.c_vector), variant.name)
        modelled = estimate(layers, best)
        trials.append(
            Trial(
                variant,
                metrics.bootstrap_auroc(labels, scores, patients, samples=samples),
                metrics.bootstrap_difference(labels, reference, scores, patients, samples=samples),
                best,
                area(best),
                modelled,
                power.board_power(board, best, modelled.images_per_s * macs),
            )
        )
    return Exploration(
        artifact,
        store,
        split,
        len(indices),
        len(set(patients)),
        samples,
        side or card.input.side,
        board,
        metrics.bootstrap_auroc(labels, reference, patients, samples=samples),
        tuple(trials),
        _doubt(labels, patients, store.label_set.findings),
    )


def document(found: Exploration) -> dict[str, Any]:
    """Return the JSON document of `thorax fpga explore`."""
    front = found.pareto()
    findings = found.store.label_set.findings
    return {
        "command": "fpga explore",
        "model": found.artifact.card.name,
        "precision": found.artifact.card.precision.value,
        "store": found.store.path.name,
        "split": found.split,
        "images": found.images,
        "patients": found.patients,
        "samples": found.samples,
        "doubt": found.doubt,
        "side": found.artifact.card.input.side,
        "modelled_side": found.side,
        "board": found.board.name,
        "board_full_name": found.board.full_name,
        "simulated": True,
        "reference": {
            "precision": "fp32",
            "mean_auroc": interval_document(found.reference.mean),
        },
        "variants": [
            {
                "name": trial.variant.name,
                "precision": trial.variant.precision,
                "weights": trial.variant.weights,
                "exploratory": trial.variant.exploratory,
                "mean_auroc": interval_document(trial.auroc.mean),
                "mean_difference": interval_document(trial.difference.mean),
                "difference_is": "variant minus FP32",
                "auroc": {
                    name: interval_document(one)
                    for name, one in zip(findings, trial.auroc.labels, strict=True)
                },
                "pareto": trial in front,
                "modelled": _modelled(trial),
            }
            for trial in found.trials
        ],
        "environment": environment().model_dump(),
    }


def _modelled(trial: Trial) -> dict[str, Any]:
    one = trial.architecture
    return {
        "images_per_s": trial.estimate.images_per_s,
        "latency_s": trial.estimate.latency_s,
        "power_w": trial.power_w,
        "images_per_s_per_w": trial.images_per_s_per_w,
        "utilization": trial.estimate.utilization,
        "vectors": [one.p_vector, one.q_vector, one.c_vector, one.k_vector],
        "clock_hz": one.clock_hz,
        "area": asdict(trial.area),
        "architecture": one.model_dump(mode="json", exclude_defaults=True),
        "source": "cycles and area of the overlay as modelled, for one image at a time; host and "
        "transfers not counted; " + (power.SOURCE if trial.power_w else "power not published"),
    }


def _read(artifact: Artifact) -> ov.Model:
    return open_core().read_model(artifact.xml, artifact.bin)


def _resized(artifact: Artifact, side: int) -> ov.Model:
    """Return the network for images of a side, whose layers are called the same.

    Raises:
        ModelError: `model-side`.
    """
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
    """Return so many of the indices, evenly spaced."""
    if count is None or count >= len(indices):
        return indices
    return indices[(np.arange(count) * len(indices)) // count]


def _doubt(
    labels: npt.NDArray[np.int8], patients: Sequence[str], findings: Sequence[str]
) -> str | None:
    """Return why radiographs are too few for a verdict, None where they are not.

    A finding that nobody has, or all have, has no AUROC and does not count.

    Args:
        labels: int8 [N,K], 1 / 0 / -1 (unknown).
        patients: N identifiers.
        findings: K names.
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


def _imitate(artifact: Artifact, layers: Sequence[Layer], variant: Variant, block: int) -> ov.Model:
    """Return the network with the arithmetic of an overlay."""
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
