"""ONNX files as others export them, against onnxruntime; and what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from thorax.artifact import Activation, Precision
from thorax.devices.engine import EMBEDDING, HEATMAP, PROBABILITY, Outputs, compile
from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.importers.options import ImportOptions
from thorax.ir.classifier import Description, open_classifier
from thorax.ir.open import open_model
from thorax.labels import LabelSet
from thorax.quantization.optimize import Optimized, optimize

SIDE = 24
LABELS = LabelSet("three", ("Cardiomegaly", "Effusion", "Mass"))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EQUAL = ((0.4, 0.4, 0.4), (0.3, 0.3, 0.3))

Save = Callable[..., Path]


def network(
    *,
    channels: int = 3,
    bias: bool = True,
    stem: dict[str, Any] | None = None,
    pad: Sequence[int] | None = None,
    end: str | None = None,
    pool: bool = True,
    shape: Sequence[int | str] | None = None,
    **more: int,
) -> onnx.ModelProto:
    """Build pad - conv - relu - conv - relu - mean - linear, as told."""
    outputs, element = more.get("outputs", 1), more.get("element", TensorProto.FLOAT)
    rng = np.random.default_rng(5)
    kind = helper.tensor_dtype_to_np_dtype(element)

    def weight(name: str, *shape: int, size: float = 0.3) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, size, shape).astype(kind), name)

    stem = stem or {"pads": [1, 1, 1, 1]}
    nodes, weights, value = [], [weight("w1", 6, channels, 3, 3)], "x"
    if pad is not None:
        weights.append(numpy_helper.from_array(np.array(pad, np.int64), "pad"))
        nodes.append(helper.make_node("Pad", [value, "pad"], ["padded"], "pad", mode="constant"))
        value = "padded"
    if bias:
        weights.append(weight("b1", 6))
    conv = [value, "w1", *(["b1"] if bias else [])]
    nodes.append(helper.make_node("Conv", conv, ["c1"], "stem", kernel_shape=[3, 3], **stem))
    nodes.append(helper.make_node("Relu", ["c1"], ["r1"], "stem_relu"))
    weights += [weight("w2", 8, 6, 3, 3), weight("b2", 8)]
    nodes.append(helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "body", pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", ["c2"], ["r2"], "body_relu"))
    if pool:
        nodes.append(helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"))
        width = 8
    else:
        nodes.append(helper.make_node("MaxPool", ["r2"], ["p"], "pool", kernel_shape=[SIDE] * 2))
        width = 8
    nodes.append(helper.make_node("Flatten", ["p"], ["f"], "flat"))
    weights += [weight("w3", 3, width), weight("b3", 3)]
    nodes.append(helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], "head", transB=1))
    ends = ["y"]
    if end is not None:
        nodes.append(helper.make_node(end, ["y"], ["z"], "end"))
        ends = ["z"]
    if outputs == 2:
        ends.append("f")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, shape or [1, channels, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, element, None) for name in ends],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a writer of an ONNX file of `network`'s options."""

    def write(**options: object) -> Path:
        path = tmp_path / "net.onnx"
        onnx.save(network(**options), path)  # type: ignore[arg-type]
        return path

    return write


def describe(mean: Sequence[float], std: Sequence[float], **rest: object) -> Description:
    return Description(LABELS, tuple(mean), tuple(std), **rest)  # type: ignore[arg-type]


def peer(
    path: Path, images: npt.NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return float32 [N,K], what onnxruntime says of grey images repeated over the channels."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    per_channel = (np.array(values, np.float32)[:, None, None] for values in (mean, std))
    centre, width = per_channel
    rows = [
        session.run(None, {"x": (image[None].astype(np.float32) / 255 - centre) / width})[0]
        for image in images
    ]
    return np.concatenate(rows).astype(np.float32)


def ours(made: Optimized, images: npt.NDArray[np.uint8]) -> Outputs:
    engine = compile(made.artifact)
    side = images.shape[-1]
    return engine.infer_many(images.reshape(-1, side, side), np.arange(len(images)))


def noise(side: int = SIDE) -> npt.NDArray[np.uint8]:
    """Return noise, and white, in which borders show the most."""
    images = np.random.default_rng(6).integers(0, 256, (3, 1, side, side), np.uint8)
    images[2] = 255
    return images


def sigmoid(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


def softmax(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    grown = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.25,)), EQUAL, IMAGENET], ids=["grey", "equal", "imagenet"]
)
@pytest.mark.parametrize(
    "stem",
    [
        {"pads": [1, 1, 1, 1]},
        {"pads": [1, 1, 1, 1], "strides": [2, 2]},
        {"pads": [0, 1, 2, 0], "dilations": [1, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ],
    ids=["plain", "stride", "uneven", "same-upper"],
)
def test_grey_into_a_foreign_network_is_grey_repeated_into_its_channels(
    save: Save,
    tmp_path: Path,
    bias: bool,
    mean: Sequence[float],
    std: Sequence[float],
    stem: dict[str, object],
) -> None:
    path = save(channels=len(mean), bias=bias, stem=stem)
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(mean, std))
    images = noise()
    got = ours(made, images).probability
    assert np.ptp(got) > 0.05
    np.testing.assert_allclose(got, sigmoid(peer(path, images, mean, std)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [EQUAL, IMAGENET], ids=["equal", "imagenet"])
def test_a_three_channel_stem_becomes_one_channel(
    save: Save, tmp_path: Path, mean: Sequence[float], std: Sequence[float]
) -> None:
    path = save(bias=True)
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(mean, std))
    card = made.artifact.card
    # Two channels of six 3x3 kernels are gone; what is constant by channel was not trained.
    assert card.parameters == 6 * 9 + 6 + 8 * 6 * 9 + 8 + 3 * 8 + 3
    cells = SIDE * SIDE
    assert card.macs == cells * (6 * 9 + 8 * 6 * 9 + 3 * 8) + 3 * 8
    assert card.provenance["mean"] == list(mean)
    assert card.provenance["std"] == list(std)


def test_a_pad_layer_before_the_stem_is_kept(save: Save, tmp_path: Path) -> None:
    path = save(pad=[0, 0, 2, 1, 0, 0, 0, 1], stem={"strides": [2, 2]})
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    images = noise()
    wanted = sigmoid(peer(path, images, *IMAGENET))
    np.testing.assert_allclose(ours(made, images).probability, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("end", "activation"), [(None, None), ("Sigmoid", None), ("Softmax", None), (None, "softmax")]
)
def test_logits_and_probabilities_are_told_apart(
    save: Save, tmp_path: Path, end: str | None, activation: Activation | None
) -> None:
    path = save(end=end)
    described = describe(*IMAGENET, activation=activation)
    made = optimize(path, tmp_path / "a", Precision.FP32, description=described)
    probability = softmax if "softmax" in (end or "").lower() or activation else sigmoid
    images = noise()
    wanted = peer(path, images, *IMAGENET)
    outputs = ours(made, images)
    np.testing.assert_allclose(
        outputs.probability, wanted if end else probability(wanted), rtol=0, atol=1e-5
    )
    assert outputs.heatmap is not None
    mean = outputs.heatmap.mean(axis=(2, 3))
    np.testing.assert_allclose(probability(mean), outputs.probability, rtol=0, atol=1e-5)
    assert made.artifact.card.activation == ("sigmoid" if probability is sigmoid else "softmax")


def test_an_activation_that_contradicts_the_file_is_refused(save: Save, tmp_path: Path) -> None:
    error = refused(save(end="Softmax"), describe(*IMAGENET, activation="sigmoid"), tmp_path / "a")
    assert (error.code, error.exit_code) == ("model-activation", 2)


def test_an_open_batch_and_side_are_closed(save: Save, tmp_path: Path) -> None:
    path = save(shape=["n", 3, "h", "w"])
    with pytest.raises(UsageError, match="--side") as missing:
        open_classifier(path, describe(*IMAGENET))
    assert missing.value.code == "model-undescribed"
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET, side=32))
    assert made.artifact.card.input.side == 32
    images = noise(32)
    wanted = sigmoid(peer(path, images, *IMAGENET))
    np.testing.assert_allclose(ours(made, images).probability, wanted, rtol=0, atol=1e-5)


def test_layers_keep_the_names_of_the_file(save: Save, tmp_path: Path) -> None:
    made = optimize(save(), tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    engine = compile(made.artifact, counters=True)
    engine.infer(noise()[:1], profile=True)
    measured = {row.name for row in engine.counters() if row.type == "Convolution"}
    assert {"stem", "body"} <= measured


def test_without_a_pooled_linear_head_there_is_no_heat_map(save: Save, tmp_path: Path) -> None:
    path = save(pool=False)
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    engine = compile(made.artifact)
    names = {name for port in engine.members[0].compiled.outputs for name in port.get_names()}
    assert PROBABILITY in names
    assert not {HEATMAP, EMBEDDING} & names
    assert made.artifact.card.heatmap is None
    images = noise()
    outputs = ours(made, images)
    assert outputs.heatmap is None
    assert outputs.embedding is None
    wanted = sigmoid(peer(path, images, *IMAGENET))
    np.testing.assert_allclose(outputs.probability, wanted, rtol=0, atol=1e-5)


def refused(path: Path, described: Description, out: Path) -> ThoraxError:
    before = set(out.parent.iterdir())
    with pytest.raises(ThoraxError) as caught:
        optimize(path, out, Precision.FP32, description=described)
    assert set(out.parent.iterdir()) == before
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"outputs": 2}, "model-outputs"),
        ({"shape": [1, 3, SIDE, SIDE + 2]}, "model-undescribed"),
        ({"channels": 1}, "model-input"),
    ],
    ids=["two-outputs", "not-square", "channels"],
)
def test_a_network_that_cannot_be_fed_or_read_is_refused(
    save: Save, tmp_path: Path, options: dict[str, object], code: str
) -> None:
    error = refused(save(**options), describe(*IMAGENET), tmp_path / "a")
    assert error.code == code
    assert error.exit_code == (2 if code == "model-undescribed" else 4)


@pytest.mark.parametrize(
    ("described", "code", "exit_code"),
    [
        (Description(), "model-undescribed", 2),
        (Description(LABELS, IMAGENET[0], None), "model-undescribed", 2),
        (Description(LABELS, None, IMAGENET[1]), "model-undescribed", 2),
        (Description(None, *IMAGENET), "model-undescribed", 2),
        (Description(LabelSet("two", ("A", "B")), *IMAGENET), "model-labels", 4),
        (Description(LabelSet("twice", ("A", "B", "A")), *IMAGENET), "model-labels-twice", 2),
        (Description(LABELS, IMAGENET[0], (0.2, 0.2)), "model-normalisation", 2),
        (Description(LABELS, IMAGENET[0], (0.2, 0.2, 0.0)), "model-normalisation", 2),
        (Description(LABELS, (float("nan"),) * 3, IMAGENET[1]), "model-normalisation", 2),
        (Description(LABELS, *IMAGENET, side=64), "model-side", 2),
    ],
)
def test_a_description_that_is_missing_or_wrong_is_refused(
    save: Save, tmp_path: Path, described: Description, code: str, exit_code: int
) -> None:
    error = refused(save(), described, tmp_path / "a")
    assert (error.code, error.exit_code) == (code, exit_code)


@pytest.mark.parametrize("described", [describe(*IMAGENET), Description(side=32)])
def test_a_checkpoint_is_not_described_by_its_user(
    tiny_run: Path, tmp_path: Path, described: Description
) -> None:
    error = refused(tiny_run, described, tmp_path / "a")
    assert (error.code, error.exit_code) == ("model-described", 2)
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty", described, tmp_path / "a").code == "checkpoint-missing"


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"\x08\x09\x3a\xff\xff\xff\x7f"])
def test_a_file_that_is_no_onnx_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    error = refused(path, describe(*IMAGENET), tmp_path / "a")
    assert (error.code, error.exit_code) == ("model-unreadable", 4)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(network(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    whole = optimize(path, tmp_path / "whole", Precision.FP32, description=describe(*IMAGENET))
    assert whole.result.largest_difference < 1e-5
    (tmp_path / "weights.bin").unlink()
    error = refused(path, describe(*IMAGENET), tmp_path / "a")
    assert (error.code, error.exit_code) == ("model-weights", 4)
    assert "weights.bin" in error.message


def test_what_is_neither_checkpoint_nor_onnx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as missing:
        open_classifier(tmp_path / "nothing.onnx", Description())
    assert missing.value.code == "model-missing"
    (tmp_path / "net.bmp").write_bytes(b"weights")
    with pytest.raises(ModelError) as strange:
        open_classifier(tmp_path / "net.bmp", Description())
    assert strange.value.code == "model-format"


def answers(
    made: Optimized, path: Path, *, kind: type[np.floating[Any]] = np.float32, batch: int = 1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return our probabilities, and what onnxruntime answers for the same images."""
    images = noise()
    centre, width = (np.array(values, np.float32)[:, None, None] for values in IMAGENET)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = []
    for image in images:
        one = ((image[None].astype(np.float32) / 255 - centre) / width).astype(kind)
        fed = {"x": np.repeat(one, batch, axis=0)}
        rows.append(np.asarray(session.run(None, fed)[0], np.float32)[:1])
    return ours(made, images).probability, np.concatenate(rows)


def test_a_network_in_half_precision_is_read(save: Save, tmp_path: Path) -> None:
    path = save(element=TensorProto.FLOAT16)
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    got, wanted = answers(made, path, kind=np.float16)
    np.testing.assert_allclose(got, sigmoid(wanted), rtol=0, atol=5e-3)
    assert made.artifact.card.heatmap is not None


def test_a_network_for_two_images_takes_one(tmp_path: Path) -> None:
    model = network(shape=[2, 3, SIDE, SIDE])
    shape = numpy_helper.from_array(np.array([2, 8]), "rows")
    model.graph.initializer.append(shape)
    flat = next(node for node in model.graph.node if node.op_type == "Flatten")
    flat.CopyFrom(helper.make_node("Reshape", ["p", "rows"], ["f"], "flat"))
    onnx.save(model, path := tmp_path / "net.onnx")
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    got, wanted = answers(made, path, batch=2)
    np.testing.assert_allclose(got, sigmoid(wanted), rtol=0, atol=1e-5)


def test_a_single_convolution_is_a_network(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "only", strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"], "pool"),
            helper.make_node("Flatten", ["p"], ["y"], "flat"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.random.default_rng(4).normal(size=(3, 3, 5, 5))
                                 .astype(np.float32), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path := tmp_path / "net.onnx")
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    got, wanted = answers(made, path)
    np.testing.assert_allclose(got, sigmoid(wanted), rtol=0, atol=1e-5)
    assert made.artifact.card.heatmap is not None


def normalised_over_the_batch(path: Path) -> Path:
    """Write a network that divides by the deviation of what is in the batch."""
    model = network(end="Sigmoid")
    relu = next(node for node in model.graph.node if node.name == "body")
    relu.input[0] = "n"
    place = list(model.graph.node).index(relu)
    node = helper.make_node("MeanVarianceNormalization", ["r1"], ["n"], "mvn", axes=[0, 2, 3])
    model.graph.node.insert(place, node)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, path)
    return path


def test_a_network_that_looks_at_its_batch_runs_one_by_one(tmp_path: Path) -> None:
    path = normalised_over_the_batch(tmp_path / "net.onnx")
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    assert made.artifact.card.one_by_one
    got, wanted = answers(made, path)
    # White has no deviation to be divided by.
    np.testing.assert_allclose(got[:2], wanted[:2], rtol=0, atol=1e-5)
    with pytest.raises(ModelError, match="one image at a time") as refused:
        compile(made.artifact, batch=4)
    assert refused.value.code == "model-batch"


def test_probabilities_are_taken_as_they_are(tmp_path: Path) -> None:
    model = network(end="Sigmoid")
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    last = [
        helper.make_node("Softmax", ["y"], ["s"], "softmax", axis=1),
        helper.make_node("Add", ["z", "s"], ["both"], "both"),
        helper.make_node("Mul", ["both", "half"], ["mean"], "mean"),
    ]
    model.graph.node.extend(last)
    model.graph.output[0].name = "mean"
    onnx.save(model, path := tmp_path / "net.onnx")
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    card = made.artifact.card
    assert (card.activation, card.heatmap, card.one_by_one) == ("none", None, False)
    got, wanted = answers(made, path)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
    error = refused(path, describe(*IMAGENET, activation="sigmoid"), tmp_path / "b")
    assert error.code == "model-activation"


def test_logits_are_no_probabilities_whatever_is_said(save: Save, tmp_path: Path) -> None:
    error = refused(save(), describe(*IMAGENET, activation="none"), tmp_path / "a")
    assert (error.code, error.exit_code) == ("model-probabilities", 4)


def test_files_of_one_name_have_a_digest_each(tmp_path: Path) -> None:
    model = network()
    for index, tensor in enumerate(model.graph.initializer):
        if index < 2:
            folder = tmp_path / str(index)
            folder.mkdir()
            (folder / "weights").write_bytes(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=f"{index}/weights")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    source = open_classifier(tmp_path / "net.onnx", describe(*IMAGENET))
    assert sorted(source.provenance["file_sha256"]) == ["0/weights", "1/weights", "net.onnx"]


def quantised(path: Path, end: str) -> Path:
    """Write conv - mean - linear - activation with weights and answers of 8 bits."""
    rng = np.random.default_rng(5)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, values: Any) -> str:  # noqa: ANN401
        weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def stepped(value: str, scale: float, zero: int) -> str:
        ends = [constant(f"{value}_s", np.float32(scale)), constant(f"{value}_z", np.uint8(zero))]
        nodes.append(helper.make_node("QuantizeLinear", [value, *ends], [f"{value}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{value}_q", *ends], [f"{value}_d"]))
        return f"{value}_d"

    def stored(name: str, *shape: int) -> str:
        values = constant(name, rng.integers(-99, 99, shape).astype(np.int8))
        scale = constant(f"{name}_s", rng.uniform(0.002, 0.006, shape[0]).astype(np.float32))
        zero = constant(f"{name}_z", np.zeros(shape[0], np.int8))
        nodes.append(helper.make_node("DequantizeLinear", [values, scale, zero], [f"{name}_d"],
                                      axis=0))  # fmt: skip
        return f"{name}_d"

    nodes.append(helper.make_node("Conv", [stepped("x", 0.02, 110), stored("w", 6, 3, 3, 3)], ["c"],
                                  "stem"))  # fmt: skip
    nodes.append(helper.make_node("GlobalAveragePool", [stepped("c", 0.05, 120)], ["p"], "pool"))
    nodes.append(helper.make_node("Flatten", ["p"], ["f"], "flat"))
    row = [stepped("f", 0.02, 128), stored("k", 3, 6)]
    nodes.append(helper.make_node("Gemm", row, ["y"], "head", transB=1))
    nodes.append(helper.make_node(end, [stepped("y", 0.02, 128)], ["z"], "end"))
    last = stepped("z", 1 / 256, 0)
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", 3])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("end", ["Sigmoid", "Softmax"])
def test_a_quantised_network_is_int8_as_it_stands(tmp_path: Path, end: str) -> None:
    path = quantised(tmp_path / "net.onnx", end)
    made = optimize(path, tmp_path / "a", Precision.FP32, description=describe(*IMAGENET))
    card = made.artifact.card
    assert (card.precision, card.activation) == (Precision.INT8, "none")
    assert card.parameters >= 6 * 3 * 9 + 3 * 6
    assert card.parameters <= 6 * 3 * 9 + 3 * 6 + 2
    got, wanted = answers(made, path)
    assert np.ptp(wanted) > 0.02
    # At most one answer takes a step of the quantizer that the other does not.
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1.01 / 256)
    assert np.mean(np.abs(got - wanted) > 1e-6) <= 0.2
    said = describe(*IMAGENET, activation=end.lower())
    again = optimize(path, tmp_path / "b", Precision.FP32, description=said)
    np.testing.assert_array_equal(ours(again, noise()).probability, got)
    assert open_model(path, ImportOptions(shapes={"": (1, 3, SIDE, SIDE)})).precision == "int8"
    with pytest.raises(UsageError) as rounded:
        optimize(path, tmp_path / "c", Precision.FP16, description=describe(*IMAGENET))
    assert rounded.value.code == "precision-quantized"
