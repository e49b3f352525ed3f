"""The classic command line: what it makes, against NumPy and ONNX Runtime; what it refuses."""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino as ov
import pytest
import torch
from onnx import TensorProto, helper
from tests.importers.tensorflow_files import FLOAT, Graph
from tests.ir import test_classifier
from typer.testing import CliRunner

from thorax.cli.app import app
from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.files import atomic
from thorax.importers import formats
from thorax.importers.options import Imported, ImportOptions
from thorax.mo import convert as mo
from thorax.mo.command_line import Flags
from thorax.mo.convert import convert
from thorax.report.optimize import ports_table
from thorax.results.optimize import ConvertResult

Save = Callable[..., Path]

MEAN, SCALE = (123.68, 116.78, 103.94), (58.4, 57.1, 57.4)


@pytest.fixture
def save(save_onnx: Save, tmp_path: Path) -> Save:
    """Return a writer of the network that the classic command line is tried on."""
    return functools.partial(save_onnx, tmp_path / "net.onnx")


def peer(path: Path, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"data": np.asarray(one[None], np.float32)})[0] for one in images]
    return np.asarray(np.concatenate(rows), np.float32)


def ours(made: ConvertResult, *values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(ov.Core().compile_model(made.xml, "CPU", hint)(list(values))[0])


def pixels(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(2).uniform(0, 255, shape).astype(np.float32)


def make(tmp_path: Path, path: Path, **flags: Any) -> ConvertResult:  # noqa: ANN401
    return convert(Flags(input_model=path, output_dir=tmp_path / "ir", **flags))


def refused(tmp_path: Path, kind: type[ThoraxError], path: Path, **flags: Any) -> ThoraxError:  # noqa: ANN401
    with pytest.raises(kind) as caught:
        make(tmp_path, path, **flags)
    assert not (tmp_path / "ir").exists() or not list((tmp_path / "ir").iterdir())
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_pair_has_the_name_of_the_input_and_says_what_it_was_made_of(
    save: Save, tmp_path: Path
) -> None:
    made = make(tmp_path, save(), mean_values="[1,2,3]")
    assert made.xml == tmp_path / "ir" / "net.xml"
    assert sorted(file.name for file in made.xml.parent.iterdir()) == ["net.bin", "net.xml"]
    model = ov.Core().read_model(made.xml)
    assert model.get_rt_info(["thorax_mo", "framework"]).astype(str) == "onnx"
    assert model.get_rt_info(["thorax_mo", "flags", "mean_values"]).astype(str) == "[1,2,3]"
    assert len(model.get_rt_info(["thorax_mo", "sha256_of_net.onnx"]).astype(str)) == 64


def test_mean_scale_and_reversal_are_in_the_graph(save: Save, tmp_path: Path) -> None:
    path = save()
    made = make(
        tmp_path,
        path,
        mean_values="[123.68,116.78,103.94]",
        scale_values="data(58.4,57.1,57.4)",
        reverse_input_channels=True,
    )
    image = pixels(1, 3, 8, 8)
    seen = (image[:, ::-1] - np.array(MEAN).reshape(3, 1, 1)) / np.array(SCALE).reshape(3, 1, 1)
    np.testing.assert_allclose(ours(made, image), peer(path, seen), atol=1e-5)
    assert made.difference is not None
    assert made.difference < 1e-5


@pytest.mark.parametrize("baked", [False, True])
def test_a_batch_answers_each_image_as_it_does_alone(
    save: Save, tmp_path: Path, baked: bool
) -> None:
    path = save(baked=baked)
    made = make(tmp_path, path, batch=4)
    images = pixels(4, 3, 8, 8) / 255
    assert made.inputs[0].shape == (4, 3, 8, 8)
    np.testing.assert_allclose(ours(made, images), peer(path, images), atol=1e-6)


def test_what_the_file_leaves_open_is_asked_for(save: Save, tmp_path: Path) -> None:
    path = save(batch="N", side="S")
    assert refused(tmp_path, UsageError, path).code == "model-undescribed"
    assert refused(tmp_path, UsageError, path, batch=1).code == "model-undescribed"
    made = make(tmp_path, path, input_shape="[1,3,16,16]")
    assert made.inputs[0].shape == (1, 3, 16, 16)


def test_minus_one_leaves_an_axis_open(save: Save, tmp_path: Path) -> None:
    path = save(batch="N", side="S")
    made = make(tmp_path, path, input_shape="[-1,3,16,16]")
    assert (made.inputs[0].shape, made.macs) == ((-1, 3, 16, 16), None)
    images = pixels(3, 3, 16, 16)
    np.testing.assert_allclose(ours(made, images), peer(path, images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("data_type", "precision"),
    [("FP16", "fp16"), ("half", "fp16"), ("FP32", "fp32"), ("float", "fp32")],
)
def test_the_data_type_is_that_of_the_weights(
    save: Save, tmp_path: Path, data_type: str, precision: str
) -> None:
    made = make(tmp_path, save(), data_type=data_type)
    assert made.precision == precision
    kinds = {
        node.get_element_type()
        for node in ov.Core().read_model(made.xml).get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().is_real()
    }
    assert (ov.Type.f16 in kinds) == (precision == "fp16")


def test_weights_that_do_not_survive_16_bits_are_refused(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mo, "_STORED_TOLERANCE", 1e-9)
    error = refused(tmp_path, ModelError, save(), data_type="FP16")
    assert error.code == "model-differs"
    assert "16 bits" in str(error)


def test_the_flags_are_words_of_a_shell(save: Save, tmp_path: Path) -> None:

    path = save(batch="N")
    words = ["mo", "--framework", "onnx", "--input_model", str(path), "--output_dir"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "ir"), "--batch", "1", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["artifact"] == str(tmp_path / "ir" / "net.xml")
    assert document["inputs"][0]["shape"] == [1, 3, 8, 8]
    assert ports_table(ConvertResult.model_validate(document)).rows[0][:2] == (
        "in data",
        "[1,3,8,8]",
    )


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ({"data_type": "INT8"}, "mo-data-type"),
        ({"batch": 0}, "mo-batch"),
        ({"batch": 1, "input_shape": "[1,3,8,8]"}, "mo-batch"),
        ({"scale": 2.0, "scale_values": "[1]"}, "mo-values"),
        ({"scale": 0.0}, "mo-values"),
        ({"mean_values": "[1,2]"}, "mo-values"),
        ({"mean_values": "[1,2,3],[4,5,6]"}, "mo-values"),
        ({"mean_values": "other[1,2,3]"}, "mo-name"),
        ({"mean_values": "1,2,3"}, "mo-values"),
        ({"input_shape": "1,3,8,8"}, "mo-shape"),
        ({"input": "data[1,3,8]"}, "mo-shape"),
        ({"input_shape": "[1,3,8,8],[1]"}, "mo-shape"),
        ({"framework": "caffe"}, "mo-framework"),
        ({"framework": "darknet"}, "mo-framework"),
        ({"model_name": "../net"}, "mo-model-name"),
        ({"output": "nothing"}, "mo-name"),
        ({"output": "conv:7"}, "mo-port"),
        ({"input": "nothing"}, "mo-name"),
        ({"input": "relu,relu"}, "mo-input"),
        ({"layout": "nhcc"}, "mo-layout"),
        ({"layout": "nc"}, "mo-layout"),
    ],
)
def test_a_flag_that_cannot_be_followed_is_one_line_and_nothing_is_written(
    save: Save, tmp_path: Path, flags: dict[str, Any], code: str
) -> None:
    assert refused(tmp_path, UsageError, save(), **flags).code == code


@pytest.mark.parametrize(
    "flags",
    [{"input_shape": "[1,5,8,8]"}, {"input_shape": "[1,3,8]"}, {"input": "flat", "output": "conv"}],
)
def test_what_the_network_cannot_take_is_refused(
    save: Save, tmp_path: Path, flags: dict[str, Any]
) -> None:
    refused(tmp_path, ModelError, save(), **flags)


def test_three_channels_are_what_can_be_reversed(save: Save, tmp_path: Path) -> None:
    path = save(channels=1)
    assert refused(tmp_path, UsageError, path, reverse_input_channels=True).code == "mo-reverse"


def test_a_pair_that_is_there_survives_a_conversion_that_fails(save: Save, tmp_path: Path) -> None:
    path = save()
    made = make(tmp_path, path)
    kept = {file: file.read_bytes() for file in made.xml.parent.iterdir()}
    with pytest.raises(UsageError):
        make(tmp_path, path, output="nothing")
    assert {file: file.read_bytes() for file in made.xml.parent.iterdir()} == kept


KERNEL = np.random.default_rng(5).normal(0, 0.3, (3, 3, 3, 4)).astype(np.float32)


@pytest.fixture
def tensorflow(tmp_path: Path) -> Path:
    """A frozen graph of one padded convolution, [?,?,?,3] -> [?,?,?,4]."""
    graph = Graph()
    value = graph.add("Placeholder", "image", dtype=FLOAT)
    graph.shape(value, [-1, -1, -1, 3])
    kernel = graph.constant("kernel", KERNEL)
    value = graph.add(
        "Conv2D", "conv", [value, kernel],
        T=FLOAT, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC", dilations=[1, 1, 1, 1],
    )  # fmt: skip
    graph.add("Relu", "relu", [value], T=FLOAT)
    return graph.frozen(tmp_path / "net.pb")


def convolved(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return what torch makes of [N,3,h,w]."""
    kernel = torch.from_numpy(KERNEL).permute(3, 2, 0, 1)
    taken = torch.from_numpy(np.asarray(image, np.float32))
    return np.asarray(torch.relu(torch.nn.functional.conv2d(taken, kernel, padding=1)))


def test_tensorflow_is_given_its_own_shape_and_answers_with_channels_first(
    tensorflow: Path, tmp_path: Path
) -> None:
    made = make(
        tmp_path,
        tensorflow,
        framework="tf",
        input="image",
        input_shape="[1,6,8,3]",
        mean_values="image[1,2,3]",
        scale=58.0,
        reverse_input_channels=True,
    )
    assert (made.inputs[0].shape, made.inputs[0].layout) == ((1, 3, 6, 8), "NCHW")
    assert (made.outputs[0].shape, made.outputs[0].layout) == ((1, 4, 6, 8), "NCHW")
    image = pixels(1, 3, 6, 8)
    seen = (image[:, ::-1] - np.array([1, 2, 3]).reshape(3, 1, 1)) / 58
    np.testing.assert_allclose(ours(made, image), convolved(seen), atol=1e-5)


def test_no_turning_is_left_between_an_image_and_its_convolution(
    tensorflow: Path, tmp_path: Path
) -> None:
    made = make(tmp_path, tensorflow, input_shape="[1,6,8,3]")
    kinds = [node.get_type_name() for node in ov.Core().read_model(made.xml).get_ordered_ops()]
    assert "Transpose" not in kinds


@pytest.mark.parametrize("flags", [{"disable_nhwc_to_nchw": True}, {"layout": "nhwc"}])
def test_channels_may_stay_last(tensorflow: Path, tmp_path: Path, flags: dict[str, Any]) -> None:
    made = make(tmp_path, tensorflow, input_shape="[1,6,8,3]", mean_values="[1,2,3]", **flags)
    assert (made.inputs[0].shape, made.outputs[0].shape) == ((1, 6, 8, 3), (1, 6, 8, 4))
    image = pixels(1, 6, 8, 3)
    wanted = convolved(np.moveaxis(image - np.array([1, 2, 3]), 3, 1))
    np.testing.assert_allclose(ours(made, image), np.moveaxis(wanted, 1, 3), rtol=1e-5, atol=1e-3)


def test_a_layout_turns_what_it_names(save: Save, tmp_path: Path) -> None:
    path = save()
    made = make(tmp_path, path, layout="data(nchw->nhwc)", mean_values="[1,2,3]")
    assert (made.inputs[0].shape, made.inputs[0].layout) == ((1, 8, 8, 3), "NHWC")
    image = pixels(1, 8, 8, 3)
    seen = np.moveaxis(image - np.array([1, 2, 3]), 3, 1)
    np.testing.assert_allclose(ours(made, image), peer(path, seen), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["relu", "0:relu", "conv:0"])
def test_a_cut_of_tensorflow_takes_its_shape_with_channels_last(
    tensorflow: Path, tmp_path: Path, name: str
) -> None:
    made = make(tmp_path, tensorflow, input=f"{name}[1,5,7,4]{{f32}}", model_name="end")
    assert made.xml.name == "end.xml"
    assert made.inputs[0].shape == made.outputs[0].shape == (1, 4, 5, 7)
    values = pixels(1, 4, 5, 7) - 128
    np.testing.assert_array_equal(ours(made, values), np.maximum(values, 0))


@pytest.mark.parametrize("name", ["conv", "conv:0"])
def test_a_tensorflow_graph_ends_at_a_layer_inside(
    tensorflow: Path, tmp_path: Path, name: str
) -> None:
    made = make(tmp_path, tensorflow, input_shape="[1,5,7,3]", output=name)
    assert made.outputs[0].shape == (1, 4, 5, 7)
    image = pixels(1, 3, 5, 7) - 128
    found = ours(made, image)
    assert (found < 0).any()
    np.testing.assert_allclose(np.maximum(found, 0), convolved(image), rtol=1e-5, atol=1e-4)


def test_a_layer_that_tensorflow_lacks_is_answered_with_what_is_near(
    tensorflow: Path, tmp_path: Path
) -> None:
    for flags in ({"output": "rellu"}, {"input": "rellu[1,2,2,4]"}):
        error = refused(tmp_path, UsageError, tensorflow, **flags)
        assert error.code == "mo-name"
        assert "near it are relu" in error.message


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """y = a - b, images of three channels."""
    image = [1, 3, 4, 4]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, image) for name in "aby"]
    node = helper.make_node("Sub", ["a", "b"], ["y"], "sub")
    graph = helper.make_graph([node], "two", ports[:2], ports[2:])
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, ir_version=9), path)
    return path


@pytest.mark.parametrize(
    "flags",
    [
        {"mean_values": "a[1,2,3],b[4]", "scale_values": "b(2)"},
        {"mean_values": "[1,2,3],[4]", "scale_values": "[1],[2]"},
        {"input": "a,b", "mean_values": "[1,2,3],[4]", "scale_values": "b[2,2,2]"},
    ],
)
def test_each_input_has_its_own_mean_and_scale(
    two: Path, tmp_path: Path, flags: dict[str, Any]
) -> None:
    made = make(tmp_path, two, **flags)
    first, second = pixels(1, 3, 4, 4), pixels(1, 3, 4, 4)[:, :, ::-1].copy()
    wanted = first - np.array([1, 2, 3]).reshape(3, 1, 1) - (second - 4) / 2
    np.testing.assert_allclose(ours(made, first, second), wanted, atol=1e-4)


def test_inputs_come_in_the_order_they_are_named(two: Path, tmp_path: Path) -> None:
    made = make(tmp_path, two, input="b[1,3,2,2],a[1,3,2,2]")
    assert [(port.name, port.shape) for port in made.inputs] == [
        ("b", (1, 3, 2, 2)),
        ("a", (1, 3, 2, 2)),
    ]


@pytest.mark.parametrize(
    "flags", [{"input": "a,b->0.5"}, {"freeze_placeholder_with_value": "b->0.5"}]
)
def test_a_frozen_input_is_gone(two: Path, tmp_path: Path, flags: dict[str, Any]) -> None:
    made = make(tmp_path, two, **flags)
    assert [port.name for port in made.inputs] == ["a"]
    image = pixels(1, 3, 4, 4)
    np.testing.assert_allclose(ours(made, image), image - 0.5, rtol=1e-6)


def test_bytes_can_be_fed_to_a_mean(save: Save, tmp_path: Path) -> None:
    path = save()
    made = make(tmp_path, path, input="data{u8}", mean_values="[1,2,3]", scale=10.0)
    assert made.inputs[0].type == "u8"
    image = pixels(1, 3, 8, 8).astype(np.uint8)
    seen = (image - np.array([1, 2, 3]).reshape(3, 1, 1)) / 10
    np.testing.assert_allclose(ours(made, image), peer(path, seen), rtol=1e-4, atol=1e-5)


def test_an_importer_that_is_wrong_is_found_out(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = formats.read

    def wrong(path: Path, asked: ImportOptions) -> Imported:
        read = right(path, asked)
        return replace(read, run=lambda values: [np.ones((1, 2), np.float32)])

    monkeypatch.setattr(formats, "read", wrong)
    assert refused(tmp_path, ModelError, save()).code == "model-differs"


def test_a_disk_that_fails_leaves_the_old_pair(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save()
    made = make(tmp_path, path)
    kept = {file: file.read_bytes() for file in made.xml.parent.iterdir()}

    def full(file: Path) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(atomic, "sync", full)
    with pytest.raises(OSError, match="No space"):
        make(tmp_path, path, data_type="FP16")
    assert {file: file.read_bytes() for file in made.xml.parent.iterdir()} == kept


def test_an_ir_is_converted_again_with_the_layout_it_says(save: Save, tmp_path: Path) -> None:
    first = make(tmp_path, save(), layout="nchw->nhwc", data_type="FP16")
    again = make(tmp_path, first.xml, model_name="again", mean_values="[1,2,3]", data_type="FP32")
    assert (again.framework, again.precision) == ("openvino", "fp32")
    assert (again.inputs[0].shape, again.inputs[0].layout) == ((1, 8, 8, 3), "NHWC")
    image = pixels(1, 8, 8, 3)
    wanted = ours(first, (image - np.array([1, 2, 3])).astype(np.float32))
    np.testing.assert_allclose(ours(again, image), wanted, rtol=1e-4, atol=1e-5)


def test_half_precision_may_differ_by_its_own_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One rounding to 11 bits; where it falls depends on the processor.
    monkeypatch.setattr(mo, "compare", lambda *_: 8e-4)
    path = tmp_path / "net.onnx"
    onnx.save(test_classifier.network(element=TensorProto.FLOAT16), path)
    assert make(tmp_path, path).difference == 8e-4
    onnx.save(test_classifier.network(), path)
    with pytest.raises(ModelError, match=r"allowed is 0\.0001"):
        make(tmp_path, path)


def test_a_batch_that_its_images_depend_on_is_refused(tmp_path: Path) -> None:
    kernel = np.random.default_rng(1).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["data", "w"], ["c"], "conv"),
            helper.make_node("MeanVarianceNormalization", ["c"], ["y"], "mvn", axes=[0, 2, 3]),
        ],
        "g",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(kernel, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path := tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="--batch 1") as refused:
        make(tmp_path, path, batch=2)
    assert refused.value.code == "model-batch"
