"""Bounds, against the formula, and the document of `thorax analyze`."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thorax.analysis.roofline import analyze, bound, intensity
from thorax.artifact import Artifact
from thorax.cli import app
from thorax.devices.peak import Peaks
from thorax.ir.open import open_model
from thorax.report.roofline import analyze_tables

Thorax = Callable[..., "subprocess.CompletedProcess[str]"]

PEAKS = Peaks("CPU", {"f32": 1e11, "int8": 4e11}, 2e10)


def test_below_the_knee_memory_bounds_and_above_it_arithmetic() -> None:
    # The knee lies at peak / bandwidth = 5 operations a byte.
    for macs, by, time_s, rate in (
        (1_000, "memory", 1000 / 2e10, 2 * 2e10),
        (2_500, "compute", 5000 / 1e11, 1e11),
        (5_000, "compute", 10_000 / 1e11, 1e11),
    ):
        least = bound(macs, 1000, "f32", PEAKS)
        assert least is not None
        assert least.by == by
        assert least.time_s == pytest.approx(time_s)
        assert least.attainable_ops_per_s == pytest.approx(rate)
        # The roofline is the same statement as the larger of the two times.
        assert 2 * macs / least.time_s == pytest.approx(least.attainable_ops_per_s)


def test_a_layer_that_only_moves_is_bound_by_memory_and_has_no_place_under_the_roof() -> None:
    least = bound(0, 4000, "f32", PEAKS)
    assert least is not None
    assert (least.by, least.time_s, least.attainable_ops_per_s) == ("memory", 4000 / 2e10, None)
    assert intensity(0, 0) == 0


def test_arithmetic_of_unknown_peak_has_no_bound() -> None:
    assert bound(10, 10, "bf16", PEAKS) is None
    assert bound(0, 10, "f32", Peaks("CPU", {"f32": 1e11}, None)) is not None
    assert bound(0, 10, "bf16", Peaks("CPU", {}, None)) is None


def looked_at(
    made: Artifact, peaks: Peaks | None = PEAKS, *, measure: bool = False
) -> dict[str, Any]:
    """Return what is answered of an artifact as its JSON document has it."""
    return analyze(open_model(made.path), "CPU", peaks, measure=measure).document()


@pytest.fixture(scope="module")
def documents(tiny_fp32: Artifact, tiny_int8: Artifact) -> list[dict[str, Any]]:
    return [looked_at(tiny_fp32), looked_at(tiny_int8)]


def test_totals_are_sums_of_layers_and_agree_with_the_card(
    documents: list[dict[str, Any]], tiny_fp32: Artifact
) -> None:
    card = tiny_fp32.card
    for document in documents:
        layers = document["layers"]
        for key in ("macs", "parameters", "operations", "weight_bytes", "moved_bytes"):
            assert document[key] == sum(layer[key] for layer in layers)
            assert document.get(key) == sum(row.get(key) for row in document["types"])
        assert document["bound_s"] == pytest.approx(sum(layer["bound_s"] for layer in layers))
        assert document["images_per_s_bound"] == pytest.approx(1 / document["bound_s"])
        assert (document["macs"], document["parameters"]) == (card.macs, card.parameters)
        assert document["memory_bytes"] > document["peak_activation_bytes"] > 48 * 48
        json.dumps(document, allow_nan=False)


def test_weights_take_what_the_file_takes(
    documents: list[dict[str, Any]], tiny_fp32: Artifact, tiny_int8: Artifact
) -> None:
    for document, made in zip(documents, (tiny_fp32, tiny_int8), strict=True):
        assert document["weight_bytes"] == pytest.approx(made.card.size_bytes, rel=0.02)
    told = {row["precision"]: row["weight_bytes"] for row in documents[0]["precisions"]}
    assert told["fp32"] == documents[0]["weight_bytes"] == 2 * told["fp16"]
    assert told["int8"] == pytest.approx(tiny_int8.card.size_bytes, rel=0.03)


def test_the_precision_that_a_graph_has_is_bound_as_the_graph_itself(
    documents: list[dict[str, Any]],
) -> None:
    wide, narrow = documents
    told = {row["precision"]: row for row in wide["precisions"]}
    assert told["fp32"]["moved_bytes"] == pytest.approx(wide["moved_bytes"], rel=0.01)
    assert told["fp32"]["bound_s"] == pytest.approx(wide["bound_s"], rel=0.01)
    assert told["int8"]["bound_s"] == pytest.approx(narrow["bound_s"], rel=0.1)
    assert told["int8"]["bound_s"] < told["fp32"]["bound_s"]


def test_bias_norm_activation_and_residual_sum_run_as_one_convolution(
    documents: list[dict[str, Any]],
) -> None:
    for document in documents:
        layers = {layer["name"]: layer for layer in document["layers"]}
        assert layers["conv1"]["fused"] == ["bn1/batch_norm", "relu"]
        assert layers["conv1"]["kernel"] == "Convolution"
        assert "layer1.0/add" in layers["layer1.0.conv2"]["fused"]
        assert "layer1.0/add" not in layers
    assert {layer["arithmetic"] for layer in documents[1]["layers"] if layer["macs"]} == {
        "int8",
        "f32",
    }


def test_without_peaks_there_are_costs_and_no_bounds(tiny_fp32: Artifact) -> None:
    document = looked_at(tiny_fp32, None)
    assert document["peaks"] is None
    assert document["bound_s"] is None
    assert all(layer["bound_s"] is None for layer in document["layers"])
    assert document["macs"] == tiny_fp32.card.macs


SLOW = Peaks("CPU", {"f32": 1e3, "int8": 1e3}, 1.0, ("f32", "int8", "bandwidth"))
"""Roofs that everything passes, as they are measured beside other programs."""


def test_no_layer_passes_a_roof_that_was_measured(tiny_int8: Artifact) -> None:
    document = looked_at(tiny_int8, SLOW, measure=True)
    layers = [layer for layer in document["layers"] if layer["measured_s"]]
    assert {layer["bound_by"] for layer in layers} == {"cache"}
    multiplying = [layer for layer in layers if layer["macs"]]
    for element in ("f32", "int8"):
        rates = [one["measured_gops"] for one in multiplying if one["arithmetic"] == element]
        # The roof is the fastest that was seen, which attains all of it.
        assert document["peaks"]["gops"][element] == pytest.approx(max(rates))
    assert max(layer["attained"] for layer in multiplying) == pytest.approx(1)
    assert all(layer["attained"] is None for layer in layers if not layer["macs"])
    assert document["peaks"]["arithmetic"] == "fastest seen of OpenVINO"
    assert document["bound_s"] == pytest.approx(sum(one["bound_s"] for one in document["layers"]))


def test_a_roof_that_was_given_stays_and_what_passes_it_is_told(tiny_int8: Artifact) -> None:
    given = replace(SLOW, measured=())
    result = analyze(open_model(tiny_int8.path), "CPU", given, measure=True)
    assert result.peaks is not None
    assert result.peaks.gops == {"f32": 1e-6, "int8": 1e-6}
    (layers, *_) = analyze_tables(result, top=None)
    shares = [row[8] for row in layers.rows]
    assert "passed" in shares
    assert {*shares} <= {"passed", ""}


def test_what_is_measured_stands_beside_its_bound(tiny_int8: Artifact) -> None:
    bare = looked_at(tiny_int8)
    assert (bare["measured_s"], bare["layers"][0]["measured_s"]) == (None, None)
    document = looked_at(tiny_int8, measure=True)
    assert document["images_per_s_measured"] == pytest.approx(1 / document["measured_s"])
    assert document["attained"] == pytest.approx(document["bound_s"] / document["measured_s"])
    convolutions = [one for one in document["layers"] if one["type"] == "Convolution"]
    for layer in convolutions:
        assert layer["attained"] == pytest.approx(layer["bound_s"] / layer["measured_s"])
        share = layer["measured_gops"] * layer["measured_s"]
        assert share == pytest.approx(2 * layer["macs"] / 1e9)
    kernels = {kernel["name"]: kernel["measured_s"] for kernel in document["kernels"]}
    told = sum(layer["measured_s"] or 0 for layer in document["layers"])
    ran = sum(time_s or 0 for time_s in kernels.values())
    # Copies of inputs and outputs are counted too, and are no kernels.
    assert told < ran <= told + document["measured_other_s"] + 1e-9
    (row,) = (row for row in document["types"] if row["type"] == "Convolution")
    assert row["measured_s"] == pytest.approx(sum(layer["measured_s"] for layer in convolutions))
    json.dumps(document, allow_nan=False)


def test_analyze_from_a_shell(thorax: Thorax, tiny_int8: Artifact, tmp_path: Path) -> None:
    given = ("--peak-gops", "f32=100,int8=400", "--bandwidth-gb-s", "20")
    plot = tmp_path / "roof.svg"
    done = thorax("analyze", tiny_int8.path, *given, "--plot", plot, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"layers", "macs", "parameters", "memory_bytes"} <= set(document)
    assert document["peaks"] == {
        "gops": {"f32": 100.0, "int8": 400.0}, "bandwidth_gb_s": 20.0, "measured": [],
            "arithmetic": "given",
    }  # fmt: skip
    assert "bound (modelled)" in plot.read_text("utf-8")
    assert document["measured_s"] > 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--peak-gops", "fast"), "option-numbers"),
        (("--peak-gops", "f64=3"), "option-numbers"),
        (("--bandwidth-gb-s", "-1"), "peak-bandwidth"),
        (("--plot", "roof.pdf"), "plot-format"),
        (("-d", "TPU"), "device-unknown"),
        (("--side", "9"), "model-described"),
    ],
)
def test_what_cannot_be_analyzed_is_refused_in_one_line(
    words: tuple[str, ...],
    code: str,
    tiny_int8: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["thorax", "analyze", str(tiny_int8.path), *words])
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == (5 if code == "device-unknown" else 2)
    out, err = capfd.readouterr()
    assert (out, err.startswith(f"thorax: {code}: ")) == ("", True), err


def test_without_peaks_the_command_shows_costs(
    tiny_int8: Artifact, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["thorax", "analyze", str(tiny_int8.path), "--no-measure"])
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == 0
    assert "layer4.1.conv2 + layer4.1.bn2/batch_norm" in capfd.readouterr().out
