"""Any model to an artifact: rewrite, lower the precision, compare, measure, write."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import artifact, metrics
from thorax.artifact import Accuracy, Artifact, Card, Precision
from thorax.data.rows import Images
from thorax.data.store import Store
from thorax.devices.core import open_core, supports
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import UsageError
from thorax.ir import rewrite
from thorax.ir.analyze import count_macs, count_parameters
from thorax.ir.compare import FP32_TOLERANCE, largest_difference, require_equal
from thorax.ir.load import Described, Source, load
from thorax.ir.quantize import quantize
from thorax.preprocess import InputSpec

_TOLERANCE: Final = {
    Precision.FP32: FP32_TOLERANCE,
    # Weights rounded to 11 and 8 significant bits, everything computed in FP32.
    Precision.FP16: 1e-2,
    Precision.BF16: 5e-2,
    # On probes unlike any radiograph INT8 may stray; its AUROC judges it.
    Precision.INT8: 1.0,
}
"""Largest difference of a probability on the probe images that is not taken for a broken graph."""


@dataclass(frozen=True, slots=True)
class Optimized:
    """An artifact and what its making showed.

    Attributes:
        artifact: verified, on disk.
        difference: largest difference of a probability from the source's on probe images.
        auroc_drop: mean AUROC of the FP32 graph minus this one's on the store's val split;
            None without a store, or where no device here computes the precision.
    """

    artifact: Artifact
    difference: float
    auroc_drop: float | None

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `thorax optimize`."""
        card = self.artifact.card
        return {
            "command": "optimize",
            "artifact": str(self.artifact.path),
            "model": card.name,
            "digest": card.digest,
            "precision": card.precision.value,
            "size_bytes": card.size_bytes,
            "parameters": card.parameters,
            "macs": card.macs,
            "auroc_drop": self.auroc_drop,
            "largest_difference": self.difference,
        }


def optimize(
    source: Path,
    out: Path,
    precision: Precision,
    *,
    store: Store | None = None,
    described: Described | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Optimized:
    """Convert a model and write its artifact to `out`; nothing is written unless all is well.

    With a store, the train split calibrates INT8 and the val split gives the card its AUROC,
    calibration and thresholds.

    Raises:
        ModelError: the source cannot be read, or the graph strays from it.
        UsageError: something the user must say is missing.
    """
    tell = on_progress or (lambda _: None)
    if precision is Precision.INT8 and store is None:
        raise UsageError(
            "calibration-missing", "int8 is calibrated on radiographs; give a store with --data"
        )
    tell("reading the model")
    loaded = load(source, described or Described())
    model, card = _rewrite(loaded, precision)
    if store is not None:
        store.require(card.input.side, card.labels_as_set())
    tell("comparing with the source")
    baseline = model.clone()
    difference = largest_difference(model, loaded.reference, mean=loaded.mean, std=loaded.std)
    require_equal(difference, tolerance=FP32_TOLERANCE, what=f"fp32 graph of {source.name}")
    if precision is Precision.INT8:
        assert store is not None
        tell("calibrating int8")
        model = quantize(model, store)
    elif precision is Precision.BF16:
        rewrite.store_weights_as_bf16(model)
    rewrite.write_model_info(model, card)
    with artifact.new_folder(out) as staging:
        ov.save_model(model, staging / artifact.XML, compress_to_fp16=precision is Precision.FP16)
        if precision is not Precision.FP32:
            written = open_core().read_model(staging / artifact.XML)
            difference = largest_difference(
                written, loaded.reference, mean=loaded.mean, std=loaded.std
            )
            require_equal(difference, tolerance=_TOLERANCE[precision], what=f"{precision} graph")
        sealed = artifact.seal(staging, card)
        if store is not None and supports("CPU", precision):
            tell("measuring AUROC on the val split")
            measured = _measure(Artifact(staging, sealed), baseline, store)
            if measured:
                sealed = artifact.seal(staging, sealed.model_copy(update=measured))
    return Optimized(artifact.load(out), difference, sealed.auroc_drop)


def _rewrite(source: Source, precision: Precision) -> tuple[ov.Model, Card]:
    model = source.model
    side = int(model.inputs[0].get_shape()[-1])
    logits, _ = rewrite.find_logits(model)
    head = rewrite.find_head(logits)
    grid = rewrite.heatmap_grid(head.features) if head else None
    rewrite.take_bytes(model, source.mean, source.std)
    rewrite.readable_names(model)
    model = rewrite.expose_outputs(model, logits, head, source.activation)
    model.set_friendly_name(source.topology)
    mean, std = float(source.mean.mean()), float(source.std.mean())
    card = Card(
        name=f"{source.topology}-{precision.value}",
        topology=source.topology,
        label_set=source.labels.name,
        labels=source.labels.findings,
        input=InputSpec(side, mean, std),
        precision=precision,
        activation=source.activation,
        heatmap=grid,
        parameters=count_parameters(model),
        macs=count_macs(model),
        size_bytes=0,
        provenance={**source.provenance, "openvino": ov.get_version()},
    )
    return model, card


def _probabilities(
    made: Artifact, images: Images, indices: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    engine = compile_artifact(made, "CPU", hint="throughput")
    return engine.infer_many(images, indices).probability


def _measure(made: Artifact, baseline: ov.Model, store: Store) -> dict[str, Any]:
    """Return the card's accuracy, calibration, thresholds and AUROC drop on the val split."""
    indices = store.select("val")
    labels = store.labels[indices]
    if not len(indices):
        return {}
    scores = _probabilities(made, store.images, indices)
    values = metrics.auroc(labels, scores)
    if not np.isfinite(values).any():
        return {}
    drop = 0.0
    if made.card.precision is not Precision.FP32:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ov.save_model(baseline, folder / artifact.XML, compress_to_fp16=False)
            plain = made.card.model_copy(update={"precision": Precision.FP32})
            baseline_scores = _probabilities(
                Artifact(folder, artifact.seal(folder, plain)), store.images, indices
            )
            drop = float(np.nanmean(metrics.auroc(labels, baseline_scores)) - np.nanmean(values))
    return {
        "accuracy": Accuracy(
            store=store.path.name,
            split="val",
            images=len(indices),
            mean_auroc=float(np.nanmean(values)),
            auroc={
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(made.card.labels, values, strict=True)
            },
        ),
        "auroc_drop": drop,
        **_operating_points(made.card.labels, labels, scores),
    }


def _operating_points(
    names: tuple[str, ...], labels: npt.NDArray[np.int8], scores: npt.NDArray[np.float32]
) -> dict[str, Any]:
    calibration, thresholds = {}, {}
    for column, name in enumerate(names):
        known = labels[:, column] >= 0
        truth, score = labels[known, column], scores[known, column].astype(np.float64)
        if not 0 < truth.sum() < len(truth):
            continue
        platt = metrics.fit_platt(truth, score)
        if not platt.slope > 0:
            # Too few images: a falling curve would turn the ranking around.
            platt = metrics.Platt(1.0, 0.0)
        calibration[name] = platt
        thresholds[name] = metrics.youden_threshold(truth, platt.apply(score))
    return {"calibration": calibration, "thresholds": thresholds}
