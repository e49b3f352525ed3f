"""Networks whose batch normalisation matters, converted once for all tests."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import openvino as ov
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from thorax.artifact import Artifact, Precision
from thorax.data.store import Store
from thorax.images.preprocess import InputSpec
from thorax.ir.classifier import Description
from thorax.labels import LabelSet
from thorax.quantization.optimize import optimize
from thorax.training import checkpoint, networks
from thorax.training.card import CheckpointCard, epoch_name
from thorax.training.networks import Classifier

FINDINGS = ("Cardiomegaly", "Effusion", "Mass")


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A network and what became of it.

    Attributes:
        network: in eval mode.
        checkpoint: folder it was saved to.
        artifact: fp32, made of the checkpoint.
        model: read back from the artifact.
    """

    network: Classifier
    checkpoint: Path
    artifact: Artifact
    model: ov.Model

    def images(self, count: int = 2) -> npt.NDArray[np.uint8]:
        """Return uint8 [N,1,S,S], noise."""
        side = self.artifact.card.input.side
        return np.random.default_rng(4).integers(0, 256, (count, 1, side, side), np.uint8)

    def normalised(self, images: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Return float32 [N,1,S,S] as training feeds the network."""
        return networks.normalise(torch.from_numpy(images), self.artifact.card.input)

    def outputs(self, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the outputs by name, image by image, computed in f32 by OpenVINO alone."""
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = ov.Core().compile_model(self.model, "CPU", hint)
        rows = [compiled(image[None]) for image in images]
        names = [port.any_name for port in compiled.outputs]
        return {name: np.concatenate([row[name] for row in rows]) for name in names}


Convert = Callable[..., Converted]


def lively(network: Classifier, side: int) -> Classifier:
    """Give batch normalisation other statistics than those it starts with; logits of size 1."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for positive in (module.weight.data, module.running_var):
                assert isinstance(positive, torch.Tensor)
                positive.uniform_(0.5, 1.5, generator=generator)
            for signed in (module.bias.data, module.running_mean):
                assert isinstance(signed, torch.Tensor)
                signed.uniform_(-0.2, 0.2, generator=generator)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.uniform_(-0.1, 0.1, generator=generator)
    network.head.bias.data.uniform_(-0.5, 0.5, generator=generator)
    network.eval()
    with torch.inference_mode():
        noise = torch.randn(2, 1, side, side, generator=generator)
        logits = network(noise) - network.head.bias
    network.head.weight.data /= logits.std()
    return network


def save(run: Path, network: Classifier, topology: str, *, side: int, output_stride: int) -> Path:
    """Write a checkpoint of a network that was never trained."""
    card = CheckpointCard(
        topology=topology,
        output_stride=output_stride,
        label_set=LabelSet("three", FINDINGS),
        input=InputSpec(side, mean=0.4, std=0.3),
        precision="fp32",
        recipe={},
        data={},
        epoch=1,
        step=1,
        metrics={},
        history=(),
        kept=epoch_name(1),
        software={},
    )
    return checkpoint.save(run, network, card, torch.optim.SGD(network.parameters()))


@pytest.fixture(scope="session")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Return a maker of converted networks, each made once."""

    @functools.cache
    def make(topology: str, *, output_stride: int = 16, side: int = 32) -> Converted:
        folder = tmp_path_factory.mktemp(topology)
        network = lively(
            networks.build(topology, classes=len(FINDINGS), output_stride=output_stride, seed=7),
            side,
        )
        saved = save(folder / "run", network, topology, side=side, output_stride=output_stride)
        artifact = optimize(saved, folder / "fp32", Precision.FP32).artifact
        return Converted(network, saved, artifact, ov.Core().read_model(artifact.xml))

    return make


def classic(
    *, batch: int | str = 1, side: int | str = 8, channels: int = 3, baked: bool = False
) -> onnx.ModelProto:
    """Build conv - relu - mean - reshape - linear; `baked` names the batch in the reshape."""
    rng = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)

    weights = [weight("w1", 4, channels, 3, 3), weight("b1", 4), weight("w2", 4, 2)]
    pattern = [1, 4] if baked else [-1, 4]
    weights.append(numpy_helper.from_array(np.array(pattern, np.int64), "pattern"))
    nodes = [
        helper.make_node("Conv", ["data", "w1", "b1"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Reshape", ["p", "pattern"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "w2"], ["prob"], "fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, channels, side, side])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@dataclass(frozen=True, slots=True, eq=False)
class Fragile:
    """A network that INT8 hurts in one place.

    Attributes:
        file: an ONNX file.
        described: what it does not say.
        hurt: its layer that is fed one channel of 10,000 times the size of the others.
        store: of images whose labels are the network's own answers: in FP32 its AUROC is 1.
    """

    file: Path
    described: Description
    hurt: str
    store: Store


@pytest.fixture(scope="session")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Fragile:
    """One scale for all channels, as INT8 has it, leaves nothing of those beside a large one."""
    rng = np.random.default_rng(8)
    layers, channels, side = ("stem", "loud", "hurt", "last"), 8, 16
    nodes, weights, value = [], [], "data"
    for place, name in enumerate(layers):
        kernel = rng.normal(0, 0.3, (channels, channels if place else 1, 3, 3))
        if name == "loud":
            kernel[0] = np.abs(kernel[0]) * 1e4
        if name == "hurt":
            kernel[:, 0] /= 1e6
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w-{name}"))
        nodes += [
            helper.make_node("Conv", [value, f"w-{name}"], [f"c-{name}"], name, pads=[1] * 4),
            helper.make_node("Relu", [f"c-{name}"], [f"r-{name}"], f"relu-{name}"),
        ]
        value = f"r-{name}"
    linear = rng.normal(0, 1, (channels, len(FINDINGS))).astype(np.float32)
    weights.append(numpy_helper.from_array(linear, "fc"))
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "fc"], ["logits"], "head"),
    ]
    shape = [1, 1, side, side]
    graph = helper.make_graph(
        nodes,
        "fragile",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        weights,
    )
    file = tmp_path_factory.mktemp("fragile") / "fragile.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
    count = 120
    grain = rng.normal(size=(count, side, side)) * rng.uniform(2, 60, (count, 1, 1))
    images = (rng.uniform(20, 235, (count, 1, 1)) + grain).clip(0, 255).astype(np.uint8)
    compiled = ov.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    logits = np.concatenate(
        [np.array(compiled(image[None, None].astype(np.float32) / 255)[0]) for image in images]
    )
    labels = (logits > np.median(logits, axis=0)).astype(np.int8)
    store = Store(
        path=file.parent / "store",
        images=images,
        labels=labels,
        names=tuple(f"{n}.png" for n in range(count)),
        patients=tuple(f"p{n}" for n in range(count)),
        splits=tuple("train" if n % 3 == 0 else "val" for n in range(count)),
        views=(None,) * count,
        ages=(None,) * count,
        sexes=(None,) * count,
        digests=("",) * count,
        boxes=((),) * count,
        label_set=LabelSet("three", FINDINGS),
        source="phantom",
    )
    described = Description(labels=store.label_set, mean=(0.0,), std=(1.0,))
    return Fragile(file, described, "hurt", store)


@pytest.fixture
def save_onnx() -> Callable[..., Path]:
    """Return a writer of an ONNX file of `classic`'s options."""

    def write(path: Path, **options: Any) -> Path:  # noqa: ANN401
        onnx.save(classic(**options), path)
        return path

    return write
