"""What holds of an artifact whatever it was made of: names of layers, and batches."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from openvino.frontend import FrontEndManager
from tests.converted import Convert, Fragile, classic
from tests.importers import caffe_files, test_frontends, test_keras, test_mxnet, test_pytorch
from torch import nn

from thorax.artifact import Artifact, Precision
from thorax.devices.engine import compile
from thorax.importers import keras as keras_importer
from thorax.importers.tensorflow import lite_kernels
from thorax.ir.classifier import Description
from thorax.ir.names import WEIGHTED
from thorax.labels import LabelSet
from thorax.quantization.optimize import optimize

pytestmark = pytest.mark.child

OWN = {"head/cells", "head/linear"}
"""Layers that the optimizer adds, or makes of a head's linear layers."""

COUNTED = ("Convolution", "GroupConvolution", "FullyConnected")


@dataclass(frozen=True, slots=True)
class Written:
    """A model file: what layers with kernels it has, and what it does not say of itself."""

    path: Path
    layers: set[str]
    described: Description | None


def describe(classes: int, side: int | None = None) -> Description:
    labels = LabelSet("some", tuple(f"finding {index}" for index in range(classes)))
    return Description(labels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), side=side)


def torch_layers(network: nn.Module) -> set[str]:
    kinds = (nn.Conv2d, nn.Linear)
    return {name for name, module in network.named_modules() if isinstance(module, kinds)}


def as_onnx(folder: Path) -> Written:
    path = folder / "net.onnx"
    onnx.save(classic(side=16, baked=True), path)
    return Written(path, {"conv", "fc"}, describe(2))


def as_torchscript(folder: Path) -> Written:
    network = test_pytorch.small()
    path = test_pytorch.as_traced(network, folder / "net.pt")
    return Written(path, torch_layers(network), describe(3, test_pytorch.SIDE))


def as_exported(folder: Path) -> Written:
    network = test_pytorch.small()
    path = test_pytorch.as_exported(network, folder / "net.pt2")
    return Written(path, torch_layers(network), describe(3))


def as_keras(folder: Path) -> Written:
    keras = keras_importer.import_keras()
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    value = layers.Rescaling(2.0, offset=-1.0, name="rescale")(image)
    value = layers.ZeroPadding2D(1, name="pad")(value)
    value = layers.Conv2D(4, 3, strides=2, name="stem")(value)
    value = layers.BatchNormalization(name="norm")(value)
    value = layers.DepthwiseConv2D(3, padding="same", name="depth")(layers.ReLU()(value))
    value = layers.GlobalAveragePooling2D(name="pool")(value)
    network = test_keras.lively(keras, keras.Model(image, layers.Dense(3, name="head")(value)))
    path = folder / "net.keras"
    test_keras.save(network, path)
    return Written(path, {"stem", "depth", "head"}, describe(3))


def as_tensorflow(folder: Path) -> Written:
    graph = test_frontends.tensorflow([-1, test_frontends.SIDE, test_frontends.SIDE, 3],
                                      variables=False)  # fmt: skip
    path = graph.frozen(folder / "net.pb")
    return Written(path, {"stem/conv", "depth/conv", "head/logits"}, describe(3))


def as_caffe(folder: Path) -> Written:
    net = caffe_files.Twin.of(1, 3, 16, 16)
    body = net.relu(net.conv("conv", "data", 4, 3, stride=2, pad=1))
    net.norm("second", net.conv("second", body, 4, 3, pad=1, group=2, bias=False))
    net.linear("fc", net.global_mean("pool", "second"), 3)
    return Written(
        caffe_files.write(folder, net.text, net.weights), {"conv", "second", "fc"}, describe(3)
    )


def as_mxnet(folder: Path) -> Written:
    net = test_mxnet.small()
    net.nodes[0]["attrs"]["__shape__"] = "(0, 3, 16, 16)"
    return Written(net.save(folder), {"conv", "fc"}, describe(2))


WRITERS: dict[str, Callable[[Path], Written]] = {
    "onnx": as_onnx,
    "torchscript": as_torchscript,
    "exported program": as_exported,
    "keras": as_keras,
    "tensorflow": as_tensorflow,
    "caffe": as_caffe,
    "mxnet": as_mxnet,
}


def require_names(artifact: Artifact, layers: set[str], *, least: int) -> None:
    """Require names of the source, each once, in the file and in what the device counts."""
    model = ov.Core().read_model(artifact.xml)
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    names = Counter(node.get_friendly_name() for node in nodes)
    assert [name for name, uses in names.items() if uses > 1] == []
    kernels = {node.get_friendly_name() for node in nodes if node.get_type_name() in WEIGHTED}
    assert kernels <= layers | OWN
    assert len(kernels) >= least
    engine = compile(artifact, counters=True)
    side = artifact.card.input.side
    engine.infer(np.zeros((1, 1, side, side), np.uint8), profile=True)
    rows = {row.name: row.type for row in engine.counters()}
    # A bias joins its layer, which then has the name of either: `head/cells` is `heatmap`.
    assert kernels - OWN <= set(rows)
    assert {name for name, kind in rows.items() if kind in COUNTED} <= set(names)


def require_batch(artifact: Artifact) -> None:
    """Require that four images at once are answered as each alone."""
    side = artifact.card.input.side
    images = np.random.default_rng(5).integers(0, 256, (4, 1, side, side), np.uint8)
    one, four = compile(artifact), compile(artifact, batch=4)
    wanted = [one.infer(image[None]) for image in images]
    got = four.infer(images)
    for name in ("probability", "heatmap", "embedding"):
        rows = np.concatenate([getattr(answer, name) for answer in wanted])
        np.testing.assert_allclose(getattr(got, name), rows, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", WRITERS)
def test_layers_keep_their_names_and_batches_their_answers(kind: str, tmp_path: Path) -> None:
    written = WRITERS[kind](tmp_path)
    made = optimize(
        written.path, tmp_path / "out", Precision.FP32, description=written.described
    ).artifact
    # The head's linear layer is there anew, over each cell.
    require_names(made, written.layers, least=len(written.layers) + 1)
    require_batch(made)


def test_layers_of_a_checkpoint_keep_their_names(convert: Convert) -> None:
    made = convert("resnet18")
    require_names(made.artifact, torch_layers(made.network), least=22)
    require_batch(made.artifact)


@pytest.mark.realdata
def test_layers_of_tensorflow_lite_keep_their_names(realdata: Path, tmp_path: Path) -> None:
    path = realdata / "models/resnet8_cifar/resnet8.tflite"
    frontend = FrontEndManager().load_by_framework("tflite")
    layers = {name for name, _ in lite_kernels(frontend.decode(frontend.load(str(path))))}
    made = optimize(path, tmp_path / "out", Precision.FP32, description=describe(10)).artifact
    require_names(made, layers, least=10)
    require_batch(made)


def test_int8_keeps_names(fragile: Fragile, tmp_path: Path) -> None:
    described = Description(fragile.store.label_set, *((0.5,) * 3, (0.25,) * 3))
    sources = (
        Written(fragile.file, {"stem", "loud", "hurt", "last"}, fragile.described),
        Written(as_tensorflow(tmp_path).path, {"stem/conv", "depth/conv"}, described),
    )
    for index, one in enumerate(sources):
        made = optimize(
            one.path, tmp_path / f"{index}", Precision.INT8, store=fragile.store,
            description=one.described,
        )  # fmt: skip
        require_names(made.artifact, one.layers, least=len(one.layers) + 2)
