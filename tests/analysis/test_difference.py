"""What `thorax compare` says: who is to blame, and what cannot be compared."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.analysis.difference import compare, suggested_ignore, worst_first
from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.errors import ModelError, UsageError
from thorax.ir.open import OpenedModel, open_model
from thorax.results.optimize import LayerNoise

Thorax = Callable[..., "subprocess.CompletedProcess[str]"]


def layer(
    name: str, own: float | None, *, total: float | None = 10.0, kind: str = "Convolution"
) -> LayerNoise:
    return LayerNoise(name=name, type=kind, sqnr_db=total, own_sqnr_db=own, max_error=0.1)


def test_the_layers_that_add_the_noise_are_suggested_and_not_those_that_pass_it_on() -> None:
    usual = [layer(f"c{place}", 35.0, total=3.0) for place in range(9)]
    bad = [layer("bad", 12.0), layer("worse", 4.0), layer("sum", 1.0, kind="Add")]
    assert suggested_ignore([*usual, *bad]) == ("worse", "bad")
    assert suggested_ignore(usual) == ()
    # Nor does one stand out among the noisy, or make noise that none can hear.
    assert suggested_ignore([layer(f"c{place}", 12.0) for place in range(9)]) == ()
    assert suggested_ignore([*[layer(f"c{at}", 60.0) for at in range(9)], layer("x", 40.0)]) == ()
    assert suggested_ignore([layer("float", None)]) == ()


def test_the_noisiest_layer_comes_first() -> None:
    rows = [layer("a", 1, total=30), layer("b", 1, total=None), layer("c", 1, total=-400)]
    assert [one.name for one in worst_first(rows)] == ["c", "a", "b"]


def test_int8_is_compared_on_radiographs_and_its_document_is_json(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store
) -> None:
    first, second = open_model(tiny_fp32.path), open_model(tiny_int8.path)
    result = compare(first, second, np.asarray(tiny_store.images[:3])[:, None])
    layers = result.layers
    figures = [entry.sqnr_db for entry in layers if entry.sqnr_db is not None]
    assert figures == sorted(figures)
    assert (result.images, result.unmatched, result.probes) == (3, (), False)
    outputs = {entry.name: entry.sqnr_db for entry in result.outputs}
    assert list(outputs) == ["probability", "logit of probability", "heatmap", "embedding"]
    assert "probability" in result.verdict
    kernels = {entry.name for entry in layers if entry.type in ("Convolution", "MatMul")}
    assert set(result.suggested_ignore) <= kernels
    document = json.loads(result.to_json())
    assert {"name", "type", "sqnr_db", "max_error"} <= set(document["layers"][0])


def test_a_layer_whose_weights_are_spoilt_is_the_one_to_keep(tiny_fp32: Artifact) -> None:
    first, second = open_model(tiny_fp32.path), open_model(tiny_fp32.path)
    nodes = {node.get_friendly_name(): node for node in second.model.get_ordered_ops()}
    random = np.random.default_rng(1)
    for name, spoilt in (("layer2.0.conv1", 0.5), ("layer3.0.conv1", 0.01), ("conv1", 0.01)):
        conv = nodes[name]
        weights = np.array(conv.input_value(1).get_node().data)
        noisy = weights * (1 + spoilt * random.normal(size=weights.shape))
        constant = ops.constant(noisy.astype(np.float32))
        conv.input(1).replace_source_output(constant.output(0))
    result = compare(first, second)
    assert result.suggested_ignore == ("layer2.0.conv1",)
    assert "--keep layer2.0.conv1" in result.verdict


def test_a_model_is_equal_to_itself(thorax: Thorax, tiny_fp32: Artifact) -> None:
    done = thorax("compare", tiny_fp32.path, tiny_fp32.xml, "--json", "--count", "3")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {entry["sqnr_db"] for entry in document["layers"]} == {None}
    assert document["verdict"].startswith("equal: ")
    assert document["suggested_ignore"] == []


def test_compare_from_a_shell(
    thorax: Thorax, tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store, phantoms: Path
) -> None:
    pair = (tiny_fp32.path, tiny_int8.path)
    done = thorax("compare", *pair, "--data", tiny_store.path, "--count", "3")
    assert done.returncode == 0, done.stderr
    assert "noisiest first" in done.stdout
    assert "outputs: probability" in " ".join(done.stdout.split())
    done = thorax("compare", *pair, "--images", phantoms, "--count", "3", "--json")
    assert json.loads(done.stdout)["images"] == 3
    done = thorax("compare", *pair, "--images", phantoms, "--data", tiny_store.path)
    assert (done.returncode, "compare-images" in done.stderr) == (2, True)


def drawn(shape: list[int]) -> OpenedModel:
    image = ops.parameter(shape, np.uint8)
    model = ov.Model([ops.relu(ops.convert(image, np.float32))], [image], "drawn")
    return OpenedModel(Path("drawn.onnx"), model, "NCHW", None, "f32")


def test_models_of_other_shapes_and_labels_and_images_of_another_side_are_refused(
    tiny_fp32: Artifact,
) -> None:
    own = open_model(tiny_fp32.path)
    with pytest.raises(ModelError) as refused:
        compare(own, drawn([1, 1, 8, 8]))
    assert refused.value.code == "compare-shape"
    card = tiny_fp32.card.model_copy(update={"labels": ("Other",)})
    with pytest.raises(ModelError) as refused:
        compare(own, OpenedModel(own.path, own.model, "NCHW", card, "f32"))
    assert refused.value.code == "compare-labels"
    with pytest.raises(UsageError) as misfit:
        compare(own, own, np.zeros((1, 1, 8, 8), np.uint8))
    assert misfit.value.code == "compare-images"
    with pytest.raises(ModelError) as refused:
        compare(drawn([1, 5]), drawn([1, 5]), np.zeros((1, 1, 8, 8), np.uint8))
    assert refused.value.code == "compare-input"
