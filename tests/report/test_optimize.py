"""A comparison as tables."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from thorax.report.optimize import TOP, compare_tables
from thorax.report.page import write_report
from thorax.report.table import rich_table
from thorax.results.optimize import CompareResult


def compared(layers: int = 30) -> CompareResult:
    long = "features.denseblock1.denselayer{}.norm1/batch_norm/scale"
    rows = [
        {
            "name": long.format(place),
            "type": "GroupConvolutionBackpropData",
            "sqnr_db": 10.0 + place,
            "own_sqnr_db": None,
            "max_error": 1.234567e-5,
        }
        for place in range(layers)
    ]
    document: dict[str, Any] = {
        "command": "compare",
        "model": "densenet121-fp32",
        "precision": "fp32",
        "device": "CPU",
        "against": {"model": "densenet121-int8"},
        "layers": rows,
        "outputs": [{"name": "p", "type": "Result", "sqnr_db": None, "max_error": 0.0}],
        "unmatched": ["a", "b"],
        "suggested_ignore": [],
        "verdict": "no layer adds far more noise than the rest",
    }
    return CompareResult.read(document)


def shown(one: CompareResult, *, top: int | None = TOP) -> str:
    stream = io.StringIO()
    screen = Console(file=stream, width=100)
    for table in compare_tables(one, top=top):
        screen.print(rich_table(table))
    return stream.getvalue()


def test_tables_fit_100_columns_say_equal_and_what_was_left_out() -> None:
    text = shown(compared())
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("denselayer") == 20
    assert "10 quieter layers" in " ".join(text.split())
    assert "2 layers of the first are not in the second" in " ".join(text.split())
    assert "equal" in text
    assert shown(compared(), top=None).count("denselayer") == 30


def test_the_report_shows_a_comparison_and_its_verdict(tmp_path: Path) -> None:
    page = write_report([compared()], tmp_path / "r.html", title="t").read_text("utf-8")
    assert "Layer by layer" in page
    assert "no layer adds far more noise" in page
