"""What layers cost, as lines and totals."""

from thorax.report.counters import cost_lines
from thorax.results.findings import LayerCost


def cost(layer: str, real_ms: float, **more: object) -> LayerCost:
    facts = {
        "type": "SoftMax", "kernel": "ref", "status": "EXECUTED", "cpu_ms": real_ms,
        "subgraph": None, "device": None, "part_of": None, "member": None, "origin": "measured",
    }  # fmt: skip
    return LayerCost.model_validate({"layer": layer, "real_ms": real_ms, **facts, **more})


def test_lines_have_the_shape_of_2018_and_no_total_of_what_is_modelled_and_measured() -> None:
    step = cost("3. FPGA execute time", 3.808, type="", kernel="", subgraph=1, origin="modelled")
    softmax = cost("prob", 0.01, subgraph=2)
    output = cost("out_prob", 0.004, type="Output", kernel="unknown", status="NOT_RUN", subgraph=2)
    lines = cost_lines([step, softmax, output])
    assert lines[0].startswith("subgraph1: 3. FPGA execute time:EXECUTED ")
    assert " ".join(lines[1].split()) == (
        "subgraph2: prob: EXECUTED layerType: SoftMax realTime: 10 cpu: 10 execType: ref "
        "origin: measured"
    )
    assert lines[0].endswith("origin: modelled")
    assert "NOT_RUN" in lines[2]
    assert [line.split() for line in lines[-2:]] == [
        ["Total", "time,", "modelled:", "3808", "microseconds"],
        ["Total", "time,", "measured:", "10", "microseconds"],
    ]


def test_members_that_share_the_work_have_totals_of_their_own() -> None:
    lines = cost_lines(
        [
            cost("prob", 0.003, member="HETERO:FPGA.0,CPU"),
            cost("prob", 0.01, member="CPU"),
            cost("sum", 0.002, member="HETERO:FPGA.0,CPU"),
        ]
    )
    assert [line for line in lines if "layerType" not in line] == [
        "HETERO:FPGA.0,CPU:", "Total time, measured: 5 microseconds",
        "CPU:", "Total time, measured: 10 microseconds",
    ]  # fmt: skip
