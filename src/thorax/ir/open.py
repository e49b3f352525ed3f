"""A checkpoint or a foreign model file to a float graph that the passes of `rewrite` take."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from thorax.importers.options import Imported, ImportOptions, Layout, Run
from thorax.ir import sealed
from thorax.ir.batch import open_batch
from thorax.ir.corrections import correct
from thorax.ir.fold import Folded, fold, unchanged
from thorax.ir.heads import find_logits
from thorax.ir.layouts import take_channels_first
from thorax.ir.output import answers_logarithms, require_understood
from thorax.ir.rows import as_rows
from thorax.labels import LabelSet


@dataclass(frozen=True, slots=True)
class Source:
    """A model as its framework left it.

    Attributes:
        model: one input, float [1,C,S,S] already normalised; one output [1,K].
        mean: float32 [C], what the model expects subtracted from 0-1 values.
        std: float32 [C], what it expects them divided by.
        labels: names of the K outputs.
        topology: name of the architecture, for people.
        activation: what makes probabilities of its logits.
        reference: float32 [1,C,S,S] -> float32 [K], the source's own scores as probabilities.
        folded: what became of its layers.
        provenance: where it came from, for the card.
        card: of a source that is an artifact, whose graph is rewritten already: its input is
            uint8 [1,1,S,S], mean is 0 and std 1.
    """

    model: ov.Model
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]
    labels: LabelSet
    topology: str
    activation: Activation
    reference: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    folded: Folded
    provenance: dict[str, Any] = field(default_factory=dict)
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """What a foreign file does not say of itself and the user must.

    Attributes:
        labels: names of the outputs in order.
        mean: per channel, 0-1 scale.
        std: per channel, 0-1 scale.
        side: input side, pixels, where the file leaves it open.
        layout: of the input, where it is not the framework's usual one.
        activation: what makes probabilities of the outputs of a file that ends without; None
            takes them for the logits of findings that may occur together, each with its sigmoid.
        structure: see `ImportOptions`.
        topology: see `ImportOptions`.
        extensions: see `ImportOptions`.
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


def load(path: Path, described: Described) -> Source:
    """Read a classifier: a checkpoint of `thorax train`, an artifact, or a file of a known format.

    Raises:
        ModelError: `model-missing`, `model-format`, `model-unreadable`, `model-input` or
            `model-labels`.
        UsageError: `model-undescribed` when the file leaves open what only the user knows,
            `model-described` when a checkpoint knows it already, `model-normalisation`,
            `model-side`, `model-activation` or `model-labels-twice` when what the user says
            cannot be.
    """
    if sealed.is_sealed(path):
        if replace(described, extensions=()) != Described():
            raise UsageError(
                "model-described",
                f"{path} is an artifact, whose card says labels, normalisation and side; leave "
                "out --labels, --mean, --std and --side",
            )
        return _artifact(path, described)
    if path.is_dir() and not (path / "saved_model.pb").exists():
        if described != Described():
            raise UsageError(
                "model-described",
                f"{path} is a checkpoint, which says its labels, normalisation and side itself; "
                "leave out --labels, --mean, --std and --side",
            )
        return _checkpoint(path)
    return _foreign(path, described)


def _artifact(path: Path, described: Described) -> Source:
    opened = sealed.open_sealed(path, described.extensions)
    model, card = opened.model, opened.card
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    untouched = open_core().compile_model(model.clone(), "CPU", hint)

    def reference(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        grey = np.rint(images * 255).astype(np.uint8)
        return np.asarray(untouched(grey)[PROBABILITY][0], np.float32)

    return Source(
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


def _checkpoint(path: Path) -> Source:
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

    def reference(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            logits = network(torch.from_numpy(images))
        return np.asarray(torch.sigmoid(logits)[0].numpy())

    return Source(
        model=model,
        mean=np.array([spec.mean], np.float32),
        std=np.array([spec.std], np.float32),
        labels=loaded.card.label_set,
        topology=_full_name(loaded.card.topology, loaded.card.width),
        activation="sigmoid",
        reference=reference,
        folded=folded,
        provenance={"framework": "thorax", "weights_sha256": loaded.card.weights_sha256},
    )


def _fold(model: ov.Model) -> Folded:
    """Fold a graph of one image so that it can be compiled for several."""
    open_batch(model)
    folded = fold(model)
    model.reshape([1, *model.inputs[0].get_partial_shape()[1:]])
    return folded


def _full_name(topology: str, width: float) -> str:
    return topology if width == 1 else f"{topology}-width-{width:g}"


def _foreign(path: Path, described: Described) -> Source:
    read = formats.importer(path)
    labels, mean, std = described.labels, described.mean, described.std
    if labels is None or mean is None or std is None:
        raise UsageError(
            "model-undescribed",
            f"{path.name} does not say its labels and normalisation; give --labels, --mean and "
            "--std (on the 0-1 scale, one number a channel)",
        )
    _check_description(labels, mean, std)
    add_extensions(described.extensions)
    channels, side = len(mean), described.side
    usual = described.layout or formats.usual_layout(path)
    imported = read(
        path,
        ImportOptions(
            structure=described.structure,
            topology=described.topology,
            shapes={} if side is None else {"": _shape(channels, side, usual)},
            extensions=described.extensions,
        ),
    )
    model, layout = imported.model, described.layout or imported.layout
    _require_one_image(model, path)
    if layout == "NHWC":
        take_channels_first(model)
    _fix_shape(model, path, channels=channels, side=side)
    correct(model)
    as_rows(model)
    outputs = model.outputs[0].get_partial_shape()
    if len(outputs) != 2 or outputs[1].is_dynamic or outputs[1].get_length() != len(labels):
        raise ModelError(
            "model-labels",
            f"{path.name} answers {outputs} but {len(labels)} labels were given",
        )
    own = find_logits(model)[1]
    if own and described.activation not in (None, own):
        raise UsageError(
            "model-activation",
            f"{path.name} ends in {own}; --activation says {described.activation}: leave it out",
        )
    require_understood(model, path.name, own, described.activation)
    activation = own or described.activation or "sigmoid"
    logarithms = own is not None and answers_logarithms(model)
    model.set_friendly_name(path.name)
    if imported.run is not None and imported.attempt is not None:
        _, _, height, width = model.inputs[0].get_shape()
        sides = (height, width)
        imported.attempt((1, *sides, channels) if layout == "NHWC" else (1, channels, *sides))
        ask = functools.partial(_ask, imported.run, layout)
    else:
        # OpenVINO's own is of the graph as it is here, channels first.
        own_layout = "NCHW" if imported.run is None else layout
        ask = functools.partial(_ask, imported.run or imported.compile(model), own_layout)
    folded = _fold(model)

    def reference(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scores = ask(images)
        if logarithms:
            return np.asarray(np.exp(scores), np.float32)
        return scores if own else _probability(scores, activation)

    return Source(
        model=model,
        mean=np.array(mean, np.float32),
        std=np.array(std, np.float32),
        labels=labels,
        topology=_topology(path, described),
        activation=activation,
        reference=reference,
        folded=folded,
        provenance={
            "framework": imported.framework,
            "file": path.name,
            "file_sha256": _digest(imported),
            "mean": list(mean),
            "std": list(std),
        },
    )


def _shape(channels: int, side: int, layout: Layout) -> tuple[int, ...]:
    return (1, channels, side, side) if layout == "NCHW" else (1, side, side, channels)


def _topology(path: Path, described: Described) -> str:
    """Return what was said of a state dict, else the name of the file."""
    said = described.topology
    return said if said and ":" not in said else path.stem


def _ask(run: Run, layout: Layout, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    fed = images if layout == "NCHW" else images.transpose(0, 2, 3, 1)
    return np.asarray(run([fed])[0][0], np.float32)


def _probability(
    scores: npt.NDArray[np.float32], activation: Activation
) -> npt.NDArray[np.float32]:
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)), np.float32)
    grown = np.exp(scores - scores.max())
    return np.asarray(grown / grown.sum(), np.float32)


def _digest(imported: Imported) -> str | dict[str, str]:
    """Return the digest of the one file, or of each by name."""
    digests = {file.name: sha256(file) for file in imported.files}
    return next(iter(digests.values())) if len(digests) == 1 else digests


def _check_description(labels: LabelSet, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse what no network can have been trained with.

    Raises:
        UsageError: `model-normalisation` or `model-labels-twice`.
    """
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


def _require_one_image(model: ov.Model, path: Path) -> None:
    port = model.inputs[0]
    shape = port.get_partial_shape()
    if len(model.inputs) != 1 or shape.rank.is_dynamic or len(shape) != 4:
        raise ModelError(
            "model-input",
            f"{path.name} takes {', '.join(str(one.get_partial_shape()) for one in model.inputs)}; "
            "one input [N,C,S,S] or [N,S,S,C] is what can be fed",
        )
    if port.get_element_type() != ov.Type.f32:
        raise ModelError(
            "model-input",
            f"{path.name} takes {port.get_element_type().to_string()} values; export it with an "
            "input of 32-bit floating point",
        )


def _fix_shape(model: ov.Model, path: Path, *, channels: int, side: int | None) -> None:
    """Give the input its one shape [1,C,S,S] and let the rest of the graph follow."""
    shape = model.inputs[0].get_partial_shape()
    if shape[1].is_static and shape[1].get_length() != channels:
        raise ModelError(
            "model-input",
            f"{path.name} takes {shape[1].get_length()} channels but --mean has {channels}; where "
            "channels come last, say --layout NHWC",
        )
    sides = [axis.get_length() if axis.is_static else side for axis in (shape[2], shape[3])]
    if sides[0] is None or sides[0] != sides[1]:
        raise UsageError(
            "model-undescribed", f"{path.name} takes {shape}; say a square side with --side"
        )
    if side is not None and side != sides[0]:
        raise UsageError(
            "model-side", f"{path.name} takes images of {sides[0]} pixels; --side says {side}"
        )
    try:
        model.reshape([1, channels, sides[0], sides[0]])
    except RuntimeError as error:
        raise ModelError(
            "model-input",
            f"{path.name} does not take [1,{channels},{sides[0]},{sides[0]}]: "
            f"{str(error).strip().splitlines()[-1]}",
        ) from error
