"""Logistic regressions of many labels and penalties at once."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from thorax.evaluate.logistic import Standard, fit, scores

PENALTIES = (1.0, 0.1, 0.01, 0.001)


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray]:
    """300 rows of 40 correlated features with three labels, one of them partly unknown."""
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 40)) @ random.normal(size=(40, 40)) + 5
    features = Standard.of(features).apply(features)
    chance = 1 / (1 + np.exp(-2 * features[:, :3] + (0, 0, 4)))
    labels = (random.random((300, 3)) < chance).astype(np.int8)
    labels[::7, 1] = -1
    return features, labels


def test_weights_are_those_of_scikit_learn(problem: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = problem
    weights = fit(features, labels, PENALTIES)
    assert weights.shape == (4, 3, 41)
    for row, penalty in enumerate(PENALTIES):
        for column in range(3):
            known = labels[:, column] >= 0
            peer = LogisticRegression(C=1 / (penalty * known.sum()), tol=1e-10, max_iter=9999)
            peer.fit(features[known], labels[known, column])
            theirs = np.append(peer.coef_, peer.intercept_)
            np.testing.assert_allclose(weights[row, column], theirs, rtol=0, atol=1e-4)


def test_a_row_whose_label_is_unknown_is_as_good_as_absent(
    problem: tuple[np.ndarray, np.ndarray],
) -> None:
    features, labels = problem
    known = labels[:, 1] >= 0
    alone = fit(features[known], labels[known, 1:2], PENALTIES)
    np.testing.assert_allclose(fit(features, labels, PENALTIES)[:, 1:2], alone, atol=1e-5)


def test_classes_that_a_line_divides_and_features_that_repeat_each_other_have_an_answer() -> None:
    line = np.linspace(-1, 1, 30)[:, None]
    features = np.concatenate([line, line, 0 * line], axis=1)
    labels = (line > 0).astype(np.int8)
    weights = fit(features, labels, (0.001,))[0, 0]
    assert weights[0] == pytest.approx(weights[1])
    assert weights[2] == 0
    answers = scores(features, fit(features, labels, (0.001,)))[:, 0, 0]
    assert np.array_equal(answers > 0, labels[:, 0] == 1)


def test_what_is_constant_where_it_is_learned_becomes_nothing_elsewhere() -> None:
    learned = np.array([[1.0, 3.0], [1.0, 5.0]])
    standard = Standard.of(learned)
    assert standard.apply(learned).tolist() == [[0, -1], [0, 1]]
    assert standard.apply(np.array([[9.0, 4.0]])).tolist() == [[0, 0]]
