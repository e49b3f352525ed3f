"""Falling precision: what is computed is the network's own, and what is modelled says so."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax import artifact, metrics
from thorax.artifact import Artifact, Card, Precision
from thorax.cli import app
from thorax.config import check
from thorax.data.store import Store
from thorax.devices.engine import INPUT, PROBABILITY
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import DataError, DeviceError, ModelError, UsageError
from thorax.evaluate import low_precision as module
from thorax.evaluate.low_precision import (
    VARIANTS,
    ExploreOptions,
    Variant,
    explore,
)
from thorax.fpga.architecture import Architecture
from thorax.fpga.area import area, fits
from thorax.fpga.boards import find_board
from thorax.fpga.overlay import estimate
from thorax.fpga.search import budget_of
from thorax.fpga.workload import describe
from thorax.images.preprocess import InputSpec
from thorax.report.fpga import explore_table, fpga_tables
from thorax.report.fpga_plots import write_explore_plot
from thorax.report.table import rich_table
from thorax.results.fpga import PrecisionLadder, VariantResult

PAC = find_board("pac-a10")


@contextmanager
def silent(what: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def tried(network: Artifact, store: Store, *names: str, **more: Any) -> PrecisionLadder:  # noqa: ANN401
    chosen = [one for one in VARIANTS if one.name in names] or VARIANTS
    board = more.pop("board", PAC)
    defaults = {"split": "val", "images": None, "side": None, "samples": 100}
    options = ExploreOptions(**{**defaults, **more})
    return explore(network, store, board, options, variants=chosen, bar=silent)


@pytest.fixture(scope="module")
def small(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A network of random weights, with a residual sum, that answers for the tiny store."""
    random = np.random.default_rng(3)

    def layer(data: ov.Node, filters: int, kernel: int, stride: int = 1) -> ov.Node:
        channels = data.get_output_shape(0)[1]
        shape = (filters, channels, kernel, kernel)
        scale = 1.5 / np.sqrt(channels * kernel * kernel)
        weights = ops.constant(random.normal(scale=scale, size=shape).astype(np.float32))
        pads = [kernel // 2] * 2
        return ops.convolution(data, weights, [stride] * 2, pads, pads, [1, 1])

    image = ops.parameter([1, 1, tiny_store.side, tiny_store.side], np.uint8, name=INPUT)
    pixels = ops.multiply(ops.convert(image, np.float32), ops.constant(np.float32(1 / 64)))
    first = ops.relu(layer(pixels, 24, 3, stride=2))
    second = ops.relu(layer(first, 40, 3, stride=2))
    summed = ops.relu(ops.add(layer(second, 40, 3), second))
    mean = ops.reduce_mean(summed, ops.constant(np.array([2, 3])))
    weights = ops.constant(random.normal(size=(40, 14)).astype(np.float32))
    end = ops.sigmoid(ops.matmul(mean, weights, False, False))
    end.output(0).set_names({PROBABILITY})
    folder = tmp_path_factory.mktemp("small")
    ov.save_model(ov.Model([end], [image]), folder / artifact.XML, compress_to_fp16=False)
    card = Card(
        name="small", topology="small", label_set=tiny_store.label_set.name,
        labels=tiny_store.label_set.findings, input=InputSpec(tiny_store.side),
        precision=Precision.FP32, parameters=1, macs=1, size_bytes=0,
    )  # fmt: skip
    return Artifact(folder, artifact.seal(folder, card))


@pytest.fixture(scope="module")
def answers() -> dict[str, npt.NDArray[np.float32]]:
    """What the network of `explored` answered in each variant."""
    return {}


@pytest.fixture(scope="module")
def explored(
    small: Artifact, tiny_store: Store, answers: dict[str, npt.NDArray[np.float32]]
) -> PrecisionLadder:
    names = iter(["FP32", *(one.name for one in VARIANTS)])
    ask = module._answers

    def kept(*words: Any) -> npt.NDArray[np.float32]:  # noqa: ANN401
        found = ask(*words)
        answers[next(names)] = found
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_answers", kept)
        return tried(small, tiny_store, split="train")


def test_every_variant_is_tried_from_the_most_bits_to_the_fewest(explored: PrecisionLadder) -> None:
    assert [one.name for one in explored.variants] == [one.name for one in VARIANTS]
    assert [one.name for one in VARIANTS if not one.exploratory] == [
        "FP16", "FP13AGX", "FP12AGX", "FP11",
    ]  # fmt: skip


def test_the_reference_is_the_network_as_it_is(
    explored: PrecisionLadder, small: Artifact, tiny_store: Store
) -> None:
    indices = tiny_store.select("train")
    scores = compile_artifact(small).infer_many(tiny_store.images, indices).probability
    truth = tiny_store.labels[indices]
    alone = np.nanmean(metrics.auroc(truth, scores))
    assert explored.reference.mean_auroc.value == pytest.approx(alone, abs=1e-6)


def test_more_bits_come_nearer_to_the_network(
    explored: PrecisionLadder, answers: dict[str, npt.NDArray[np.float32]]
) -> None:
    exact = answers["FP32"]
    errors = [float(np.abs(answers[one.name] - exact).max()) for one in VARIANTS]
    fp16, fp13, fp12, fp11, fp9, fp8, ternary, binary = errors
    assert 0 < fp16 < fp13 < fp11 < fp9 < fp8
    assert fp12 < fp9
    assert min(ternary, binary) > fp11


def test_filters_of_few_values_are_not_rounded_again(small: Artifact, tiny_store: Store) -> None:
    layers = describe(module._read(small))
    model = module._imitate(small, layers, Variant("Binary", "fp11", "binary"), 16)
    names = [layer.name for layer in layers if layer.type == "Convolution"]
    found = [node for node in model.get_ops() if node.get_friendly_name() in names]
    assert len(found) == 3
    for node in found:
        for one in node.input_value(1).get_node().get_data():
            assert len(np.unique(np.abs(one))) == 1


def test_what_is_modelled_is_of_the_architecture_that_is_told(
    explored: PrecisionLadder, small: Artifact
) -> None:
    layers = describe(module._read(small))
    macs = sum(layer.macs for layer in layers)
    for variant in explored.variants:
        told = variant.modelled
        one = check(told.architecture, Architecture, variant.name)
        assert (one.precision, one.weights, one.family) == (
            variant.precision, variant.weights, "arria10",
        )  # fmt: skip
        assert told.area == area(one)
        assert fits(told.area, budget_of("arria10"))
        assert told.images_per_s == estimate(layers, one).images_per_s
        assert told.power_w is not None
        assert told.images_per_s_per_w == told.images_per_s / told.power_w
    assert macs > 0


def test_fewer_bits_never_cost_speed(explored: PrecisionLadder) -> None:
    speeds = [variant.modelled.images_per_s for variant in explored.variants]
    assert speeds == sorted(speeds)


def test_the_front_holds_all_that_none_beats(explored: PrecisionLadder) -> None:
    def rank(one: VariantResult) -> tuple[float, float]:
        assert one.mean_auroc.value is not None
        return module.worth(one), one.mean_auroc.value

    def beats(one: VariantResult, other: VariantResult) -> bool:
        first, second = rank(one), rank(other)
        return first[0] >= second[0] and first[1] >= second[1] and first != second

    for variant in explored.variants:
        assert variant.pareto != any(beats(other, variant) for other in explored.variants)


def test_a_part_of_the_split_is_evenly_spaced(small: Artifact, tiny_store: Store) -> None:
    whole = tiny_store.select("train")
    part = module._spread(whole, 4)
    assert len(part) == 4
    assert part[0] == whole[0]
    assert len(set(np.diff(np.searchsorted(whole, part)))) <= 2
    assert np.array_equal(module._spread(whole, 10**6), whole)
    found = tried(small, tiny_store, "FP11", split="train", images=5)
    assert found.images == 5


def test_a_document_keeps_what_is_modelled_apart(explored: PrecisionLadder) -> None:
    found = explored
    assert fpga_tables([found]) == [explore_table(found)]
    assert PrecisionLadder.model_validate_json(found.to_json()) == found
    assert found.simulated is True
    for variant in found.variants:
        assert "images_per_s" not in variant.model_dump()
        assert "calibrated" in variant.modelled.source
        assert "assumed" in variant.modelled.source
    assert any(variant.pareto for variant in found.variants)


def test_speed_can_be_that_of_larger_images(small: Artifact, tiny_store: Store) -> None:
    own, large = (
        tried(small, tiny_store, "FP11", split="train", images=8, side=side) for side in (None, 224)
    )
    slower = own.variants[0].modelled.images_per_s / large.variants[0].modelled.images_per_s
    assert 2 < slower < (224 / 48) ** 2 * 1.5
    # The images that are asked about stay those of the store.
    assert own.reference == large.reference
    assert (large.side, large.modelled_side) == (48, 224)
    assert "48 px, speed at 224 px" in explore_table(large).title


def test_a_network_of_one_side_alone_is_told(
    small: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    image = ops.parameter([1, 1, 48, 48], np.uint8, name=INPUT)
    flat = ops.reshape(ops.convert(image, np.float32), ops.constant(np.array([1, 2304])), False)
    end = ops.sigmoid(ops.matmul(flat, ops.constant(np.ones((2304, 14), np.float32)), False, False))
    end.output(0).set_names({PROBABILITY})
    ov.save_model(ov.Model([end], [image]), tmp_path / artifact.XML, compress_to_fp16=False)
    other = Artifact(tmp_path, artifact.seal(tmp_path, small.card))
    with pytest.raises(ModelError, match=r"^model-side: .*48 pixels a side, not 64"):
        tried(other, tiny_store, "FP11", side=64)


def test_where_no_power_is_published_none_is_told(
    small: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    board = find_board("de10-agilex")
    found = tried(small, tiny_store, "FP11", "FP8", board=board, split="train")
    for variant in found.variants:
        assert variant.modelled.power_w is None
        assert variant.modelled.images_per_s_per_w is None
        assert variant.modelled.images_per_s > 0
    table = explore_table(found)
    assert "Img/s/W" not in table.columns
    assert "no power is published" in table.note
    assert all(len(row) == len(table.columns) for row in table.rows)
    write_explore_plot(found, tmp_path)
    assert "per watt" not in (tmp_path / "explore.svg").read_text()


def shown(found: PrecisionLadder) -> str:
    from rich.console import Console

    screen = Console(width=200, no_color=True)
    with screen.capture() as capture:
        screen.print(rich_table(explore_table(found)))
    return capture.get()


def test_the_table_fits_100_columns_and_says_what_is_destroyed(explored: PrecisionLadder) -> None:
    found = explored.document()
    found["board_full_name"] = PAC.full_name
    found["doubt"] = None
    for one in found["variants"]:
        one["modelled"]["images_per_s"] = 123456.7
        one["modelled"]["images_per_s_per_w"] = 1234.56
        one["mean_auroc"] = {"value": 0.9, "low": 0.88, "high": 0.92}
        one["mean_difference"] = {"value": -0.001, "low": -0.002, "high": 0.001}
    found["variants"][-1]["mean_auroc"] = {"value": 0.52, "low": 0.49, "high": 0.55}
    found["variants"][-2]["mean_difference"] = {"value": -0.1, "low": -0.2, "high": -0.05}
    lines = shown(PrecisionLadder.model_validate(found)).splitlines()
    assert max(map(len, lines)) <= 100
    told = " ".join(" ".join(lines).split())
    assert "Binary: destroyed, no better than chance." in told
    assert "Ternary: worse than FP32 beyond chance." in told
    assert "modelled" in told
    assert "nothing trained after rounding" in told


def test_too_few_radiographs_give_no_verdict(small: Artifact, tiny_store: Store) -> None:
    found = tried(small, tiny_store, split="train", images=3)
    told = explore_table(found).note
    assert "No verdict on the differences: 3 patients, fewer than 30." in told
    assert "chance" not in told


def test_an_interval_of_one_value_gives_no_verdict(explored: PrecisionLadder) -> None:
    found = explored.document() | {"doubt": None}
    for one in found["variants"]:
        one["mean_auroc"] = {"value": 0.4, "low": 0.4, "high": 0.4}
        one["mean_difference"] = {"value": -0.5, "low": -0.5, "high": -0.5}
    assert "chance" not in explore_table(PrecisionLadder.model_validate(found)).note


def test_a_finding_of_one_patient_is_doubted_and_one_of_nobody_does_not_count() -> None:
    patients = [f"patient {number // 2}" for number in range(80)]
    labels = np.zeros((80, 2), np.int8)
    labels[:10, 0] = 1
    assert module._doubt(labels, patients, ("Mass", "Hernia")) is None
    labels[20:22, 1] = 1
    assert module._doubt(labels, patients, ("Mass", "Hernia")) == "1 patient with Hernia"
    labels[22, 1] = 1
    assert module._doubt(labels, patients, ("Mass", "Hernia")) is None


def test_an_answer_that_is_missing_moves_no_other(
    small: Artifact, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lossy(ov.AsyncInferQueue):  # type: ignore[misc]
        def start_async(self, inputs: Any, row: int) -> None:  # noqa: ANN401
            if row != 1:
                super().start_async(inputs, row)

    monkeypatch.setattr(ov, "AsyncInferQueue", Lossy)
    with pytest.raises(KeyError):
        module._answers(module._read(small), tiny_store, np.arange(3), lambda count: None)


def test_the_plot_says_that_it_is_modelled_and_names_every_variant(
    explored: PrecisionLadder, tmp_path: Path
) -> None:
    svg, png = write_explore_plot(explored, tmp_path)
    text = svg.read_text()
    assert "Images per second per watt of the board, modelled" in text
    assert all(one.name in text for one in VARIANTS)
    assert png.read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again"
    again.mkdir()
    assert write_explore_plot(explored, again)[0].read_text() == text


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
def test_an_artifact_of_another_precision_is_refused(
    small: Artifact, tiny_store: Store, precision: Precision
) -> None:
    other = replace(small, card=small.card.model_copy(update={"precision": precision}))
    with pytest.raises(DeviceError, match=rf"^precision-unsupported: .*{precision}"):
        tried(other, tiny_store, "FP11")


def test_a_split_without_images_is_refused(
    small: Artifact, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"^split-name: "):
        tried(small, tiny_store, "FP11", split="all")
    monkeypatch.setattr(Store, "select", lambda self, split: np.array([], np.int64))
    with pytest.raises(DataError, match=r"^split-empty: "):
        tried(small, tiny_store, "FP11")


def test_the_command_writes_document_and_plots(
    small: Artifact,
    tiny_store: Store,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.explore, "__kwdefaults__", {
        **(module.explore.__kwdefaults__ or {}), "variants": [VARIANTS[3]],
    })  # fmt: skip
    out = tmp_path / "deep" / "explored"
    words = ["fpga", "explore", small.path, "--data", tiny_store.path, "--split", "train"]
    words += ["--images", "6", "--samples", "100", "--out", out]
    monkeypatch.setattr(sys, "argv", ["thorax", *map(str, words), "--json"])
    with pytest.raises(SystemExit) as caught:
        app.main()
    assert caught.value.code == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed == json.loads((out / "explore.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == [
        "explore.json", "explore.png", "explore.svg",
    ]  # fmt: skip
    assert printed["command"] == "fpga explore"
