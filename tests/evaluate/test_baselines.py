"""What regressions on simple features reach on a store."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.devices.engine import compile
from thorax.errors import DataError
from thorax.evaluate.baselines import baselines
from thorax.evaluate.validate import validate
from thorax.labels import LabelSet
from thorax.results.accuracy import BaselineResult, ShallowModel, ValidationResult

COUNT = 240


@pytest.fixture
def drawn(tiny_store: Store) -> Store:
    """240 images of noise with three labels that three kinds of features tell, in random order.

    `spot` is a bright block inside, `marker` one at the edge, `shine` a lighter whole image.
    """
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, (COUNT, 3)).astype(np.int8)
    images = random.integers(90, 110, (COUNT, 64, 64)).astype(np.uint8)
    images[labels[:, 0] == 1, 28:32, 28:32] += 40
    images[labels[:, 1] == 1, :2, 8:16] += 60
    images[labels[:, 2] == 1] += 6
    return replace(
        tiny_store,
        images=images,
        labels=labels,
        names=tuple(f"{n:04d}.png" for n in random.permutation(COUNT)),
        patients=tuple(f"p{n // 2}" for n in range(COUNT)),
        splits=("train",) * 140 + ("val",) * 40 + ("test",) * 60,
        views=(None,) * COUNT,
        ages=(None,) * COUNT,
        sexes=(None,) * COUNT,
        boxes=((),) * COUNT,
        label_set=LabelSet("drawn", ("spot", "marker", "shine")),
    )


def by_name(result: BaselineResult) -> dict[str, ShallowModel]:
    return {model.name: model for model in result.models}


def auroc(model: ShallowModel, finding: str) -> float:
    value = model.auroc[finding].value
    assert value is not None
    return value


def test_each_kind_of_features_tells_what_it_sees(drawn: Store) -> None:
    result = baselines(drawn, samples=100)
    models = by_name(result)
    assert set(models) == {"block_means", "block_deviations", "statistics", "border", "order"}
    assert {name: auroc(models["block_means"], name) > 0.99 for name in result.best} == {
        "spot": True,
        "marker": True,
        "shine": True,
    }
    assert auroc(models["border"], "marker") > 0.99
    assert auroc(models["border"], "spot") < 0.7
    assert auroc(models["statistics"], "shine") > 0.99
    assert max(auroc(models["order"], name) for name in result.best) < 0.7
    assert (result.splits, result.patients) == ({"train": 140, "val": 40, "test": 60}, 30)
    assert result.verdict.bar == {
        "spot": "block_means",
        "marker": "block_means",
        "shine": "block_means",
    }
    assert result.verdict.easy == ("spot", "marker", "shine")
    suspected = {(each.features, each.finding) for each in result.verdict.suspicions}
    assert suspected == {("border", "marker"), ("border", "shine")}
    assert (result.verdict.tried, result.verdict.too_few) == (6, {})
    assert baselines(drawn, samples=100) == result


def test_images_that_were_collected_by_class_are_told_by_their_order(drawn: Store) -> None:
    order = np.argsort(drawn.labels[:, 0], kind="stable")
    random = np.random.default_rng(0)
    splits = random.choice(("train", "val", "test"), COUNT, p=(0.6, 0.2, 0.2))
    ranked = replace(
        drawn,
        images=np.full((COUNT, 64, 64), 100, np.uint8),
        labels=drawn.labels[order],
        splits=tuple(map(str, splits)),
        patients=tuple(map(str, range(COUNT))),
    )
    result = baselines(ranked, samples=100)
    assert auroc(by_name(result)["order"], "spot") > 0.95
    assert auroc(by_name(result)["block_means"], "spot") == 0.5
    assert ("order", "spot") in {(s.features, s.finding) for s in result.verdict.suspicions}


def test_unknown_labels_are_left_out_and_findings_without_a_class_told(drawn: Store) -> None:
    labels = drawn.labels.copy()
    labels[::3, 0] = -1
    labels[140:180, 2] = 0
    result = baselines(replace(drawn, labels=labels), samples=100)
    assert result.unscored == {"shine": "no image of the val split shows it"}
    area = by_name(result)["block_means"].auroc["spot"]
    assert area.images == int((labels[180:, 0] >= 0).sum())
    assert area.positives == int((labels[180:, 0] == 1).sum())
    assert auroc(by_name(result)["block_means"], "spot") > 0.99


def test_what_is_known_of_patients_is_tried_too(drawn: Store) -> None:
    views = tuple("AP" if label else "PA" for label in drawn.labels[:, 0])
    result = baselines(replace(drawn, views=views), samples=100)
    assert auroc(by_name(result)["facts"], "spot") == 1
    assert ("facts", "spot") in {(s.features, s.finding) for s in result.verdict.suspicions}


def test_a_patient_in_two_splits_is_told(drawn: Store) -> None:
    result = baselines(replace(drawn, patients=("p",) * COUNT), samples=100)
    assert result.leaks == 1


def test_few_patients_have_an_auroc_and_neither_interval_nor_verdict(drawn: Store) -> None:
    labels = drawn.labels.copy()
    labels[180:, 1] = 0
    labels[200, 1] = 1
    result = baselines(replace(drawn, labels=labels), samples=100)
    assert {name: dict(counts) for name, counts in result.verdict.too_few.items()} == {
        "marker": {"positive": 1, "negative": 30}
    }
    for model in result.models:
        assert model.auroc["marker"].value is not None
        assert model.auroc["spot"].low is not None
        assert model.auroc["marker"].low is None
        assert model.mean_auroc.low is None
    assert "marker" not in result.verdict.easy
    assert {each.finding for each in result.verdict.suspicions} == {"shine"}


def test_one_patient_has_no_interval(drawn: Store) -> None:
    patients = (*drawn.patients[:180], *("p",) * 60)
    result = baselines(replace(drawn, patients=patients), samples=100)
    assert set(result.verdict.too_few) == {"spot", "marker", "shine"}
    bounds = [bound for m in result.models for bound in (m.mean_auroc, *m.auroc.values())]
    assert {(bound.low, bound.high) for bound in bounds} == {(None, None)}
    assert result.verdict.tried == 0


@pytest.mark.parametrize(
    ("splits", "code"),
    [
        (("train",) * COUNT, "split-empty"),
        (("train",) * 10 + ("val",) * 100 + ("test",) * 130, "baseline-images"),
    ],
)
def test_a_store_that_nothing_can_be_said_of_is_refused(
    drawn: Store, splits: tuple[str, ...], code: str
) -> None:
    with pytest.raises(DataError) as refused:
        baselines(replace(drawn, splits=splits))
    assert refused.value.code == code


def test_a_store_of_one_class_is_refused(drawn: Store) -> None:
    with pytest.raises(DataError, match=r"baseline-undefined.*spot: no image of the train split"):
        baselines(replace(drawn, labels=np.zeros_like(drawn.labels)))


@pytest.mark.parametrize(
    ("known", "words"), [(-1, "all labels of .* are unknown"), (1, "known to be without a finding")]
)
def test_labels_of_which_no_absence_is_known_point_to_blank_cells(
    drawn: Store, known: int, words: str
) -> None:
    labels = np.where(drawn.labels == 1, known, -1).astype(np.int8)
    with pytest.raises(DataError, match=rf"baseline-undefined: .*{words}.*--blank negative"):
        baselines(replace(drawn, labels=labels))


def test_a_finding_whose_labels_are_unknown_is_told_apart_from_one_without_images(
    drawn: Store,
) -> None:
    labels = drawn.labels.copy()
    labels[:, 1] = -1
    result = baselines(replace(drawn, labels=labels), samples=100)
    assert result.unscored == {"marker": "all its labels are unknown"}


@pytest.fixture
def answered(tiny_store: Store, tmp_path: Path) -> Path:
    """Predictions of the test split that are its labels, in another order of images."""
    path = tmp_path / "network.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", *tiny_store.label_set.findings))
        for index in tiny_store.select("test")[::-1]:
            table.writerow((tiny_store.names[index], *tiny_store.labels[index].tolist()))
    return path


def test_a_network_stands_beside_them_on_the_same_images(tiny_store: Store, answered: Path) -> None:
    result = baselines(tiny_store, against=answered, samples=100)
    network = result.network
    assert network is not None
    assert (network.name, network.mean_auroc.value) == ("network.csv", 1)
    for model in result.models:
        assert model.mean_auroc.value is not None
        difference = network.mean_difference[model.name].value
        assert difference == pytest.approx(1 - model.mean_auroc.value)
    for name, bounds in network.difference.items():
        area = by_name(result)[result.verdict.bar[name]].auroc[name].value
        assert area is not None
        assert bounds.value == pytest.approx(1 - area)


@pytest.fixture
def guessed(drawn: Store, tmp_path: Path) -> tuple[Store, Path]:
    """A store whose index can be read, and a network that knows `spot` and guesses the others."""
    store = replace(drawn, path=tmp_path)
    random = np.random.default_rng(8)
    with (tmp_path / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "patient", "split", *store.label_set.findings))
        facts = zip(store.names, store.patients, store.splits, strict=True)
        table.writerows((*f, *row) for f, row in zip(facts, store.labels.tolist(), strict=True))
    with (tmp_path / "network.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", *store.label_set.findings))
        for index in store.select("test"):
            spot = store.labels[index, 0]
            table.writerow((store.names[index], spot, *random.random(2).round(3)))
    return store, tmp_path / "network.csv"


def test_a_network_is_behind_by_finding_where_it_guesses(guessed: tuple[Store, Path]) -> None:
    store, path = guessed
    network = baselines(store, against=path, samples=100).network
    assert network is not None
    high = {name: bounds.high for name, bounds in network.difference.items()}
    for name in ("marker", "shine"):
        bound = high[name]
        assert bound is not None
        assert bound < 0
    assert high["spot"] == 0


def _validated(store: Store, made: Artifact, folder: Path) -> tuple[ValidationResult, Path]:
    result, path = validate([compile(made)], store, samples=100), folder / "validate.json"
    path.write_text(result.to_json())
    return result, path


def test_a_document_of_validate_stands_beside_them_without_a_paired_interval(
    tiny_store: Store, tiny_fp32: Artifact, tmp_path: Path
) -> None:
    made, path = _validated(tiny_store, tiny_fp32, tmp_path)
    network = baselines(tiny_store, against=path, samples=100).network
    assert network is not None
    assert all(made.auroc[name] == area for name, area in network.auroc.items())
    assert {bounds.low for bounds in network.mean_difference.values()} == {None}
    assert {bounds.low for bounds in network.difference.values()} == {None}
    path.write_text(validate([compile(tiny_fp32)], tiny_store, split="val", samples=100).to_json())
    with pytest.raises(DataError, match=r"baseline-against.* images of split val"):
        baselines(tiny_store, against=path)


def test_a_document_of_another_store_is_refused(
    tiny_store: Store, tiny_fp32: Artifact, tmp_path: Path
) -> None:
    _, path = _validated(tiny_store, tiny_fp32, tmp_path)
    renamed = replace(tiny_store, names=tuple(f"{name}.renamed" for name in tiny_store.names))
    assert baselines(renamed, against=path, samples=100).network is not None, "the same images"
    test = tiny_store.select("test")[0]
    digests = tuple("0" * 64 if k == test else d for k, d in enumerate(tiny_store.digests))
    with pytest.raises(DataError, match=r"baseline-against: .* of other files.*validate the"):
        baselines(replace(tiny_store, digests=digests), against=path)


def test_a_document_of_other_labels_is_refused(
    tiny_store: Store, tiny_fp32: Artifact, tmp_path: Path
) -> None:
    made = validate([compile(tiny_fp32)], tiny_store, samples=100).document()
    del made["images_sha256"]
    path = tmp_path / "validate.json"
    path.write_text(json.dumps(made))
    assert baselines(tiny_store, against=path, samples=100).network is not None, "of before"
    labels = tiny_store.labels.copy()
    labels[tiny_store.select("test")] ^= 1
    with pytest.raises(DataError, match=r"baseline-against: .* labels of .* of them positive"):
        baselines(replace(tiny_store, labels=labels), against=path)
