"""An artifact as a source: the same network again, and nothing that was measured of the old one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.converted import Convert, Converted

from thorax import artifact
from thorax.artifact import Artifact, Precision
from thorax.data.store import Store
from thorax.devices.engine import compile
from thorax.errors import ModelError, UsageError
from thorax.ir.classifier import Description, open_classifier
from thorax.quantization.optimize import optimize


@pytest.fixture(scope="module")
def converted(convert: Convert) -> Converted:
    return convert("resnet18")


def outputs(made: Artifact, converted: Converted) -> list[np.ndarray]:
    images = converted.images(3)[:, 0]
    found = compile(made).infer_many(images, np.arange(len(images)))
    assert found.heatmap is not None
    assert found.embedding is not None
    return [found.probability, found.heatmap, found.embedding]


@pytest.mark.parametrize("inside", ["", artifact.XML])
def test_fp16_of_an_artifact_is_fp16_of_its_checkpoint(
    converted: Converted, tmp_path: Path, inside: str
) -> None:
    direct = optimize(converted.checkpoint, tmp_path / "direct", Precision.FP16).artifact
    source = converted.artifact
    made = optimize(source.path / inside, tmp_path / "again", Precision.FP16).artifact
    for ours, wanted in zip(outputs(made, converted), outputs(direct, converted), strict=True):
        np.testing.assert_array_equal(ours, wanted)
    assert made.bin.stat().st_size < 0.6 * source.bin.stat().st_size
    same = ("topology", "labels", "label_set", "input", "activation", "heatmap", "macs")
    for name in (*same, "parameters", "name", "precision"):
        assert getattr(made.card, name) == getattr(direct.card, name), name
    assert made.card.provenance["from"] == {"digest": source.card.digest, "precision": "fp32"}
    assert artifact.load(source.path).card == source.card


def test_fp16_widened_again_answers_as_it_did(converted: Converted, tmp_path: Path) -> None:
    half = optimize(converted.checkpoint, tmp_path / "half", Precision.FP16).artifact
    wide = optimize(half.path, tmp_path / "wide", Precision.FP32).artifact
    for ours, wanted in zip(outputs(wide, converted), outputs(half, converted), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-6)
    assert wide.bin.stat().st_size > 1.8 * half.bin.stat().st_size


@pytest.mark.parametrize("graph", [False, True])
def test_an_artifact_does_not_take_its_own_place(
    converted: Converted, tmp_path: Path, graph: bool
) -> None:
    shutil.copytree(converted.artifact.path, tmp_path / "a")
    source = tmp_path / "a" / artifact.XML if graph else tmp_path / "a"
    with pytest.raises(UsageError) as caught:
        optimize(source, tmp_path / "a", Precision.FP16)
    assert caught.value.code == "optimize-place"
    assert artifact.load(tmp_path / "a").card == converted.artifact.card


def test_int8_of_an_artifact_is_measured_anew(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    assert tiny_fp32.card.thresholds
    plain = open_classifier(tiny_fp32.path, Description())
    assert plain.card is not None
    assert plain.card.thresholds is None
    assert plain.card.accuracy is None
    made = optimize(tiny_fp32.path, tmp_path / "a", Precision.INT8, store=tiny_store).artifact
    assert made.card.accuracy is not None
    assert tiny_int8.card.accuracy is not None
    assert made.card.digest != tiny_fp32.card.digest
    assert made.bin.stat().st_size < 0.5 * tiny_fp32.bin.stat().st_size
    images = tiny_store.images
    chosen = tiny_store.select("val")
    ours, direct = (
        compile(one).infer_many(images, chosen).probability for one in (made, tiny_int8)
    )
    np.testing.assert_allclose(ours, direct, rtol=0, atol=0.02)


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8, Precision.FP11])
def test_what_is_rounded_already_is_refused(
    converted: Converted, tmp_path: Path, precision: Precision
) -> None:
    folder = tmp_path / "rounded"
    shutil.copytree(converted.artifact.path, folder)
    artifact.seal(folder, converted.artifact.card.model_copy(update={"precision": precision}))
    with pytest.raises(ModelError, match="rounded already") as caught:
        optimize(folder, tmp_path / "a", Precision.FP16)
    assert (caught.value.code, caught.value.exit_code) == ("artifact-rounded", 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rounded"]


@pytest.mark.parametrize("name", [artifact.XML, artifact.BIN, artifact.CARD])
def test_an_artifact_that_was_changed_is_refused(
    converted: Converted, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(converted.artifact.path, folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content.replace(b"resnet18", b"resnet19").replace(b"\0", b"\1", 1))
    if (folder / name).read_bytes() == content:
        (folder / name).write_bytes(content[:-1])
    with pytest.raises(ModelError) as caught:
        optimize(folder, tmp_path / "a", Precision.FP16)
    assert caught.value.code == "artifact-tampered"


def test_an_artifact_without_weights_is_refused(converted: Converted, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(converted.artifact.path, folder)
    (folder / artifact.BIN).unlink()
    with pytest.raises(ModelError) as caught:
        optimize(folder, tmp_path / "a", Precision.FP16)
    assert caught.value.code == "artifact-incomplete"


def test_an_artifact_is_not_described_by_its_user(converted: Converted, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        optimize(
            converted.artifact.path,
            tmp_path / "a",
            Precision.FP16,
            description=Description(side=32),
        )
    assert caught.value.code == "model-described"
