"""Any model to an artifact: rewrite, lower the precision, judge, choose, write."""

import difflib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import openvino as ov

from thorax import artifact
from thorax.analysis.compare import FP32_TOLERANCE, largest_difference, require_equal
from thorax.analysis.cost import count_macs, count_parameters
from thorax.artifact import Artifact, Card, Precision
from thorax.data.store import Store
from thorax.devices.core import physical_devices, takes
from thorax.devices.engine import HEATMAP
from thorax.devices.extensions import custom_layers
from thorax.errors import DataError, UsageError
from thorax.images.preprocess import InputSpec
from thorax.ir import rewrite
from thorax.ir.grid import heatmap_grid
from thorax.ir.heads import find_head, find_logits
from thorax.ir.open import Described, Source, load
from thorax.metrics import Intervals
from thorax.quantization import fp11
from thorax.quantization.accuracy_budget import Guard, Watcher, check_budget
from thorax.quantization.candidates import Workshop
from thorax.quantization.card_accuracy import interval_document, measured
from thorax.quantization.choose import Chooser
from thorax.quantization.mixed_precision import kernel_layers

Wanted = Precision | Literal["auto"]

AUTO: Final = "auto"
"""In place of a precision: the fastest of the device that keeps the budget."""

AUTO_BUDGET: Final = 0.002
"""Drop of the mean AUROC that `AUTO` allows where none is said."""


@dataclass(frozen=True, slots=True)
class Optimized:
    """An artifact and what its making showed.

    Attributes:
        artifact: verified, on disk.
        rewritten: what became of the source's graph.
        difference: largest difference of a probability from the source's on probe images.
        auroc_drop: mean AUROC of the FP32 graph minus this one's on the store's val split;
            None without a store, or where the device does not compute the precision.
        bounds: that drop of each finding and of the mean, with intervals; None likewise.
        budget: largest drop that was allowed; None where nothing was asked.
        why: the choice of the precision on one line; None where it was the user's.
    """

    artifact: Artifact
    rewritten: rewrite.Rewritten
    difference: float
    auroc_drop: float | None
    bounds: Intervals | None = None
    budget: float | None = None
    why: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `thorax optimize`."""
        card, bounds = self.artifact.card, self.bounds
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
            "auroc_drop_interval": interval_document(bounds.mean) if bounds else None,
            "auroc_drop_by_finding": {
                name: interval_document(one)
                for name, one in zip(card.labels, bounds.labels if bounds else (), strict=False)
            },
            "max_auroc_drop": self.budget,
            "kept": list(card.kept),
            "tried": [trial.model_dump(mode="json") for trial in card.tried],
            "why": self.why,
            "largest_difference": self.difference,
            "rewritten": self.rewritten.document(),
        }


def optimize(
    source: Path,
    out: Path,
    precision: Wanted,
    *,
    store: Store | None = None,
    described: Described | None = None,
    max_auroc_drop: float | None = None,
    keep: Sequence[str] = (),
    device: str = "CPU",
    watcher: Watcher | None = None,
) -> Optimized:
    """Convert a model and write its artifact to `out`; nothing is written unless all is well.

    With a store, the train split calibrates INT8 and the val split judges, and gives the card its
    AUROC, calibration and thresholds.

    Args:
        source: a checkpoint, or a file of any known format.
        out: folder of the artifact.
        precision: the one wanted, or "auto" for the fastest of the device that keeps the budget.
        store: labelled radiographs.
        described: what a foreign file does not say of itself.
        max_auroc_drop: budget of the mean AUROC on the val split. None lets a precision that was
            named cost what it does, and means `AUTO_BUDGET` to "auto".
        keep: layers that INT8 leaves in floating point whatever else.
        device: what candidates are judged and timed on.
        watcher: is told how it goes.

    Raises:
        ModelError: the source cannot be read, the graph strays from it, `artifact-exists` or
            `auroc-budget`.
        UsageError: something the user must say is missing, or `fp11-card`.
        DataError: the store has no val split that could judge by a budget.
        DeviceError: the device is absent, or does not compute what a budget is to judge.
    """
    watcher = watcher or Watcher()
    budget = AUTO_BUDGET if precision == AUTO and max_auroc_drop is None else max_auroc_drop
    _check(precision, store, budget, keep)
    _check_place(source, out)
    physical_devices(device)
    _check_judge(precision, store, device)
    watcher.say("reading the model")
    loaded = load(source, described or Described())
    model, card, rewritten = _rewrite(loaded)
    watcher.say(rewritten.line())
    if store is not None:
        store.require(card.input.side, card.labels_as_set())
    _check_layers(model, keep)
    watcher.say("comparing with the source")
    difference = largest_difference(model, loaded.reference, mean=loaded.mean, std=loaded.std)
    require_equal(difference, tolerance=FP32_TOLERANCE, what=f"fp32 graph of {source.name}")
    with artifact.new_folder(out) as staging:
        # Candidates are written where the artifact will be: the chosen one need not be copied.
        folder = staging / "candidates"
        with artifact.writing(out):
            folder.mkdir()
        block = fp11.block_of(device)
        workshop = Workshop(folder, loaded, model, card, block=block)
        guard = _guard(workshop, store, device, watcher, needed=budget is not None)
        chooser = Chooser(workshop, store, guard, watcher, asked=tuple(keep))
        if precision == AUTO:
            assert budget is not None
            choice = chooser.fastest(budget)
        else:
            choice = chooser.named(Precision(precision), budget)
        made = choice.candidate.artifact
        facts = measured(guard, choice.verdict, made.card.labels) | {"tried": choice.tried}
        with artifact.writing(out):
            for name in (artifact.XML, artifact.BIN):
                (made.path / name).replace(staging / name)
            shutil.rmtree(folder)
        artifact.seal(staging, made.card.model_copy(update=facts))
    return Optimized(
        artifact=artifact.load(out),
        rewritten=rewritten,
        difference=choice.candidate.difference,
        auroc_drop=choice.verdict.drop if choice.verdict else None,
        bounds=choice.bounds,
        budget=budget,
        why=choice.why,
    )


def _check(
    precision: Wanted, store: Store | None, budget: float | None, keep: Sequence[str]
) -> None:
    check_budget(budget)
    if store is None and precision == Precision.INT8:
        raise UsageError(
            "calibration-missing", "int8 is calibrated on radiographs; give a store with --data"
        )
    if store is None and budget is not None:
        raise UsageError(
            "auroc-budget-data",
            "what a precision costs in AUROC is judged on radiographs; give a store with --data",
        )
    if keep and precision not in (Precision.INT8, AUTO):
        raise UsageError(
            "keep-precision",
            f"--keep names layers that int8 leaves in floating point, but --precision is "
            f"{precision}; leave out one of them",
        )


def _check_judge(precision: Wanted, store: Store | None, device: str) -> None:
    """Refuse radiographs that would judge FP11 where nothing computes it.

    Raises:
        UsageError: `fp11-card`.
    """
    if precision == Precision.FP11 and store is not None and not takes(device, Precision.FP11):
        raise UsageError(
            "fp11-card",
            f"fp11 is judged on an FPGA card, and -d {device} names none; give "
            "-d HETERO:FPGA,CPU, or leave out --data (and --max-auroc-drop)",
        )


def _check_place(source: Path, out: Path) -> None:
    artifact.require_place(out)
    real = Path(os.path.realpath(source))
    if out.exists() and Path(os.path.realpath(out)) in (real, real.parent):
        raise UsageError(
            "optimize-place",
            f"--out {out} is where the source is, which would be lost; give another --out",
        )


def _check_layers(model: ov.Model, keep: Sequence[str]) -> None:
    layers = kernel_layers(model)
    for name in keep:
        if name not in layers:
            near = difflib.get_close_matches(name, layers, 3, cutoff=0) or ["none"]
            raise UsageError(
                "keep-layer",
                f"--keep names {name!r}, but no layer with weights is called so; of "
                f"{len(layers)} the nearest are {', '.join(near)}",
            )


def _guard(
    workshop: Workshop, store: Store | None, device: str, watcher: Watcher, *, needed: bool
) -> Guard | None:
    """Return what judges; None where nothing can and no budget needs it."""
    if store is None:
        return None
    try:
        return Guard(store, workshop.fp32().artifact, device=device, watcher=watcher)
    except DataError:
        if needed:
            raise
        return None


def _rewrite(source: Source) -> tuple[ov.Model, Card, rewrite.Rewritten]:
    model = source.model
    if source.card is not None:
        named = {name for port in model.outputs for name in port.get_names()}
        return model, source.card, rewrite.Rewritten(source.folded, False, HEATMAP in named)
    side = int(model.inputs[0].get_shape()[-1])
    logits, _ = find_logits(model)
    head = find_head(logits)
    if head is not None and head.features.get_node().get_type_name() == "Parameter":
        # A mean of the image itself: there are no features that a heat map could be of.
        head = None
    grid = heatmap_grid(head.features) if head else None
    grey_stem = rewrite.take_bytes(model, source.mean, source.std)
    rewritten = rewrite.Rewritten(source.folded, bool(grey_stem), head is not None)
    model = rewrite.expose_outputs(model, logits, head, source.activation)
    model.set_friendly_name(source.topology)
    mean, std = float(source.mean.mean()), float(source.std.mean())
    card = Card(
        name=source.topology,
        topology=source.topology,
        label_set=source.labels.name,
        labels=source.labels.findings,
        input=InputSpec(side, mean, std),
        precision=Precision.FP32,
        activation=source.activation,
        heatmap=grid,
        extensions=custom_layers(model),
        parameters=count_parameters(model),
        macs=count_macs(model),
        size_bytes=0,
        provenance={
            **source.provenance,
            "openvino": ov.get_version(),
            "rewritten": rewritten.counts(),
        },
    )
    return model, card, rewritten
