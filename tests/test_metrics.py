from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from thorax.metrics import (
    Interval,
    auroc,
    bootstrap_auroc,
    bootstrap_difference,
    bootstrap_mean_rate,
    brier,
    expected_calibration_error,
    fit_platt,
    pointing_game,
    reliability,
    roc_curve,
    thin,
    youden_threshold,
)

Labels = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]


def _example(
    images: int = 600, *, patients: int = 150, labels: int = 3, seed: int = 0, ties: bool = True
) -> tuple[Labels, Floats, npt.NDArray[np.int64]]:
    """Images of a patient share a bias, so they resemble each other as real ones do."""
    random = np.random.default_rng(seed)
    patient = random.integers(patients, size=images)
    truth = (random.random((images, labels)) < 0.3).astype(np.int8)
    score = (
        truth + random.normal(size=(images, labels)) + random.normal(size=patients)[patient, None]
    )
    probability = 1 / (1 + np.exp(-score))
    return truth, np.round(probability, 2) if ties else probability, patient


def test_auroc_equals_scikit_learn_with_ties() -> None:
    truth, score, _ = _example()
    expected = [roc_auc_score(truth[:, k], score[:, k]) for k in range(3)]
    np.testing.assert_allclose(auroc(truth, score), expected, rtol=0, atol=1e-12)


def test_auroc_leaves_unknown_labels_out_of_that_label_only() -> None:
    truth, score, _ = _example()
    truth[::3, 1] = -1
    known = truth[:, 1] >= 0
    areas = auroc(truth, score)
    assert areas[0] == pytest.approx(roc_auc_score(truth[:, 0], score[:, 0]), abs=1e-12)
    assert areas[1] == pytest.approx(roc_auc_score(truth[known, 1], score[known, 1]), abs=1e-12)


def test_auroc_is_nan_where_a_class_is_missing() -> None:
    truth = np.array([[0, 1, 1, -1], [0, 1, 0, -1]], np.int8)
    assert np.isnan(auroc(truth, np.full((2, 4), 0.5))).tolist() == [True, True, False, True]


def test_unranked_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        auroc(np.array([[0], [1]], np.int8), np.array([[0.1], [np.nan]]))
    with pytest.raises(ValueError, match="one shape"):
        auroc(np.zeros((2, 1), np.int8), np.zeros((2, 2)))


_PAIRS = st.integers(2, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.int8, (n, 1), elements=st.sampled_from([-1, 0, 1])),
        arrays(np.float64, (n, 1), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    )
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_PAIRS)
def test_auroc_is_the_chance_that_present_outscores_absent(pair: tuple[Labels, Floats]) -> None:
    truth, score = pair
    present, absent = score[truth == 1], score[truth == 0]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(present, absent)]
    expected = np.mean(wins) if wins else np.nan
    np.testing.assert_allclose(auroc(truth, score)[0], expected, atol=1e-12)
    np.testing.assert_allclose(auroc(truth, 1 - score)[0], 1 - expected, atol=1e-12)
    np.testing.assert_allclose(auroc(truth, np.exp(3 * score))[0], expected, atol=1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(_PAIRS)
def test_auroc_is_the_area_under_the_curve(pair: tuple[Labels, Floats]) -> None:
    truth, score = pair
    curve = roc_curve(truth[:, 0], score[:, 0])
    if set(truth[truth >= 0]) != {0, 1}:
        assert np.isnan(curve.true_positive_rate + curve.false_positive_rate).all()
        return
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    np.testing.assert_allclose(area, auroc(truth, score)[0], atol=1e-12)


def test_bootstrap_repeats_patients_not_images() -> None:
    """Each resample equals scikit-learn's AUROC with the patient counts as sample weights."""
    truth, score, _ = _example(200, labels=1)
    patient = np.arange(200) % 40
    result = bootstrap_auroc(truth, score, patient, samples=200, seed=3)
    random = np.random.default_rng(3)
    drawn = []
    for _ in range(200):
        weights = np.bincount(random.integers(40, size=40), minlength=40)[patient]
        drawn.append(roc_auc_score(truth[:, 0], score[:, 0], sample_weight=weights))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert result.labels[0].low == pytest.approx(low, abs=1e-12)
    assert result.labels[0].high == pytest.approx(high, abs=1e-12)
    assert result.mean == result.labels[0]


def _delong_error(truth: Labels, score: Floats) -> float:
    """Standard error of AUROC by DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988)."""
    present, absent = score[truth == 1], score[truth == 0]
    wins = (present[:, None] > absent) + 0.5 * (present[:, None] == absent)
    over_present, over_absent = wins.mean(axis=1), wins.mean(axis=0)
    return float(
        np.sqrt(
            over_present.var(ddof=1) / len(present) + over_absent.var(ddof=1) / len(absent),
        )
    )


def test_interval_has_the_width_of_delong_when_every_image_is_a_patient() -> None:
    truth, score, _ = _example(800, labels=1, seed=5)
    interval = bootstrap_auroc(truth, score, np.arange(800), samples=1000).labels[0]
    width = 2 * 1.96 * _delong_error(truth[:, 0], score[:, 0])
    assert interval.high - interval.low == pytest.approx(width, rel=0.08)


def test_interval_is_wider_when_patients_repeat() -> None:
    truth, score, _ = _example(300, labels=1, seed=5)
    copies = np.repeat(np.arange(300), 4)
    by_patient = bootstrap_auroc(truth[copies], score[copies], copies).labels[0]
    by_image = bootstrap_auroc(truth[copies], score[copies], np.arange(1200)).labels[0]
    assert by_patient.value == by_image.value
    ratio = (by_patient.high - by_patient.low) / (by_image.high - by_image.low)
    assert ratio == pytest.approx(2.0, rel=0.1)  # sqrt of four copies


def test_bootstrap_is_deterministic_and_independent_of_how_patients_are_written() -> None:
    truth, score, patient = _example()
    named = [f"patient {n:06d}" for n in patient]
    first = bootstrap_auroc(truth, score, patient, samples=70, seed=1)
    assert first == bootstrap_auroc(truth, score, named, samples=70, seed=1)
    assert first != bootstrap_auroc(truth, score, patient, samples=70, seed=2)


def test_mean_is_over_the_labels_that_are_defined() -> None:
    truth, score, patient = _example()
    truth[:, 1] = 0
    result = bootstrap_auroc(truth, score, patient, samples=50)
    assert np.isnan([result.labels[1].value, result.labels[1].low, result.labels[1].high]).all()
    values = (result.labels[0].value, result.labels[2].value)
    assert result.mean.value == pytest.approx(np.mean(values))
    assert result.mean.low < result.mean.value < result.mean.high


def test_bounds_are_nan_when_hardly_any_resample_is_usable() -> None:
    truth = np.zeros((50, 1), np.int8)
    truth[0] = 1
    score = np.linspace(1, 0, 50)[:, None]
    interval = bootstrap_auroc(truth, score, np.arange(50), samples=15).labels[0]
    assert interval.value == 1.0
    assert np.isnan([interval.low, interval.high]).all()


def test_difference_of_equal_scores_is_exactly_zero() -> None:
    truth, score, patient = _example()
    result = bootstrap_difference(truth, score, 2 * score, patient, samples=50)
    assert result.mean == Interval(0.0, 0.0, 0.0)


def test_paired_difference_is_tighter_than_either_interval() -> None:
    truth, score, patient = _example(ties=False)
    nudged = score + np.random.default_rng(1).normal(scale=0.01, size=score.shape)
    result = bootstrap_difference(truth, score, nudged, patient, samples=200)
    alone = bootstrap_auroc(truth, score, patient, samples=200)
    expected = auroc(truth, nudged).mean() - auroc(truth, score).mean()
    assert result.mean.value == pytest.approx(expected, abs=1e-12)
    assert result.mean.high - result.mean.low < 0.3 * (alone.mean.high - alone.mean.low)


def test_roc_curve_equals_scikit_learn() -> None:
    truth, score, _ = _example(labels=1)
    curve = roc_curve(truth[:, 0], score[:, 0])
    false, true, threshold = sklearn_roc_curve(truth[:, 0], score[:, 0], drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, false)
    np.testing.assert_allclose(curve.true_positive_rate, true)
    np.testing.assert_array_equal(curve.threshold, threshold)


def test_thinned_curve_keeps_its_ends_and_its_area() -> None:
    truth, score, _ = _example(5000, labels=1, ties=False)
    curve = roc_curve(truth[:, 0], score[:, 0])
    small = thin(curve, 200)
    assert len(small.threshold) <= 200
    assert (small.false_positive_rate[0], small.true_positive_rate[-1]) == (0.0, 1.0)
    area = np.trapezoid(small.true_positive_rate, small.false_positive_rate)
    assert area == pytest.approx(auroc(truth, score)[0], abs=1e-3)


def test_youden_threshold_is_the_best_of_all_thresholds() -> None:
    truth, score, _ = _example(labels=1)
    present, values = truth[:, 0] == 1, score[:, 0]
    gain = {t: (values[present] >= t).mean() - (values[~present] >= t).mean() for t in set(values)}
    assert gain[youden_threshold(truth[:, 0], values)] == pytest.approx(max(gain.values()))


def test_operating_points_are_nan_without_both_classes() -> None:
    absent, score = np.zeros(4, np.int8), np.linspace(0, 1, 4)
    assert np.isnan(youden_threshold(absent, score))
    assert np.isnan(fit_platt(absent, score).slope)


def test_reliability_bins_hold_what_falls_into_them() -> None:
    truth = np.array([0, 1, 1, 1, -1, 0], np.int8)
    probability = np.array([0.05, 0.05, 0.5, 1.0, 0.5, 0.95])
    bins = reliability(truth, probability, bins=10)
    assert [(b.low, b.high, b.count, b.fraction_positive) for b in bins] == [
        (0.0, 0.1, 2, 0.5),
        (0.5, 0.6, 1, 1.0),
        (0.9, 1.0, 2, 0.5),
    ]
    assert bins[2].mean_probability == pytest.approx(0.975)
    expected = (2 * 0.45 + 1 * 0.5 + 2 * 0.475) / 5
    assert expected_calibration_error(truth, probability) == pytest.approx(expected)


def test_calibration_error_vanishes_when_promises_come_true() -> None:
    random = np.random.default_rng(0)
    probability = random.random((200_000, 2))
    truth = (random.random(probability.shape) < probability).astype(np.int8)
    assert expected_calibration_error(truth, probability) < 0.005
    assert expected_calibration_error(truth, probability**3) > 0.1


def test_brier_equals_scikit_learn() -> None:
    truth, score, _ = _example(labels=1)
    assert brier(truth, score) == pytest.approx(brier_score_loss(truth[:, 0], score[:, 0]))


def test_nothing_known_gives_nan() -> None:
    nothing, score = np.full(3, -1, np.int8), np.full(3, 0.5)
    assert np.isnan([brier(nothing, score), expected_calibration_error(nothing, score)]).all()
    assert reliability(nothing, score) == ()


def test_probabilities_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(ValueError, match="0-1"):
        brier(np.array([0, 1], np.int8), np.array([0.5, 1.5]))


def test_platt_equals_unpenalised_logistic_regression_on_many_images() -> None:
    """With many images the smoothing of the targets fades and plain regression remains."""
    random = np.random.default_rng(2)
    logit = random.normal(-1, 2, size=100_000)
    truth = (random.random(len(logit)) < 1 / (1 + np.exp(-(0.6 * logit - 0.8)))).astype(np.int8)
    fitted = fit_platt(truth, 1 / (1 + np.exp(-logit)))
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], truth)
    assert fitted.slope == pytest.approx(peer.coef_[0, 0], abs=2e-3)
    assert fitted.intercept == pytest.approx(peer.intercept_[0], abs=2e-3)


def test_platt_is_the_minimum_of_the_smoothed_loss() -> None:
    truth, score, _ = _example(60, labels=1)
    truth, score = truth[:, 0], np.clip(score[:, 0], 0.01, 0.99)
    positives, negatives = (truth == 1).sum(), (truth == 0).sum()
    target = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    fitted = fit_platt(truth, score)
    calibrated = fitted.apply(score)
    feature = np.log(score / (1 - score))
    assert np.sum(calibrated - target) == pytest.approx(0, abs=1e-6)
    assert np.sum((calibrated - target) * feature) == pytest.approx(0, abs=1e-6)


def test_platt_stays_finite_on_separable_and_on_constant_scores() -> None:
    truth = np.array([0, 0, 1, 1], np.int8)
    separable = fit_platt(truth, np.array([0.0, 0.1, 0.9, 1.0]))
    assert np.isfinite([separable.slope, separable.intercept]).all()
    constant = fit_platt(truth, np.full(4, 0.2)).apply(np.array([0.2]))
    assert constant[0] == pytest.approx(0.5, abs=1e-6)


def test_platt_keeps_the_order() -> None:
    truth, score, _ = _example(labels=1)
    calibrated = fit_platt(truth[:, 0], score[:, 0]).apply(score)
    np.testing.assert_allclose(auroc(truth, calibrated), auroc(truth, score), atol=1e-12)


def test_pointing_game_counts_images_that_have_boxes() -> None:
    peaks = [(5.0, 5.0), (30.0, 5.0), (5.0, 5.0), (12.0, 5.0)]
    boxes = [[(0, 0, 10, 10)], [(0, 0, 10, 10), (25, 0, 10, 10)], [], [(0, 0, 10, 10)]]
    assert (pointing_game(peaks, boxes).hits, pointing_game(peaks, boxes).total) == (2, 3)
    assert pointing_game(peaks, boxes, tolerance=2.0).hits == 3
    assert pointing_game([], []).rate is None


def test_a_mean_rate_counts_every_resample() -> None:
    """A label of one patient is lost in every third resample, and the others are judged then."""
    random = np.random.default_rng(0)
    hits = np.full((41, 2), np.nan)
    hits[:40, 0] = random.random(40) < 0.5
    hits[40, 1] = 1
    patients = np.array([f"p{n}" for n in range(41)])
    interval = bootstrap_mean_rate(hits, patients, samples=2000)
    share = np.nanmean(hits[:, 0])
    assert interval.value == (share + 1) / 2
    # Without the label that is lost the mean is that of the other: below what is left of a mean
    # with a hit for sure, whose interval would lie about (share + 1) / 2 alone.
    assert interval.low < share + 0.05
    again = np.concatenate([hits, np.full((500, 2), np.nan)])
    others = np.concatenate([patients, [f"q{n}" for n in range(500)]])
    assert bootstrap_mean_rate(again, others, samples=2000) == interval


def test_a_mean_rate_of_one_label_has_the_width_of_independent_trials() -> None:
    hits = np.full((300, 1), np.nan)
    hits[:100, 0] = np.arange(100) % 2
    interval = bootstrap_mean_rate(hits, np.arange(300), samples=2000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)
