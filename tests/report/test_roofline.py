"""The roofline as tables and as a plot."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from thorax.errors import UsageError
from thorax.report.page import write_report
from thorax.report.roofline import TOP, analyze_tables, roofline_plot, write_plot
from thorax.report.table import rich_table
from thorax.results.analysis import AnalyzeResult
from thorax.results.files import COMMANDS


def layer(name: str, kind: str = "Convolution", *, macs: int = 10**9) -> dict[str, Any]:
    moved = 10**7
    return {
        "name": name,
        "type": kind,
        "fused": [f"{name}/bias", f"{name}/a/very/long/name/of/an/activation/relu"],
        "kernel": "Convolution",
        "implementation": "brgconv_avx512_1x1_amx_bf16",
        "macs": macs,
        "operations": 12_345_678,
        "parameters": 2_000_000,
        "weight_bytes": 8_000_000,
        "input_bytes": 10**6,
        "output_bytes": 10**6,
        "moved_bytes": moved,
        "intensity": 2 * macs / moved,
        "arithmetic": "f32",
        "attainable_gops": min(100.0, 20 * 2 * macs / moved) if macs else None,
        "bound_s": max(2 * macs / 1e11, moved / 2e10),
        "bound_by": "compute",
    }


def document() -> dict[str, Any]:
    layers = [
        *(layer(f"features.denseblock1.denselayer{n}.conv1/convolution") for n in range(20)),
        layer("head/linear", "MatMul", macs=10**6),
        layer("pool", "MaxPool", macs=0),
    ]
    sums = ("macs", "operations", "parameters", "weight_bytes", "moved_bytes", "bound_s")
    total = {key: sum(one[key] for one in layers) for key in sums}
    return {
        "command": "analyze",
        "model": "densenet121-fp32",
        "device": "CPU",
        "precision": "fp32",
        "compute": "f32",
        **total,
        "memory_bytes": 10**8,
        "peak_activation_bytes": 10**7,
        "intensity": 123.4,
        "peaks": {"gops": {"f32": 100.0, "int8": 400.0}, "bandwidth_gb_s": 20.0, "measured": []},
        "images_per_s_bound": 4.9,
        "layers": layers,
        "types": [{"type": "GroupConvolutionBackpropData", "layers": 20, **total}],
        "precisions": [
            {
                "precision": "int8",
                "arithmetic": "int8",
                "weight_bytes": 10**6,
                "moved_bytes": 10**7,
                "bound_s": 0.1,
                "images_per_s_bound": 10.0,
            }
        ],
    }


def result(**changes: Any) -> AnalyzeResult:  # noqa: ANN401
    return AnalyzeResult.read(document() | changes)


def shown(one: AnalyzeResult, *, top: int | None = TOP) -> str:
    stream = io.StringIO()
    screen = Console(file=stream, width=100)
    for table in analyze_tables(one, top=top):
        screen.print(rich_table(table))
    return stream.getvalue()


def test_tables_fit_a_terminal_of_100_columns_and_show_the_heaviest_layers() -> None:
    text = shown(result())
    assert max(map(len, text.splitlines())) <= 100
    assert "10 more layers" in text
    assert "pool" not in text
    # No cell is broken over lines: every layer has its row.
    assert text.count("compute\n") == 12
    assert "pool" in shown(result(), top=None)


def measured() -> AnalyzeResult:
    """Return the same after a run that took twice the bound."""
    one = document()
    for part in [*one["layers"], *one["types"]]:
        part["measured_s"] = 2 * part["bound_s"]
        part["attained"] = 0.5
    for part in one["layers"]:
        part["measured_gops"] = (part["attainable_gops"] or 0) / 2 or None
    totals = {
        "measured_s": 0.41,
        "images_per_s_measured": 2.45,
        "attained": 0.5,
        "measured_runs": 7,
        "measured_other_s": 0.001,
    }
    return AnalyzeResult.read(one | totals)


def test_what_was_measured_is_told_from_what_is_modelled() -> None:
    text = shown(measured())
    assert max(map(len, text.splitlines())) <= 100
    for told in (
        "Measured",
        "50%",
        "Images per second, measured",
        "Images per second, bound",
        "Time of one inference at the roofs, bound",
    ):
        assert told in text
    assert "Measured" not in shown(result())
    drawn = roofline_plot(measured())
    assert "bound (modelled)" in drawn
    assert "Convolution (20), measured" in drawn
    assert "modelled" not in roofline_plot(result())
    assert "Convolution (20), bound" in roofline_plot(result())


def test_a_roof_that_was_measured_is_called_no_peak_and_no_time_the_least_possible() -> None:
    found = result()
    assert found.peaks is not None
    peaks = found.peaks.model_copy(update={"arithmetic": "fastest seen of OpenVINO"})
    text = " ".join(shown(found.model_copy(update={"peaks": peaks})).split())
    assert "the fastest that OpenVINO was seen to run and no peak of the hardware: f32 100" in text
    assert "Least time" not in text


def test_unknown_bounds_are_left_blank() -> None:
    layers = document()["layers"]
    for one in layers:
        one.update(bound_s=None, bound_by=None, attainable_gops=None)
    bare = result(peaks=None, bound_s=None, images_per_s_bound=None, layers=layers)
    assert not bare.has_roofs
    assert "Images per second" not in shown(bare)
    with pytest.raises(UsageError) as refused:
        roofline_plot(bare)
    assert refused.value.code == "roofline-peaks"


def test_the_plot_names_its_axes_with_units_and_takes_the_colours_of_its_page() -> None:
    drawn = roofline_plot(result())
    assert drawn == roofline_plot(result())
    for text in ("operations per byte", "operations per second", "int8 400 GOPS", "20.0 GB/s"):
        assert text in drawn
    assert "var(--s0" in drawn
    assert "currentColor" in drawn
    assert "Convolution (20)" in drawn
    assert "MatMul (1)" in drawn
    assert "mathdefault" not in drawn


def test_a_plot_is_written_as_svg_and_png_and_as_nothing_else(tmp_path: Path) -> None:
    write_plot(result(), tmp_path / "deep" / "roof.svg")
    text = (tmp_path / "deep" / "roof.svg").read_text("utf-8")
    assert text.startswith("<svg ")
    assert "prefers-color-scheme:dark" in text
    write_plot(result(), tmp_path / "roof.png")
    data = np.frombuffer((tmp_path / "roof.png").read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    # Behind the axes nothing: black and white pages both show through.
    assert pixels.shape[2] == 4
    assert pixels[0, 0, 3] == 0
    with pytest.raises(UsageError) as refused:
        write_plot(result(), tmp_path / "roof.pdf")
    assert refused.value.code == "plot-format"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "roof.png"]


def test_the_report_shows_an_analysis(tmp_path: Path) -> None:
    assert {"analyze", "compare"} <= set(COMMANDS)
    page = write_report([result(), result()], tmp_path / "r.html", title="t").read_text("utf-8")
    assert "Work and memory" in page
    assert "operations per byte" in page
    assert "denselayer3" in page
