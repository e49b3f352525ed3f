"""The document of a split, its tables and its drawing agree with the split."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.devices.card_model import find_offloads
from thorax.devices.partition import partition
from thorax.devices.partition_result import partition_result
from thorax.errors import UsageError
from thorax.fpga.card import list_cards
from thorax.report.partition import partition_tables
from thorax.report.partition_drawing import _lanes, draw, write_drawing
from thorax.report.picture import DARK, PAPER, SCHEME, SOFT
from thorax.report.text import bytes_text
from thorax.results.partition import PartitionResult

SVG = "{http://www.w3.org/2000/svg}"


def network(side: int = 64) -> ov.Model:
    """Convolutions with layers between that no card has, and a sum over both."""
    image = ops.parameter([1, 3, side, side], np.float32, name="image")
    weights = [ops.constant(np.full((32, given, 3, 3), 0.1, np.float32)) for given in (3, 32, 32)]
    value = first = ops.convolution(image, weights[0], [1, 1], [1, 1], [1, 1], [1, 1])
    for filters in weights[1:]:
        between = ops.softplus(value)
        value = ops.convolution(between, filters, [1, 1], [1, 1], [1, 1], [1, 1])
    answer = ops.result(ops.add(value, first), name="end")
    model = ov.Model([answer], [image], "net")
    model.outputs[0].get_tensor().set_names({"probability"})
    return model


@pytest.fixture
def told(cards: object) -> PartitionResult:
    return tell("HETERO:FPGA,CPU", ["FPGA.0", "CPU"])


def tell(device: str, devices: list[str]) -> PartitionResult:
    model = network()
    split = partition(model, device)
    offloads = find_offloads(model, split, {card.name: card for card in list_cards()})
    return partition_result("net <x>", devices, split, offloads, outputs={"end": "probability"})


def test_a_document_adds_up(told: PartitionResult) -> None:
    subgraphs, layers = told.subgraphs, told.layers
    assert told.modelled is not None
    assert [subgraph.device for subgraph in subgraphs] == [
        "FPGA.0",
        "CPU",
        "FPGA.0",
        "CPU",
        "FPGA.0",
    ]
    assert sum(subgraph.layers for subgraph in subgraphs) == len(layers)
    assert {layer.reason for layer in layers} != {""}
    assert told.crossings.after == len(told.crossings.tensors) == 5
    assert told.crossings.bytes == 5 * 32 * 64 * 64 * 4
    assert (subgraphs[0].inputs, subgraphs[-1].outputs) == (("image",), ("probability",))
    assert told.simulated is True
    times = [subgraph.modelled_s for subgraph in subgraphs]
    assert [one is None for one in times] == [False, True, False, True, False]
    assert sum(one for one in times if one) == pytest.approx(told.modelled.latency_s)
    assert sum(layer.modelled_s or 0 for layer in layers) < told.modelled.latency_s
    assert [layer.runs_with for layer in layers if layer.type == "Add"] == [layers[-2].name]


def test_tables_show_what_is_off_the_first_device_or_everything(told: PartitionResult) -> None:
    subgraphs, cards, off = partition_tables(told)
    assert subgraphs is not None
    assert cards is not None
    assert off is not None
    assert subgraphs.simulated == (True, False, True, False, True)
    assert cards.title.endswith("modelled, not measured")
    assert {row[1] for row in off.rows} == {"SoftPlus"}
    every = partition_tables(told, top=None)[2]
    assert every is not None
    assert len(every.rows) == len(told.layers)


def test_a_device_of_the_list_that_runs_nothing_is_told(cards: object) -> None:
    equal = tell("HETERO:FPGA.0,FPGA.1,CPU", ["FPGA.0", "FPGA.1", "CPU"])
    assert equal.idle == ("FPGA.1",)
    table = partition_tables(equal)[0]
    assert table is not None
    assert "FPGA.1 runs nothing" in table.note
    assert tell("HETERO:FPGA.0,CPU", ["FPGA.0", "CPU"]).idle == ()


def test_a_drawing_has_a_box_a_subgraph_and_an_arrow_a_crossing(told: PartitionResult) -> None:
    drawn = ET.fromstring(draw(told))
    assert len(drawn.findall(f"{SVG}g")) == 5
    assert len(drawn.findall(f"{SVG}path[@class='edge']")) == 5
    text = " ".join("".join(node.itertext()) for node in drawn.iter(f"{SVG}text"))
    assert "net <x> on HETERO:FPGA,CPU: 5 subgraphs" in text
    assert text.count("524 kB") == 5
    assert "ms modelled" in text
    assert "modelled, not measured" in text
    assert "gives probability" in text
    assert drawn.get("role") == "img"


@pytest.mark.parametrize("device", ["CPU", "HETERO:FPGA,CPU"])
def test_a_drawing_has_no_empty_side(device: str, cards: object) -> None:
    drawn = ET.fromstring(draw(tell(device, [device])))
    boxes = [one.find(f"{SVG}rect") for one in drawn.findall(f"{SVG}g")]
    edge = max(
        float(box.get("x", 0)) + float(box.get("width", 0)) for box in boxes if box is not None
    )
    for path in drawn.findall(f"{SVG}path"):
        lane = re.search(r"V[\d.]+Q([\d.]+) ", path.get("d", ""))
        edge = max(edge, float(lane[1]) + 104 if lane else 0)
    width = float(drawn.get("width", 0))
    assert width - 28 - 104 < edge <= width


def test_bytes_beside_modelled_times_are_told_apart_from_those_of_the_link(
    told: PartitionResult,
) -> None:
    tables = partition_tables(told)
    assert tables[0] is not None
    assert tables[0].note.endswith(
        "over the link of a card, which the modelled time counts, go 2 a value."
    )
    assert "2 a value" in " ".join(draw(told).split())
    alone = partition_tables(tell("CPU", ["CPU"]))[0]
    assert alone is not None
    assert "link" not in alone.note


def test_a_drawing_follows_light_and_dark_and_fetches_nothing(told: PartitionResult) -> None:
    text = draw(told)
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"href|@import|<script|url\((?!#)", text)
    coloured = set(re.findall(r' fill="(#[0-9a-f]{6})"', text))
    assert coloured == {"#0072b2", "#d55e00", DARK, SOFT, PAPER}
    assert coloured <= SCHEME.keys()


def test_one_device_is_one_box_without_times() -> None:
    told = tell("CPU", ["CPU"])
    assert told.modelled is None
    assert told.simulated is False
    drawn = ET.fromstring(draw(told))
    assert len(drawn.findall(f"{SVG}g")) == 1
    assert "modelled" not in draw(told)
    subgraphs, cards, off = partition_tables(told)
    assert subgraphs is not None
    assert "ms, modelled" not in subgraphs.columns
    assert (cards, off) == (None, None)


def test_arrows_that_pass_by_have_lanes_of_their_own() -> None:
    edges = [(0, 2, 1, 8), (1, 3, 1, 8), (0, 4, 1, 8), (4, 6, 1, 8)]
    assert _lanes(edges) == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (65_536, "65.5 kB"), (802_816, "803 kB"),
     (3_211_264, "3.21 MB"), (1_234_567_890, "1,235 MB")],
)  # fmt: skip
def test_bytes_are_told_in_three_figures(size: int, text: str) -> None:
    assert bytes_text(size) == text


def test_a_drawing_is_an_svg_and_no_folder(told: PartitionResult, tmp_path: Path) -> None:
    write_drawing(told, tmp_path / "new" / "split.svg")
    assert ET.parse(tmp_path / "new" / "split.svg").getroot().tag == f"{SVG}svg"
    for name, code in (("split.png", "plot-format"), ("folder.svg", "output-unwritable")):
        (tmp_path / "folder.svg").mkdir(exist_ok=True)
        with pytest.raises(UsageError) as refused:
            write_drawing(told, tmp_path / name)
        assert refused.value.code == code
