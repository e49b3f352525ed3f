"""Servers made from measurements of this computer and from the model of a card."""

import json
from pathlib import Path
from typing import Any

import openvino as ov
import pytest
from tests.benchmark.documents import digested, run

from thorax.artifact import Artifact
from thorax.config import write_effective
from thorax.devices.card_model import find_offloads, forecast
from thorax.devices.partition import partition
from thorax.errors import DataError, UsageError
from thorax.files.documents import document_digest
from thorax.fpga.architecture import find_architecture
from thorax.fpga.bitstreams import find_bitstream
from thorax.fpga.boards import find_board
from thorax.fpga.card import list_cards, program
from thorax.fpga.overlay import estimate
from thorax.fpga.workload import describe
from thorax.plan.inputs import changed, with_benchmark, with_overlay
from thorax.plan.server import Server, capacity, card_rate, find_preset
from thorax.plan.server_plan import ServerQuestion, plan_server
from thorax.report.plan_server import server_table
from thorax.results.plan import CpuRole

BITSTREAM = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"


def written(folder: Path, **changes: Any) -> Path:  # noqa: ANN401
    path = folder / "benchmark.json"
    document = digested(run(80.0, {"model": "mine", "power_w": None}, changes))
    path.write_text(json.dumps(document), "utf-8")
    return path


def card(stage: str) -> dict[str, Any]:
    """Return what a benchmark says of a card of one stage."""
    return {
        "images_per_s": 1.0, "latency_s": 1.0, "power_w": 50.0, "images_per_s_per_w": 0.02,
        "bound_by": stage, "stages": [{"name": stage, "time_s": 1.0, "origin": "modelled"}],
        "source": "cycle model",
    }  # fmt: skip


def test_a_benchmark_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    for old, new in (("80.0", "88.0"), ("sha256", "sha257")):
        changed = tmp_path / "changed.json"
        changed.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
        with pytest.raises(DataError, match="plan-measured-damaged"):
            with_benchmark(find_preset("r740"), changed)


def test_a_benchmark_gives_the_cpu_its_rate_and_unmeasured_watts_stay_unknown(
    tmp_path: Path,
) -> None:
    made = with_benchmark(find_preset("r740"), written(tmp_path))
    assert (made.cpu.images_per_s, made.cpu.streams, made.speedup) == (80.0, 2, None)
    found = capacity(made, 2, CpuRole.ADDITIVE)
    assert found.images_per_s == pytest.approx(80 + 2 * 104.92)
    assert found.power_w is None
    assert found.images_per_s_per_w is None
    assert not [one for one in made.sources if one.startswith(("speedup", "cpu.power_w"))]


@pytest.mark.parametrize(
    "meter",
    ["redfish: Power of 10.0.0.2", "ipmi: DCMI", "racadm: root@x", "replay: a.jsonl (ipmi: DCMI)"],
)
def test_a_meter_at_the_supply_gives_the_watts_of_the_whole_server(
    meter: str, tmp_path: Path
) -> None:
    path = written(
        tmp_path, power_w=60.0, energy_source=meter, power={"modelled": False, "idle_w": 20.0}
    )
    made = with_benchmark(find_preset("r740-2019"), path)
    assert capacity(made, 0, CpuRole.OFFLOAD).power_w == 60.0
    assert f"cpu.power_w: measured: benchmark.json, {meter}" in made.sources
    assert capacity(made, 1, CpuRole.OFFLOAD).power_w == 20.0 + 50.0


@pytest.mark.parametrize("meter", ["rapl", "replay: a.jsonl (rapl)", "model: busy.toml"])
def test_watts_of_processors_alone_are_never_those_of_a_server(meter: str, tmp_path: Path) -> None:
    modelled = meter.startswith("model")
    power = {"idle_w": 20.0, "modelled": modelled}
    path = written(tmp_path, power_w=60.0, energy_source=meter, power=power)
    made = with_benchmark(find_preset("r740-2019"), path)
    for cards in (0, 1):
        for role in CpuRole:
            found = capacity(made, cards, role)
            assert (found.power_w, found.images_per_s_per_w) == (None, None)
    # What the cards add needs no watts of the rest.
    assert found.marginal_images_per_s_per_w == pytest.approx(312.75 / 50)
    assert not [one for one in made.sources if one.startswith("base_w")]
    assert [one for one in made.sources if one.startswith("cpu.power_w")] == [
        f"cpu.power_w: {'modelled' if modelled else 'measured'}: benchmark.json, {meter}"
    ]
    whole = changed(made, ["base_w=85"])
    assert capacity(whole, 0, CpuRole.OFFLOAD).power_w == 60.0 + 85.0


def test_watts_of_a_graphics_card_are_none_of_a_cpu(tmp_path: Path) -> None:
    path = written(
        tmp_path, power_w=60.0, energy_source="nvml", power={"modelled": False, "idle_w": 20.0}
    )
    made = with_benchmark(find_preset("r740-2019"), path)
    assert (made.cpu.power_w, made.cpu.idle_w) == (None, None)


def test_a_cpu_that_computes_another_network_than_the_cards_is_told_apart(tmp_path: Path) -> None:
    server = find_preset("r740-2019")
    path = written(tmp_path, model="densenet121-256px")
    made = with_benchmark(server, path)
    assert made.network == "densenet121-256px on the CPU, ResNet-50 on cards"
    plan = plan_server(made, ServerQuestion((0, 1), (CpuRole.ADDITIVE,), images=1000))
    assert server_table(plan).note.startswith("CPU and cards: rates of two networks")
    again = with_benchmark(made, written(tmp_path, model="resnet50"))
    assert again.network == "resnet50"
    bare = server.model_copy(update={"card": None})
    assert with_benchmark(bare, path).network == "resnet50"


@pytest.mark.parametrize(
    "changes",
    [
        {"images_per_s": None}, {"images_per_s": 0}, {"images_per_s": "x"}, {"streams": "x"},
        {"streams": 10**400}, {"energy_source": "ipmi", "power_w": "x"},
        {"energy_source": "ipmi", "power": 3},
        {"energy_source": "ipmi", "power_w": 20.0, "power": {"modelled": False, "idle_w": 60.0}},
        {"modelled": {}}, {"modelled": card("FPGA.0 sleep")},
    ],
)  # fmt: skip
def test_a_benchmark_with_a_value_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match="plan-measured-value"):
        with_benchmark(find_preset("r740-2019"), written(tmp_path, **changes))


def test_a_benchmark_without_a_rate_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    document = json.loads(path.read_text("utf-8"))
    del document["images_per_s"]
    path.write_text(json.dumps(document | {"sha256": document_digest(document)}), "utf-8")
    with pytest.raises(DataError, match="no 'images_per_s'"):
        with_benchmark(find_preset("r740"), path)


def test_what_a_batch_costs_however_full_is_not_spread_over_its_images(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    model = ov.Core().read_model(tiny_fp32.path / "model.xml")
    layers = tuple(describe(model))
    architecture = find_architecture("8x48-fp11")
    server, board = find_preset("r740-2019"), find_board("pac-a10")
    for overlay in (architecture, find_bitstream(BITSTREAM)):
        one, eight = (
            with_overlay(
                server, "tiny", ov.Core().read_model(tiny_fp32.path / "model.xml"), board,
                overlay, tmp_path / "s", batch=batch,
            ).card
            for batch in (1, 8)
        )  # fmt: skip
        assert one is not None
        assert eight is not None
        # An image alone in a batch for eight takes what it takes in a batch of its own.
        assert sum(step.time_s(1) for step in eight.steps) == pytest.approx(
            sum(step.time_s(1) for step in one.steps)
        )
        assert eight.demand_s("card") < 8 * one.demand_s("card")
        if overlay is architecture:
            wanted = estimate(layers, architecture, batch=8).latency_s
            assert eight.demand_s("card") == pytest.approx(wanted)


def test_watts_that_are_given_leave_idle_watts_that_are_told_as_assumed() -> None:
    made = changed(find_preset("r740"), ["cpu.power_w=400"])
    assert [one for one in made.sources if one.startswith("cpu.idle_w")] == [
        "cpu.idle_w: assumed: stays 147.44 W, although cpu.power_w is given"
    ]
    both = changed(find_preset("r740"), ["cpu.power_w=400", "cpu.idle_w=200"])
    assert "cpu.idle_w: given: --set" in both.sources


def said(server: Server, *keys: str) -> list[str]:
    """Return what a server says of where some of its constants are from."""
    return [text for text in server.sources if text.partition(":")[0] in keys]


def test_what_was_derived_from_a_constant_that_is_set_is_told_as_assumed() -> None:
    made = changed(find_preset("r740"), ["card.power_w=60", "speedup.ratio=3"])
    assert said(made, "cpu.idle_w", "card.idle_w", "cpu.streams") == [
        "cpu.streams: assumed: stays 7, although speedup.ratio is given",
        "cpu.idle_w: assumed: stays 147.44 W, although card.power_w and speedup.ratio are given",
        "card.idle_w: assumed: stays 39.5 W, although card.power_w is given",
    ]
    # A rate takes the place of the ratio that the idle watts were derived from.
    free = changed(find_preset("r740"), ["cpu.images_per_s=400"])
    assert said(free, "cpu.idle_w") == [
        "cpu.idle_w: assumed: stays 147.44 W, although cpu.images_per_s is given"
    ]
    steps = 'card.steps=[{place = "card", images_per_s = 500.0}]'
    other = changed(find_preset("r740-2019"), [steps])
    assert said(other, "cpu.images_per_s") == [
        "cpu.images_per_s: assumed: stays 312.75 images/s, although card.steps is given"
    ]
    assert changed(made, ["card.power_w=60", "speedup.ratio=3"]).sources == made.sources


def test_what_was_measured_or_published_stands_by_itself(tmp_path: Path) -> None:
    path = written(
        tmp_path, power_w=60.0, energy_source="rapl", power={"modelled": False, "idle_w": 20.0}
    )
    server = with_benchmark(find_preset("r740-2019"), path)
    made = changed(server, ["card.power_w=60", "max_cards=3"])
    for key in ("cpu.idle_w", "cpu.images_per_s", "card.steps.card"):
        assert said(made, key) == said(server, key)


def test_another_network_is_refused_without_its_rates() -> None:
    steps = 'card.steps=[{place = "card", images_per_s = 30.0}]'
    for settings, lacking in (
        ([], "cpu.images_per_s or speedup.ratio and card.steps"),
        (["cpu.images_per_s=90"], "set card.steps too"),
        ([steps], "cpu.images_per_s or speedup.ratio too"),
    ):
        with pytest.raises(UsageError, match=lacking) as refused:
            changed(find_preset("r740-2019"), ['network="VGG-16"', *settings])
        assert refused.value.code == "plan-network"
    whole = ['network="VGG-16"', "cpu.images_per_s=90", steps]
    made = changed(find_preset("r740-2019"), whole)
    assert (made.network, capacity(made, 1, CpuRole.OFFLOAD).images_per_s) == ("VGG-16", 30.0)
    assert said(made, "cpu.power_w", "card.power_w") == [
        "cpu.power_w: assumed: stays 416 W, although network is given",
        "card.power_w: assumed: stays 50 W, although network is given",
    ]
    assert changed(find_preset("r740"), ["network=resnet50"]).network == "resnet50"


def test_a_network_that_was_measured_on_the_cpu_needs_rates_of_cards_alone(tmp_path: Path) -> None:
    server = with_benchmark(find_preset("r740-2019"), written(tmp_path, model="vgg16"))
    with pytest.raises(UsageError, match=r"set card\.steps too"):
        changed(server, ['network="VGG-16"'])
    steps = 'card.steps=[{place = "card", images_per_s = 30.0}]'
    made = changed(server, ['network="VGG-16"', steps])
    assert said(made, "cpu.images_per_s") == said(server, "cpu.images_per_s")


def test_the_full_name_that_is_set_is_taken() -> None:
    made = changed(find_preset("r740"), ['full_name="Dell R750"'])
    assert made.full_name == "Dell R750, changed by --set"
    assert "full_name: given: --set" in made.sources
    loaded = made.model_copy(update={"full_name": "mine (mine.toml, edited), changed by --set"})
    again = changed(loaded, ['full_name="Dell R750"'])
    assert again.full_name == "Dell R750 (mine.toml, edited), changed by --set"
    with pytest.raises(UsageError, match="full_name is 3"):
        changed(find_preset("r740"), ["full_name=3"])


def test_a_rate_and_a_ratio_that_gives_it_are_not_both_set() -> None:
    with pytest.raises(UsageError, match="plan-cpu-rate"):
        changed(find_preset("r740"), ["cpu.images_per_s=400", "speedup.ratio=3"])


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "validate"}, {"scenario": "server"}, {"device": "GPU"},
        {"simulated": True}, {"valid": False},
    ],
)  # fmt: skip
def test_what_is_no_offline_benchmark_of_a_cpu_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="plan-measured"):
        with_benchmark(find_preset("r740"), written(tmp_path, **changes))


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{", "utf-8")
    with pytest.raises(DataError, match="plan-measured-unreadable"):
        with_benchmark(find_preset("r740"), path)


def test_a_card_of_a_bitstream_is_as_fast_as_its_forecast(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    path = tiny_fp32.path / "model.xml"
    board, bitstream = find_board("pac-a10"), find_bitstream(BITSTREAM)
    server = find_preset("r740-2019")
    model = ov.Core().read_model(path)
    made = with_overlay(server, "tiny", model, board, bitstream, tmp_path / "a.json")
    state = tmp_path / "b.json"
    program("FPGA.0", BITSTREAM, state=state)
    graph = ov.Core().read_model(path)
    split = partition(graph, "HETERO:FPGA.0,CPU", state=state)
    cards = {card.name: card for card in list_cards(state)}
    wanted = forecast(find_offloads(graph, split, cards))
    assert made.card is not None
    execute_s = next(one.time_s for one in wanted.stages if one.name == "FPGA.0 execute")
    assert made.card.demand_s("card") == pytest.approx(execute_s)
    assert made.card.alone_s() == pytest.approx(wanted.latency_s)
    # One thread of the host does both its stages, which the forecast gives a thread each.
    assert card_rate(made.card) <= wanted.images_per_s * (1 + 1e-9)
    assert made.card.idle_w == pytest.approx(39.5, abs=0.1)
    assert made.card.power_w > 39.6


def test_a_card_of_an_architecture_computes_everything(tiny_fp32: Artifact, tmp_path: Path) -> None:
    model = ov.Core().read_model(tiny_fp32.path / "model.xml")
    architecture = find_architecture("8x48-fp11")
    made = with_overlay(
        find_preset("r740-2019"), "tiny", model, find_board("pac-a10"), architecture, tmp_path / "s"
    )
    assert made.card is not None
    rate = estimate(tuple(describe(model)), architecture).images_per_s
    assert made.card.demand_s("card") == pytest.approx(1 / rate)
    assert made.network == "ResNet-50 on the CPU, tiny on cards"
    plan = plan_server(made, ServerQuestion((0, 1), (CpuRole.ADDITIVE,), images=1000))
    assert server_table(plan).note.startswith("CPU and cards: rates of two networks")


def test_the_name_of_a_server_says_which_architecture_its_cards_are_modelled_on(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    model = ov.Core().read_model(tiny_fp32.path / "model.xml")
    file = tmp_path / "8x48-fp11.toml"
    write_effective(find_architecture("8x48-fp11"), file, signed=True)
    file.write_text(file.read_text("utf-8").replace("clock_hz = 281", "clock_hz = 900"))
    server, board = find_preset("r740-2019"), find_board("pac-a10")
    for text, name in (
        ("8x48-fp11", "8x48-fp11"),
        (str(file), "8x48-fp11 (8x48-fp11.toml, edited)"),
    ):
        overlay = find_architecture(text)
        made = with_overlay(server, "tiny", model, board, overlay, tmp_path / "s")
        assert made.full_name == f"{server.full_name}, cards modelled on {name}"
        steps = next(one for one in made.sources if one.startswith("card.steps: "))
        assert f"on {name}, cycle model" in steps
    # Another card takes the place of the name too, and what was set stays said behind it.
    overlay = find_architecture("8x48-fp11")
    made = with_overlay(server, "tiny", model, board, overlay, tmp_path / "s")
    other = changed(made, ["cpu.images_per_s=400"])
    again = with_overlay(other, "tiny", model, board, overlay, tmp_path / "s")
    assert again.full_name == f"{made.full_name}, changed by --set"
    # But not that of a file, which says what all else of the server is.
    mark = " (mine.toml, edited)"
    loaded = made.model_copy(update={"full_name": made.full_name + mark})
    again = with_overlay(loaded, "tiny", model, board, overlay, tmp_path / "s")
    assert mark in again.full_name


def test_what_is_set_leaves_no_source_of_the_whole_that_it_is_a_part_of() -> None:
    server = changed(find_preset("r740"), ["speedup.ratio=9"])
    assert [one for one in server.sources if one.startswith("speedup")] == [
        "speedup.ratio: given: --set"
    ]
    steps = 'card.steps=[{place = "card", images_per_s = 104.92}]'
    server = changed(find_preset("r740"), [steps])
    assert [one for one in server.sources if one.startswith("card.steps")] == [
        "card.steps: given: --set"
    ]


def test_a_card_cannot_change_under_a_ratio_that_was_published_of_another(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    model = ov.Core().read_model(tiny_fp32.path / "model.xml")
    overlay = find_architecture("8x48-fp11")
    board = find_board("pac-a10")
    with pytest.raises(UsageError, match="plan-cpu-rate"):
        with_overlay(find_preset("r740"), "tiny", model, board, overlay, tmp_path / "s")
    free = changed(find_preset("r740"), ["cpu.images_per_s=300"])
    made = with_overlay(free, "tiny", model, board, overlay, tmp_path / "s")
    assert made.cpu.images_per_s == 300


def test_a_board_of_unknown_watts_is_refused(tiny_fp32: Artifact, tmp_path: Path) -> None:
    model = ov.Core().read_model(tiny_fp32.path / "model.xml")
    overlay = find_architecture("8x48-fp11")
    with pytest.raises(UsageError, match="plan-power"):
        with_overlay(
            find_preset("r740-2019"), "tiny", model, find_board("a10dk"), overlay, tmp_path / "s"
        )


def test_a_benchmark_that_counts_measured_stages_among_those_of_a_card_is_refused(
    tmp_path: Path,
) -> None:
    """As files were before the sums had a key of their own: nothing of them is left out."""
    stages = [
        {"name": "FPGA.0 execute", "time_s": 9e-3, "origin": "modelled"},
        {"name": "CPU execute", "time_s": 1e-3, "origin": "measured"},
    ]
    both = {"measured_s": 1e-3, "images_per_s": 100.0, "latency_s": 0.01, "bound_by": "CPU execute"}
    modelled = card("FPGA.0 execute") | {"stages": stages, "with_others": both}
    path = written(tmp_path, device="HETERO:FPGA.0,CPU", simulated=True, modelled=modelled)
    with pytest.raises(DataError, match=r"plan-measured-value.*stages\.1\.origin.*measure again"):
        with_benchmark(find_preset("r740-2019"), path)


def test_a_benchmark_of_a_card_gives_its_stages(tmp_path: Path) -> None:
    stages = [
        {"name": f"FPGA.0 {name}", "time_s": time_s, "origin": "modelled"}
        for name, time_s in (("preprocess", 1e-4), ("to DDR", 2e-4), ("execute", 9e-3),
                             ("from DDR", 5e-5), ("postprocess", 9e-6))
    ]  # fmt: skip
    others = {"measured_s": 1e-3, "stage_s": 1e-3, "images_per_s": 100.0, "latency_s": 0.0104}
    modelled = card("FPGA.0 execute") | {
        "stages": stages,
        "power_w": 43.0,
        "plus_measured": others | {"bound_by": "FPGA.0 execute"},
    }
    path = written(tmp_path, device="HETERO:FPGA.0,CPU", simulated=True, modelled=modelled)
    made = with_benchmark(find_preset("r740-2019"), path)
    assert made.card is not None
    assert made.card.demand_s("card") == pytest.approx(9e-3)
    assert made.card.demand_s("host") == pytest.approx(1.109e-3)
    # What a clock saw of the card's way is told apart from what the cycle model says.
    assert [source for source in made.sources if source.startswith("card.steps")][:2] == [
        "card.steps: modelled: benchmark.json",
        "card.steps.others: measured: benchmark.json, layers of other devices",
    ]
    plan = plan_server(made, ServerQuestion((1,), (CpuRole.OFFLOAD,), images=1000))
    assert server_table(plan).note.endswith("give together with others is modelled.")
    assert made.card.power_w == 43.0
