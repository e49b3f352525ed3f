"""A classifier of any origin opened to be rewritten: checkpoint, artifact or foreign model file."""

from collections.abc import Callable
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
from thorax.ir.corrections import correct
from thorax.ir.fold import fold, unchanged
from thorax.ir.head import find_logits
from thorax.ir.layouts import take_channels_first
from thorax.ir.open import model_kind, open_artifact
from thorax.ir.output import answers_logarithms, as_rows, check_output_activation
from thorax.ir.shapes import fix_square, open_batch
from thorax.labels import LabelSet
from thorax.results.optimize import GraphRewrite

Scores = npt.NDArray[np.float32]
Reference = Callable[[npt.NDArray[np.float32]], Scores]
"""float32 [1,C,S,S], normalised -> float32 [K]."""


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


@dataclass(frozen=True, slots=True)
class Description:
    """What a foreign file does not say of itself and the user must.

    Attributes:
        labels: names of the outputs in order.
        mean: per channel, 0-1 scale.
        std: per channel, 0-1 scale.
        side: input side, pixels, where the file leaves it open.
        layout: of the input, where it is not the framework's usual one.
        activation: what makes probabilities of the outputs of a file that ends without; None
            takes them for the logits of findings that may occur together, each with its sigmoid.
        structure, topology, extensions: see `ImportOptions`.
    """

    labels: LabelSet | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    side: int | None = None
    layout: Layout | None = None
    activation: Activation | None = None
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
    model, layout = imported.model, description.layout or imported.layout
    _require_one_image(model, path)
    if layout == "NHWC":
        take_channels_first(model)
    fix_square(model, channels=len(mean), side=description.side, name=path.name)
    correct(model)
    as_rows(model)
    _require_labels(model, path, labels)
    own, activation = _activation(model, path, description.activation)
    model.set_friendly_name(path.name)
    reference = _reference(imported, layout, own=own, activation=activation)
    folded = _fold(model)
    topology = description.topology
    digests = {file.name: sha256(file) for file in imported.files}
    return Classifier(
        model=model,
        mean=np.array(mean, np.float32),
        std=np.array(std, np.float32),
        labels=labels,
        # What was said of a state dict, else the name of the file.
        topology=topology if topology and ":" not in topology else path.stem,
        activation=activation,
        reference=reference,
        folded=folded,
        provenance={
            "framework": imported.framework,
            "file": path.name,
            # Of the one file, or of each by name.
            "file_sha256": next(iter(digests.values())) if len(digests) == 1 else digests,
            "mean": list(mean),
            "std": list(std),
        },
    )


def _stated(
    path: Path, description: Description
) -> tuple[LabelSet, tuple[float, ...], tuple[float, ...]]:
    labels, mean, std = description.labels, description.mean, description.std
    if labels is None or mean is None or std is None:
        raise UsageError(
            "model-undescribed",
            f"{path.name} does not say its labels and normalisation; give --labels, --mean and "
            "--std (on the 0-1 scale, one number a channel)",
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
    if port.get_element_type() != ov.Type.f32:
        raise ModelError(
            "model-input",
            f"{path.name} takes {port.get_element_type().to_string()} values; export it with an "
            "input of 32-bit floating point",
        )


def _require_labels(model: ov.Model, path: Path, labels: LabelSet) -> None:
    outputs = model.outputs[0].get_partial_shape()
    if len(outputs) != 2 or outputs[1].is_dynamic or outputs[1].get_length() != len(labels):
        raise ModelError(
            "model-labels", f"{path.name} answers {outputs} but {len(labels)} labels were given"
        )


def _activation(
    model: ov.Model, path: Path, stated: Activation | None
) -> tuple[Activation | None, Activation]:
    own = find_logits(model)[1]
    if own and stated not in (None, own):
        raise UsageError(
            "model-activation",
            f"{path.name} ends in {own}; --activation says {stated}: leave it out",
        )
    check_output_activation(model, path.name, own, stated)
    return own, own or stated or "sigmoid"


def _reference(
    imported: Imported, layout: Layout, *, own: Activation | None, activation: Activation
) -> Reference:
    """Return the source's own scores as probabilities.

    Its graph takes [1,C,S,S] by now, its framework images in `layout`; `own` is the activation that
    it ends in, None of logits.
    """
    run = imported.run
    logarithms = own is not None and answers_logarithms(imported.model)
    if run is None or imported.attempt is None:
        # OpenVINO's own is of the graph as it is here, channels first.
        layout = "NCHW" if run is None else layout
        run = run or imported.compile(imported.model)
    else:
        _, channels, *sides = imported.model.inputs[0].get_shape()
        imported.attempt((1, *sides, channels) if layout == "NHWC" else (1, channels, *sides))

    def reference(images: npt.NDArray[np.float32]) -> Scores:
        fed = images if layout == "NCHW" else images.transpose(0, 2, 3, 1)
        scores: npt.NDArray[Any] = np.asarray(run([fed])[0][0], np.float32)
        if logarithms:
            scores = np.exp(scores)
        elif not own and activation == "sigmoid":
            scores = 1 / (1 + np.exp(-scores))
        elif not own:
            grown = np.exp(scores - scores.max())
            scores = grown / grown.sum()
        return np.asarray(scores, np.float32)

    return reference
