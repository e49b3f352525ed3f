"""Formats that OpenVINO reads itself: what they say, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import openvino as ov
import openvino.opset13 as ops
import pytest
import torch
from onnx import TensorProto, helper
from tests.importers.conftest import refused
from tests.importers.tensorflow_files import FLOAT, INT32, Graph

from thorax.artifact import Precision
from thorax.errors import ModelError, ThoraxError
from thorax.importers.formats import read, usual_layout
from thorax.importers.options import Imported, ImportOptions, compile_here
from thorax.ir.classifier import Description
from thorax.labels import LabelSet
from thorax.quantization.optimize import optimize

SIDE = 16
LABELS = LabelSet("three", ("Cardiomegaly", "Effusion", "Mass"))
RANDOM = np.random.default_rng(8)
STEM = RANDOM.normal(0, 0.4, (3, 3, 3, 6)).astype(np.float32)
DEPTH = RANDOM.normal(0, 0.4, (3, 3, 6, 1)).astype(np.float32)
HEAD = RANDOM.normal(0, 1, (6, 3)).astype(np.float32)


def run(imported: Imported, images: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    return compile_here(imported.model)([images])


def peer(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what torch makes of the layers of `tensorflow`: [N,S,S,3] -> [N,3]."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    # "SAME" at stride 2 and an even side: one row and column, after the image.
    x = torch.nn.functional.pad(x, (0, 1, 0, 1))
    stem = torch.from_numpy(STEM).permute(3, 2, 0, 1)
    x = torch.relu(torch.nn.functional.conv2d(x, stem, stride=2))
    depth = torch.from_numpy(DEPTH).permute(2, 3, 0, 1)
    x = torch.nn.functional.conv2d(x, depth, padding=1, groups=6)
    return np.asarray(x.mean((2, 3)) @ torch.from_numpy(HEAD))


def tensorflow(shape: list[int] | None, *, variables: bool, odd: str | None = None) -> Graph:
    """Return conv - relu - depthwise conv - mean - matmul as TensorFlow has it."""
    graph = Graph()
    value = graph.add("Placeholder", "picture", dtype=FLOAT)
    if shape is not None:
        graph.shape(value, shape)
    if odd:
        value = graph.add(odd, f"odd/{odd}", [value], T=FLOAT)
    if variables:
        graph.add(
            "VarHandleOp", "stem/kernel", dtype=FLOAT, shape=STEM.shape, shared_name="stem/kernel"
        )
        kernel = graph.add("ReadVariableOp", "stem/read", ["stem/kernel"], dtype=FLOAT)
    else:
        kernel = graph.constant("stem/kernel", STEM)
    value = graph.add(
        "Conv2D", "stem/conv", [value, kernel],
        T=FLOAT, strides=[1, 2, 2, 1], padding="SAME", data_format="NHWC", dilations=[1, 1, 1, 1],
    )  # fmt: skip
    value = graph.add("Relu", "stem/relu", [value], T=FLOAT)
    depth = graph.constant("depth/kernel", DEPTH)
    value = graph.add(
        "DepthwiseConv2dNative", "depth/conv", [value, depth],
        T=FLOAT, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC", dilations=[1, 1, 1, 1],
    )  # fmt: skip
    axes = graph.constant("mean/axes", np.array([1, 2], np.int32))
    value = graph.add("Mean", "mean", [value, axes], T=FLOAT, Tidx=INT32, keep_dims=False)
    head = graph.constant("head/kernel", HEAD)
    graph.add("MatMul", "head/logits", [value, head], T=FLOAT, transpose_a=False, transpose_b=False)
    return graph


@pytest.fixture
def frozen(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a frozen graph."""

    def write(shape: list[int] | None = None, odd: str | None = None) -> Path:
        return tensorflow(shape, variables=False, odd=odd).frozen(tmp_path / "net.pb")

    return write


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    """A SavedModel with a variable, and the nodes that save and restore it."""
    graph = tensorflow([-1, SIDE, SIDE, 3], variables=True)
    file = graph.words("save/Const", "model")
    names = graph.words("save/RestoreV2/tensor_names", "stem/kernel")
    slices = graph.words("save/RestoreV2/shape_and_slices", "")
    graph.add("RestoreV2", "save/RestoreV2", [file, names, slices], dtypes=[FLOAT])
    graph.add("Identity", "save/Identity", ["save/RestoreV2"], T=FLOAT)
    graph.add("AssignVariableOp", "save/Assign", ["stem/kernel", "save/Identity"], dtype=FLOAT)
    graph.add("NoOp", "save/restore_all", ["^save/Assign"])
    return graph.saved_model(
        tmp_path / "saved",
        inputs={"image": ("picture", (-1, SIDE, SIDE, 3))},
        outputs={"scores": "head/logits"},
        variables={"stem/kernel": STEM},
        filename="save/Const",
        restore="save/restore_all",
    )


def images(count: int = 2) -> npt.NDArray[np.float32]:
    return np.random.default_rng(2).normal(0, 1, (count, SIDE, SIDE, 3)).astype(np.float32)


def test_an_onnx_file_keeps_its_input_as_it_is(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["y"], "first"),
            helper.make_node("Abs", ["y"], ["z"], "last"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, ir_version=9), path)
    imported = read(path)
    assert (imported.framework, imported.layout, imported.files) == ("onnx", "NCHW", (path,))
    assert list(imported.model.inputs[0].shape) == [1, 3, 8, 8]
    assert imported.model.inputs[0].get_element_type().to_dtype() == np.float32
    assert "first" in {node.get_friendly_name() for node in imported.model.get_ops()}


@pytest.mark.parametrize("shape", [None, [-1, -1, -1, 3], [-1, SIDE, SIDE, 3], [2, SIDE, SIDE, 3]])
def test_a_frozen_graph_answers_as_its_layers_do_in_torch(
    frozen: Callable[..., Path], shape: list[int] | None
) -> None:
    imported = read(frozen(shape), ImportOptions(shapes={"": (2, SIDE, SIDE, 3)}))
    assert (imported.framework, imported.layout) == ("tensorflow", "NHWC")
    assert list(imported.model.inputs[0].shape) == [2, SIDE, SIDE, 3]
    np.testing.assert_allclose(run(imported, images())[0], peer(images()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("inside", ["", "saved_model.pb"])
def test_a_saved_model_takes_its_variables_from_its_folder(saved_model: Path, inside: str) -> None:
    imported = read(saved_model / inside)
    assert [file.name for file in imported.files] == [
        "saved_model.pb",
        "variables.data-00000-of-00001",
        "variables.index",
    ]
    assert imported.model.inputs[0].get_any_name() == "image"
    assert imported.model.outputs[0].get_any_name() == "scores"
    np.testing.assert_allclose(run(imported, images())[0], peer(images()), rtol=0, atol=1e-5)


def test_layers_of_a_tensorflow_graph_keep_their_names(
    frozen: Callable[..., Path], saved_model: Path
) -> None:
    for path in (frozen([-1, SIDE, SIDE, 3]), saved_model):
        layers = {
            node.get_friendly_name(): node.get_type_name() for node in read(path).model.get_ops()
        }
        kinds = {"stem/conv": "Convolution", "depth/conv": "GroupConvolution"}
        assert {**kinds, "head/logits": "MatMul"}.items() <= layers.items()


def test_a_foreign_saved_model_becomes_an_artifact(saved_model: Path, tmp_path: Path) -> None:
    described = Description(LABELS, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    made = optimize(saved_model, tmp_path / "a", Precision.FP32, description=described)
    card = made.artifact.card
    assert (card.input.side, made.result.largest_difference < 1e-5) == (SIDE, True)
    assert set(card.provenance["file_sha256"]) == {
        "saved_model.pb",
        "variables.data-00000-of-00001",
        "variables.index",
    }


def test_an_open_side_is_asked_for_and_closed(frozen: Callable[..., Path], tmp_path: Path) -> None:
    described = Description(LABELS, (0.5,) * 3, (0.2,) * 3)
    with pytest.raises(ThoraxError, match="--side") as caught:
        optimize(frozen([-1, -1, -1, 3]), tmp_path / "a", Precision.FP32, description=described)
    assert caught.value.code == "model-undescribed"
    described = Description(LABELS, (0.5,) * 3, (0.2,) * 3, side=24)
    for shape in (None, [-1, -1, -1, 3]):
        made = optimize(frozen(shape), tmp_path / "a", Precision.FP32, description=described)
        assert made.artifact.card.input.side == 24


def test_a_side_that_the_file_contradicts_is_refused(
    frozen: Callable[..., Path], tmp_path: Path
) -> None:
    described = Description(LABELS, (0.5,) * 3, (0.2,) * 3, side=24)
    with pytest.raises(ThoraxError) as caught:
        optimize(frozen([-1, SIDE, SIDE, 3]), tmp_path / "a", Precision.FP32, description=described)
    assert caught.value.code == "model-side"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [({"image": (1, 8, 8, 3)}, "picture"), ({"": (1, 8, 8)}, "axes")],
)
def test_a_shape_that_no_input_takes_is_refused(
    frozen: Callable[..., Path], shapes: dict[str, tuple[int, ...]], words: str
) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        read(frozen([-1, -1, -1, -1]), ImportOptions(shapes=shapes))
    assert caught.value.code == "model-input"


@pytest.fixture
def ir(tmp_path: Path) -> Path:
    """An IR of one convolution, the weights beside it."""
    x = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="x")
    kernel = ops.constant(STEM.transpose(3, 2, 0, 1).copy())
    conv = ops.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    conv.set_friendly_name("conv")
    ov.save_model(ov.Model([ops.relu(conv)], [x], "net"), tmp_path / "net.xml", False)
    return tmp_path / "net.xml"


def test_an_ir_is_read_with_its_weights(ir: Path) -> None:
    imported = read(ir)
    assert (imported.framework, imported.layout) == ("openvino", "NCHW")
    assert imported.files == (ir, ir.with_suffix(".bin"))
    x = images(1).transpose(0, 3, 1, 2).copy()
    stem = torch.from_numpy(STEM).permute(3, 2, 0, 1)
    wanted = torch.relu(torch.nn.functional.conv2d(torch.from_numpy(x), stem))
    np.testing.assert_allclose(run(imported, x)[0], wanted, rtol=0, atol=1e-5)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ('<net name="net" version="11"', '<net name="net" version="7"', "ir-version", "original"),
        ('<net name="net" version="11"', '<net name="net" version="99"', "ir-version", "newer"),
        ('<net name="net" version="11"', '<net name="net"', "ir-version", "does not say"),
        ('offset="0"', 'offset="8"', "model-weights", "net.bin"),
        ('offset="0"', f'offset="{2**64 - 8}"', "model-weights", "net.bin"),
        ('offset="0"', 'offset="-8"', "model-unreadable", "-8"),
        ('offset="0"', 'offset="x"', "model-unreadable", "lie"),
        ('type="ReLU"', 'type="Frobnicate"', "model-layer", "Frobnicate"),
        ("</net>", "", "model-unreadable", "XML"),
        ('shape="6, 3, 3, 3"', 'shape="6, 3, 3, 9"', "model-unreadable", "inconsistent"),
    ],
)
def test_an_ir_that_does_not_fit_is_refused(
    ir: Path, capfd: pytest.CaptureFixture[str], old: str, new: str, code: str, words: str
) -> None:
    change(ir, old, new)
    error = refused(ir)
    assert (error.code, error.exit_code) == (code, 4)
    assert words in error.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [0, 10, 647])
def test_weights_of_an_ir_that_are_cut_off_are_refused(ir: Path, size: int) -> None:
    weights = ir.with_suffix(".bin")
    assert weights.stat().st_size == 648
    weights.write_bytes(weights.read_bytes()[:size])
    error = refused(ir)
    assert error.code == "model-weights"
    assert f"{size} bytes" in error.message


def test_weights_of_an_ir_that_are_not_there_are_refused(ir: Path) -> None:
    ir.with_suffix(".bin").unlink()
    assert refused(ir).code == "model-weights"


@pytest.mark.parametrize("text", ["<html></html>", "no XML at all", "<net", "\x00\x01"])
def test_xml_that_is_no_ir_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "net.xml").write_text(text, "utf-8")
    assert refused(tmp_path / "net.xml").code == "model-unreadable"


def test_an_entity_that_grows_is_not_expanded(tmp_path: Path) -> None:
    grow = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    path = tmp_path / "net.xml"
    path.write_text(f'<!DOCTYPE net [<!ENTITY e0 "ha">{grow}]><net>&e11;</net>', "utf-8")
    assert refused(path).code == "model-unreadable"


def test_an_empty_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "none", [], []), ir_version=9), path)
    assert refused(path).code == "model-unreadable"


def test_a_layer_that_openvino_lacks_is_named(
    frozen: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])
    node = helper.make_node("Frobnicate", ["x"], ["y"], "frob", domain="my.ops")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)]
    graph = helper.make_graph([node], "g", [value], [end])
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=opsets), tmp_path / "net.onnx")
    for path in (tmp_path / "net.onnx", frozen(odd="Frobnicate")):
        error = refused(path)
        assert (error.code, error.exit_code) == ("model-layer", 4)
        assert "Frobnicate" in error.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["net.pb", "net.tflite", "net.onnx", "net.xml"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 40, b"\x08\x01\x12\x7fab", b"\x00" * 64])
def test_a_file_that_only_has_the_name_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path / name)
    assert (error.code, error.exit_code) == ("model-unreadable", 4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_frozen_graph_that_is_cut_off_is_refused_in_silence(
    frozen: Callable[..., Path], capfd: pytest.CaptureFixture[str], share: float
) -> None:
    path = frozen()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refused(path).code == "model-unreadable"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("file", "size", "code"),
    [
        ("saved_model.pb", 300, "model-unreadable"),
        ("saved_model.pb", 0, "model-unreadable"),
        ("saved_model.pb", None, "model-format"),
        ("variables/variables.index", 30, "model-unreadable"),
        ("variables/variables.index", None, "model-weights"),
        ("variables/variables.data-00000-of-00001", 100, "model-unreadable"),
        ("variables/variables.data-00000-of-00001", None, "model-unreadable"),
    ],
)
def test_a_saved_model_of_which_a_part_is_missing_is_refused(
    saved_model: Path,
    capfd: pytest.CaptureFixture[str],
    file: str,
    size: int | None,
    code: str,
) -> None:
    part = saved_model / file
    if size is None:
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:size])
    error = refused(saved_model)
    assert (error.code, error.exit_code) == (code, 4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["net.pb", "net.tflite", "net.xml", "net.onnx"])
def test_a_folder_with_the_name_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert refused(tmp_path / name).code == "model-unreadable"


@pytest.mark.parametrize(
    ("name", "layout"),
    [("a.onnx", "NCHW"), ("a.pb", "NHWC"), ("a.tflite", "NHWC"), ("a.xml", "NCHW")],
)
def test_a_format_has_its_usual_layout(tmp_path: Path, name: str, layout: str) -> None:
    assert usual_layout(tmp_path / name) == layout


@pytest.mark.realdata
def test_a_face_detector_from_onnx_and_tflite_answers_alike(realdata: Path) -> None:
    import cv2
    import onnxruntime

    models = realdata / "models" / "slim320"
    onnx_net = read(models / "slim320.onnx")
    lite = read(models / "slim320.tflite", ImportOptions(shapes={"": (1, 240, 320, 3)}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(models / "slim320.onnx", options)
    for path in sorted((realdata / "nih" / "images-256").glob("*.png"))[:3]:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert picture is not None
        small = cv2.resize(picture, (320, 240)).astype(np.float32)
        image = ((small - 127) / 128).astype(np.float32)[None]
        turned = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        scores, boxes = run(onnx_net, turned)
        for found, wanted in zip(
            (scores, boxes), session.run(None, {"input": turned}), strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-5)
        lite_boxes, lite_scores = run(lite, image)
        # The two files themselves differ so: onnxruntime and TensorFlow Lite's own interpreter
        # answer as far apart on these images, 2e-4 and 1e-3.
        np.testing.assert_allclose(lite_scores, scores, rtol=0, atol=3e-4)
        np.testing.assert_allclose(lite_boxes, boxes, rtol=0, atol=1.5e-3)


@pytest.mark.realdata
def test_a_tflite_classifier_runs_and_its_layers_have_their_names(realdata: Path) -> None:
    path = realdata / "models" / "resnet8_cifar" / "resnet8.tflite"
    imported = read(path, ImportOptions(shapes={"": (4, 32, 32, 3)}))
    noise = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    (scores,) = run(imported, noise)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    names = {node.get_friendly_name() for node in imported.model.get_ops()}
    assert {"model/conv2d/Conv2D", "model/conv2d_8/Conv2D"} <= names


@pytest.mark.realdata
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_tflite_file_that_is_cut_off_is_refused_in_silence(
    realdata: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], share: float
) -> None:
    whole = (realdata / "models" / "resnet8_cifar" / "resnet8.tflite").read_bytes()
    path = tmp_path / "net.tflite"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refused(path).code == "model-unreadable"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"garbage" * 40, b"\x08\x07\x12"])
def test_something_else_called_onnx_is_refused_with_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    error = refused(path)
    assert error.code == "model-unreadable"
    assert "no onnx model, or is damaged or cut off" in error.message
    assert error.message.endswith("; copy or export it again")


def test_a_model_that_is_moved_is_read_where_it_stands_now(saved_model: Path) -> None:
    shutil.move(saved_model, saved_model.parent / "elsewhere")
    imported = read(saved_model.parent / "elsewhere")
    np.testing.assert_allclose(run(imported, images())[0], peer(images()), rtol=0, atol=1e-5)


def open_shape(path: Path, kind: str = "Conv") -> Path:
    """Write an ONNX file whose input has no shape at all."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, None)
    kernel = onnx.numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "kernel")
    inputs = ["image", "kernel"] if kind == "Conv" else ["image"]
    nodes = [helper.make_node(kind, inputs, ["y"], "first")]
    graph = helper.make_graph(
        nodes, "g", [image], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [kernel]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_an_input_without_a_shape_gets_the_one_that_is_said(tmp_path: Path) -> None:
    path = open_shape(tmp_path / "net.onnx")
    error = refused(path)
    assert (error.code, error.exit_code) == ("model-undescribed", 2)
    assert "'image'" in error.message
    model = read(path, ImportOptions(shapes={"": (1, 3, 8, 8)})).model
    assert list(model.outputs[0].get_shape()) == [1, 2, 6, 6]


def test_a_layer_that_cannot_be_converted_as_it_stands_is_named(tmp_path: Path) -> None:
    path = open_shape(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node[0].input[1] = "image"
    model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=3)
    onnx.save(model, path)
    error = refused(path)
    assert (error.code, error.exit_code) == ("model-layer", 4)
    assert "layer y (Conv of operator set 17)" in error.message


@pytest.mark.parametrize("name", ["net.caffemodel.h5", "net.solverstate.h5", "renamed.h5"])
def test_hdf5_of_caffe_is_called_so(tmp_path: Path, name: str) -> None:
    import h5py

    with h5py.File(tmp_path / name, "w") as file:
        file.create_dataset("data/conv1/0", data=np.zeros((2, 3), np.float32))
        file.create_group("data/relu1")
    error = refused(tmp_path / name)
    assert error.exit_code == 4
    assert "Caffe" in error.message
    assert ".caffemodel" in error.message
