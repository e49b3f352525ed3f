"""Heat map grids of any layout and padding, found again by changing one row of the image."""

from collections.abc import Callable

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.ir.head import heatmap_grid

SIDE = 64
FIRST, LAST = np.array([0, 3, 1, 2]), np.array([0, 2, 3, 1])


def box(value: ov.Node, kernel: int, stride: int = 1, pads: tuple[int, int] = (0, 0), *,
        auto: str = "explicit", dilation: int = 1) -> ov.Node:  # fmt: skip
    weight = ops.constant(np.full((1, 1, kernel, kernel), 1 / kernel**2, np.float32))
    begin, end = ([pad] * 2 for pad in pads)
    return ops.convolution(value, weight, [stride] * 2, begin, end, [dilation] * 2, auto)


def padded(value: ov.Node, begin: int, end: int, *, rows_at: int) -> ov.Node:
    both = [np.zeros(4, np.int64), np.zeros(4, np.int64)]
    for pads, width in zip(both, (begin, end), strict=True):
        pads[rows_at : rows_at + 2] = width
    return ops.pad(value, ops.constant(both[0]), ops.constant(both[1]), "constant")


def sliced(value: ov.Node, begin: int, step: int) -> ov.Node:
    bounds = [np.array([0, 0, begin, begin]), np.full(4, 2**31 - 1), np.array([1, 1, step, step])]
    return ops.strided_slice(value, *map(ops.constant, bounds), [0] * 4, [0] * 4)


def last(value: ov.Node) -> ov.Node:
    return ops.transpose(value, ops.constant(LAST))


def first(value: ov.Node) -> ov.Node:
    return ops.transpose(value, ops.constant(FIRST))


NETWORKS: dict[str, Callable[[ov.Node], ov.Node]] = {
    "same-upper": lambda x: box(box(x, 3, 2, auto="same_upper"), 4, 2, auto="same_upper"),
    "same-lower": lambda x: box(box(x, 3, 2, auto="same_lower"), 4, 2, auto="same_lower"),
    "uneven": lambda x: box(box(x, 5, 2, (0, 3)), 3, 2, (2, 1)),
    "dilated": lambda x: box(box(x, 3, 1, (4, 4), dilation=4), 3, 2, (0, 1), dilation=2),
    "pad-layer": lambda x: box(padded(x, 0, 3, rows_at=2), 7, 2),
    "pad-channels-last": lambda x: box(first(padded(last(x), 1, 0, rows_at=1)), 3, 2),
    "slice": lambda x: box(sliced(x, 3, 2), 3, 2, (1, 1)),
    "shortcut": lambda x: ops.add(box(x, 3, 2, auto="same_upper"), box(x, 1, 2)),
    "gate": lambda x: ops.multiply(
        box(x, 3, 2, (1, 1)), ops.sigmoid(ops.reduce_mean(x, ops.constant([2, 3]), True))
    ),
    "pool": lambda x: ops.avg_pool(box(x, 3, 2, (0, 1)), [2, 2], [1, 1], [0, 0], [3, 3], False),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_cell_lies_in_the_middle_of_the_rows_that_change_it(network: str) -> None:
    image = ops.parameter([1, 1, SIDE, SIDE], np.float32, "x")
    value = NETWORKS[network](image)
    grid = heatmap_grid(value.output(0))
    assert grid is not None
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.compile_model(ov.Model([ops.result(value)], [image], "net"), "CPU", hint)
    picture = np.random.default_rng(2).uniform(1, 2, (1, 1, SIDE, SIDE)).astype(np.float32)
    before = compiled(picture)[0].copy()
    row = before.shape[2] // 2
    seen = []
    for changed in range(SIDE):
        other = picture.copy()
        # No sum over the image may change, or a gate would open.
        other[0, 0, changed] = other[0, 0, changed, ::-1] if network == "gate" else 9
        difference = np.abs(compiled(other)[0] - before)[0, 0, row]
        if difference.max() > 1e-4:
            seen.append(changed)
    assert 0 < seen[0] <= seen[-1] < SIDE - 1
    assert grid.offset + grid.stride * row == (seen[0] + seen[-1]) / 2


def test_a_map_that_lies_on_its_side_has_no_grid() -> None:
    image = ops.parameter([1, 1, SIDE, SIDE], np.float32, "x")
    turned = ops.transpose(box(image, 3, 2), ops.constant(np.array([0, 1, 3, 2])))
    assert heatmap_grid(turned.output(0)) is None
    assert heatmap_grid(last(box(image, 3, 2)).output(0)) is None


def test_paths_of_different_steps_have_no_grid() -> None:
    image = ops.parameter([1, 1, SIDE, SIDE], np.float32, "x")
    whole = ops.tile(ops.reduce_max(image, ops.constant([2, 3]), True), ops.constant([1, 1, 8, 8]))
    assert heatmap_grid(ops.concat([box(image, 8, 8), whole], 1).output(0)) is None
    uneven = ops.add(box(image, 1, 2), sliced(box(image, 1), 0, 2))
    assert heatmap_grid(uneven.output(0)) is not None
