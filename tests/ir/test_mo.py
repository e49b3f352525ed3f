"""The classic command line: what it makes, against NumPy and ONNX Runtime; what it refuses."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import openvino as ov
import pytest
from typer.testing import CliRunner

from thorax.cli import app
from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.ir.mo import Generated, convert
from thorax.ir.mo_plan import Flags
from thorax.measure.tables import ports_table

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


def ours(made: Generated, *values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(ov.Core().compile_model(made.xml, "CPU", hint)(list(values))[0])


def pixels(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(2).uniform(0, 255, shape).astype(np.float32)


def make(tmp_path: Path, path: Path, **flags: Any) -> Generated:  # noqa: ANN401
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


def test_the_flags_are_words_of_a_shell(save: Save, tmp_path: Path) -> None:

    path = save(batch="N")
    words = ["mo", "--framework", "onnx", "--input_model", str(path), "--output_dir"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "ir"), "--batch", "1", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["artifact"] == str(tmp_path / "ir" / "net.xml")
    assert document["inputs"][0]["shape"] == [1, 3, 8, 8]
    assert ports_table(document).rows[0][:2] == ("in data", "[1,3,8,8]")


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
        ({"input_shape": "[1,3,8]"}, "mo-shape"),
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
    "flags", [{"input_shape": "[1,5,8,8]"}, {"input": "flat", "output": "conv"}]
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
