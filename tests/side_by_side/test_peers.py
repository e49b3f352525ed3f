"""Which comparisons of ResNet-50 have a bound: those of one graph that both sides run alike."""

from dataclasses import replace

import pytest
from benchmarks.resnet50_peers import comparisons
from benchmarks.side_by_side import Settings

SETTINGS = Settings(
    2, "int8", 224, "a tensor", batch=1, batch_choice="fastest of a probe", more={"instances": 2}
)


@pytest.mark.parametrize(
    ("peer", "theirs", "bounded"),
    [
        ("openvino_queue_int8", SETTINGS, True),
        ("benchmark_app_int8", SETTINGS, True),
        ("benchmark_app_int8", replace(SETTINGS, batch=8), False),
        ("openvino_queue_int8", replace(SETTINGS, more={"instances": 1}), False),
        ("onnxruntime_int8", SETTINGS, False),
    ],
)
def test_a_bound_is_of_one_graph_with_one_batch_and_as_many_streams(
    peer: str, theirs: Settings, bounded: bool
) -> None:
    (found,) = comparisons({"thorax_int8": SETTINGS, peer: theirs})
    assert (found.bound is not None) is bounded
