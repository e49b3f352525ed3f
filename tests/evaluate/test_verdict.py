"""What a network is to be judged by, and what tells a finding and should not."""

import numpy as np
import pytest

from thorax import metrics
from thorax.evaluate.verdict import judge, patient_counts
from thorax.results.accuracy import BaselineVerdict, LabelScore, ShallowModel
from thorax.results.shared import Interval

FINDINGS = tuple(f"finding {number}" for number in range(14))
WHOLE = ("block_means", "block_deviations", "statistics")


def verdict(labels: np.ndarray, patients: list[str], **scores: np.ndarray) -> BaselineVerdict:
    """Judge scores of the suspects by name; what sees the whole image tells nothing."""
    names = FINDINGS[: labels.shape[1]]
    told = {name: np.zeros(labels.shape) for name in WHOLE} | scores
    models = []
    for name, answers in told.items():
        bounds = metrics.bootstrap_auroc(labels, answers, patients, samples=60)
        areas = {
            finding: LabelScore(**dict(Interval.of(area)), positives=0, images=0)
            for finding, area in zip(names, bounds.labels, strict=True)
        }
        models.append(
            ShallowModel(
                name=name,
                what=name,
                pixels=True,
                features=1,
                mean_auroc=Interval.of(bounds.mean),
                auroc=areas,
                penalty={},
            )
        )
    return judge(models, patient_counts(names, labels, patients))


@pytest.mark.parametrize(("images", "prevalence"), [(60, 0.2), (120, 0.12)])
def test_chance_is_not_suspected_however_many_findings_are_tried(
    images: int, prevalence: float
) -> None:
    random = np.random.default_rng(5)
    patients = [f"p{n // 2}" for n in range(images)]
    alarms = single = 0
    for _ in range(6):
        labels = (random.random((images, 14)) < prevalence).astype(np.int8)
        scores = {name: random.random(labels.shape) for name in ("border", "order", "facts")}
        suspicions = verdict(labels, patients, **scores).suspicions
        alarms += bool(suspicions)
        areas = [metrics.bootstrap_auroc(labels, s, patients, samples=60) for s in scores.values()]
        single += any(a.value > 0.6 and a.low > 0.5 for each in areas for a in each.labels)
    assert alarms == 0
    assert single >= 3, "which one interval at a time would have suspected"


def test_what_tells_a_finding_is_suspected_with_its_interval() -> None:
    random = np.random.default_rng(5)
    labels = (random.random((200, 14)) < 0.2).astype(np.int8)
    patients = list(map(str, range(200)))
    border, order = (random.random(labels.shape) for _ in range(2))
    border[:, 3] += labels[:, 3]
    order[:, 7] = labels[:, 7]
    result = verdict(labels, patients, border=border, order=order)
    assert (result.tried, result.too_few) == (28, {})
    suspected = {(each.features, each.finding): each.auroc for each in result.suspicions}
    assert list(suspected) == [("border", "finding 3"), ("order", "finding 7")]
    sure = suspected["order", "finding 7"]
    assert (sure.value, sure.high) == (1, 1)
    assert sure.low is not None
    assert 0.5 < sure.low < 1


def test_patients_count_and_not_their_images() -> None:
    labels = np.array([[1], [1], [0], [0], [-1]], np.int8)
    counts = patient_counts(["Mass"], labels, ["a", "a", "a", "b", "c"])
    assert dict(counts["Mass"]) == {"positive": 1, "negative": 2}


def test_a_bar_and_what_is_easy_are_of_each_finding() -> None:
    random = np.random.default_rng(5)
    labels = (random.random((200, 2)) < 0.5).astype(np.int8)
    means = np.stack([labels[:, 0], random.random(200)], axis=1)
    deviations = np.stack([random.random(200), labels[:, 1] + 3 * random.random(200)], axis=1)
    found = verdict(
        labels, list(map(str, range(200))), block_means=means, block_deviations=deviations
    )
    assert found.bar == {"finding 0": "block_means", "finding 1": "block_deviations"}
    assert found.easy == ("finding 0",)
    assert found.whole == "block_means"
    assert found.suspicions == ()
