"""Validation of an artifact on a store."""

import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax import metrics
from thorax.artifact import Artifact, Precision
from thorax.benchmark.measurement import Speed
from thorax.data.samples import Box
from thorax.data.store import Store
from thorax.devices.engine import compile
from thorax.errors import DataError, UsageError
from thorax.evaluate.validate import (
    Scope,
    Validation,
    open_engines,
    score_split,
    validate,
    validate_each,
    validation_result,
)
from thorax.inference.heatmap_picture import peak
from thorax.inference.predictor import calibrate
from thorax.labels import LabelSet
from thorax.metrics import bootstrap_difference
from thorax.quantization.optimize import OptimizeOptions, optimize
from thorax.report.accuracy import cost_table, pointing_table, scope_lines
from thorax.results.accuracy import ValidationResult
from thorax.results.shared import Interval


@pytest.fixture(scope="module")
def whole(tiny_fp32: Artifact, tiny_store: Store) -> Validation:
    return score_split(compile(tiny_fp32), tiny_store, split="train", samples=200)


@pytest.fixture(scope="module")
def small(tiny_int8: Artifact, tiny_store: Store) -> Validation:
    return score_split(compile(tiny_int8), tiny_store, split="train", samples=200)


def checked(result: ValidationResult) -> dict[str, Any]:
    """Return a document as a reader of strict JSON gets it."""
    return dict(json.loads(result.to_json()))


def test_auroc_is_that_of_the_calibrated_answers_and_lies_in_its_interval(
    whole: Validation, tiny_fp32: Artifact, tiny_store: Store
) -> None:
    indices = tiny_store.select("train")
    assert np.array_equal(whole.indices, indices)
    outputs = compile(tiny_fp32).infer_many(tiny_store.images, indices)
    probability = calibrate(outputs.probability, tiny_fp32.card)
    np.testing.assert_allclose(whole.probability, probability, rtol=0, atol=1e-6)
    wanted = metrics.auroc(tiny_store.labels[indices], probability)
    made = checked(validation_result(whole))
    assert set(made["auroc"]) == set(tiny_store.label_set.findings)
    for name, value in zip(tiny_store.label_set.findings, wanted, strict=True):
        row = made["auroc"][name]
        column = tiny_store.label_set.index(name)
        assert row["images"] == len(indices)
        assert row["positives"] == int((tiny_store.labels[indices, column] == 1).sum())
        if np.isnan(value):
            assert row["value"] is None
        else:
            assert row["value"] == pytest.approx(value)
            assert row["low"] <= row["value"] <= row["high"]


def test_a_split_with_findings_nobody_has_is_still_strict_json(
    tiny_fp32: Artifact, tiny_store: Store
) -> None:
    labels = np.array(tiny_store.labels)
    labels[:, 0] = 0
    labels[:, 1] = -1
    store = dataclasses.replace(tiny_store, labels=labels)
    made = checked(validate([compile(tiny_fp32)], store, samples=50))
    first, second = tiny_store.label_set.findings[:2]
    assert made["auroc"][first]["value"] is None
    assert made["auroc"][second]["images"] == 0
    assert (made["split"], made["calibrated"]) == ("test", True)


def test_two_artifacts_are_compared_on_the_same_images(
    whole: Validation, small: Validation
) -> None:
    made = checked(validation_result(small, [whole]))
    assert made["precision"] == "int8"
    (other,) = made["against"]
    assert other["precision"] == "fp32"
    assert other["digest"] != made["digest"]
    assert other["size_bytes"] > 3 * made["size_bytes"]
    assert "images_per_s" not in other
    difference = other["mean_difference"]
    # Of the second artifact minus that of the first.
    means = [one["mean_auroc"] for one in (other, made)]
    assert difference["value"] == pytest.approx(means[0] - means[1])
    assert difference["low"] <= difference["value"] <= difference["high"]
    drop = other["auroc_drop"]
    assert other["auroc_drop_is"] == "model minus against"
    assert [drop[key] for key in ("value", "low", "high")] == [
        -difference[key] for key in ("value", "high", "low")
    ]
    assert {name: -one["value"] for name, one in other["auroc_drop_by_finding"].items()} == {
        name: one["value"] for name, one in other["difference"].items()
    }


def test_each_is_compared_with_the_first(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store
) -> None:
    engines = [compile(artifact) for artifact in (tiny_fp32, tiny_int8)]
    first, second = map(checked, validate_each(engines, tiny_store))
    assert "against" not in first
    assert second == checked(validate(engines[::-1], tiny_store))


def test_an_artifact_does_not_differ_from_itself(whole: Validation) -> None:
    difference = checked(validation_result(whole, [whole]))["against"][0]["mean_difference"]
    assert (difference["low"], difference["value"], difference["high"]) == (0, 0, 0)


def test_each_artifact_has_its_own_difference_and_speed(
    whole: Validation, small: Validation
) -> None:
    speeds = [Speed(0.001 * n, 1000.0 / n) for n in (1, 2, 4)]
    result = validation_result(whole, [small, whole], speeds)
    made = checked(result)
    everyone = [made, *made["against"]]
    assert [one["precision"] for one in everyone] == ["fp32", "int8", "fp32"]
    assert [one["latency_ms"]["p50"] for one in everyone] == pytest.approx([1, 2, 4])
    assert [one["images_per_s"] for one in everyone] == [1000, 500, 250]
    assert made["against"][1]["mean_difference"]["value"] == 0
    table = cost_table(result)
    assert table is not None
    assert [row[0].split()[0] for row in table.rows] == ["FP32", "INT8", "FP32"]
    assert len({row[0] for row in table.rows}) == 3
    assert table.rows[0][2] == ""
    assert table.columns[2] == "AUROC drop"
    assert f"AUROC drop: {table.rows[0][0]} minus the artifact" in table.note


def test_pointing_counts_peaks_within_the_boxes_of_their_finding(
    whole: Validation, tiny_fp32: Artifact, tiny_store: Store
) -> None:
    grid = tiny_fp32.card.heatmap
    assert grid is not None
    outputs = compile(tiny_fp32).infer_many(tiny_store.images, whole.indices)
    assert outputs.heatmap is not None
    hits: dict[str, list[bool]] = {}
    for row, index in enumerate(whole.indices):
        for name in {box.finding for box in tiny_store.boxes[index]}:
            x, y = peak(outputs.heatmap[row, tiny_store.label_set.index(name)], grid)
            inside = any(
                box.x <= x <= box.x + box.width and box.y <= y <= box.y + box.height
                for box in tiny_store.boxes[index]
                if box.finding == name
            )
            hits.setdefault(name, []).append(inside)
    assert hits
    found = {name: (one.hits, one.total) for name, one in whole.games.by_finding.items()}
    assert found == {name: (sum(inside), len(inside)) for name, inside in hits.items()}


@pytest.mark.parametrize(("box", "rate"), [((-1, -1, 50, 50), 1.0), ((-9, -9, 1, 1), 0.0)])
def test_a_box_around_everything_is_hit_and_one_outside_never(
    tiny_fp32: Artifact, tiny_store: Store, box: tuple[float, ...], rate: float
) -> None:
    boxes = ((Box("Mass", *box),),) * len(tiny_store)
    store = dataclasses.replace(tiny_store, boxes=boxes)
    made = checked(validate([compile(tiny_fp32)], store, samples=20))
    total = len(tiny_store.select("test"))
    game = made["pointing"]["Mass"]
    assert (game["hits"], game["total"], game["rate"]) == (rate * total, total, rate)
    # A point that is always the same, and one that is drawn, do as well there as any.
    assert (game["random_rate"], game["fixed_rate"]) == (rate, rate)
    mean = made["pointing_mean"]
    assert mean == {
        "findings": 1, "rate": rate, "random_rate": rate, "fixed_rate": rate,
        # The test split has fewer patients than an interval of the mean needs.
        "rate_interval": {"value": rate, "low": None, "high": None},
    }  # fmt: skip
    # Wilson's knows that what was never seen in a few images may still be.
    interval = game["rate_interval"]
    assert 0.05 < interval["high"] - interval["low"] < 1
    assert interval["low"] <= rate <= interval["high"]


def test_kinds_of_heat_maps_are_compared_side_by_side(
    tiny_run: Path, tiny_fp32: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    relative = optimize(
        tiny_run, tmp_path / "r", Precision.FP32, store=tiny_store,
        options=OptimizeOptions(heatmap="relative"),
    ).artifact  # fmt: skip
    engines = [compile(tiny_fp32), compile(relative)]
    result = validate(engines, tiny_store, split="train", samples=50)
    made = checked(result)
    (other,) = made["against"]
    assert (made["heatmap_kind"], other["heatmap_kind"]) == ("cam", "relative")
    assert other["pointing"] == checked(
        validate([compile(relative)], tiny_store, split="train", samples=50)
    )["pointing"]  # fmt: skip
    assert other["pointing_mean"]["findings"] == made["pointing_mean"]["findings"]
    for name, game in made["pointing"].items():
        same = ("total", "random_rate", "fixed_rate")
        assert [game.get(key) for key in same] == [other["pointing"][name].get(key) for key in same]
    table = pointing_table([result])
    assert table.columns == (
        "Finding", "Maps", "FP32 #1, cam", "FP32 #2, relative", "Random point", "Fixed point",
    )  # fmt: skip
    assert table.rows[-1][0] == "Mean"
    # Some findings have boxes on few patients, so that the mean has no interval.
    assert all("[" in cell for row in table.rows[:-1] for cell in row[2:4])
    assert not any("[" in cell for cell in table.rows[-1][2:4])
    # What others were compared with is shown once.
    again = validation_result(score_split(engines[0], tiny_store, split="train", samples=50))
    assert len(pointing_table([again, result]).columns) == len(table.columns)


def test_flips_are_those_of_the_operating_points_of_the_cards(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store
) -> None:
    made = checked(validate([compile(tiny_fp32), compile(tiny_int8)], tiny_store, split="train"))
    flips = made["against"][0]["flips"]
    indices = tiny_store.select("train")

    def called(artifact: Artifact, points: Artifact) -> np.ndarray:
        assert points.card.thresholds is not None
        raw = compile(artifact).infer_many(tiny_store.images, indices).probability
        names = list(points.card.thresholds)
        columns = [artifact.card.labels.index(name) for name in names]
        limits = np.array([points.card.thresholds[name] for name in names])
        return np.asarray(calibrate(raw, points.card)[:, columns] >= limits)

    before = called(tiny_fp32, tiny_fp32)
    for after, share in (
        (called(tiny_int8, tiny_fp32), flips["same_points"]),
        (called(tiny_int8, tiny_int8), flips["own_points"]),
    ):
        assert share["images"] == pytest.approx((before != after).any(axis=1).mean())
        assert share["findings"] == pytest.approx((before != after).mean())
    assert flips["points_from"] == [
        f"card of {tiny_fp32.card.name}",
        f"card of {tiny_int8.card.name}",
    ]
    same = checked(validate([compile(tiny_fp32), compile(tiny_fp32)], tiny_store))
    assert same["against"][0]["flips"]["same_points"]["images"] == 0
    assert "flips" not in checked(validate([compile(tiny_fp32)], tiny_store))


def test_a_difference_rests_on_as_many_resamples_as_the_table(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store
) -> None:
    one, other = (
        score_split(compile(artifact), tiny_store, split="train", samples=150)
        for artifact in (tiny_fp32, tiny_int8)
    )
    expected = bootstrap_difference(
        tiny_store.labels[one.indices],
        one.probability,
        other.probability,
        [tiny_store.patients[index] for index in one.indices],
        samples=150,
    )
    assert validation_result(one, [other]).against[0].mean_difference == Interval.of(expected.mean)


def test_an_empty_or_unknown_split_is_refused(tiny_fp32: Artifact, tiny_store: Store) -> None:
    engine = compile(tiny_fp32)
    bare = dataclasses.replace(tiny_store, splits=("train",) * len(tiny_store))
    with pytest.raises(DataError) as empty:
        validate([engine], bare)
    assert empty.value.code == "split-empty"
    with pytest.raises(UsageError) as unknown:
        validate([engine], tiny_store, split="holdout")
    assert unknown.value.code == "split-name"


def test_a_store_that_does_not_fit_is_refused(tiny_fp32: Artifact, tiny_store: Store) -> None:
    engine = compile(tiny_fp32)
    small = dataclasses.replace(tiny_store, images=np.asarray(tiny_store.images)[:, :32, :32])
    other = dataclasses.replace(tiny_store, label_set=LabelSet("other", ("A", "B")))
    for store, code in ((small, "store-side"), (other, "store-labels")):
        with pytest.raises(UsageError) as refused:
            validate([engine], store)
        assert refused.value.code == code


def relabelled(store: Store, *names: str) -> Store:
    """Return a store of these findings, the first of which may be others' names of NIH's."""
    columns = [store.label_set.find(name) for name in names]
    labels = np.stack(
        [
            np.full(len(store), 1, np.int8) if column is None else store.labels[:, column]
            for column in columns
        ],
        axis=1,
    )
    return dataclasses.replace(
        store, labels=labels, label_set=LabelSet("other", names), boxes=((),) * len(store)
    )


def test_a_store_of_other_findings_judges_those_that_both_have(
    whole: Validation, tiny_fp32: Artifact, tiny_store: Store
) -> None:
    other = relabelled(tiny_store, "Fracture", "Pleural Effusion", "Mass")
    made = checked(validate([compile(tiny_fp32)], other, split="train", samples=200))
    full = checked(validation_result(whole))
    assert made["auroc"] == {name: full["auroc"][name] for name in ("Effusion", "Mass")}
    assert made["unanswered"] == ["Fracture"]
    assert made["unlabelled"] == [
        name for name in tiny_fp32.card.labels if name not in ("Effusion", "Mass")
    ]
    lines = scope_lines(validation_result(score_split(compile(tiny_fp32), other)))
    assert lines == [
        "not scored: 12 findings that the store has no labels of: Atelectasis, Cardiomegaly, "
        "Infiltration, Nodule, Pneumonia, Pneumothorax, Consolidation, Edema, Emphysema, Fibrosis "
        "and 2 more",
        "not scored: 1 findings of the store that the model does not answer: Fracture",
    ]


def test_models_are_compared_on_findings_that_both_answer_and_the_store_labels() -> None:
    scope = Scope.of(
        LabelSet("a", ("Mass", "Edema", "Effusion", "Hernia")),
        LabelSet("store", ("Pleural Effusion", "Mass", "Edema", "Fracture")),
        [LabelSet("b", ("Pleural Effusion", "Mass"))],
    )
    assert (scope.columns, scope.findings) == ((0, 2), ("Mass", "Effusion"))
    assert (scope.unlabelled, scope.unanswered, scope.uncompared) == (
        *(("Hernia",), ("Fracture",), ("Edema",)),
    )
    with pytest.raises(UsageError, match="labels-differ"):
        Scope.of(LabelSet("a", ("Mass",)), LabelSet("s", ("Mass",)), [LabelSet("b", ("Edema",))])


def test_progress_is_told_once_an_image(tiny_fp32: Artifact, tiny_store: Store) -> None:
    told: list[int] = []
    bars: list[tuple[str, int]] = []

    def bar(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        bars.append((what, total))
        return nullcontext(told.append)

    validate([compile(tiny_fp32)], tiny_store, samples=20, bar=bar)
    count = len(tiny_store.select("test"))
    assert told == [1] * count
    assert bars == [(f"validating {tiny_fp32.card.name}", count)]


@pytest.mark.usefixtures("cards")
def test_what_runs_on_a_simulated_card_is_compared_with_fp32_on_the_cpu(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store
) -> None:
    device = "HETERO:FPGA,CPU"
    alone = open_engines(tiny_fp32, [], device)
    assert [(one.device, one.compute) for one in alone] == [(device, "fp11+f32"), ("CPU", "f32")]
    told = checked(validate(alone, tiny_store, split="val", samples=200))
    assert (told["compute"], told["simulated"]) == ("fp11+f32", True)
    (other,) = told["against"]
    assert (other["compute"], other["simulated"]) == ("f32", False)
    # The card of the artifact was judged in FP32: those of FP11 are chosen on the val split.
    flips = other["flips"]
    assert flips["reference"] == f"{tiny_fp32.card.name} on CPU"
    assert flips["points_from"] == [
        f"card of {tiny_fp32.card.name}",
        f"val split of {tiny_store.path.name}",
    ]
    assert flips["own_points"] is not None
    # A drop is the reference minus the candidate: FP32 on the CPU minus the card.
    assert other["auroc_drop_is"] == "against minus model"
    assert other["auroc_drop"]["value"] == pytest.approx(other["mean_auroc"] - told["mean_auroc"])
    assert other["auroc_drop"] == other["mean_difference"]
    assert other["auroc_drop_by_finding"] == other["difference"]
    unsplit = dataclasses.replace(tiny_store, splits=("test",) * len(tiny_store))
    bare = checked(validate(alone, unsplit, samples=100))["against"][0]["flips"]
    assert (bare["own_points"], bare["points_from"]) == (None, None)
    given = open_engines(tiny_fp32, [tiny_int8, tiny_fp32], device)
    assert [one.device for one in given] == [device, "CPU", "CPU"]
    assert [one.device for one in open_engines(tiny_fp32, [tiny_fp32], "CPU")] == ["CPU", "CPU"]
    assert len(open_engines(tiny_fp32, [], "CPU")) == 1
