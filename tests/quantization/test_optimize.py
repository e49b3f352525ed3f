"""From checkpoint to artifact: precisions, refusals, and nothing half-written."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch

from thorax import artifact, metrics
from thorax.artifact import Artifact, Precision
from thorax.data.store import Store
from thorax.devices.core import supports
from thorax.devices.engine import compile
from thorax.errors import DeviceError, ModelError, UsageError
from thorax.ir import rewrite
from thorax.labels import LabelSet
from thorax.quantization.optimize import optimize

Convert = Callable[..., Any]


def types(folder: Path) -> dict[str, int]:
    """Return bytes of constants by element type, as stored in the file."""
    found: dict[str, int] = {}
    for node in ov.Core().read_model(folder / artifact.XML).get_ordered_ops():
        if node.get_type_name() == "Constant" and np.prod(node.get_output_shape(0)) > 1:
            kind = node.get_element_type().to_string()
            found[kind] = found.get(kind, 0) + node.get_byte_size()
    return found


@pytest.fixture(scope="module")
def halves(convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> dict[Precision, Artifact]:
    folder = tmp_path_factory.mktemp("halves")
    return {
        precision: optimize(convert("resnet18").checkpoint, folder / precision, precision).artifact
        for precision in (Precision.FP16, Precision.BF16)
    }


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_sixteen_bits_halve_the_weights(
    convert: Convert, halves: dict[Precision, Artifact], precision: Precision
) -> None:
    whole, half = convert("resnet18").artifact, halves[precision]
    assert half.card.size_bytes == half.bin.stat().st_size
    assert half.card.size_bytes / whole.card.size_bytes == pytest.approx(0.5, abs=0.001)
    kind = "f16" if precision is Precision.FP16 else "bf16"
    stored = types(half.path)
    assert set(stored) - {"i64"} == {kind}
    assert half.card.parameters == whole.card.parameters
    assert half.card.precision is precision


def test_bf16_weights_are_the_fp32_weights_rounded_as_torch_rounds(
    convert: Convert, halves: dict[Precision, Artifact]
) -> None:
    def kernel(folder: Path) -> np.ndarray:
        for node in ov.Core().read_model(folder / artifact.XML).get_ordered_ops():
            if node.get_friendly_name() == "layer2.0.conv1":
                source = node.input_value(1).get_node()
                if source.get_type_name() == "Convert":
                    source = source.input_value(0).get_node()
                return np.array(source.get_data(dtype=np.float32))
        raise AssertionError

    rounded = torch.from_numpy(kernel(convert("resnet18").artifact.path)).bfloat16().float()
    assert np.array_equal(kernel(halves[Precision.BF16].path), rounded.numpy())


def test_fp16_answers_as_fp32_to_the_precision_of_its_weights(
    convert: Convert, halves: dict[Precision, Artifact]
) -> None:
    made = convert("resnet18")
    images = made.images(3)
    indices = np.arange(3)
    whole = compile(made.artifact).infer_many(images[:, 0], indices)
    half = compile(halves[Precision.FP16]).infer_many(images[:, 0], indices)
    np.testing.assert_allclose(half.probability, whole.probability, rtol=0, atol=5e-3)
    assert not np.array_equal(half.probability, whole.probability)


def test_bf16_is_computed_natively_or_refused(
    convert: Convert, halves: dict[Precision, Artifact]
) -> None:
    """Both branches are real: which one runs depends on the processor."""
    made = convert("resnet18")
    native = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert supports("CPU", Precision.BF16) is native
    if native:
        engine = compile(halves[Precision.BF16])
        assert engine.compute == "bf16"
        images = made.images(1)
        whole = compile(made.artifact).infer(images)
        got = engine.infer(images)
        np.testing.assert_allclose(got.probability, whole.probability, rtol=0, atol=0.1)
    else:
        with pytest.raises(DeviceError, match="quietly compute f32") as refused:
            compile(halves[Precision.BF16])
        assert refused.value.code == "precision-unsupported"


def test_a_broken_graph_is_refused_before_anything_is_written(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rewrite.take_bytes

    def shifted(model: ov.Model, mean: np.ndarray, std: np.ndarray) -> None:
        real(model, mean + np.float32(0.05), std)

    monkeypatch.setattr(rewrite, "take_bytes", shifted)
    with pytest.raises(ModelError) as refused:
        optimize(convert("resnet18").checkpoint, tmp_path / "out", Precision.FP32)
    assert refused.value.code == "model-differs"
    assert list(tmp_path.iterdir()) == []


def test_weights_broken_on_their_way_to_the_file_leave_no_folder(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rewrite.store_weights_as_bf16

    def zeroed(model: ov.Model) -> None:
        real(model)
        for node in model.get_ordered_ops():
            if node.get_friendly_name() == "layer4.1.conv2":
                node.input(1).replace_source_output(
                    ov.opset13.constant(np.zeros(node.get_input_shape(1), np.float32)).output(0)
                )

    monkeypatch.setattr(rewrite, "store_weights_as_bf16", zeroed)
    with pytest.raises(ModelError) as refused:
        optimize(convert("resnet18").checkpoint, tmp_path / "out", Precision.BF16)
    assert refused.value.code == "model-differs"
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_artifact_that_stood_there(
    convert: Convert, halves: dict[Precision, Artifact], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    first = optimize(convert("resnet18").checkpoint, out, Precision.FP32).artifact
    monkeypatch.setattr(ov, "save_model", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        optimize(convert("resnet18").checkpoint, out, Precision.FP16)
    assert artifact.load(out).card == first.card
    assert list(tmp_path.iterdir()) == [out]


def test_int8_without_a_store_is_refused(convert: Convert, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        optimize(convert("resnet18").checkpoint, tmp_path / "out", Precision.INT8)
    assert refused.value.code == "calibration-missing"
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_another_side_or_other_labels_is_refused(
    tiny_run: Path, tiny_store: Store, tmp_path: Path
) -> None:
    small = dataclasses.replace(tiny_store, images=tiny_store.images[:, :32, :32])
    other = dataclasses.replace(tiny_store, label_set=LabelSet("other", ("A",)))
    for store, code in ((small, "store-side"), (other, "store-labels")):
        with pytest.raises(UsageError) as refused:
            optimize(tiny_run, tmp_path / "out", Precision.FP32, store=store)
        assert refused.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_other_findings_judges_by_those_that_both_have(
    tiny_run: Path, tiny_store: Store, tmp_path: Path
) -> None:
    labels = np.stack([tiny_store.labels[:, 0], tiny_store.labels[:, 2]], axis=1)
    names = LabelSet("two", ("Fracture", "Pleural Effusion"))
    nothing = ((),) * len(tiny_store)
    store = dataclasses.replace(tiny_store, labels=labels, label_set=names, boxes=nothing)
    made = optimize(tiny_run, tmp_path / "out", Precision.FP32, store=store)
    card = made.artifact.card
    assert made.result.unlabelled == tuple(n for n in card.labels if n != "Effusion")
    assert card.accuracy is not None
    judged = [name for name, value in card.accuracy.auroc.items() if value is not None]
    assert judged == ["Effusion"]
    assert set(card.thresholds or ()) == {"Effusion"}


def test_the_card_holds_the_auroc_of_the_val_split(tiny_fp32: Artifact, tiny_store: Store) -> None:
    indices = tiny_store.select("val")
    scores = compile(tiny_fp32).infer_many(tiny_store.images, indices).probability
    wanted = metrics.auroc(tiny_store.labels[indices], scores)
    card = tiny_fp32.card
    assert card.accuracy is not None
    assert (card.accuracy.split, card.accuracy.images) == ("val", len(indices))
    assert card.accuracy.mean_auroc == pytest.approx(np.nanmean(wanted))
    found = [card.accuracy.auroc[name] for name in card.labels]
    for value, known in zip(found, wanted, strict=True):
        assert (value is None) == np.isnan(known)
        assert value is None or value == pytest.approx(known)
    assert card.auroc_drop == 0
    json.dumps(card.model_dump(mode="json"), allow_nan=False)


def test_the_drop_is_the_difference_of_the_two_cards(
    tiny_fp32: Artifact, tiny_int8: Artifact
) -> None:
    whole, small = tiny_fp32.card, tiny_int8.card
    assert whole.accuracy is not None
    assert small.accuracy is not None
    assert small.auroc_drop == pytest.approx(
        whole.accuracy.mean_auroc - small.accuracy.mean_auroc, abs=1e-9
    )
    assert whole.digest != small.digest


def test_an_artifact_holds_its_three_files_and_nothing_else(tiny_int8: Artifact) -> None:
    found = {path.name for path in tiny_int8.path.iterdir()}
    assert found == {artifact.XML, artifact.BIN, artifact.CARD}
