"""An artifact as the source of another: its graph is rewritten already, its card says the rest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax import artifact
from thorax.artifact import Card, Precision
from thorax.devices.extensions import add_extensions, missing
from thorax.errors import ModelError
from thorax.importers.options import UNREADABLE, unreadable

_ROUNDED: Final = (Precision.INT8, Precision.BF16, Precision.FP11)

_OF_THE_SOURCE: Final = (
    "thresholds",
    "calibration",
    "accuracy",
    "auroc_drop",
    "tried",
    "tuned",
    "kept",
    "files",
)
"""What a card says of its own graph alone."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An artifact that was verified and opened.

    Attributes:
        model: input uint8 [1,1,S,S]; weights in FP32, though those of an fp16 artifact have been
            rounded to 11 bits.
        card: without what was measured of that artifact, and with its digest in `provenance`.
    """

    model: ov.Model
    card: Card


def is_sealed(path: Path) -> bool:
    """Return whether a path is an artifact's folder, or the graph inside one."""
    folder = path.parent if path.name == artifact.XML else path
    return all((folder / name).is_file() for name in (artifact.XML, artifact.CARD))


def open_sealed(path: Path, custom: tuple[str, ...] = ()) -> Sealed:
    """Verify the digests of an artifact and read its graph.

    Args:
        path: the folder, or the model.xml inside.
        custom: extensions, see `ImportOptions`.

    Raises:
        ModelError: what `thorax.artifact.load` says, `artifact-rounded` for one of int8,
            bf16 or fp11, or `model-unreadable`.
    """
    found = artifact.load(path)
    card = found.card
    if card.precision in _ROUNDED:
        raise ModelError(
            "artifact-rounded",
            f"{path} is {card.precision}: its weights are rounded already, and what is lost cannot "
            "be seen by comparing with it; give its fp32 or fp16 twin, or what it was made from",
        )
    try:
        # Not the process's core: with weights mapped from the file, `out` could not replace it.
        core = ov.Core()
        core.set_property({"ENABLE_MMAP": False})
        for extension in add_extensions(custom):
            core.add_extension(extension.library or extension.layer)
        model = core.read_model(found.xml, found.bin)
    except UNREADABLE as error:
        raise missing(found, error) or unreadable(found.xml, error) from error
    _widen(model)
    fresh = {
        name: field.get_default(call_default_factory=True)
        for name, field in Card.model_fields.items()
        if name in _OF_THE_SOURCE
    }
    provenance = {**card.provenance, "from": {"digest": card.digest, "precision": card.precision}}
    card = card.model_copy(
        update={**fresh, "precision": Precision.FP32, "provenance": provenance, "card_sha256": ""}
    )
    return Sealed(model, card)


def _widen(model: ov.Model) -> None:
    """Store weights of 16 bits as the 32 bits that they are computed in."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert":
            continue
        half = node.input_value(0).get_node()
        if half.get_type_name() != "Constant" or half.get_element_type() != ov.Type.f16:
            continue
        wide = ops.constant(np.asarray(half.data, np.float32))
        wide.set_friendly_name(half.get_friendly_name())
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(wide.output(0))
