"""Any model as a graph: an artifact, an IR, a foreign file of an open shape."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.artifact import Artifact
from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.importers.options import ImportOptions
from thorax.ir.open import open_model


def written(folder: Path, shape: list[int], *, compress: bool = False) -> Path:
    image = ops.parameter(ov.PartialShape(shape), np.float32)
    weights = ops.constant(np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32))
    conv = ops.convolution(image, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    ov.save_model(ov.Model([conv], [image]), folder / "net.xml", compress_to_fp16=compress)
    return folder / "net.xml"


def test_an_artifact_says_all_of_itself_by_its_folder_and_by_its_graph(tiny_int8: Artifact) -> None:
    for path in (tiny_int8.path, tiny_int8.xml):
        graph = open_model(path)
        assert (graph.name, graph.precision, graph.compute) == (tiny_int8.card.name, "int8", "f32")
        assert graph.card == tiny_int8.card
    with pytest.raises(UsageError) as refused:
        open_model(tiny_int8.path, ImportOptions(side=64))
    assert refused.value.code == "model-described"


def test_an_open_shape_is_asked_for_and_then_fixed(tmp_path: Path) -> None:
    path = written(tmp_path, [-1, 3, -1, -1])
    with pytest.raises(UsageError) as refused:
        open_model(path)
    assert refused.value.code == "model-undescribed"
    assert "--side" in refused.value.message
    assert list(open_model(path, ImportOptions(side=20)).model.inputs[0].get_shape()) == [
        1,
        3,
        20,
        20,
    ]
    asked = ImportOptions(shapes={"": (2, 3, 8, 12)})
    assert list(open_model(path, asked).model.inputs[0].get_shape()) == [2, 3, 8, 12]


def test_weights_say_the_precision_where_no_card_does(tmp_path: Path) -> None:
    assert open_model(written(tmp_path, [1, 3, 8, 8])).precision == "fp32"
    assert open_model(written(tmp_path, [1, 3, 8, 8], compress=True)).precision == "fp16"


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ThoraxError) as refused:
        call()
    assert isinstance(refused.value, ModelError)
    return refused.value.code


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [1, 3, -1, -1])
    wrong = ImportOptions(shapes={"": (1, 4, 8, 8)})
    assert refusal(lambda: open_model(path, wrong)) == "model-input"
    assert refusal(lambda: open_model(tmp_path / "none.xml")) == "model-missing"
    path.write_text("<net>")
    assert refusal(lambda: open_model(path)) == "model-unreadable"
