"""Features of twice the resolution, of which every second cell is what the network had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.artifact import HeatmapGrid, Precision
from thorax.devices.engine import HEATMAP, PROBABILITY, compile
from thorax.errors import ModelError, UsageError
from thorax.ir.atrous import without_last_stride
from thorax.quantization.optimize import OptimizeOptions, optimize
from thorax.report.optimize import artifact_table
from thorax.training.networks import TOPOLOGIES, Topology

Convert = Callable[..., Any]
FINE = OptimizeOptions(heatmap="fine")


@pytest.mark.parametrize(
    ("topology", "stride"), [*((topology, 32) for topology in TOPOLOGIES), ("resnet18", 16)]
)
def test_every_second_cell_and_all_findings_are_what_they_were(
    convert: Convert, topology: Topology, stride: int, tmp_path: Path
) -> None:
    made = convert(topology, output_stride=stride, side=64)
    optimized = optimize(made.checkpoint, tmp_path / "fine", Precision.FP32, options=FINE)
    fine = optimized.artifact
    images = made.images()
    before = made.outputs(images)
    after = compile(fine).infer_many(images[:, 0], np.arange(len(images)))
    assert after.heatmap is not None
    np.testing.assert_allclose(after.probability, before[PROBABILITY], rtol=0, atol=1e-5)
    coarse, large = before[HEATMAP], np.abs(before[HEATMAP]).max()
    assert after.heatmap.shape[2] > coarse.shape[2]
    np.testing.assert_allclose(after.heatmap[:, :, ::2, ::2], coarse, rtol=0, atol=1e-5 * large)
    old, new = made.artifact.card, fine.card
    assert old.heatmap is not None
    assert old.heatmap == HeatmapGrid(stride=stride, offset=old.heatmap.offset)
    assert new.heatmap == HeatmapGrid(stride=stride / 2, offset=old.heatmap.offset)
    assert new.macs > old.macs
    assert (old.heatmap_kind, new.heatmap_kind) == ("cam", "fine")
    assert optimized.result.rewritten is not None
    assert optimized.result.rewritten.cam_macs == old.macs
    (row,) = artifact_table([optimized.result]).rows
    assert row[3:6] == (f"{new.macs / 1e9:.3f}", f"{old.macs / 1e9:.3f}", "fine")


def stage(last: Callable[[ov.Node], ov.Node]) -> ov.Output:
    image = ops.parameter([1, 1, 16, 16], np.float32, "x")
    kernel = ops.constant(np.ones((1, 1, 3, 3), np.float32))
    halved = ops.convolution(image, kernel, [2, 2], [1, 1], [1, 1], [1, 1])
    return last(halved).output(0)


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (
            lambda x: ops.multiply(x, ops.sigmoid(ops.reduce_mean(x, ops.constant([2, 3]), True))),
            "see other cells",
        ),
        (lambda x: ops.add(x, ops.constant(np.ones((1, 1, 8, 8), np.float32))), "for each cell"),
        (
            lambda x: ops.avg_pool(x, [1, 1], [1, 1], [1, 1], [3, 3], True),
            "AvgPool that would see other cells",
        ),
    ],
)
def test_a_stage_that_looks_at_all_cells_keeps_its_stride(
    last: Callable[[ov.Node], ov.Node], why: str
) -> None:
    with pytest.raises(ModelError, match=why) as refused:
        without_last_stride(stage(last))
    assert refused.value.code == "heatmap-fine"


def test_an_artifact_keeps_the_maps_that_it_has(convert: Convert, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="heatmap-artifact"):
        optimize(
            convert("resnet18").artifact.path, tmp_path / "again", Precision.FP16, options=FINE
        )
