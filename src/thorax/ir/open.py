"""Any model opened to look at it; an artifact opened to make another of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax import artifact
from thorax.artifact import CARD, XML, Card, Precision
from thorax.devices.extensions import add_extensions, missing
from thorax.devices.process_core import open_core
from thorax.errors import ModelError, UsageError
from thorax.importers import formats
from thorax.importers.options import UNREADABLE, ImportOptions, Layout, unreadable
from thorax.importers.standby import SAVED_MODEL
from thorax.ir.corrections import correct
from thorax.ir.element_types import is_quantized
from thorax.ir.layouts import TO_CHANNELS_FIRST, TO_CHANNELS_LAST
from thorax.ir.shapes import close_shapes

ModelKind = Literal["artifact", "checkpoint", "file"]


_OF_ITS_GRAPH: Final = (
    *("thresholds", "calibration", "accuracy", "auroc_drop"),
    *("tried", "tuned", "kept", "files"),
)
"""What a card says of its own graph alone."""


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A network of one fixed input shape, and what is known of it.

    The layout is that of an input that is an image; an artifact alone has a card; `compute` is the
    element type that its floating-point layers run in on a CPU.
    """

    path: Path
    model: ov.Model
    layout: Layout
    card: Card | None
    compute: str

    @property
    def name(self) -> str:
        """What to call it."""
        return self.card.name if self.card else self.path.stem

    @property
    def precision(self) -> str:
        """How its weights are stored and its layers computed, as the card or the graph says."""
        if self.card:
            return self.card.precision.value
        return "int8" if is_quantized(self.model) else _stored_precision(self.model)


def model_kind(path: Path) -> ModelKind:
    """Return what is at a path: an artifact is its folder, or the graph inside one.

    Raises:
        ModelError: `model-format` for a folder of Transformers.
    """
    folder = path.parent if path.name == XML else path
    if (folder / CARD).is_file():
        return "artifact"
    if path.is_dir() and not (path / SAVED_MODEL).exists():
        _refuse_transformers(path)
        return "checkpoint"
    return "file"


def _refuse_transformers(folder: Path) -> None:
    """Refuse what `save_pretrained` writes, which holds weights and no network."""
    weights = [
        name
        for name in ("model.safetensors", "pytorch_model.bin", "tf_model.h5")
        if (folder / name).is_file()
    ]
    if (folder / "config.json").is_file() and weights:
        raise ModelError(
            "model-format",
            f"{folder} is a folder of Hugging Face (config.json, {weights[0]}): weights without "
            "a network; export it to ONNX, as by optimum-cli export onnx, and give that",
        )


def open_model(path: Path, options: ImportOptions | None = None) -> OpenedModel:
    """Open an artifact, or a file that `formats.read` knows, to look at it.

    What only a classifier needs is not asked for.

    Raises:
        ModelError: as `artifact.load` and `formats.read`, `model-input` when the shape that was
            asked for does not fit.
        UsageError: `model-undescribed` when the file leaves a shape open, `model-described` when
            an artifact is given one.
    """
    options = options or ImportOptions()
    if model_kind(path) == "artifact":
        if replace(options, extensions=()) != ImportOptions():
            raise UsageError(
                "model-described",
                f"{path} is an artifact, which says its input itself; leave out --side, "
                "--input_shape, --structure and --topology",
            )
        verified = artifact.load(path)
        add_extensions(options.extensions)
        model = _read_graph(verified, open_core())
        return OpenedModel(
            verified.path, model, "NCHW", verified.card, verified.card.precision.compute
        )
    if model_kind(path) == "checkpoint":
        raise ModelError(
            "model-format",
            f"{path} is a folder of training, or of nothing that is known; if it is a run, make an "
            f"artifact of it with `thorax optimize {path}` and give that",
        )
    imported = formats.read(path, options)
    close_shapes(imported.model, options, imported.layout, path.name)
    correct(imported.model)
    return OpenedModel(path, imported.model, imported.layout, None, "f32")


def open_pair(path: Path, path2: Path, options: ImportOptions) -> tuple[OpenedModel, OpenedModel]:
    """Open two models to compare them; what is asked for an artifact alone does not need.

    A shape is that of the first model; a second whose framework puts channels elsewhere is given
    the same shape in its own layout.

    Raises:
        ModelError: as `open_model`.
        UsageError: as `open_model`, `model-described` only where both are artifacts.
    """
    first_is, second_is = (model_kind(each) == "artifact" for each in (path, path2))
    if first_is == second_is:
        shapes = _as_laid_out(options.shapes, path, path2)
        return open_model(path, options), open_model(path2, replace(options, shapes=shapes))
    bare = ImportOptions(extensions=options.extensions)
    return open_model(path, bare if first_is else options), open_model(
        path2, bare if second_is else options
    )


def _as_laid_out(
    shapes: Mapping[str, tuple[int, ...]], path: Path, path2: Path
) -> Mapping[str, tuple[int, ...]]:
    """Return shapes of the first model as the framework of the second puts channels."""
    layouts = [formats.usual_layout(each) for each in (path, path2)]
    if layouts[0] == layouts[1]:
        return shapes
    order = TO_CHANNELS_LAST if layouts[1] == "NHWC" else TO_CHANNELS_FIRST
    return {
        name: tuple(shape[axis] for axis in order) if len(shape) == 4 else shape
        for name, shape in shapes.items()
    }


def open_artifact(path: Path, extensions: tuple[str, ...] = ()) -> tuple[ov.Model, Card]:
    """Open an artifact, by its folder or the model.xml inside, to make another of it.

    Returned are the graph, input uint8 [1,1,S,S], weights in FP32, though those of an fp16 artifact
    have been rounded to 11 bits; and the card without what was measured of that artifact, with its
    digest in `provenance`.

    Raises:
        ModelError: what `thorax.artifact.load` says, `artifact-rounded` for one of int8,
            bf16 or fp11, or `model-unreadable`.
    """
    verified = artifact.load(path)
    card = verified.card
    if card.precision in (Precision.INT8, Precision.BF16, Precision.FP11):
        raise ModelError(
            "artifact-rounded",
            f"{path} is {card.precision}: its weights are rounded already, and what is lost cannot "
            "be seen by comparing with it; give its fp32 or fp16 twin, or what it was made from",
        )
    # Not the process's core: with weights mapped from the file, `out` could not replace it.
    core = ov.Core()
    core.set_property({"ENABLE_MMAP": False})
    for extension in add_extensions(extensions):
        core.add_extension(extension.library or extension.layer)
    model = _read_graph(verified, core)
    widen_weights(model)
    unmeasured = {
        name: Card.model_fields[name].get_default(call_default_factory=True)
        for name in _OF_ITS_GRAPH
    }
    provenance = {**card.provenance, "from": {"digest": card.digest, "precision": card.precision}}
    facts = {"precision": Precision.FP32, "provenance": provenance, "card_sha256": ""}
    return model, card.model_copy(update=unmeasured | facts)


def _read_graph(verified: artifact.Artifact, core: ov.Core) -> ov.Model:
    try:
        return core.read_model(verified.xml, verified.bin)
    except UNREADABLE as error:
        raise missing(verified, error) or unreadable(verified.xml, error) from error


def half_weights(model: ov.Model) -> list[ov.Node]:
    """Return the constants that are stored with 16 bits."""
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == ov.Type.f16
    ]


def widen_weights(model: ov.Model) -> None:
    """Store weights of 16 bits as the 32 bits that they are computed in."""
    for half in half_weights(model):
        for user in half.output(0).get_target_inputs():
            convert = user.get_node()
            if convert.get_type_name() != "Convert":
                continue
            wide = ops.constant(np.asarray(half.data, np.float32))
            wide.set_friendly_name(half.get_friendly_name())
            for reader in convert.output(0).get_target_inputs():
                reader.replace_source_output(wide.output(0))


def _stored_precision(model: ov.Model) -> str:
    sizes: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant":
            sizes[node.get_element_type().get_type_name()] += node.get_byte_size()
    most = sizes.most_common(1)[0][0] if sizes else "f32"
    return {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "int8"}.get(most, most)
