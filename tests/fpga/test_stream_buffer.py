"""Where feature maps lie."""

import numpy as np
import openvino.opset13 as ops
from benchmarks.subjects.published_networks import Stack, googlenet

from thorax.fpga.architecture import Architecture
from thorax.fpga.stream_buffer import capacity, largest, place, trace
from thorax.fpga.workload import LayerKind, describe

SIZE = 8 * 16 * 16
"""Numbers of one map below."""


def architecture(maps: int) -> Architecture:
    return Architecture(
        name="x", c_vector=8, k_vector=8, stream_buffer_depth=maps * SIZE // 8,
        group_slicing=False,
    )  # fmt: skip


def test_a_map_stays_until_its_last_reader_is_done() -> None:
    net = Stack(8, 16)
    first = net.conv(net.image, 8, 3)
    inner = net.conv(first, 8, 3)
    flow = trace(describe(net.close(net.conv(net.conv(inner, 8, 3), 8, 3, add=first))))
    # The operand of the sum waits while two more are there: input and output of a layer.
    assert largest(flow) == 3 * SIZE
    assert capacity(architecture(3)) == 3 * SIZE
    image, answer = SIZE, SIZE
    assert sum(place(flow, architecture(3)).values) == image + answer
    assert sum(place(flow, architecture(2)).values) > image + answer


def test_a_pool_behind_a_convolution_shrinks_what_is_held() -> None:
    net = Stack(8, 16)
    flow = trace(describe(net.close(net.pool(net.conv(net.image, 8, 3), 2, 2))))
    assert flow[0].answers == SIZE // 4
    assert [one.inline for one in flow] == [False, True]
    assert [one.pooled for one in flow] == [True, False]


def test_normalisation_and_a_pool_behind_it_run_one_after_the_other() -> None:
    net = Stack(8, 16)
    normed = ops.lrn(net.conv(net.image, 8, 3), ops.constant(np.array([1])), 1.0, 1e-4, 0.75, 5)
    flow = trace(describe(net.close(net.pool(normed, 2, 2))))
    assert [one.layer.kind for one in flow[1:]] == [LayerKind.NORM, LayerKind.POOL]
    assert [one.inline for one in flow] == [False, True, True]
    assert (flow[0].normed, flow[0].pooled) == (True, True)


def test_a_pool_that_alone_reads_a_concatenation_runs_behind_each_of_its_parts() -> None:
    flow = trace(describe(googlenet()))
    pools = [at for at, one in enumerate(flow) if one.layer.kind is LayerKind.POOL]
    behind = [at for at in pools if flow[at].inline]
    # Two in the stem, two between the stages, the mean; one in each of nine modules is apart.
    assert (len(behind), len(pools)) == (5, 14)
    assert sum(one.pooled for one in flow) == 1 + 1 + 4 + 4 + 4
