"""A classifier of any origin opened to be rewritten: checkpoint, artifact or foreign model file."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.artifact import Activation, Card
from thorax.devices.engine import PROBABILITY
from thorax.devices.extensions import add_extensions
from thorax.devices.process_core import open_core
from thorax.errors import ModelError, UsageError
from thorax.files.atomic import sha256
from thorax.importers import formats
from thorax.importers.options import Imported, ImportOptions, Layout
from thorax.ir.batch import answers_each_alone
from thorax.ir.corrections import correct
from thorax.ir.element_types import answer_reals, compute_in_f32, feed_reals
from thorax.ir.fold import fold, unchanged
from thorax.ir.head import find_logits
from thorax.ir.layouts import take_channels_first
from thorax.ir.open import model_kind, open_artifact
from thorax.ir.output import (
    answer_scores,
    as_rows,
    check_output_activation,
    select_outputs,
    spell_activation,
)
from thorax.ir.probabilities import probabilities_of
from thorax.ir.reference import FP32_TOLERANCE, Reference, Scores, SourceNetwork, reference_of
from thorax.ir.shapes import fix_square, open_batch
from thorax.labels import LabelSet
from thorax.results.optimize import GraphRewrite


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier as its framework left it, but for folding.

    Attributes:
        model: one input, float [1,C,S,S] already normalised; one output [1,K].
        mean: float32 [C], what the model expects subtracted from 0-1 values.
        std: float32 [C], what it expects them divided by.
        labels: names of the K outputs.
        topology: name of the architecture, for people.
        activation: what makes probabilities of its logits.
        reference: the source's own scores, as probabilities.
        tolerance: largest difference of a probability that the source's own arithmetic explains.
        quantized: whether the source computes in 8 bits already.
        one_by_one: whether it must be run an image at a time, see `thorax.artifact.Card`.
        card: of a source that is an artifact, whose graph is rewritten already: its input is
            uint8 [1,1,S,S], mean is 0 and std 1.
    """

    model: ov.Model
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]
    labels: LabelSet
    topology: str
    activation: Activation
    reference: Reference
    folded: GraphRewrite
    provenance: dict[str, Any] = field(default_factory=dict)
    card: Card | None = None
    tolerance: float = FP32_TOLERANCE
    quantized: bool = False
    one_by_one: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """What a foreign file does not say of itself and the user must.

    Attributes:
        labels: names of the outputs in order.
        mean: per channel, 0-1 scale.
        std: per channel, 0-1 scale.
        side: input side, pixels, where the file leaves it open.
        layout: of the input, where it is not the framework's usual one.
        activation: what makes probabilities of the outputs of a file that ends without, "none" of
            those that are probabilities; None takes them for the logits of findings that may occur
            together, each with its sigmoid, unless they are seen to be probabilities.
        outputs: names of the outputs that hold the scores, where there are several.
        structure, topology, extensions: see `ImportOptions`.
    """

    labels: LabelSet | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    side: int | None = None
    layout: Layout | None = None
    activation: Activation | None = None
    outputs: tuple[str, ...] = ()
    structure: Path | None = None
    topology: str | None = None
    extensions: tuple[str, ...] = ()


def open_classifier(path: Path, description: Description) -> Classifier:
    """Open a checkpoint of `thorax train`, an artifact, or a file of a known format.

    Raises:
        ModelError: `model-missing`, `model-format`, `model-unreadable`, `model-input` or
            `model-labels`.
        UsageError: `model-undescribed` when the file leaves open what only the user knows,
            `model-described` when a checkpoint knows it already, `model-normalisation`,
            `model-side`, `model-activation` or `model-labels-twice` when what the user says
            cannot be.
    """
    kind = model_kind(path)
    if kind == "file":
        return _file(path, description)
    is_artifact = kind == "artifact"
    if not is_artifact:
        from thorax.training import card  # noqa: PLC0415

        card.resolve(path)
    if description != Description(extensions=description.extensions if is_artifact else ()):
        who = (
            "an artifact, whose card says labels, normalisation and side"
            if is_artifact
            else "a checkpoint, which says its labels, normalisation and side itself"
        )
        raise UsageError(
            "model-described", f"{path} is {who}; leave out --labels, --mean, --std and --side"
        )
    return _artifact(path, description.extensions) if is_artifact else _checkpoint(path)


def _artifact(path: Path, extensions: tuple[str, ...]) -> Classifier:
    model, card = open_artifact(path, extensions)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    untouched = open_core().compile_model(model.clone(), "CPU", hint)

    def reference(images: npt.NDArray[np.float32]) -> Scores:
        grey = np.rint(images * 255).astype(np.uint8)
        return np.asarray(untouched(grey)[PROBABILITY][0], np.float32)

    return Classifier(
        model=model,
        mean=np.zeros(1, np.float32),
        std=np.ones(1, np.float32),
        labels=card.labels_as_set(),
        topology=card.topology,
        activation=card.activation,
        reference=reference,
        folded=unchanged(model),
        provenance=card.provenance,
        card=card,
    )


def _checkpoint(path: Path) -> Classifier:
    # torch takes seconds to import and an ONNX file does not need it.
    import torch  # noqa: PLC0415

    from thorax.importers import pytorch  # noqa: PLC0415
    from thorax.training import checkpoint  # noqa: PLC0415

    loaded = checkpoint.load(path)
    network = loaded.network.eval()
    spec = loaded.card.input
    model = pytorch.convert(network, torch.zeros(1, 1, spec.side, spec.side))
    model.reshape([1, 1, spec.side, spec.side])
    correct(model)
    folded = _fold(model)

    def reference(images: npt.NDArray[np.float32]) -> Scores:
        with torch.inference_mode():
            logits = network(torch.from_numpy(images))
        return np.asarray(torch.sigmoid(logits)[0].numpy())

    topology, width = loaded.card.topology, loaded.card.width
    return Classifier(
        model=model,
        mean=np.array([spec.mean], np.float32),
        std=np.array([spec.std], np.float32),
        labels=loaded.card.label_set,
        topology=topology if width == 1 else f"{topology}-width-{width:g}",
        activation="sigmoid",
        reference=reference,
        folded=folded,
        provenance={"framework": "thorax", "weights_sha256": loaded.card.weights_sha256},
    )


def _fold(model: ov.Model) -> GraphRewrite:
    """Fold a graph of one image so that it can be compiled for several."""
    open_batch(model)
    folded = fold(model)
    model.reshape([1, *model.inputs[0].get_partial_shape()[1:]])
    return folded


def _file(path: Path, description: Description) -> Classifier:
    read = formats.importer(path)
    labels, mean, std = _stated(path, description)
    add_extensions(description.extensions)
    imported = read(path, _import_options(path, description, channels=len(mean)))
    layout = description.layout or imported.layout
    outputs = select_outputs(imported.model, description.outputs, labels.findings, path.name)
    network = SourceNetwork.of(imported.model, outputs)
    model = answer_scores(imported.model, outputs, path.name)
    _require_one_image(model, path)
    compute_in_f32(model, path.name)
    feed_reals(model, path.name, _span(mean, std))
    answer_reals(model, path.name)
    if layout == "NHWC":
        take_channels_first(model)
    fix_square(model, channels=len(mean), side=description.side, name=path.name)
    correct(model)
    as_rows(model, len(labels))
    _require_labels(model, path, labels)
    model.set_friendly_name(path.name)
    ends = _activation(model, path, description.activation, imported)
    reference = reference_of(imported, model, network, layout, ends)
    alone = answers_each_alone(model, imported.compile, mean, std)
    spell_activation(model)
    folded = _fold(model) if alone else fold(model)
    topology = description.topology
    return Classifier(
        model=model,
        mean=np.array(mean, np.float32),
        std=np.array(std, np.float32),
        labels=labels,
        # What was said of a state dict, else the name of the file.
        topology=topology if topology and ":" not in topology else path.stem,
        activation=ends[1],
        reference=reference,
        folded=folded,
        provenance={
            "framework": imported.framework,
            "file": path.name,
            "file_sha256": _digests(imported.files, path),
            "mean": list(mean),
            "std": list(std),
            **_chosen(imported.model, outputs),
            **({"note": imported.note} if imported.note else {}),
        },
        tolerance=network.tolerance,
        quantized=network.is_quantized,
        one_by_one=not alone,
    )


def _span(mean: Sequence[float], std: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest value of a normalised image."""
    pairs = list(zip(mean, std, strict=True))
    return min((0 - m) / s for m, s in pairs), max((1 - m) / s for m, s in pairs)


def _chosen(model: ov.Model, outputs: Sequence[int]) -> dict[str, list[str]]:
    """Return which of several outputs hold the scores, for the card."""
    if len(model.outputs) == 1:
        return {}
    ports = [model.outputs[index] for index in outputs]
    names = [min(port.get_names(), key=len, default="") for port in ports]
    return {"outputs": [name or str(index) for name, index in zip(names, outputs, strict=True)]}


def _digests(files: Sequence[Path], path: Path) -> str | dict[str, str]:
    """Return the SHA-256 of the one file of a network, or of each by its name.

    Files of one name in several folders are told apart by their paths beside the network.
    """
    if len(files) == 1:
        return sha256(files[0])
    uses = Counter(file.name for file in files)
    folder = path if path.is_dir() else path.parent
    return {
        file.name if uses[file.name] == 1 else os.path.relpath(file, folder): sha256(file)
        for file in files
    }


def _stated(
    path: Path, description: Description
) -> tuple[LabelSet, tuple[float, ...], tuple[float, ...]]:
    labels, mean, std = description.labels, description.mean, description.std
    if labels is None or mean is None or std is None:
        stated = {"--labels": labels, "--mean": mean, "--std": std}
        lacking = [option for option, value in stated.items() if value is None]
        scale = " (on the 0-1 scale, one number a channel)" if lacking != ["--labels"] else ""
        what = " and ".join(
            [*["labels"][: labels is None], *["normalisation"][: None in (mean, std)]]
        )
        raise UsageError(
            "model-undescribed",
            f"{path.name} does not say its {what}; give {', '.join(lacking)}{scale}",
        )
    if len(mean) != len(std) or not np.isfinite([*mean, *std]).all() or min(std, default=0) <= 0:
        raise UsageError(
            "model-normalisation",
            f"--mean is {mean} and --std is {std}; each takes one finite number a channel on the "
            "0-1 scale, std above 0",
        )
    if len(set(labels.findings)) != len(labels) or not all(labels.findings):
        raise UsageError(
            "model-labels-twice",
            f"--labels names {', '.join(map(repr, labels.findings))}; give each its own name",
        )
    return labels, mean, std


def _import_options(path: Path, description: Description, *, channels: int) -> ImportOptions:
    shapes: dict[str, tuple[int, ...]] = {}
    if (side := description.side) is not None:
        layout = description.layout or formats.usual_layout(path)
        first, last = (1, channels, side, side), (1, side, side, channels)
        shapes = {"": first if layout == "NCHW" else last}
    return ImportOptions(
        structure=description.structure,
        topology=description.topology,
        shapes=shapes,
        extensions=description.extensions,
    )


def _require_one_image(model: ov.Model, path: Path) -> None:
    port = model.inputs[0]
    shape = port.get_partial_shape()
    if len(model.inputs) != 1 or shape.rank.is_dynamic or len(shape) != 4:
        shapes = ", ".join(str(each.get_partial_shape()) for each in model.inputs)
        raise ModelError(
            "model-input",
            f"{path.name} takes {shapes}; one input [N,C,S,S] or [N,S,S,C] is what can be fed",
        )


def _require_labels(model: ov.Model, path: Path, labels: LabelSet) -> None:
    outputs = model.outputs[0].get_partial_shape()
    if len(outputs) != 2 or outputs[1].is_dynamic or outputs[1].get_length() != len(labels):
        raise ModelError(
            "model-labels", f"{path.name} answers {outputs} but {len(labels)} labels were given"
        )


def _activation(
    model: ov.Model, path: Path, stated: Activation | None, imported: Imported
) -> tuple[Activation | None, Activation]:
    """Return the activation that a network ends in, None of logits, and what makes probabilities.

    Raises:
        ModelError: `model-outputs`.
        UsageError: `model-activation`, `model-undescribed`.
    """
    own = find_logits(model)[1]
    made = {own} if own is not None else probabilities_of(model, imported.compile)
    if made and stated not in (None, "none") and made != {stated}:
        words = " and ".join(sorted(made))
        raise UsageError(
            "model-activation",
            f"{path.name} ends in {words}; --activation says {stated}: leave it out",
        )
    if made:
        return own, own or "none"
    check_output_activation(model, path.name, own, stated)
    return None, stated or "sigmoid"
