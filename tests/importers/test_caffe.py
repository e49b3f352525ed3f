"""Caffe files: how they are found and read, whole networks, and every way to damage them."""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.importers import caffe_files as files
from tests.importers.caffe_files import Twin
from tests.importers.conftest import refused

from thorax.errors import ThoraxError
from thorax.importers import formats
from thorax.importers.options import ImportOptions

Array = npt.NDArray[np.float32]


def small() -> Twin:
    """Return conv - relu in place - pool - linear - softmax."""
    net = Twin.of(1, 3, 9, 9)
    body = net.relu(net.conv("conv", "data", 4, 3, stride=2, pad=1))
    net.softmax("prob", net.linear("fc", net.pool("pool", body, "AVE", 2, 2), 3))
    return net


def matches(net: Twin, path: Path, *, atol: float = 1e-5, output: str = "prob") -> None:
    """Require that a file answers what torch does."""
    imported = formats.read(path)
    assert (imported.framework, imported.layout) == ("caffe", "NCHW")
    got = files.run(imported.model, net.image)
    assert list(got) == [output]
    np.testing.assert_allclose(got[output], net.values[output].numpy(), atol=atol)


@pytest.mark.parametrize("v1", [False, True], ids=["v2", "v1"])
@pytest.mark.parametrize("packed", [False, True], ids=["unpacked", "packed"])
@pytest.mark.parametrize("doubles", [False, True], ids=["float", "double"])
@pytest.mark.parametrize("legacy", [False, True], ids=["shape", "num"])
def test_weights_are_read_however_they_were_written(
    tmp_path: Path, v1: bool, packed: bool, doubles: bool, legacy: bool
) -> None:
    net = small()
    kind = {"v1": v1, "packed": packed, "doubles": doubles, "legacy": legacy}
    matches(net, files.write(tmp_path, net.text, net.weights, **kind))


def test_weights_that_protobuf_wrote_are_read(tmp_path: Path) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")

    def message(name: str, *fields: tuple[str, int, int, bool, str]) -> None:
        kind = file.message_type.add(name=name)
        for label, number, code, packed, inner in fields:
            one = kind.field.add(name=label, number=number, type=code, label=3)
            if packed:
                one.options.packed = True
            if inner:
                one.type_name = inner

    message("BlobShape", ("dim", 1, 3, True, ""))
    message("BlobProto", ("data", 5, 2, True, ""), ("shape", 7, 11, False, ".caffe.BlobShape"))
    message(
        "LayerParameter", ("name", 1, 9, False, ""), ("blobs", 7, 11, False, ".caffe.BlobProto")
    )
    message("NetParameter", ("layer", 100, 11, False, ".caffe.LayerParameter"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
    net, written = small(), kind()
    for name, blobs in net.weights.items():
        layer = written.layer.add(name=[name])
        for blob in blobs:
            layer.blobs.add(data=blob.ravel().tolist()).shape.add(dim=blob.shape)
    path = files.write(tmp_path, net.text, {})
    path.write_bytes(written.SerializeToString())
    matches(net, path)


def test_the_old_text_is_read_as_the_new(tmp_path: Path) -> None:
    net = small()
    text = net.text.replace("layer {", "layers {").replace(
        "input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }",
        "input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9",
    )
    for new in ("Convolution", "ReLU", "Pooling", "InnerProduct", "Softmax"):
        old = "INNER_PRODUCT" if new == "InnerProduct" else new.upper()
        text = text.replace(f'type: "{new}"', f"type: {old} blobs_lr: 1 weight_decay: 0")
    matches(net, files.write(tmp_path, text, net.weights, v1=True, legacy=True))


def test_layers_have_their_names_and_blobs_too(tmp_path: Path) -> None:
    net = small()
    model = formats.read(files.write(tmp_path, net.text, net.weights)).model
    names = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Result", "Reshape")
    ]
    assert names == [
        "data", "conv/WithoutBiases", "conv", "relu_conv", "pool", "fc/WithoutBiases",
        "fc", "prob",
    ]  # fmt: skip
    assert model.inputs[0].names == {"data"}
    for blob in ("conv", "pool", "fc", "prob"):
        assert any(blob in node.output(0).names for node in model.get_ordered_ops()[:-1])


def test_either_file_finds_the_other(tmp_path: Path) -> None:
    net = small()
    path = files.write(tmp_path, net.text, net.weights)
    both = (path, tmp_path / "net.prototxt")
    assert formats.read(path).files == formats.read(both[1]).files == both
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = both[1].rename(elsewhere / "layers.txt")
    assert formats.read(path, ImportOptions(structure=moved)).files == (path, moved)
    deploy = moved.rename(tmp_path / "deploy.prototxt")
    assert formats.read(path).files == formats.read(deploy).files == (path, deploy)


@pytest.mark.parametrize("beside", [(), ("a_deploy.prototxt", "b_deploy.prototxt")])
def test_a_description_that_is_not_found_is_asked_for(
    tmp_path: Path, beside: tuple[str, ...]
) -> None:
    path = files.write(tmp_path, "", {})
    (tmp_path / "net.prototxt").unlink()
    for name in beside:
        (tmp_path / name).touch()
    error = refused(path)
    assert error.code == "model-undescribed"
    for part in ("--structure", *beside):
        assert part in error.message


def test_weights_that_are_not_found_are_asked_for(tmp_path: Path) -> None:
    net = small()
    files.write(tmp_path, net.text, net.weights).unlink()
    assert refused(tmp_path / "net.prototxt").code == "model-undescribed"
    assert (
        refused(
            tmp_path / "net.prototxt", ImportOptions(structure=tmp_path / "other.prototxt")
        ).code
        == "model-undescribed"
    )


TRAINING = """
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST } }
layer { name: "parts" type: "Slice" bottom: "label" top: "l1" top: "l2" }
layer { name: "relu" type: "ReLU" bottom: "data" top: "scores" }
layer { name: "only_train" type: "Nonsense" bottom: "data" top: "no" include { phase: TRAIN } }
layer { name: "not_test" type: "Nonsense" bottom: "data" top: "no" exclude { phase: TEST } }
layer { name: "not_here" type: "Nonsense" bottom: "data" top: "no" include { stage: "val" } }
layer { name: "low" type: "Nonsense" bottom: "data" top: "no" include { min_level: 2 } }
layer { name: "right" type: "Accuracy" bottom: "scores" bottom: "label" top: "accuracy" }
layer { name: "quiet" type: "Abs" bottom: "data" top: "no" exclude { stage: "deploy" } }
layer { name: "x" type: "AbsVal" bottom: "data" top: "unused" }
layer { name: "hush" type: "Silence" bottom: "unused" }
"""


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ("SoftmaxWithLoss", lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        ("SOFTMAX_LOSS", lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        ("SigmoidCrossEntropyLoss", lambda x: 1 / (1 + np.exp(-x))),
        ("EuclideanLoss", lambda x: x),
    ],
)
def test_a_network_to_train_is_read_as_the_one_to_deploy(
    tmp_path: Path, loss: str, wanted: Callable[[Array], Array]
) -> None:
    text = f'{TRAINING} layer {{ name: "loss" type: "{loss}" bottom: "scores" bottom: "l1" '
    path = files.write(tmp_path, text + 'top: "loss" }', {})
    assert refused(path).code == "model-undescribed"
    image = np.random.default_rng(2).normal(size=(2, 5, 1, 1)).astype(np.float32)
    got = files.run(formats.read(path, ImportOptions(shapes={"": (2, 5, 1, 1)})).model, image)
    (values,) = got.values()
    np.testing.assert_allclose(values, wanted(np.maximum(image, 0)), atol=1e-6)


def test_a_side_is_enough_where_the_weights_say_the_channels(tmp_path: Path) -> None:
    text = """
    layer { name: "d" type: "Data" top: "data" }
    layer { name: "c" type: "Convolution" bottom: "data" top: "y"
            convolution_param { num_output: 4 kernel_size: 3 group: 2 bias_term: false } }
    """
    path = files.write(tmp_path, text, {"c": [np.ones((4, 3, 3, 3), np.float32)]})
    assert refused(path).code == "model-undescribed"
    model = formats.read(path, ImportOptions(side=7)).model
    assert list(model.inputs[0].shape) == [1, 6, 7, 7]


def test_labels_are_not_to_be_had(tmp_path: Path) -> None:
    text = TRAINING + 'layer { name: "odd" type: "Concat" bottom: "data" bottom: "l1" top: "y" }'
    error = refused(files.write(tmp_path, text, {}), ImportOptions(shapes={"data": (1, 5, 1, 1)}))
    assert error.code == "model-layer"
    assert "labels" in error.message


def test_shapes_that_were_asked_for_stand_above_those_described(tmp_path: Path) -> None:
    net = Twin.of(10, 3, 9, 9)
    net.global_mean("prob", net.conv("conv", "data", 4, 3))
    path = files.write(tmp_path, net.text, net.weights)
    for name in ("", "data"):
        model = formats.read(path, ImportOptions(shapes={name: (1, 3, 15, 12)})).model
        assert list(model.inputs[0].shape) == [1, 3, 15, 12]
    model = formats.read(path).model
    model.reshape([1, 3, 9, 9])
    np.testing.assert_allclose(
        files.run(model, net.image[:1])["prob"], net.values["prob"].numpy()[:1], atol=1e-6
    )
    assert refused(path, ImportOptions(shapes={"image": (1, 3, 9, 9)})).code == "model-input"


def test_several_inputs_and_outputs_keep_their_order_and_names(tmp_path: Path) -> None:
    text = """
    layer { name: "in" type: "Input" top: "b" top: "a" top: "idle"
      input_param { shape { dim: 1 dim: 2 } } }
    layer { name: "s" type: "Split" bottom: "b" top: "b1" top: "b2" }
    layer { name: "n" type: "Power" bottom: "b1" top: "n" power_param { scale: -1 } }
    layer { name: "e" type: "Eltwise" bottom: "b2" bottom: "a" top: "e" }
    """
    path = files.write(tmp_path, text, {})
    model = formats.read(path).model
    assert [port.any_name for port in model.inputs] == ["b", "a"]
    b, a = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)
    got = files.run(model, b, a)
    assert {name: value.tolist() for name, value in got.items()} == {"n": [[-1, -2]], "e": [[4, 6]]}
    assert refused(path, ImportOptions(shapes={"": (1, 2)})).code == "model-undescribed"


def change(weights: dict[str, list[Array]], name: str, blobs: list[Array]) -> dict[str, Any]:
    return {**weights, name: blobs}


@pytest.mark.parametrize("case", ["absent", "few", "many", "other shape", "turned", "too short"])
def test_weights_that_do_not_fit_are_told_with_their_layer(tmp_path: Path, case: str) -> None:
    net = small()
    weight, bias = net.weights["fc"]
    blobs = {
        "absent": [],
        "few": [weight],
        "many": [weight, bias, bias],
        "other shape": [weight[:, 1:], bias],
        "turned": [weight.T, bias],
        "too short": [weight, bias],
    }[case]
    path = files.write(tmp_path, net.text, change(net.weights, "fc", blobs))
    if case == "too short":
        whole = path.read_bytes()
        at = whole.rindex(bias.tobytes())
        path.write_bytes(whole[: at - 1] + bytes([4]) + whole[at : at + 4])
    error = refused(path)
    if case == "too short":
        assert error.code in ("model-weights", "model-unreadable")
        return
    assert error.code == "model-weights"
    assert "'fc'" in error.message


def test_weights_of_layers_that_are_not_described_are_left(tmp_path: Path) -> None:
    net = small()
    extra = change(net.weights, "loss1/fc", [np.ones((3, 3), np.float32)])
    matches(net, files.write(tmp_path, net.text, extra))


def test_a_blob_that_claims_to_be_huge_is_refused_and_never_made(tmp_path: Path) -> None:
    net = small()
    path = files.write(tmp_path, net.text, {})
    sides = b"".join(files.varint(2**40) for _ in range(4))
    blob = files.chunk(7, files.chunk(1, sides)) + files.chunk(5, b"\0" * 8)
    layer = files.chunk(1, b"conv") + files.chunk(7, blob)
    path.write_bytes(files.chunk(100, layer))
    assert refused(path).code == "model-weights"


@pytest.mark.parametrize("dim", ["2147483647", "-2", "65536 dim: 65536"])
def test_an_input_of_no_possible_size_is_refused(tmp_path: Path, dim: str) -> None:
    text = f'input: "a" input_shape {{ dim: 1 dim: 2 dim: {dim} }}'
    text += 'layer { name: "p" type: "Pooling" bottom: "a" top: "p" pooling_param { pool: AVE } }'
    assert refused(files.write(tmp_path, text, {})).code == "model-input"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no layer leads"),
        ('input: "data"', "input_dim"),
        ("layer {", "line 1"),
        ("layers { layer { name: 'c' type: 'conv' } }", "2013"),
        ('input: "a" input_shape { dim: 1 } layer: 3', "line 1"),
    ],
)
def test_text_that_describes_no_network_is_refused(tmp_path: Path, text: str, word: str) -> None:
    error = refused(files.write(tmp_path, text, {}))
    assert error.code == "model-unreadable"
    assert word in error.message


@functools.cache
def _bytes() -> tuple[str, bytes]:
    net = small()
    return net.text, files.caffemodel(net.weights)


FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_refuse(path: Path) -> None:
    with contextlib.suppress(ThoraxError):
        formats.read(path)


@FUZZ
@given(data=st.data())
def test_any_truncation_or_flipped_bit_of_the_weights_is_refused_or_read(
    tmp_path: Path, data: st.DataObject
) -> None:
    text, whole = _bytes()
    (tmp_path / "net.prototxt").write_text(text)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    heads = st.integers(0, max(0, len(damaged) - 1))
    for at in data.draw(st.lists(heads, max_size=4)) if damaged else []:
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "net.caffemodel").write_bytes(damaged)
    read_or_refuse(tmp_path / "net.caffemodel")


@FUZZ
@given(data=st.data())
def test_any_damage_to_the_description_is_refused_or_read(
    tmp_path: Path, data: st.DataObject
) -> None:
    text, whole = _bytes()
    damaged = list(text)
    for at in data.draw(st.lists(st.integers(0, len(text) - 1), max_size=6)):
        damaged[at] = data.draw(st.sampled_from('0123456789{}":-. azé'))
    (tmp_path / "net.prototxt").write_text("".join(damaged))
    (tmp_path / "net.caffemodel").write_bytes(whole)
    read_or_refuse(tmp_path / "net.caffemodel")


def test_every_truncation_of_the_weights_is_refused(tmp_path: Path) -> None:
    text, whole = _bytes()
    path = files.write(tmp_path, text, {})
    for end in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:end])
        assert refused(path).code in ("model-unreadable", "model-weights")


def alexnet() -> Twin:
    net = Twin.of(1, 3, 99, 99)
    one = net.lrn("norm1", net.pool("pool1", net.relu(net.conv("conv1", "data", 12, 11, stride=4)),
                                    "MAX", 3, 2))  # fmt: skip
    two = net.relu(net.conv("conv2", one, 16, 5, pad=2, group=2))
    two = net.lrn("norm2", net.pool("pool2", two, "MAX", 3, 2))
    top = two
    for index, width, group in [(3, 24, 1), (4, 24, 2), (5, 16, 2)]:
        top = net.relu(net.conv(f"conv{index}", top, width, 3, pad=1, group=group))
    top = net.pool("pool5", top, "MAX", 3, 2)
    for index in (6, 7):
        top = net.dropout(net.relu(net.linear(f"fc{index}", top, 32)))
    net.softmax("prob", net.linear("fc8", top, 10))
    return net


def vgg16() -> Twin:
    net = Twin.of(1, 3, 48, 48)
    top = "data"
    for stage, (width, depth) in enumerate([(4, 2), (6, 2), (8, 3), (8, 3), (8, 3)], 1):
        for index in range(1, depth + 1):
            top = net.relu(net.conv(f"conv{stage}_{index}", top, width, 3, pad=1))
        top = net.pool(f"pool{stage}", top, "MAX", 2, 2)
    for index in (6, 7):
        top = net.dropout(net.relu(net.linear(f"fc{index}", top, 16)))
    net.softmax("prob", net.linear("fc8", top, 10))
    return net


def googlenet() -> Twin:
    net = Twin.of(1, 3, 111, 111)
    top = net.relu(net.conv("conv1/7x7_s2", "data", 8, 7, stride=2, pad=3))
    top = net.lrn("pool1/norm1", net.pool("pool1/3x3_s2", top, "MAX", 3, 2))
    top = net.relu(net.conv("conv2/3x3_reduce", top, 8, 1))
    top = net.lrn("conv2/norm2", net.relu(net.conv("conv2/3x3", top, 12, 3, pad=1)))
    top = net.pool("pool2/3x3_s2", top, "MAX", 3, 2)
    for name in ("3a", "3b", "pool3", "4a", "4b", "pool4", "5a", "5b"):
        if name.startswith("pool"):
            top = net.pool(f"{name}/3x3_s2", top, "MAX", 3, 2)
            continue
        inside = f"inception_{name}"
        parts = [net.relu(net.conv(f"{inside}/1x1", top, 4, 1))]
        for size in (3, 5):
            part = net.relu(net.conv(f"{inside}/{size}x{size}_reduce", top, 3, 1))
            part = net.conv(f"{inside}/{size}x{size}", part, 4, size, pad=size // 2)
            parts.append(net.relu(part))
        pooled = net.pool(f"{inside}/pool", top, "MAX", 3, 1, 1)
        parts.append(net.relu(net.conv(f"{inside}/pool_proj", pooled, 3, 1)))
        top = net.concat(f"{inside}/output", parts)
    top = net.dropout(net.pool("pool5/7x7_s1", top, "AVE", 3))
    net.softmax("prob", net.linear("loss3/classifier", top, 10))
    return net


def resnet50() -> Twin:
    net = Twin.of(1, 3, 65, 65)

    def conv(name: str, bottom: str, width: int, kernel: int, stride: int = 1) -> str:
        top = net.conv(name, bottom, width, kernel, stride=stride, pad=kernel // 2, bias=False)
        return str(net.norm(name, top))

    top = net.pool("pool1", net.relu(conv("conv1", "data", 8, 7, 2)), "MAX", 3, 2)
    for stage, (width, depth) in enumerate([(4, 3), (6, 4), (8, 6), (8, 3)], 2):
        for index in range(depth):
            name, stride = f"res{stage}{index}", 2 if stage > 2 and not index else 1
            inside = net.relu(conv(f"{name}_branch2a", top, width, 1, stride))
            inside = net.relu(conv(f"{name}_branch2b", inside, width, 3))
            inside = conv(f"{name}_branch2c", inside, 4 * width, 1)
            past = top if index else conv(f"{name}_branch1", top, 4 * width, 1, stride)
            top = net.relu(net.sum(name, [past, inside]))
    net.softmax("prob", net.linear("fc1000", net.pool("pool5", top, "AVE", 2), 10))
    return net


def squeezenet() -> Twin:
    net = Twin.of(1, 3, 70, 70)
    top = net.relu(net.conv("conv1", "data", 8, 3, stride=2))
    for index in range(2, 10):
        if index in (2, 4, 6):
            top = net.pool(f"pool{index}", top, "MAX", 3, 2)
        small = net.relu(net.conv(f"fire{index}/squeeze1x1", top, 4, 1))
        parts = [net.relu(net.conv(f"fire{index}/expand1x1", small, 6, 1)),
                 net.relu(net.conv(f"fire{index}/expand3x3", small, 6, 3, pad=1))]  # fmt: skip
        top = net.concat(f"fire{index}/concat", parts)
    top = net.relu(net.conv("conv10", net.dropout(top), 10, 1, pad=1))
    net.softmax("prob", net.global_mean("pool10", top))
    return net


def mobilenet() -> Twin:
    net = Twin.of(1, 3, 64, 64)
    top = net.relu(net.norm("conv1", net.conv("conv1", "data", 8, 3, stride=2, pad=1, bias=False)))
    for index, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]):
        width = net.values[top].shape[1]
        name = f"conv{index}/dw"
        top = net.conv(name, top, width, 3, stride=stride, pad=1, group=width, bias=False)
        top = net.relu(net.norm(name, top))
        name = f"conv{index}/sep"
        top = net.conv(name, top, width + (stride == 2) * 4, 1, bias=False)
        top = net.relu(net.norm(name, top))
    net.softmax("prob", net.conv("fc7", net.global_mean("pool6", top), 10, 1))
    return net


def densenet121() -> Twin:
    net = Twin.of(1, 3, 66, 66)

    def conv(name: str, bottom: str, width: int, kernel: int) -> str:
        top = net.relu(net.norm(name, bottom, top=f"{name}/bn"))
        return str(net.conv(name, top, width, kernel, pad=kernel // 2, bias=False))

    top = net.conv("conv1", "data", 8, 7, stride=2, pad=3, bias=False)
    top = net.pool("pool1", net.relu(net.norm("conv1", top)), "MAX", 3, 2, 1)
    for stage, depth in enumerate([6, 12, 24, 16], 2):
        for index in range(1, depth + 1):
            name = f"conv{stage}_{index}"
            new = conv(f"{name}/x2", conv(f"{name}/x1", top, 8, 1), 2, 3)
            top = net.concat(f"concat_{stage}_{index}", [top, new])
        if stage < 5:
            top = conv(f"conv{stage}_blk", top, net.values[top].shape[1] // 2, 1)
            top = net.pool(f"pool{stage}", top, "AVE", 2, 2)
    top = net.relu(net.norm("conv5_blk", top, top="conv5_blk/bn"))
    net.softmax("prob", net.conv("fc6", net.global_mean("pool5", top), 10, 1))
    return net


NETWORKS = [alexnet, vgg16, googlenet, resnet50, squeezenet, mobilenet, densenet121]


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_known_networks_answer_what_torch_does(tmp_path: Path, build: Callable[[], Any]) -> None:
    net = build()
    scores = net.values["prob"].numpy()
    assert scores.std() > 1e-3, "weights that tell something"
    matches(net, files.write(tmp_path, net.text, net.weights))


@pytest.mark.realdata
def test_a_real_network_answers_as_its_onnx_twin_does_on_radiographs(realdata: Path) -> None:
    folder = realdata / "models" / "slim320"
    caffe = formats.read(folder / "slim320.caffemodel").model
    onnx = formats.read(folder / "slim320.onnx").model
    onnx.reshape([1, 3, 240, 320])
    for path in sorted((realdata / "nih" / "images-256").glob("*.png"))[:4]:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        grey = cv2.resize(grey, (320, 240)).astype(np.float32)
        image = np.repeat((grey[None, None] - 127) / 128, 3, 1).astype(np.float32)
        found, wanted = files.run(caffe, image), files.run(onnx, image)
        assert set(found) == set(wanted) == {"boxes", "scores"}
        for name, values in found.items():
            np.testing.assert_allclose(values, wanted[name], atol=1e-4)
