"""Which comparisons of ResNet-50 have a bound: those of one graph that both sides run alike."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from benchmarks.harness.side_by_side import Settings
from benchmarks.resnet50_peers import choices_of, comparisons
from benchmarks.subjects.peers import Choice

SETTINGS = Settings(
    2, "int8", 224, "a tensor", batch=1, batch_choice="fastest of a probe", more={"instances": 2}
)


@pytest.mark.parametrize(
    ("peer", "theirs", "bounded"),
    [
        ("openvino_queue_int8", SETTINGS, True),
        ("benchmark_app_int8", SETTINGS, False),
        ("openvino_queue_int8", replace(SETTINGS, batch=8), False),
        ("openvino_queue_int8", replace(SETTINGS, more={"instances": 1}), False),
        ("onnxruntime_int8", SETTINGS, False),
    ],
)
def test_a_bound_is_of_one_graph_with_one_batch_and_as_many_streams(
    peer: str, theirs: Settings, bounded: bool
) -> None:
    (found,) = comparisons({"thorax_int8": SETTINGS, peer: theirs})
    assert (found.bound is not None) is bounded


def test_an_earlier_result_tells_the_batch_and_instances_of_its_sides(tmp_path: Path) -> None:
    sides = {"thorax_int8": asdict(SETTINGS), "torch_fp32": asdict(replace(SETTINGS, more={}))}
    earlier = tmp_path / "earlier.json"
    document = {"sides": {name: {"settings": own} for name, own in sides.items()}}
    earlier.write_text(json.dumps(document), "utf-8")
    assert choices_of(earlier) == {"thorax_int8": Choice(1, 2)}
    assert choices_of(None) == {}
