"""Sharpness on the page, on the terminal and as pictures."""

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from thorax.errors import DataError, UsageError
from thorax.report.page import write_report
from thorax.report.sharpness import (
    check_output,
    sharpness_plots,
    sharpness_table,
    write_pictures,
)
from thorax.report.table import rich_table
from thorax.results.files import read_results
from thorax.results.landscape import SharpnessResult
from thorax.results.read import parse_result


def quality(loss: float | None, auroc: float | None) -> dict[str, float | None]:
    return {"loss": loss, "mean_auroc": auroc}


def entry(run: str, phi: float) -> dict[str, Any]:
    offsets = np.linspace(-1, 1, 5)
    bowl = 0.2 + phi * (offsets[:, None] ** 2 + offsets**2)
    return {
        "run": run,
        "topology": "resnet18",
        "epoch": 3,
        "val_mean_auroc": 0.81,
        "learning_rate": {"peak": 0.1, "last": 0.01},
        "loss": 0.2,
        "parameters": 1000,
        "keskar": [
            {"epsilon": 1e-3, "dimensions": None, "phi": phi, "highest_loss": 0.3},
            {"epsilon": 1e-3, "dimensions": 100, "phi": phi / 10, "highest_loss": 0.21},
        ],
        "adaptive": [
            {"norm": "l2", "rho": 0.5, "rise": 0.5},
            {"norm": "linf", "rho": 0.001, "rise": 0.01},
        ],
        "lambda_max": {
            "value": 12.0,
            "iterations": 20,
            "converged": False,
            "residual": 0.1,
            "times_learning_rate": {"peak": 1.2, "last": 0.12},
        },
        "landscape": {"offsets": offsets.tolist(), "loss": bowl.tolist()},
    }


@pytest.fixture
def document() -> dict[str, Any]:
    return two_runs()


def two_runs() -> dict[str, Any]:
    """Return what the command prints of two runs and the line between them."""
    wild = quality(None, None)
    points = [
        {
            "a": float(a),
            "train": quality(0.2 + a * a, 0.9),
            "val": quality(0.3 + a * a, 0.8),
            "train_interpolated": wild if a > 1.5 else quality(0.2 + 1e4 * abs(a), 0.7),
            "val_interpolated": quality(0.3 + abs(a), 0.7),
        }
        for a in np.linspace(-1, 2, 7)
    ]
    return {
        "command": "sharpness",
        **entry("runs/small/epoch-0003", 4.0),
        "settings": {
            **{"images": 1024, "seed": 0, "batch": 128, "batch_norm": "running"},
            **{"epsilons": [1e-3], "ascent_steps": 20, "manifold_dimensions": 100},
            **{"manifold_iterations": 10, "rho": 0.5, "eta": 0.01, "rho_box": 1e-3},
            **{"power_iterations": 100, "tolerance": 1e-3},
        },
        "images": 1024,
        "val_images": 200,
        "subset": {"split": "train", "seed": 0, "sha256": "ab", "val_sha256": "cd"},
        "against": entry("runs/large/epoch-0010", 40.0),
        "path": points,
        "caveat": "Sharpness follows the learning rate.",
    }


def parsed(document: dict[str, Any]) -> SharpnessResult:
    return SharpnessResult.read(document)


def test_the_table_has_a_column_a_run_and_the_caveat_and_fits_a_terminal(
    document: dict[str, Any],
) -> None:
    table = sharpness_table([parsed(document)])
    assert table.columns == ("Measure", "small epoch 3", "large epoch 10")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Keskar φ, ε 0.001, full space"] == ("4", "40")
    assert rows["Largest Hessian eigenvalue λ"] == ("12 (not settled)",) * 2
    assert rows["λ × peak learning rate"] == ("1.2", "1.2")
    assert table.note == document["caveat"]
    console = Console(width=100, record=True, quiet=True)
    console.print(rich_table(table))
    assert "…" not in console.export_text()


def test_the_page_shows_numbers_line_and_landscape_of_every_document(
    document: dict[str, Any], tmp_path: Path
) -> None:
    alone = copy.deepcopy(document)
    alone.update(against=None, path=None, landscape=None, run="runs/third", lambda_max=None)
    paths = []
    for name, one in (("a", document), ("b", alone)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(one))
    page = write_report(read_results(paths), tmp_path / "report.html", title="t").read_text("utf-8")
    assert page.count("<svg ") == 3
    assert page.count("Sharpness follows the learning rate.") == 1
    for words in ("Sharpness of each run", "line from small epoch 3 to large epoch 10", "third"):
        assert words in page
    del alone["keskar"]
    with pytest.raises(DataError, match="report-damaged"):
        parse_result(alone)


def test_pictures_lie_beside_the_document_and_are_the_same_every_time(
    document: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "sharp.json"
    names = ["sharp.png", "sharp.svg", "sharp-landscape.png", "sharp-landscape.svg"]
    assert [path.name for path in write_pictures(parsed(document), out)] == names
    before = [(tmp_path / name).read_bytes() for name in names]
    write_pictures(parsed(document), out)
    assert [(tmp_path / name).read_bytes() for name in names] == before
    picture = cv2.imread(str(tmp_path / "sharp.png"))
    assert picture is not None
    assert picture.shape[1] > 1200
    alone = {**document, "path": None, "landscape": None, "against": None}
    assert write_pictures(parsed(alone), out) == []


def test_what_was_not_finite_is_a_dash_and_no_landscape(document: dict[str, Any]) -> None:
    document["keskar"][0]["phi"] = None
    for run in (document, document["against"]):
        run["landscape"]["loss"] = [[None] * 5] * 5
    plots = sharpness_plots([parsed(document)])
    assert len(plots) == 2
    assert ">nan<" not in "".join(plots)
    assert ("Keskar φ, ε 0.001, full space", "–", "40") in sharpness_table([parsed(document)]).rows


def test_a_name_that_a_picture_needs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sharpness-out"):
        check_output(tmp_path / "sharp.png")
    with pytest.raises(UsageError, match="output-unwritable"):
        check_output(tmp_path)
    check_output(tmp_path / "sharp.json")
