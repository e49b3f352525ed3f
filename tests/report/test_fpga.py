"""Documents and tables of `thorax fpga analyze` and `thorax fpga search`, as typed."""

import json
from pathlib import Path
from typing import Any

import openvino as ov
import pytest
from benchmarks.subjects.published_networks import resnet18, resnet50
from tests.cli import command

from thorax.artifact import Artifact
from thorax.config import write_effective
from thorax.fpga.architecture import find_architecture
from thorax.fpga.area import area, fits
from thorax.fpga.bitstreams import BITSTREAMS
from thorax.fpga.boards import find_board
from thorax.fpga.estimate import analyze
from thorax.fpga.overlay import estimate
from thorax.fpga.search import budget_of
from thorax.fpga.workload import describe
from thorax.report.fpga import TOP, overlay_tables
from thorax.results.fpga import OverlayEstimate

BITSTREAM = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
STRING = "4x2x16x64_fp11_sb18823_i1_actk8_poolk8_owk8_image224x224"


class Typed:
    """The command line in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capfd, self.monkeypatch = capfd, monkeypatch

    def __call__(self, *words: object) -> tuple[int, str, str]:
        return command.typed(self.capfd, self.monkeypatch, "fpga", *words)

    def json(self, *words: object) -> dict[str, Any]:
        status, out, err = self(*words, "--json")
        assert (status, err) == (0, "")
        document: dict[str, Any] = json.loads(out)
        return document


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    return Typed(capfd, monkeypatch)


@pytest.fixture(scope="module")
def result() -> OverlayEstimate:
    return analyze(
        "ResNet-18", describe(resnet18()), find_architecture("8x48-fp11"),
        board=find_board("pac-a10"),
    )  # fmt: skip


def test_the_result_is_that_of_the_model(result: OverlayEstimate) -> None:
    architecture = find_architecture("8x48-fp11")
    speed = estimate(describe(resnet18()), architecture)
    assert (result.simulated, result.origin) == (True, "modelled")
    assert "modelled" not in result.document()
    assert result.images_per_s == speed.images_per_s
    assert result.cycles == sum(layer.cycles for layer in result.layers)
    assert sum(layer.time_s for layer in result.layers) == pytest.approx(result.latency_s)
    assert sum(result.bounds.values()) == pytest.approx(1)
    assert result.area.dsp == area(architecture).dsp
    assert result.power_w is not None
    assert result.images_per_s_per_w == speed.images_per_s / result.power_w
    assert result.calibrated == ("clock_hz",)
    assert result.design.c_vector == architecture.c_vector
    assert OverlayEstimate.model_validate_json(result.to_json()) == result


def test_the_cards_of_both_papers_draw_what_was_published() -> None:
    layers = describe(resnet50())
    for name, images_per_s, power_w in (("8x48-fp11", 104.9, 43), ("4x2x16x64-fp11", 312.75, 50)):
        found = analyze("n", layers, find_architecture(name), board=find_board("pac-a10"))
        assert found.images_per_s == pytest.approx(images_per_s, rel=0.003)
        # The line was drawn for a ResNet-50 of 4.09e9 products; this one has 3.86e9.
        assert found.power_w == pytest.approx(power_w, rel=0.02)


def test_a_bitstream_stands_for_its_architecture(typed: Typed, tiny_fp32: Artifact) -> None:
    for name in (BITSTREAM, BITSTREAM.lower(), f"{BITSTREAM}.aocx"):
        found = typed.json("analyze", tiny_fp32.path, "--arch", name)
        assert found["architecture"]["name"] == BITSTREAMS[BITSTREAM].architecture.name


def test_without_a_board_power_is_unknown_and_nothing_is_divided_by_it() -> None:
    result = analyze("n", describe(resnet18()), find_architecture("agx7-generic-fp13"))
    assert result.power_w is result.images_per_s_per_w is None


def test_tables_say_modelled_and_name_the_slowest_first(result: OverlayEstimate) -> None:
    layers, totals, resources = overlay_tables(result)
    for table in (layers, totals, resources):
        assert table.title.endswith("modelled")
        assert all(table.simulated)
    assert len(layers.rows) == TOP
    cycles = [float(row[3].replace(",", "")) for row in layers.rows]
    assert cycles == sorted(cycles, reverse=True)
    everything = overlay_tables(result, top=None)[0]
    assert [row[0] for row in everything.rows] == [layer.name for layer in result.layers]


def test_an_artifact_is_analysed_from_a_shell(typed: Typed, tiny_fp32: Artifact) -> None:
    status, out, err = typed("analyze", tiny_fp32.path, "--arch", "8x48-fp11")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    assert "Images/s/W" in out
    found = typed.json("analyze", tiny_fp32.path, "--arch", STRING, "--batch", "4")
    assert found["command"] == "fpga analyze"
    assert {"images_per_s", "cycles", "layers", "latency_s", "area", "power_w"} <= set(found)
    assert found["batch"] == 4
    assert found["architecture_string"] == STRING
    assert found["out_of_range"] == ["probability (Sigmoid: not in this bitstream)"]


def test_a_bitstream_says_what_is_assumed_of_it(typed: Typed, tiny_fp32: Artifact) -> None:
    bitstream = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
    found = typed.json("analyze", tiny_fp32.path, "--arch", bitstream)
    assert {"c_vector", "k_vector", "stream_buffer_depth", "memory"} <= set(found["assumed"])
    assert found["calibrated"] == ["clock_hz"]
    _, out, _ = typed("analyze", tiny_fp32.path, "--arch", bitstream)
    assert f"Assumed: architecture of bitstream {bitstream}, p_vector" in " ".join(out.split())


def test_a_bitstream_that_was_asked_for_is_named_in_document_and_titles(
    typed: Typed, tiny_fp32: Artifact
) -> None:
    bitstream = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
    found = typed.json("analyze", tiny_fp32.path, "--arch", f"{bitstream.lower()}.aocx")
    assert found["bitstream"] == bitstream
    assert found["source"].endswith(f"of bitstream {bitstream}, taken to hold 4x2x16x64-fp11")
    assert found["assumed"][0] == f"architecture of bitstream {bitstream}"
    titles = [table.title for table in overlay_tables(OverlayEstimate.read(found))]
    assert len(titles) == 3
    assert all(f"{bitstream} (taken to hold 4x2x16x64-fp11)" in title for title in titles)
    plain = typed.json("analyze", tiny_fp32.path, "--arch", "4x2x16x64-fp11")
    assert plain["bitstream"] is None
    assert "bitstream" not in plain["source"]


def test_layers_that_an_overlay_cannot_be_programmed_for_are_told(
    typed: Typed, tmp_path: Path
) -> None:
    small = tmp_path / "small.toml"
    small.write_text(
        'name = "small"\nc_vector = 16\nk_vector = 16\nstream_buffer_depth = 9000\n'
        "[ranges]\nmax_kernel = 5\n"
    )
    file = tmp_path / "net.xml"
    ov.save_model(resnet18(), file)
    found = typed.json("analyze", file, "--arch", small)
    assert found["out_of_range"] == ["conv1 (kernel 7x7: at most 5x5)"]
    _, out, _ = typed("analyze", file, "--arch", small)
    assert "out of its range: conv1 (kernel 7x7: at most 5x5)" in " ".join(out.split())


def test_a_bare_graph_is_searched_and_the_file_is_what_was_found(
    typed: Typed, tmp_path: Path
) -> None:
    file, out = tmp_path / "net.xml", tmp_path / "arch.toml"
    ov.save_model(resnet18(), file)
    found = typed.json("search", file, "--family", "arria10", "--out", out)
    assert found["command"] == "fpga search"
    assert found["fits"] is True
    architecture = find_architecture(str(out))
    assert fits(area(architecture), budget_of("arria10"))
    again = typed.json("analyze", file, "--arch", out)
    assert again["images_per_s"] == found["images_per_s"]
    status, told, _ = typed("search", file, "--precision", "fp9")
    assert status == 0
    assert "modelled" in told
    # What may be taken is less than there is.
    assert "Allowed" in told
    assert "There is" not in told
    assert "2,713 M20K blocks" in told
    assert "There is" in typed("analyze", file, "--arch", "8x48-fp11")[1]


def test_an_edited_architecture_is_told_in_every_title_and_gives_no_calibrated_clock(
    typed: Typed, tmp_path: Path
) -> None:
    model, file = tmp_path / "net.xml", tmp_path / "mine.toml"
    ov.save_model(resnet18(), model)
    write_effective(find_architecture("8x48-fp11"), file, signed=True)
    file.write_text(file.read_text("utf-8").replace("clock_hz = 281", "clock_hz = 900"), "utf-8")
    found = typed.json("analyze", model, "--arch", file)
    assert found["architecture"]["name"] == "8x48-fp11 (mine.toml, edited)"
    assert found["architecture"]["source"].startswith("mine.toml: edited since")
    assert "said by the file: assumed after" in found["architecture"]["source"]
    assert found["calibrated"] == []
    assert {"clock_hz", "c_vector"} <= set(found["assumed"])
    _, out, _ = typed("analyze", model, "--arch", file)
    assert out.count("8x48-fp11 (mine.toml, edited)") == 3
    assert "Calibrated" not in out


def test_mistakes_are_answered_with_what_is_allowed(typed: Typed, tmp_path: Path) -> None:
    model = tmp_path / "net.xml"
    ov.save_model(resnet18(), model)
    for words, status, code in (
        (["analyze", model, "--arch", "quick"], 2, "fpga-architecture"),
        (["analyze", model, "--arch", "8x48_fp11"], 2, "fpga-architecture"),
        (["analyze", model, "--arch", tmp_path / "no.toml"], 2, "config-unreadable"),
        (["analyze", model, "--arch", "8x48-fp11", "--board", "n6001"], 2, "fpga-board-family"),
        (["analyze", tmp_path / "none.xml", "--arch", "8x48-fp11"], 4, "model-missing"),
        (["search", model, "--family", "stratix10"], 2, "option-choice"),
        (["search", model, "--precision", "fp12"], 2, "option-choice"),
        (["search", model, "--weights", "octal"], 2, "option-choice"),
    ):
        found, _, err = typed(*words)
        assert (found, err.splitlines()[-1].split(": ")[1]) == (status, code), err


def test_a_file_that_cannot_be_written_is_no_bug(typed: Typed, tmp_path: Path) -> None:
    model = tmp_path / "net.xml"
    ov.save_model(resnet18(), model)
    status, _, err = typed("search", model, "--out", tmp_path / "absent" / "arch.toml")
    assert status in (2, 3)
    assert "Traceback" not in err


def test_a_board_of_another_family_is_refused_before_anything_is_written(
    typed: Typed, tmp_path: Path
) -> None:
    model, out = tmp_path / "net.xml", tmp_path / "arch.toml"
    ov.save_model(resnet18(), model)
    words = ("search", model, "--family", "agilex7", "--board", "pac-a10", "--out", out)
    status, _, err = typed(*words)
    assert status == 2
    assert "fpga-board-family" in err
    assert not out.exists()


def test_every_bitstream_is_told_by_its_whole_name(typed: Typed, tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    for number, name in enumerate(sorted(BITSTREAMS, key=len)[-4:]):
        board = BITSTREAMS[name].board
        put = typed("program", f"FPGA.{number}", name, "--board", board, "--state", state)
        assert put[0] == 0
    for words in (["--state", state], ["--bitstreams"]):
        status, out, err = typed("list", *words)
        assert (status, err) == (0, "")
        assert "…" not in out
        assert max(map(len, out.splitlines())) <= 100
    assert all(name in out for name in BITSTREAMS)


@pytest.mark.parametrize("board", ["de10-agilex", "n6001"])
def test_a_board_without_bitstreams_is_told_what_designs_one(typed: Typed, board: str) -> None:
    status, out, err = typed("list", "--bitstreams", "--board", board)
    assert (status, err) == (0, "")
    assert f"no bitstream of 2018 to 2020 is for {board}" in out
    assert "thorax fpga search MODEL --family agilex7" in out
    found: list[str] = json.loads(typed("list", "--board", board, "--json")[1])
    assert found == []
