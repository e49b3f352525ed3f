"""Tables and section of what simple features reach."""

from pathlib import Path

import pytest

from thorax.report.baselines import baseline_tables, section, unscored_lines, verdict
from thorax.report.page import write_report
from thorax.results.accuracy import (
    BaselineResult,
    BaselineVerdict,
    ComparedNetwork,
    LabelScore,
    PatientCounts,
    ShallowModel,
    Suspicion,
)
from thorax.results.shared import Interval


def area(value: float) -> LabelScore:
    return LabelScore(value=value, low=value - 0.01, high=value + 0.01, positives=30, images=90)


@pytest.fixture
def result() -> BaselineResult:
    models = tuple(
        ShallowModel(
            name=name,
            what=what,
            pixels=True,
            features=count,
            mean_auroc=Interval(value=mean, low=mean - 0.02, high=mean + 0.02),
            auroc={"Mass": area(mean + 0.01), "Pleural_Thickening": area(mean - 0.01)},
            penalty={"Mass": 0.1, "Pleural_Thickening": 0.01},
        )
        for name, what, count, mean in (
            ("block_means", "means of 16 x 16 blocks", 256, 0.87),
            ("border", "the outer 5% of the image alone", 256, 0.61),
        )
    )
    return BaselineResult(
        store="chests",
        splits={"train": 300, "val": 60, "test": 90},
        patients=70,
        leaks=0,
        models=models,
        best={"Mass": "block_means", "Pleural_Thickening": "block_means"},
        unscored={"Hernia": "no image of the val split shows it"},
        verdict=BaselineVerdict(
            whole="block_means",
            bar={"Mass": "block_means", "Pleural_Thickening": "block_means"},
            easy=(),
            suspicions=(),
            tried=2,
            too_few={},
            fewest=10,
        ),
        network=ComparedNetwork(
            name="network.csv",
            mean_auroc=Interval(value=0.9),
            auroc={"Mass": area(0.9)},
            mean_difference={
                "block_means": Interval(value=0.03, low=0.01, high=0.05),
                "border": Interval(value=0.29),
            },
            difference={"Mass": Interval(value=0.02, low=0.01, high=0.03)},
        ),
    )


def test_tables_show_each_kind_of_features_beside_the_network(result: BaselineResult) -> None:
    models, findings = baseline_tables(result)
    assert [row[0] for row in models.rows] == [
        "means of 16 x 16 blocks",
        "the outer 5% of the image alone",
        "network.csv",
    ]
    assert models.rows[0][1:] == ("256", "0.870 [0.850, 0.890]", "2", "+0.030 [+0.010, +0.050]")
    assert findings.columns == ("Finding", "Positives", "Means", "Border", "Network")
    assert findings.rows == (
        ("Mass", "30", "*0.880", "0.620", "0.900"),
        ("Pleural Thickening", "30", "*0.860", "0.600", "–"),
        ("Mean", "", "0.870", "0.610", "0.900"),
    )
    assert unscored_lines(result) == ["not scored: Hernia: no image of the val split shows it"]


def test_a_page_has_a_section_of_them(result: BaselineResult, tmp_path: Path) -> None:
    read = BaselineResult.read(result.document())
    assert section([read]).text == tuple(verdict(result))
    page = write_report([read], tmp_path / "page.html", title="Chests").read_text("utf-8")
    assert "How easy the task is" in page
    assert "reaches a mean AUROC of 0.870" in page


def of(result: BaselineResult, **facts: object) -> str:
    """Return the words of a result whose verdict has other facts."""
    changed = result.verdict.model_copy(update=facts)
    return "\n".join(verdict(result.model_copy(update={"verdict": changed})))


def beside(result: BaselineResult, mean: Interval, **difference: Interval) -> str:
    """Return the words of a result whose network differs so."""
    assert result.network is not None
    network = result.network.model_copy(
        update={"mean_difference": {"block_means": mean}, "difference": difference}
    )
    return "\n".join(verdict(result.model_copy(update={"network": network})))


def test_a_verdict_is_by_finding(result: BaselineResult) -> None:
    assert "above the best of them on the whole image: Mass 0.880, Pleural Thickening 0.860." in of(
        result
    )
    words = of(result, easy=("Mass",))
    assert "says little where regressions need none: Mass 0.880." in words
    assert "on the whole image: Pleural Thickening 0.860." in words


def test_no_bar_is_lower_than_chance(result: BaselineResult) -> None:
    (first, *others) = result.models
    first = first.model_copy(
        update={"auroc": {"Mass": area(0.389), "Pleural_Thickening": area(0.6)}}
    )
    words = of(result.model_copy(update={"models": (first, *others)}))
    assert "on the whole image: Pleural Thickening 0.600, Mass 0.500." in words


def test_a_suspicion_is_told_with_its_interval(result: BaselineResult) -> None:
    told = [
        Suspicion(features="border", finding=name, auroc=Interval(value=value, low=0.6, high=0.99))
        for name, value in (("Mass", 0.8), ("Pleural_Thickening", 0.9))
    ]
    words = of(result, suspicions=told, tried=28)
    assert "Pleural Thickening is told with 0.900 [0.600, 0.990] (95% for 28 tries" in words
    assert "; so are, less, Mass." in words


def test_what_has_too_few_patients_is_told_with_what_it_lacks(result: BaselineResult) -> None:
    few = {"Mass": PatientCounts(positive=1, negative=60)}
    words = of(result, too_few=few)
    assert "neither interval nor verdict, and the mean has no interval: Mass (1 patient wi" in words
    assert "60 patients" not in words
    assert "the whole image: Pleural Thickening 0.860." in words


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (Interval(value=0.03, low=0.01, high=0.05), "0.050] of mean AUROC."),
        (Interval(value=0.01, low=-0.01, high=0.03), "which these images do not tell from none."),
        (Interval(value=-0.03, low=-0.05, high=-0.01), "it is worse than what needs no network."),
        (Interval(value=0.03), "+0.030 of mean AUROC, without an interval."),
        (Interval(value=-0.03), "without an interval, and below what needs no network."),
    ],
)
def test_a_network_that_is_worse_is_said_to_be(
    result: BaselineResult, mean: Interval, words: str
) -> None:
    assert words in beside(result, mean)


def test_a_network_is_judged_by_finding_too(result: BaselineResult) -> None:
    words = beside(
        result,
        Interval(value=0.0),
        Mass=Interval(value=-0.1, low=-0.2, high=-0.05),
        Pleural_Thickening=Interval(value=0.1, low=-0.1, high=0.2),
        Edema=Interval(value=0.1, low=0.05, high=0.2),
        Hernia=Interval(value=-0.1),
    )
    assert (
        "it is ahead on 1 of 4 findings; not told apart on Pleural Thickening; worse on Mass."
        in (words)
    )
    assert "It is below the best of them, without an interval: Hernia." in words


def test_one_finding_has_no_mean(result: BaselineResult) -> None:
    one = result.model_copy(update={"best": {"Mass": "block_means"}, "network": None})
    _, findings = baseline_tables(one)
    assert [row[0] for row in findings.rows] == ["Mass"]
    assert "mean" not in of(one, bar={"Mass": "block_means"})
