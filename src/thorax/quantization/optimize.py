"""Any model to an artifact: rewrite, lower the precision, judge, choose, write."""

import difflib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import artifact
from thorax.analysis.cost import count_macs, count_parameters
from thorax.analysis.difference import largest_difference, require_equal
from thorax.artifact import Activation, Artifact, Card, Precision
from thorax.data.store import Store
from thorax.devices.core import physical_devices, takes
from thorax.devices.engine import HEATMAP
from thorax.devices.extensions import custom_layers
from thorax.devices.graph import compile_graph
from thorax.errors import DataError, ModelError, UsageError
from thorax.images.preprocess import InputSpec
from thorax.ir import rewrite
from thorax.ir.atrous import without_last_stride
from thorax.ir.classifier import Classifier, Description, open_classifier
from thorax.ir.head import Head, find_head, find_logits, heatmap_grid
from thorax.ir.heatmap import subtract
from thorax.quantization.accuracy_budget import AccuracyBudget, OnProgress, check_budget, measured
from thorax.quantization.candidates import CandidateBuilder, block_of
from thorax.quantization.choose import Choice, Chooser
from thorax.quantization.mixed_precision import kernel_layers
from thorax.results.optimize import GraphRewrite, OptimizeResult
from thorax.results.shared import HeatmapKind, Interval

Wanted = Precision | Literal["auto"]

_TYPICAL: Final = 500
"""Images of the train split that a mean map is of, evenly spaced."""

AUTO: Final = "auto"
"""In place of a precision: the fastest of the device that keeps the budget."""

AUTO_BUDGET: Final = 0.002
"""Drop of the mean AUROC that `AUTO` allows where none is said."""


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """What a precision may cost, and where that is judged.

    `max_auroc_drop` is the budget of the mean AUROC on the val split; None lets a precision that
    was named cost what it does, and means `AUTO_BUDGET` to "auto". INT8 leaves the layers to `keep`
    in floating point whatever else; candidates are judged and timed on `device`. `heatmap` is
    what its maps are.
    """

    max_auroc_drop: float | None = None
    keep: tuple[str, ...] = ()
    device: str = "CPU"
    heatmap: HeatmapKind = "cam"


@dataclass(frozen=True, slots=True)
class Optimized:
    """An artifact, verified, on disk, and what its making showed."""

    artifact: Artifact
    result: OptimizeResult


def optimize(
    source: Path,
    out: Path,
    precision: Wanted,
    *,
    store: Store | None = None,
    description: Description | None = None,
    options: OptimizeOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Optimized:
    """Convert a model and write its artifact to `out`; nothing is written unless all is well.

    The source is a checkpoint, or a file of any known format, the precision one, or "auto" for the
    fastest of the device that keeps the budget. With a store, the train split calibrates INT8 and
    the val split judges, and gives the card its AUROC, calibration and thresholds.

    Raises:
        ModelError: the source cannot be read, the graph strays from it, `artifact-exists` or
            `auroc-budget`.
        UsageError: something the user must say is missing, or `fp11-card`.
        DataError: the store has no val split that could judge by a budget.
        DeviceError: the device is absent, or does not compute what a budget is to judge.
    """
    options, on_progress = options or OptimizeOptions(), on_progress or OnProgress()
    max_drop = options.max_auroc_drop
    if precision == AUTO and max_drop is None:
        max_drop = AUTO_BUDGET
    _check(precision, store, max_drop, options)
    _check_place(source, out)
    _check_judge(precision, store, options.device)
    classifier, model, card, rewritten = _prepared(
        source, description or Description(), options, on_progress
    )
    if classifier.quantized:
        precision = _as_quantized(precision, source, on_progress)
    unlabelled: tuple[str, ...] = ()
    if store is not None:
        store, unlabelled = _relabelled(store, card, on_progress)
    if options.heatmap == "relative" and store is not None:
        on_progress.say("averaging heat maps of the train split")
        subtract(model, _mean_map(model, store))
    with artifact.new_folder(out) as staging:
        # Candidates are written where the artifact will be: the chosen one need not be copied.
        folder = staging / "candidates"
        with artifact.writing(out):
            folder.mkdir()
        builder = CandidateBuilder(folder, classifier, model, card, block=block_of(options.device))
        budget = _budget(builder, store, max_drop, options.device, on_progress)
        chooser = Chooser(builder, store, budget, on_progress, keep=options.keep)
        choice = chooser.fastest() if precision == AUTO else chooser.named(Precision(precision))
        with artifact.writing(out):
            _save(choice, budget, staging)
    optimized = artifact.load(out)
    result = _result(optimized, choice, rewritten, max_drop)
    if budget is not None and choice.verdict is not None:
        flips = budget.flips(choice.verdict, optimized.card.labels)
        result = result.model_copy(update={"flips": flips} if flips else {})
    return Optimized(optimized, result.model_copy(update={"unlabelled": unlabelled}))


def _prepared(
    source: Path,
    description: Description,
    options: OptimizeOptions,
    on_progress: OnProgress,
) -> tuple[Classifier, ov.Model, Card, GraphRewrite]:
    on_progress.say("reading the model")
    classifier = open_classifier(source, description)
    if classifier.one_by_one:
        on_progress.say("its answers to an image depend on the batch: it is run one by one")
    if classifier.activation == "none":
        on_progress.say("its answers are probabilities already: no logits")
    if note := classifier.provenance.get("note"):
        on_progress.say(str(note))
    model, card, rewritten = _rewrite(classifier, options.heatmap)
    on_progress.say(rewrite.line(rewritten))
    _check_layers(model, options.keep)
    on_progress.say("comparing with the source")
    difference = largest_difference(
        model, classifier.reference, mean=classifier.mean, std=classifier.std
    )
    require_equal(difference, tolerance=classifier.tolerance, what=f"fp32 graph of {source.name}")
    return classifier, model, card, rewritten


def _relabelled(store: Store, card: Card, on_progress: OnProgress) -> tuple[Store, tuple[str, ...]]:
    """Return the store with the labels of a model, and which of those it lacks."""
    answers = card.labels_as_set()
    unlabelled = answers.overlap(store.label_set).alone
    relabelled = store.relabelled(card.input.side, answers)
    if unlabelled:
        on_progress.say(f"judged without {', '.join(unlabelled)}: the store has no labels of it")
    return relabelled, unlabelled


def _as_quantized(precision: Wanted, source: Path, on_progress: OnProgress) -> Precision:
    """Return what is to be done to a source that is quantised already: nothing."""
    if precision in (Precision.FP16, Precision.BF16, Precision.FP11):
        raise UsageError(
            "precision-quantized",
            f"{source.name} is quantised to int8 already, which {precision} would not give back; "
            "leave out --precision, or convert what it was quantised from",
        )
    on_progress.say("it is quantised already: the artifact is int8 as it stands")
    return Precision.FP32


def _save(choice: Choice, budget: AccuracyBudget | None, staging: Path) -> None:
    """Leave the chosen candidate alone in its folder, with what was measured on its card."""
    chosen = choice.candidate.artifact
    facts = measured(budget, choice.verdict, chosen.card.labels) | {"tried": choice.tried}
    for name in (artifact.XML, artifact.BIN):
        (chosen.path / name).replace(staging / name)
    shutil.rmtree(chosen.path.parent)
    artifact.seal(staging, chosen.card.model_copy(update=facts))


def _result(
    optimized: Artifact, choice: Choice, rewritten: GraphRewrite, max_drop: float | None
) -> OptimizeResult:
    card, bounds = optimized.card, choice.bounds
    return OptimizeResult(
        artifact=str(optimized.path),
        model=card.name,
        digest=card.digest,
        precision=card.precision.value,
        size_bytes=card.size_bytes,
        parameters=card.parameters,
        macs=card.macs,
        heatmap_kind=card.heatmap_kind,
        auroc_drop=choice.verdict.drop if choice.verdict else None,
        auroc_drop_interval=Interval.of(bounds.mean) if bounds else None,
        auroc_drop_by_finding={
            name: Interval.of(drop)
            for name, drop in zip(card.labels, bounds.labels if bounds else (), strict=False)
        },
        max_auroc_drop=max_drop,
        kept=card.kept,
        tried=card.tried,
        why=choice.why,
        largest_difference=choice.candidate.difference,
        rewritten=rewritten,
    )


def _check(
    precision: Wanted, store: Store | None, max_drop: float | None, options: OptimizeOptions
) -> None:
    check_budget(max_drop)
    if store is None and options.heatmap == "relative":
        raise UsageError(
            "heatmap-data",
            "--heatmap relative is to what maps look like on a train split; give --data",
        )
    if store is None and precision == Precision.INT8:
        raise UsageError(
            "calibration-missing", "int8 is calibrated on radiographs; give a store with --data"
        )
    if store is None and max_drop is not None:
        raise UsageError(
            "auroc-budget-data",
            "what a precision costs in AUROC is judged on radiographs; give a store with --data",
        )
    if options.keep and precision not in (Precision.INT8, AUTO):
        raise UsageError(
            "keep-precision",
            f"--keep names layers that int8 leaves in floating point, but --precision is "
            f"{precision}; leave out one of them",
        )


def _check_judge(precision: Wanted, store: Store | None, device: str) -> None:
    """Refuse radiographs that would judge FP11 where nothing computes it, and unknown devices."""
    physical_devices(device)
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


def _budget(
    builder: CandidateBuilder,
    store: Store | None,
    max_drop: float | None,
    device: str,
    on_progress: OnProgress,
) -> AccuracyBudget | None:
    """Return what judges; None where nothing can and no drop was bounded."""
    if store is None:
        return None
    try:
        return AccuracyBudget(
            store, builder.fp32().artifact, max_drop, device=device, on_progress=on_progress
        )
    except DataError:
        if max_drop is not None:
            raise
        return None


def _mean_map(model: ov.Model, store: Store) -> npt.NDArray[np.float32]:
    """Return the mean heat map of images of the train split, float32 [K,h,w]."""
    train = store.select("train")
    if not len(train):
        raise UsageError(
            "heatmap-data", "--heatmap relative is to the train split, and the store has none"
        )
    compiled = compile_graph(model, "CPU", hint="latency")
    chosen = train[np.linspace(0, len(train) - 1, min(_TYPICAL, len(train))).astype(np.int64)]
    maps = [compiled(store.images[index][None, None])[HEATMAP][0].copy() for index in chosen]
    return np.asarray(np.mean(maps, axis=0), np.float32)


def _rewrite(source: Classifier, maps: HeatmapKind) -> tuple[ov.Model, Card, GraphRewrite]:
    model = source.model
    if source.card is not None:
        if maps != "cam":
            raise UsageError(
                "heatmap-artifact",
                "an artifact's heat maps are part of its graph; make others of the checkpoint or "
                "model that it was made of",
            )
        outputs = {name for port in model.outputs for name in port.get_names()}
        rewritten = source.folded.model_copy(update={"heatmap": HEATMAP in outputs})
        return model, source.card, rewritten
    side = int(model.inputs[0].get_shape()[-1])
    grey_stem = rewrite.take_bytes(model, source.mean, source.std)
    logits, head = _head(model, source.activation)
    if head is None and maps != "cam":
        raise ModelError(
            "heatmap-missing", f"this network has no heat map; leave out --heatmap {maps}"
        )
    coarse = _cam_macs(model, source.activation) if maps == "fine" else None
    if head is not None and maps == "fine":
        head = replace(head, features=without_last_stride(head.features), fine=True)
    grid = heatmap_grid(head.features) if head else None
    model = rewrite.expose_outputs(model, logits, head, source.activation)
    model.set_friendly_name(source.topology)
    macs = count_macs(model)
    facts: dict[str, object] = {"grey_stem": bool(grey_stem), "heatmap": head is not None}
    if head is not None:
        facts["cam_macs"] = macs if coarse is None else coarse
    rewritten = source.folded.model_copy(update=facts)
    mean, std = float(source.mean.mean()), float(source.std.mean())
    card = Card(
        name=source.topology,
        topology=source.topology,
        label_set=source.labels.name,
        labels=source.labels.findings,
        input=InputSpec(side, mean, std),
        precision=Precision.FP32,
        activation=source.activation,
        one_by_one=source.one_by_one,
        heatmap=grid,
        heatmap_kind=maps if head else None,
        extensions=custom_layers(model),
        parameters=count_parameters(model),
        macs=macs,
        size_bytes=0,
        provenance={
            **source.provenance,
            "openvino": ov.get_version(),
            "rewritten": rewrite.counts(rewritten),
        },
    )
    return model, card, rewritten


def _head(model: ov.Model, activation: Activation) -> tuple[ov.Output, Head | None]:
    """Return the logits of a graph, and the head whose features a heat map can be of."""
    if activation == "none":
        # Of what makes its probabilities nothing is known, so neither of their evidence.
        return model.outputs[0].get_node().input_value(0), None
    logits, _ = find_logits(model)
    head = find_head(logits)
    if head is not None and rewrite.is_image(head.features):
        # A mean of the image itself: there are no features that a heat map could be of.
        return logits, None
    return logits, head


def _cam_macs(model: ov.Model, activation: Activation) -> int:
    """Return the multiply-accumulates that a graph has with maps of the kind `cam`."""
    copy = model.clone()
    return count_macs(rewrite.expose_outputs(copy, *_head(copy, activation), activation))
