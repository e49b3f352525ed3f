"""A checkpoint or a foreign model file to a float graph that the passes of `rewrite` take."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

# The only door to these passes from Python; OpenVINO's own `ovc` goes through it.
from openvino._offline_transformations import apply_moc_transformations
from openvino.frontend import FrontEndManager

from thorax.devices.core import open_core
from thorax.durable import sha256
from thorax.errors import ModelError, UsageError
from thorax.labels import LabelSet

ORIGINAL_NAME = "thorax_original_name"


@dataclass(frozen=True, slots=True)
class Source:
    """A model as its framework left it.

    Attributes:
        model: one input, float [1,C,S,S] already normalised; one output [1,K].
        mean: float32 [C], what the model expects subtracted from 0-1 values.
        std: float32 [C], what it expects them divided by.
        labels: names of the K outputs.
        topology: name of the architecture, for people.
        reference: float32 [1,C,S,S] -> float32 [K], the source's own scores as probabilities.
        provenance: where it came from, for the card.
    """

    model: ov.Model
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]
    labels: LabelSet
    topology: str
    reference: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Described:
    """What a foreign file does not say of itself and the user must.

    Attributes:
        labels: names of the outputs in order.
        mean: per channel, 0-1 scale.
        std: per channel, 0-1 scale.
        side: input side, pixels, where the file leaves it open.
    """

    labels: LabelSet | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    side: int | None = None


def load(path: Path, described: Described) -> Source:
    """Read a checkpoint folder of `thorax train`, or an ONNX file.

    Raises:
        ModelError: `model-missing`, `model-format`, `model-unreadable`, `model-input` or
            `model-labels`.
        UsageError: `model-undescribed` when the file leaves open what only the user knows.
    """
    if not path.exists():
        raise ModelError("model-missing", f"no model at {path}")
    if path.is_dir():
        return _checkpoint(path)
    if path.suffix.lower() == ".onnx":
        return _onnx(path, described)
    raise ModelError(
        "model-format",
        f"{path.name} is neither a checkpoint folder nor an .onnx file; these are what can be read",
    )


def fold(model: ov.Model) -> None:
    """Fold batch normalisation and constants in place, each layer keeping its framework's name."""
    for node in model.get_ordered_ops():
        node.get_rt_info()[ORIGINAL_NAME] = node.get_friendly_name()
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    for node in model.get_ordered_ops():
        tags = node.get_rt_info()
        if ORIGINAL_NAME in tags:
            node.set_friendly_name(tags[ORIGINAL_NAME].astype(str))
            del tags[ORIGINAL_NAME]


def _checkpoint(path: Path) -> Source:
    # torch takes seconds to import and an ONNX file does not need it.
    import torch  # noqa: PLC0415
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415

    from thorax.training import checkpoint  # noqa: PLC0415

    loaded = checkpoint.load(path)
    network = loaded.network.eval()
    spec = loaded.card.input
    example = torch.zeros(1, 1, spec.side, spec.side)
    with warnings.catch_warnings():
        # OpenVINO's PyTorch frontend traces; torch 2.13 calls tracing deprecated, not wrong.
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        decoder = TorchScriptPythonDecoder(network, example_input=example)
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(decoder))
    model.reshape([1, 1, spec.side, spec.side])
    fold(model)

    def reference(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            logits = network(torch.from_numpy(images))
        return np.asarray(torch.sigmoid(logits)[0].numpy())

    return Source(
        model=model,
        mean=np.array([spec.mean], np.float32),
        std=np.array([spec.std], np.float32),
        labels=loaded.card.label_set,
        topology=loaded.card.topology,
        reference=reference,
        provenance={"framework": "thorax", "weights_sha256": loaded.card.weights_sha256},
    )


def _onnx(path: Path, described: Described) -> Source:
    if described.labels is None or described.mean is None or described.std is None:
        raise UsageError(
            "model-undescribed",
            f"{path.name} does not say its labels and normalisation; give --labels, --mean and "
            "--std (on the 0-1 scale, one number a channel)",
        )
    core = open_core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelError(
            "model-unreadable", f"{path.name}: {str(error).strip().splitlines()[-1]}"
        ) from error
    shape = model.inputs[0].get_partial_shape()
    if len(model.inputs) != 1 or shape.rank.is_dynamic or len(shape) != 4:
        raise ModelError(
            "model-input", f"{path.name} takes {shape}; one input [N,C,S,S] is what can be fed"
        )
    channels = len(described.mean)
    if shape[1].is_static and shape[1].get_length() != channels:
        raise ModelError(
            "model-input",
            f"{path.name} takes {shape[1].get_length()} channels but --mean has {channels}",
        )
    sides = [
        axis.get_length() if axis.is_static else described.side for axis in (shape[2], shape[3])
    ]
    if sides[0] is None or sides[0] != sides[1]:
        raise UsageError(
            "model-undescribed", f"{path.name} takes {shape}; say a square side with --side"
        )
    model.reshape([1, channels, sides[0], sides[0]])
    outputs = model.outputs[0].get_partial_shape()
    if len(outputs) != 2 or outputs[1].get_length() != len(described.labels):
        raise ModelError(
            "model-labels",
            f"{path.name} answers {outputs} but {len(described.labels)} labels were given",
        )
    untouched = core.compile_model(model.clone(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    raw_probability = _ends_in_sigmoid(model)
    fold(model)

    def reference(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scores = np.asarray(untouched(images)[0][0], np.float32)
        return scores if raw_probability else np.float32(1) / (np.float32(1) + np.exp(-scores))

    return Source(
        model=model,
        mean=np.array(described.mean, np.float32),
        std=np.array(described.std, np.float32),
        labels=described.labels,
        topology=path.stem,
        reference=reference,
        provenance={"framework": "onnx", "file": path.name, "file_sha256": sha256(path)},
    )


def _ends_in_sigmoid(model: ov.Model) -> bool:
    last = model.outputs[0].get_node().input_value(0).get_node()
    return bool(last.get_type_name() == "Sigmoid")
