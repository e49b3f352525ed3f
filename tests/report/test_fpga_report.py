"""A report page takes what was said of splits and overlays, and marks what nobody measured."""

import json
from pathlib import Path

import pytest
from benchmarks.subjects.published_networks import resnet18
from tests.report.test_partition import tell

from thorax.errors import DataError
from thorax.fpga.bitstreams import find_bitstream
from thorax.fpga.estimate import analyze
from thorax.fpga.workload import describe
from thorax.report.fpga import fpga_tables
from thorax.report.page import write_report
from thorax.results.files import COMMANDS, read_results
from thorax.results.fpga import OverlayEstimate, OverlaySearch
from thorax.results.partition import PartitionResult
from thorax.results.read import RESULTS


@pytest.fixture
def split(cards: object) -> PartitionResult:
    return tell("HETERO:FPGA,CPU", ["FPGA.0", "CPU"])


@pytest.fixture(scope="module")
def analyzed() -> OverlayEstimate:
    bitstream = find_bitstream("2019R1_RC_FP11_ResNet_SqueezeNet_VGG")
    return analyze("resnet18", describe(resnet18()), bitstream.architecture)


def test_every_command_with_tables_here_is_one_of_the_page() -> None:
    commands = {"partition", "fpga analyze", "fpga search", "fpga explore"}
    assert commands < set(COMMANDS)
    assert commands < set(RESULTS)
    assert fpga_tables([]) == []


def test_tables_name_their_network_and_those_of_overlays_are_marked(
    split: PartitionResult, analyzed: OverlayEstimate
) -> None:
    searched = OverlaySearch.of(analyzed, family="arria10", out=None)
    assert list(searched.document()) == [*analyzed.document(), "family", "out"]
    tables = fpga_tables([split, analyzed, searched])
    splits, overlays = tables[:3], tables[3:]
    assert all(table.title.startswith("net <x> on HETERO:FPGA,CPU: ") for table in splits)
    assert [table.modelled for table in splits] == [False, True, False]
    assert len(overlays) == 5
    assert all(table.modelled and "modelled" in table.title for table in overlays)


def test_a_page_shows_files_of_both(
    split: PartitionResult, analyzed: OverlayEstimate, tmp_path: Path
) -> None:
    (tmp_path / "partition.json").write_text(split.to_json())
    (tmp_path / "analyze.json").write_text(analyzed.to_json())
    page = write_report(read_results([tmp_path]), tmp_path / "report.html", title="T").read_text(
        "utf-8"
    )
    assert "net &lt;x&gt; on HETERO:FPGA,CPU: Subgraphs" in page
    assert "Layers of resnet18 on 4x2x16x64-fp11, modelled" in page
    assert "cards simulated: their times are modelled." in page


def test_an_overlay_that_no_table_could_show_is_refused_by_its_file(
    analyzed: OverlayEstimate, tmp_path: Path
) -> None:
    document = analyzed.document()
    document["architecture"]["q_vector"] = []
    (tmp_path / "analyze.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"analyze\.json: .*architecture: .*q_vector") as caught:
        read_results([tmp_path])
    assert caught.value.code == "report-damaged"
