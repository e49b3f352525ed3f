"""What two models are fed, and graphs of other layouts, types and orders that are compared."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.analysis.difference import CompareOptions, compare
from thorax.analysis.inputs import aligned, matching_inputs, prepared_images
from thorax.artifact import Artifact
from thorax.errors import ModelError
from thorax.ir.open import OpenedModel

Thorax = Callable[..., "subprocess.CompletedProcess[str]"]


def drawn(shape: list[int], *, kind: type = np.float32) -> ov.Model:
    image = ops.parameter(shape, kind)
    return ov.Model([ops.relu(ops.convert(image, np.float32))], [image], "drawn")


def graph(shape: list[int], *, layout: str = "NCHW", kind: type = np.float32) -> OpenedModel:
    placed = "NHWC" if layout == "NHWC" else "NCHW"
    return OpenedModel(Path("drawn.onnx"), drawn(shape, kind=kind), placed, None, "f32")  # type: ignore[arg-type]


def test_a_model_is_fed_as_it_takes_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8), np.uint8)
    assert prepared_images(graph([1, 1, 8, 8], kind=np.uint8), images, count=3) is not None
    wide = prepared_images(graph([1, 3, 8, 8]), images, count=3)
    assert wide.shape == (2, 3, 8, 8)
    assert np.array_equal(wide[:, 1], images[:, 0] / np.float32(255))
    assert prepared_images(graph([1, 8, 8, 3], layout="NHWC"), images, count=3).shape == (
        2,
        8,
        8,
        3,
    )
    assert prepared_images(graph([1, 3, 8, 8]), None, count=5).shape == (5, 3, 8, 8)


def convolved(*, channels_last: bool, called: str = "conv", kind: type = np.float32) -> OpenedModel:
    """Return one convolution of an 8 x 12 image with its maps as output."""
    weights = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    image = ops.parameter([1, 8, 12, 3] if channels_last else [1, 3, 8, 12], kind)
    value: ov.Node = ops.convert(image, np.float32)
    if channels_last:
        value = ops.transpose(value, ops.constant(np.array([0, 3, 1, 2])))
    conv = ops.convolution(value, ops.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])
    conv.set_friendly_name(called)
    answer: ov.Node = conv
    if channels_last:
        answer = ops.transpose(conv, ops.constant(np.array([0, 2, 3, 1])))
    model = ov.Model([answer], [image], "maps")
    return OpenedModel(Path("maps.xml"), model, "NCHW", None, "f32")


def test_channels_last_and_channels_first_of_one_network_are_equal() -> None:
    last, first = convolved(channels_last=True), convolved(channels_last=False)
    for pair in ((first, last), (last, first)):
        result = compare(*pair, options=CompareOptions(count=4))
        assert [entry.name for entry in result.layers] == ["conv"]
        assert result.outputs[0].max_error < 1e-5
        assert result.probes
    # Two of one layout stay as they are.
    assert aligned(last, last)[1].model is last.model


def test_bytes_and_floats_of_one_network_are_fed_the_same_values() -> None:
    wide = convolved(channels_last=False)
    narrow = convolved(channels_last=False, kind=np.uint8)
    for pair in ((wide, narrow), (narrow, wide)):
        assert compare(*pair, options=CompareOptions(count=4)).verdict.startswith("equal: ")
        values = np.stack([fed[0] for fed in matching_inputs(*pair, None, count=4)])
        assert (values.min(), values.max()) == (0, 255)
    values = np.stack([fed[0] for fed in matching_inputs(wide, wide, None, count=4)])
    assert (values.min(), values.max()) == (0, 1)


def test_layers_of_other_names_leave_the_outputs_to_be_compared() -> None:
    pair = (convolved(channels_last=False), convolved(channels_last=False, called="other"))
    result = compare(*pair, options=CompareOptions(count=3))
    assert (result.layers, result.unmatched) == ((), ("conv",))
    assert result.outputs[0].sqnr_db is None
    assert "outputs alone" in result.verdict
    assert result.suggested_ignore == ()


def several(order: str) -> OpenedModel:
    """Return a x 2 + b with inputs of two types in an order."""
    inputs = {
        "a": ops.parameter([2, 3], np.float32, name="a"),
        "b": ops.parameter([2, 3], np.int64, name="b"),
    }
    for name, port in inputs.items():
        port.output(0).set_names({name})
    doubled = ops.multiply(inputs["a"], ops.constant(np.float32(2)))
    total = ops.add(doubled, ops.convert(inputs["b"], np.float32))
    total.set_friendly_name("total")
    model = ov.Model([total], [inputs[name] for name in order], "several")
    return OpenedModel(Path("several.onnx"), model, "NCHW", None, "f32")


def test_inputs_are_matched_by_name_and_each_is_fed_its_own_type() -> None:
    one, other = several("ab"), several("ba")
    assert compare(one, other, options=CompareOptions(count=5)).verdict.startswith("equal: ")
    fed = matching_inputs(one, aligned(one, other)[1], None, count=5)
    assert [value.dtype for value in fed[0]] == [np.float32, np.int64]
    assert {value.shape for value in fed[4]} == {(2, 3)}
    assert set(np.unique([one[1] for one in fed])) == {0, 1}


def test_models_of_other_inputs_are_refused() -> None:
    with pytest.raises(ModelError) as refused:
        compare(several("ab"), convolved(channels_last=False))
    assert refused.value.code == "compare-shape"
    assert "[2, 3], [2, 3]" in refused.value.message


def test_two_files_of_other_layouts_and_an_artifact_from_a_shell(
    thorax: Thorax, tmp_path: Path, tiny_fp32: Artifact
) -> None:
    for name, last in (("first", False), ("last", True)):
        ov.save_model(convolved(channels_last=last).model, tmp_path / f"{name}.xml")
    paths = (tmp_path / "first.xml", tmp_path / "last.xml")
    done = thorax("compare", *paths, "--json", "--count", "3", "--input_shape", "1,3,8,12")
    assert (done.returncode, "model-input" in done.stderr) == (4, True)
    done = thorax("compare", *paths, "--json", "--count", "3")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["max_error"] < 1e-5
    done = thorax("compare", tiny_fp32.path, paths[0], "--side", "48")
    assert (done.returncode, "compare-shape" in done.stderr) == (4, True)
