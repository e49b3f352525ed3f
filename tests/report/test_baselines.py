"""Tables and section of what simple features reach."""

from pathlib import Path

import pytest

from thorax.report.baselines import baseline_tables, section, unscored_lines
from thorax.report.page import write_report
from thorax.results.accuracy import (
    BaselineResult,
    ComparedNetwork,
    LabelScore,
    ShallowModel,
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
        verdict=("Means reach 0.870.",),
        network=ComparedNetwork(
            name="network.csv",
            mean_auroc=Interval(value=0.9),
            auroc={"Mass": area(0.9)},
            mean_difference={
                "block_means": Interval(value=0.03, low=0.01, high=0.05),
                "border": Interval(value=0.29),
            },
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
    assert section([read]).text == result.verdict
    page = write_report([read], tmp_path / "page.html", title="Chests").read_text("utf-8")
    assert "How easy the task is" in page
    assert "Means reach 0.870." in page
