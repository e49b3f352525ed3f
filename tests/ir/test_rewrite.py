"""Graph passes, against torch, autograd and the documented names of others."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
import torch
from torch import nn

from thorax.artifact import Activation, Card, Precision
from thorax.devices.engine import EMBEDDING, HEATMAP, INPUT, PROBABILITY, compile
from thorax.errors import ModelError
from thorax.images.preprocess import InputSpec
from thorax.ir.head import find_logits, heatmap_grid
from thorax.ir.rewrite import expose_outputs, write_model_info
from thorax.training.networks import TOPOLOGIES, VGG, Classifier, DenseNet, Topology, build

Convert = Callable[..., Any]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_output_is_what_torch_computes(convert: Convert, topology: Topology) -> None:
    made = convert(topology)
    images = made.images()
    got = made.outputs(images)
    with torch.inference_mode():
        normalised = made.normalised(images)
        features = made.network.feature_map(normalised)
        cells = torch.einsum("ndhw,kd->nkhw", features, made.network.head.weight)
        heat = (cells + made.network.head.bias[:, None, None]).numpy()
        probability = torch.sigmoid(made.network(normalised)).numpy()
    pooled = features.mean(dim=(2, 3)).numpy()
    assert heat.shape[2:] == (2, 2)
    assert np.ptp(probability) > 0.1
    np.testing.assert_allclose(got[PROBABILITY], probability, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got[HEATMAP], heat, rtol=0, atol=1e-5 * np.abs(heat).max())
    np.testing.assert_allclose(got[EMBEDDING], pooled, rtol=0, atol=1e-5 * pooled.max())


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_mean_of_the_heat_map_is_the_logit_of_the_probability(
    convert: Convert, topology: Topology
) -> None:
    made = convert(topology)
    got = made.outputs(made.images())
    mean = got[HEATMAP].astype(np.float64).mean(axis=(2, 3))
    np.testing.assert_allclose(sigmoid(mean), got[PROBABILITY], rtol=0, atol=1e-5)


def linearised(network: Classifier) -> Classifier:
    """Make a network a sum of box filters: same geometry, every path symmetric, all weights > 0."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU | nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
                setattr(parent, name, mean)
            elif isinstance(child, nn.Conv2d):
                nn.init.constant_(child.weight, 1 / child.weight[0].numel())
                if child.bias is not None:
                    nn.init.zeros_(child.bias)
    return network


def thin(topology: Topology, output_stride: int) -> Classifier:
    """Build a network of few channels where its class allows: geometry is a matter of depth."""
    rest = {"classes": 1, "channels": 1, "output_stride": output_stride}
    match topology:
        case "densenet121":
            return DenseNet((6, 12, 24, 16), growth=2, **rest)
        case "vgg16_bn":
            return VGG(((2,) * 2, (2,) * 2, (2,) * 3, (2,) * 3, (2,) * 3), **rest)
        case _:
            return build(topology, **rest)


@pytest.mark.parametrize(
    ("topology", "output_stride", "height"),
    # High enough that the receptive field of the middle cell lies inside (435, 212, 2071 pixels).
    [
        ("resnet18", 32, 1024),
        ("resnet18", 16, 1024),
        ("vgg16_bn", 16, 512),
        ("densenet121", 16, 2560),
    ],
)
def test_heatmap_grid_is_where_gradients_come_from(
    convert: Convert, topology: Topology, output_stride: int, height: int
) -> None:
    grid = convert(topology, output_stride=output_stride).artifact.card.heatmap
    network = linearised(thin(topology, output_stride).eval())
    # Rows and columns have the same geometry, and a narrow image costs less.
    image = torch.rand(1, 1, height, 16, requires_grad=True)
    features = network.feature_map(image)
    assert features.shape[2] == height // output_stride
    row = features.shape[2] // 2
    (gradient,) = torch.autograd.grad(features[0, :, row].sum(), image)
    weight = gradient[0, 0].double().sum(dim=1)
    assert weight.min() >= 0
    assert weight[0] == weight[-1] == 0
    centre = float((weight * torch.arange(height)).sum() / weight.sum())
    seen = torch.nonzero(weight)[:, 0]
    box_centre = float(seen[0] + seen[-1]) / 2
    assert grid.stride == output_stride
    assert grid.offset + grid.stride * row == pytest.approx(centre, abs=1e-2)
    assert grid.offset + grid.stride * row == pytest.approx(box_centre, abs=1e-6)


def test_heatmap_grid_is_unknown_beyond_a_layer_of_another_kind() -> None:
    image = ops.parameter([1, 1, 32, 32], np.float32)
    turned = ops.transpose(image, ops.constant(np.array([0, 1, 3, 2])))
    kernel = ops.constant(np.ones((2, 1, 3, 3), np.float32))
    conv = ops.convolution(turned, kernel, [2, 2], [1, 1], [1, 1], [1, 1])
    assert heatmap_grid(conv.output(0)) is None


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_layers_are_called_what_torch_calls_them(convert: Convert, topology: Topology) -> None:
    made = convert(topology)
    layers = [node for node in made.model.get_ordered_ops() if node.get_type_name() != "Constant"]
    names = Counter(node.get_friendly_name() for node in layers)
    assert [name for name, uses in names.items() if uses > 1] == []
    inner = [name for name in names if not name.startswith("Result_")]
    assert [name for name in inner if re.search(r"__module|aten::|_\d{3,}$", name)] == []
    kernels = {
        node.get_friendly_name(): node.input_value(1).get_node()
        for node in layers
        if node.get_type_name() == "Convolution"
    }
    convolutions = {
        name: module
        for name, module in made.network.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert set(kernels) == {*convolutions, "head/cells"}
    for name, module in convolutions.items():
        assert kernels[name].get_type_name() == "Constant"
        stored, trained = kernels[name].data, module.weight.detach().numpy()
        assert stored.shape == trained.shape
        # Folding batch normalisation multiplies each output channel by one number.
        one = np.abs(trained).reshape(len(trained), -1).argmax(axis=1)
        flat = stored.reshape(len(stored), -1)
        factor = [
            a[i] / b[i] for a, b, i in zip(flat, trained.reshape(flat.shape), one, strict=True)
        ]
        folded = trained * np.array(factor, np.float32)[:, None, None, None]
        np.testing.assert_allclose(stored, folded, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_batch_normalisation_is_gone(convert: Convert, topology: Topology) -> None:
    kinds = {node.get_type_name() for node in convert(topology).model.get_ordered_ops()}
    assert not [kind for kind in kinds if kind.startswith("BatchNorm")]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_counters_report_the_same_names(convert: Convert, topology: Topology) -> None:
    made = convert(topology)
    engine = compile(made.artifact, "CPU", counters=True)
    engine.infer(made.images(1), profile=True)
    measured = {row.name for row in engine.counters() if row.type == "Convolution"}
    wanted = {name for name, m in made.network.named_modules() if isinstance(m, nn.Conv2d)}
    assert wanted <= measured


def test_the_xml_alone_says_what_the_card_says(convert: Convert) -> None:
    made = convert("resnet18")
    root = ET.parse(made.artifact.xml).getroot()
    info = {entry.tag: entry.get("value") for entry in root.findall("rt_info/model_info/*")}
    # Names of github.com/openvinotoolkit/model_api, docs/source/guides/model-configuration.md.
    documented = {
        "labels", "resize_type", "pad_value", "embedded_processing", "orig_width", "orig_height",
    }  # fmt: skip
    card = made.artifact.card
    assert documented <= set(info)
    assert {tag for tag in info if tag not in documented} == {
        "thorax_version", "thorax_topology", "thorax_precision", "intended_use",
    }  # fmt: skip
    assert info["labels"] == " ".join(card.labels)
    assert info["orig_width"] == info["orig_height"] == str(card.input.side)
    assert info["thorax_precision"] == "fp32"
    assert info["intended_use"] == card.intended_use


def test_input_and_outputs_have_their_names_shapes_and_types(convert: Convert) -> None:
    model = convert("resnet18").model
    ports = {port.any_name: port for port in (*model.inputs, *model.outputs)}
    assert {name: (list(p.shape), p.element_type.to_string()) for name, p in ports.items()} == {
        INPUT: ([1, 1, 32, 32], "u8"),
        PROBABILITY: ([1, 3], "f32"),
        HEATMAP: ([1, 3, 2, 2], "f32"),
        EMBEDDING: ([1, 512], "f32"),
    }


def test_a_graph_with_two_outputs_is_refused() -> None:
    image = ops.parameter([1, 4], np.float32)
    with pytest.raises(ModelError, match="2 outputs") as two:
        find_logits(ov.Model([ops.relu(image), ops.abs(image)], [image]))
    assert two.value.code == "model-outputs"


def test_the_activation_at_the_end_is_found() -> None:
    image = ops.parameter([1, 4], np.float32)
    for last, wanted in ((ops.softmax(image, 1), "softmax"), (ops.sigmoid(image), "sigmoid")):
        logits, activation = find_logits(ov.Model([last], [image]))
        assert (logits.get_node(), activation) == (image, wanted)
    relu = ops.relu(image)
    assert find_logits(ov.Model([relu], [image]))[1] is None


def api_info(activation: Activation) -> dict[str, str]:
    """Return what a graph of one head says of itself to Model API."""
    model, card = classifier(activation)
    write_model_info(model, card)
    info = model.get_rt_info()["model_info"]
    return {key: value.astype(str) for key, value in info.items()}


def classifier(activation: Activation) -> tuple[ov.Model, Card]:
    """Return a graph as an artifact has it, with two findings."""
    image = ops.parameter([1, 1, 16, 16], np.uint8, name=INPUT)
    image.set_layout(ov.Layout("NCHW"))
    image.output(0).set_names({INPUT})
    grey = ops.multiply(ops.convert(image, np.float32), np.float32(1 / 255))
    mean = ops.reduce_mean(grey, np.array([2, 3]), False)
    logits = ops.multiply(mean, np.array([[4.0, -3.0]], np.float32))
    model = expose_outputs(ov.Model([logits], [image]), logits.output(0), None, activation)
    card = Card(
        name="net", topology="net", label_set="two", labels=("Mass", "Nodule"),
        input=InputSpec(16), precision=Precision.FP32, activation=activation,
        parameters=2, macs=0, size_bytes=0,
    )  # fmt: skip
    return model, card


@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_no_model_api_type_is_claimed_whose_wrapper_answers_otherwise(
    activation: Activation,
) -> None:
    assert not {"model_type", "multilabel", "output_raw_scores"} & set(api_info(activation))


def test_model_api_runs_a_softmax_with_its_own_numbers(tmp_path: Path) -> None:
    # It asks for an older opencv than constraints.txt has: `pip install --no-deps`.
    pytest.importorskip("model_api", reason="openvino-model-api is not installed")
    from model_api.adapters import OpenvinoAdapter
    from model_api.models import Model

    model, card = classifier("softmax")
    write_model_info(model, card)
    ov.save_model(model, tmp_path / "model.xml", False)
    f32 = {"INFERENCE_PRECISION_HINT": "f32"}
    wrapper = Model.create_model(
        OpenvinoAdapter(ov.Core(), str(tmp_path / "model.xml"), plugin_config=f32)
    )
    assert type(wrapper).__name__ == "ClassificationModel"
    image = np.random.default_rng(1).integers(0, 256, (1, 16, 16), np.uint8)
    wanted = ov.Core().compile_model(model, "CPU", f32)([image[None]])[PROBABILITY][0]
    result = wrapper(image)
    np.testing.assert_allclose(result.raw_scores, wanted, atol=1e-6)
    best = result.top_labels[0]
    assert (best.name, best.confidence) == ("Mass", pytest.approx(float(wanted[0]), abs=1e-6))
    assert [label.name for label in result.top_labels] == ["Mass", "Nodule"]
