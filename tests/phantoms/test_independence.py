"""Nothing but its signs tells a finding: no statistic of the image, no device, no table."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from thorax.labels import NIH14
from thorax.metrics import auroc
from thorax.phantoms.phantom import draw
from thorax.phantoms.style import Style

TRAIN, TEST = 1200, 600
"""Whole blocks of patients, so that no patient is in both."""


@pytest.mark.parametrize("finding", NIH14.findings)
def test_everything_about_the_patient_and_the_exposure_is_the_same_with_a_finding(
    finding: str,
) -> None:
    for index in range(6):
        ill, well = (draw(3, index, side=16, findings=names) for names in ([finding], []))
        for name in ("patient", "age", "sex", "view", "devices"):
            assert getattr(ill, name) == getattr(well, name)


def test_patients_differ_in_age_sex_and_devices() -> None:
    shown = [draw(3, index, side=16, findings=[]) for index in range(150)]
    assert Counter(p.sex for p in shown).keys() == {"F", "M"}
    assert np.std([p.age for p in shown]) > 10
    assert {name for p in shown for name in p.devices} == {
        *("ecg", "endotracheal_tube", "central_line", "nasogastric_tube", "pacemaker"),
        "sternal_wires",
    }


@pytest.fixture(scope="module")
def drawn() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Images uint8 [N, 64, 64] and labels [N, 14]."""
    pixels = np.empty((TRAIN + TEST, 64, 64), np.uint8)
    labels = np.empty((TRAIN + TEST, len(NIH14)), np.int8)
    for index in range(TRAIN + TEST):
        phantom = draw(31, index, side=64)
        pixels[index], labels[index] = phantom.pixels, NIH14.row(phantom.findings)
    return pixels, labels


def _mean_auroc(features: npt.NDArray[np.float64], labels: npt.NDArray[np.int8]) -> float:
    """Of a linear classifier of standardised features, the better of two shrinkages."""
    features = features - features[:TRAIN].mean(0)
    features /= features[:TRAIN].std(0) + 1e-9
    x, y = features[:TRAIN], labels[:TRAIN] - labels[:TRAIN].mean(0)
    means = []
    for shrinkage in (30.0, 3000.0):
        weights = np.linalg.solve(x.T @ x + shrinkage * np.eye(x.shape[1]), x.T @ y)
        scores = features[TRAIN:] @ weights
        means.append(float(auroc(labels[TRAIN:], scores).mean()))
    return max(means)


def test_block_means_and_deviations_tell_little(
    drawn: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]],
) -> None:
    pixels, labels = drawn
    blocks = pixels.reshape(-1, 16, 4, 16, 4).astype(np.float64)
    features = np.concatenate([blocks.mean((2, 4)), blocks.std((2, 4))], axis=1)
    assert _mean_auroc(features.reshape(len(pixels), -1), labels) < 0.72


def test_whole_image_statistics_tell_next_to_nothing(
    drawn: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]],
) -> None:
    pixels, labels = drawn
    flat = pixels.reshape(len(pixels), -1)
    shares = np.stack([np.bincount(row // 8, minlength=32) for row in flat])
    spread = np.percentile(flat, [1, 5, 25, 50, 75, 95, 99], axis=1).T
    features = np.column_stack((flat.mean(1), flat.std(1), spread, shares))
    assert _mean_auroc(features, labels) < 0.61


def test_the_border_and_the_order_tell_nothing(
    drawn: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]],
) -> None:
    pixels, labels = drawn
    edges = (pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1])
    features = np.concatenate(edges, axis=1).astype(np.float64)[:, ::2]
    assert 0.44 < _mean_auroc(features, labels) < 0.57
    order = np.repeat(np.arange(len(labels), dtype=np.float64)[:, None], len(NIH14), axis=1)
    assert np.abs(auroc(labels, order) - 0.5).max() < 0.08


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_any_subtlety_and_view_can_be_drawn(view: str) -> None:
    for level in (0.0, 1.0):
        style = Style("lateral" if view == "lateral" else "frontal", (level, level))
        phantom = draw(1, 1, side=64, findings=NIH14.findings[:3], style=style)
        assert phantom.subtleties == (level,) * 3
        assert (phantom.view == "LL") == (view == "lateral")
