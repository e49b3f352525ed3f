"""The cycle model: against an array that is stepped through, by hand, and by identities."""

import functools
import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import openvino.opset13 as ops
import pytest
from benchmarks.subjects.published_networks import NETWORKS, Stack

from thorax.config import Settings
from thorax.errors import UsageError
from thorax.fpga.architecture import (
    Architecture,
    Auxiliary,
    Memory,
    find_architecture,
    parse_architecture,
)
from thorax.fpga.area import area
from thorax.fpga.overlay import Bound, Estimate, estimate
from thorax.fpga.workload import LayerKind, WorkloadLayer, describe

ARRAY = (LayerKind.CONVOLUTION, LayerKind.FULLY_CONNECTED)

TABLE = {
    "ResNet-18": (193.6, 697, 384),
    "ResNet-50": (93.7, 318.6, 175.8),
    "ResNet-101": (49.3, 184, 99.5),
    "GoogLeNet": (244, 820, 467),
    "VGG16": (23.9, 61.4, 33.6),
    "AlexNet": (170, 224, 133),
    "SqueezeNet 1.1": (850, 2818, 1589),
}
"""Images/s at 250 MHz of the array's layers alone, on the architectures of `AT_250_MHZ`. They were
worked out by the same formulas, but from the layer tables of the papers: they test that the graphs
are read as those tables, and not the formulas, which `stepped` tests."""

AT_250_MHZ = ("8x48-fp11", "4x2x16x64-fp11", "4x2x16x32-fp16")

PLAIN = Architecture(
    name="plain",
    p_vector=2,
    q_vector=2,
    c_vector=4,
    k_vector=8,
    clock_hz=100e6,
    stream_buffer_depth=100_000,
    overhead_cycles=100,
    auxiliary=Auxiliary(activation_k=8, pool_k=8, output_writer_k=8),
    memory=Memory(bank_bytes_per_s=1e12),
)
"""So much memory that the array alone decides."""


@functools.cache
def layers_of(name: str) -> tuple[WorkloadLayer, ...]:
    return describe(NETWORKS[name]())


def at_250_mhz(name: str) -> Architecture:
    """Return an architecture at one clock, its output writer as wide as its activations."""
    found = find_architecture(name)
    aux = found.auxiliary.model_copy(update={"output_writer_k": found.auxiliary.activation_k})
    return found.model_copy(update={"clock_hz": 250e6, "auxiliary": aux})


def array_images_per_s(found: Estimate) -> float:
    """Return the speed of convolutions and fully connected layers alone."""
    cycles = sum(layer.cycles for layer in found.layers if layer.layer.kind in ARRAY)
    return found.architecture.clock_hz / cycles


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("place", range(3), ids=AT_250_MHZ)
def test_known_networks_are_read_as_the_layer_tables_of_their_papers(name: str, place: int) -> None:
    found = estimate(layers_of(name), at_250_mhz(AT_250_MHZ[place]))
    # Slices, which that calculation leaves out, cost VGG16 0.6 %.
    assert array_images_per_s(found) == pytest.approx(TABLE[name][place], rel=0.008)


@pytest.mark.parametrize(
    ("name", "images_per_s"), [("GoogLeNet", 865), ("VGG16", 112.8), ("AlexNet", 1071)]
)
def test_a_batch_of_eight_does_as_well(name: str, images_per_s: float) -> None:
    found = estimate(layers_of(name), at_250_mhz("4x2x16x64-fp11"), batch=8)
    assert array_images_per_s(found) == pytest.approx(images_per_s, rel=0.005)


@pytest.mark.parametrize(
    ("change", "images_per_s"),
    [
        ({}, 93.7),
        ({"auxiliary": Auxiliary(activation_k=2, pool_k=2)}, 90.2),
        ({"auxiliary": Auxiliary(activation_k=8, pool_k=8)}, 93.9),
        ({"overhead_cycles": 0}, 94.6),
        ({"overhead_cycles": 2000}, 90.9),
        ({"memory": Memory(bank_bytes_per_s=8e9, efficiency=1)}, 92.7),
        ({"clock_hz": 200e6}, 75),
        ({"clock_hz": 300e6}, 112),
    ],
)
def test_each_part_matters_as_much_as_by_the_layer_tables(
    change: dict[str, object], images_per_s: float
) -> None:
    architecture = at_250_mhz("8x48-fp11").model_copy(update=change)
    found = estimate(layers_of("ResNet-50"), architecture)
    assert found.images_per_s == pytest.approx(images_per_s, rel=0.004)


def test_without_bypass_taps_it_is_as_fast_as_that_calculation_says() -> None:
    layers = [replace(layer, residual=False) for layer in layers_of("ResNet-50")]
    found = estimate(layers, at_250_mhz("8x48-fp11"))
    assert found.images_per_s == pytest.approx(98.1, rel=0.001)


@pytest.mark.parametrize(
    ("name", "architecture", "shares"),
    [
        ("ResNet-50", "8x48-fp11", (0.97, 0.01, 0.01)),
        ("ResNet-50", "4x2x16x64-fp11", (0.60, 0.02, 0.38)),
        ("VGG16", "4x2x16x64-fp11", (0.48, 0, 0.52)),
    ],
)
def test_layers_wait_for_what_that_calculation_says(
    name: str, architecture: str, shares: tuple[float, ...]
) -> None:
    found = estimate(layers_of(name), at_250_mhz(architecture))
    for bound, share in zip((Bound.COMPUTE, Bound.DRAIN, Bound.FILTER), shares, strict=True):
        waited = sum(layer.cycles for layer in found.layers if layer.bound is bound)
        assert waited / found.cycles == pytest.approx(share, abs=0.006)


def one(
    channels: int, filters: int, kernel: int, *, side: int = 8, groups: int = 1
) -> WorkloadLayer:
    net = Stack(channels, side)
    # A convolution before it, so that it is no stem.
    before = net.conv(net.image, channels, 1)
    return describe(net.close(net.conv(before, filters, kernel, groups=groups)))[-1]


def test_compute_is_blocks_times_taps_times_pixels() -> None:
    found = estimate([one(10, 20, 3)], PLAIN).layers[0]
    # ceil(20/8) ceil(10/4) 3 3 ceil(8/2) ceil(8/2) and what a layer costs besides.
    assert found.compute_cycles == 3 * 3 * 9 * 16
    assert found.cycles == found.compute_cycles + 100
    assert found.bound is Bound.COMPUTE
    assert found.utilization == pytest.approx(10 * 20 * 9 * 64 / (found.cycles * 128))


def stepped(
    images: npt.NDArray[np.float64], filters: npt.NDArray[np.float64], sizes: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], int]:
    """Return a convolution without border as an array of PEs makes it, and the cycles it takes.

    In each cycle every one of its P_vec x Q_vec x K_vec outputs adds a dot product over C_vec
    channels of one tap. `images` is [C,H,W], `filters` [G,K/G,C/G,R,S].
    """
    p_vector, q_vector, c_vector, k_vector = sizes
    groups, outputs, inputs, rows, columns = filters.shape
    height, width = images.shape[1] - rows + 1, images.shape[2] - columns + 1
    answer = np.zeros((groups * outputs, height, width))
    cycles = 0
    for group, k, c, row, column, p, q in itertools.product(
        range(groups), range(0, outputs, k_vector), range(0, inputs, c_vector), range(rows),
        range(columns), range(0, height, p_vector), range(0, width, q_vector),
    ):  # fmt: skip
        cycles += 1
        lanes = min(p_vector, height - p), min(q_vector, width - q)
        channels = slice(group * inputs + c, group * inputs + min(c + c_vector, inputs))
        seen = images[channels, p + row : p + row + lanes[0], q + column : q + column + lanes[1]]
        taps = filters[group, k : k + k_vector, c : c + c_vector, row, column]
        into = slice(group * outputs + k, group * outputs + min(k + k_vector, outputs))
        answer[into, p : p + lanes[0], q : q + lanes[1]] += np.einsum("kc,cpq->kpq", taps, seen)
    return answer, cycles


@pytest.mark.parametrize(
    ("channels", "filters", "kernel", "side", "groups"),
    [(10, 20, 3, 9, 1), (16, 16, 3, 8, 4), (5, 7, 1, 6, 1), (8, 8, 5, 7, 8), (3, 9, 2, 5, 1)],
)
@pytest.mark.parametrize("sizes", [(2, 2, 4, 8), (1, 6, 8, 48), (4, 2, 16, 64), (1, 1, 3, 5)])
def test_an_array_that_is_stepped_through_computes_the_layer_in_the_cycles_that_are_modelled(
    channels: int, filters: int, kernel: int, side: int, groups: int, sizes: tuple[int, ...]
) -> None:
    random = np.random.default_rng(channels)
    image = random.standard_normal((channels, side, side))
    weights = random.standard_normal(
        (groups, filters // groups, channels // groups, kernel, kernel)
    )
    answer, cycles = stepped(image, weights, sizes)
    net = Stack(channels, side)
    # A pass of its own before it, so that it is no stem.
    made = net.conv(net.conv(net.image, channels, 1), filters, kernel, pad=0, groups=groups)
    layer = describe(net.close(made))[-1]
    names = ("p_vector", "q_vector", "c_vector", "k_vector")
    array = PLAIN.model_copy(update=dict(zip(names, sizes, strict=True)))
    assert estimate([layer], array).layers[0].compute_cycles == cycles
    wanted = np.zeros_like(answer)
    for k, p, q in np.ndindex(answer.shape):
        group, inputs = k // (filters // groups), channels // groups
        window = image[group * inputs : (group + 1) * inputs, p : p + kernel, q : q + kernel]
        wanted[k, p, q] = (window * weights[group, k % (filters // groups)]).sum()
    np.testing.assert_allclose(answer, wanted, rtol=1e-12, atol=1e-12)


def test_groups_are_computed_one_after_the_other() -> None:
    found = estimate([one(16, 16, 3, groups=4)], PLAIN).layers[0]
    assert found.compute_cycles == 4 * 1 * 1 * 9 * 16


def test_narrow_kernels_behind_the_array_hold_it_up() -> None:
    aux = PLAIN.auxiliary.model_copy(update={"activation_k": 2, "pool_k": 1})
    narrow = PLAIN.model_copy(update={"auxiliary": aux})
    found = estimate([one(4, 64, 1)], narrow).layers[0]
    assert found.drain_cycles == 64 * 64 / (2 * 4)
    assert found.bound is Bound.DRAIN


@pytest.mark.parametrize("width", [1, 2, 8])
def test_a_writer_narrower_than_its_kernels_holds_every_map_up(width: int) -> None:
    narrow = _with_writer(PLAIN, width)
    found = estimate([one(4, 64, 1)], narrow).layers[0]
    assert found.drain_cycles == 64 * 64 / (width * 4)
    # It writes what a pool on the way has left, and a pool of its own the same.
    net = Stack(4, 8)
    layers = describe(net.close(net.pool(net.conv(net.image, 64, 1), 2, 2)))
    convolution, _ = estimate(layers, narrow).layers
    assert convolution.drain_cycles == max(64 * 64 / (8 * 4), 64 * 16 / (width * 4))


def test_the_writer_of_the_fp16_overlay_costs_resnet_50_a_tenth() -> None:
    # Its string has actk4 and owk2.
    base = find_architecture("4x2x16x32-fp16")
    assert (base.auxiliary.activation_k, base.auxiliary.output_writer_k) == (4, 2)
    layers = layers_of("ResNet-50")
    assert estimate(layers, base).images_per_s == pytest.approx(159.3, abs=0.1)
    assert estimate(layers, _with_writer(base, 4)).images_per_s == pytest.approx(175.8, abs=0.1)


def _with_writer(base: Architecture, width: int) -> Architecture:
    aux = base.auxiliary.model_copy(update={"output_writer_k": width})
    return base.model_copy(update={"auxiliary": aux})


def test_banks_that_are_shared_have_one_number() -> None:
    with pytest.raises(ValueError, match="filter_banks is 2; 1 where banks are shared"):
        Memory(shared=True, filter_banks=2)
    with pytest.raises(UsageError, match="interfaces"):
        parse_architecture("8x48_fp11_sb9_i2")


def test_filters_that_their_cache_is_too_shallow_for_take_passes() -> None:
    # 16 channels in blocks of 4 and 3 x 3 taps: 36 words a filter.
    layer = one(16, 8, 3)
    deep, exact, half = (
        estimate([layer], PLAIN.model_copy(update={"filter_cache_depth": depth})).layers[0]
        for depth in (1024, 36, 18)
    )
    assert exact.cycles == deep.cycles
    # One pass more adds what the first has summed: two blocks of 4 for the 8 filters, 16 steps.
    assert half.compute_cycles - deep.compute_cycles == 2 * 16
    assert half.filter_cycles == deep.filter_cycles


def test_the_filters_of_a_fully_connected_layer_need_no_cache() -> None:
    net = Stack(16, 8)
    layers = describe(net.close(net.linear(net.conv(net.image, 16, 1), 32)))
    shallow = PLAIN.model_copy(update={"filter_cache_depth": 1})
    assert layers[1].kind is LayerKind.FULLY_CONNECTED
    assert estimate(layers, shallow).layers[1] == estimate(layers, PLAIN).layers[1]


CHANGES: dict[str, object] = {
    "p_vector": 1, "q_vector": 1, "c_vector": 8, "k_vector": 16, "clock_hz": 50e6,
    "precision": "fp16", "weights": "ternary", "family": "agilex7", "winograd": True,
    "interleave": 5, "accumulator": "fp32", "stream_buffer_depth": 1024, "filter_cache_depth": 4096,
    "group_slicing": False, "overhead_cycles": 0, "dsp_limit": 1,
    "auxiliary.activation_k": 1, "auxiliary.pool_k": 1, "auxiliary.norm_k": 1,
    "auxiliary.depthwise_k": 1, "auxiliary.output_writer_k": 1, "auxiliary.softmax": True,
    "memory.filter_banks": 2, "memory.feature_banks": 2, "memory.shared": True,
    "memory.bank_bytes_per_s": 1e9, "memory.efficiency": 0.5,
    "ranges.activations": ("Relu", "PRelu"),
}  # fmt: skip
"""Another value of every field that the model reads; `interfaces` has but one."""

TOLD = {"name", "source", "flags", "assumed", "calibrated", "budget", "interfaces"}
"""Fields that say what an overlay is called and known from, and what it may take."""


def _paths(settings: type[Settings], before: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            found |= _paths(kind, f"{name}.")
        else:
            found.add(before + name)
    return found


def test_every_parameter_changes_the_model_or_takes_one_value_or_is_a_range() -> None:
    ranges = {path for path in _paths(Architecture) if path.startswith("ranges.")}
    rest = _paths(Architecture) - TOLD - ranges
    assert rest == {path for path in CHANGES if path not in ranges}


@pytest.mark.parametrize("path", CHANGES)
def test_a_parameter_changes_time_memory_or_area(path: str) -> None:
    net = Stack(3, 32)
    axes = ops.constant(np.array([1]))
    value = ops.lrn(net.pool(net.conv(net.image, 64, 3), 2, 2), axes, 1e-4, 0.75, 1.0, 5)
    value = net.conv(net.conv(value, 64, 3, groups=64), 128, 3)
    layers = describe(net.close(ops.softmax(net.linear(value, 10), 1)))
    memory = Memory(bank_bytes_per_s=1e8)
    base = PLAIN.model_copy(
        update={"q_vector": 6, "stream_buffer_depth": 256, "memory": memory, "precision": "fp8",
                "auxiliary": PLAIN.auxiliary.model_copy(update={"norm_k": 8, "depthwise_k": 8})}
    )  # fmt: skip
    outer, _, inner = path.partition(".")
    update: dict[str, object] = {outer: CHANGES[path]}
    if inner:
        update = {outer: getattr(base, outer).model_copy(update={inner: CHANGES[path]})}
    changed = base.model_copy(update=update)

    def figures(overlay: Architecture) -> tuple[object, ...]:
        found = estimate(layers, overlay)
        return found.layers, found.images_per_s, area(overlay)

    assert figures(changed) != figures(base)


def test_a_pool_behind_a_convolution_costs_no_cycle_but_its_width_counts() -> None:
    net = Stack(4, 8)
    layers = describe(net.close(net.pool(net.conv(net.image, 64, 1), 2, 2)))
    aux = PLAIN.auxiliary.model_copy(update={"pool_k": 1})
    narrow = PLAIN.model_copy(update={"auxiliary": aux})
    convolution, pool = estimate(layers, narrow).layers
    assert (pool.cycles, pool.bound) == (0, Bound.NONE)
    assert convolution.drain_cycles == 64 * 64 / (1 * 4)


def test_kernels_that_are_absent_hold_nothing_up() -> None:
    net = Stack(4, 8)
    layers = describe(net.close(net.pool(net.pool(net.conv(net.image, 64, 1), 2, 2), 2, 2)))
    aux = PLAIN.auxiliary.model_copy(update={"activation_k": 0, "pool_k": 0})
    bare = PLAIN.model_copy(update={"auxiliary": aux})
    convolution, *pools = estimate(layers, bare).layers
    # As wide as the array.
    assert convolution.drain_cycles == 64 * 64 / (8 * 4)
    assert [pool.cycles for pool in pools] == [0, 0]


def test_nothing_to_compute_takes_no_time() -> None:
    found = estimate([], PLAIN)
    assert (found.cycles, found.ddr_bytes, found.utilization) == (0, 0, 0)


def test_a_pool_of_what_others_read_too_is_a_pass_of_its_own() -> None:
    net = Stack(8, 8)
    data = net.conv(net.image, 8, 1)
    both = net.conv(net.pool(data, 3, 1, pad=1), 8, 1, add=net.conv(data, 8, 1, relu=False))
    pool = next(
        found
        for found in estimate(describe(net.close(both)), PLAIN).layers
        if found.layer.kind is LayerKind.POOL
    )
    # Two blocks of 4 channels for the 8 filters of a pass that changes nothing.
    assert pool.compute_cycles == 2 * 16
    assert pool.drain_cycles == 8 * 64 / (8 * 4)


def test_filters_arrive_at_the_bandwidth_of_their_bank() -> None:
    slow = PLAIN.model_copy(update={"memory": Memory(bank_bytes_per_s=1e9, efficiency=0.5)})
    found = estimate([one(64, 64, 1, side=2)], slow).layers[0]
    # Blocks of 4 numbers of 7 bits and an exponent of 5: 5 bytes.
    assert found.filter_cycles == pytest.approx(64 * 64 * 5 / 4 / 0.5e9 * 100e6)
    assert found.bound is Bound.FILTER


@pytest.mark.parametrize("channels", [1, 3])
def test_the_stride_of_a_stem_becomes_channels(channels: int) -> None:
    net = Stack(channels, 224)
    stem = describe(net.close(net.conv(net.image, 64, 7, 2)))[0]
    wide = PLAIN.model_copy(update={"c_vector": 16})
    # 7x7/2 of 3 channels is 4x4/1 of 12, of one grey channel 4x4/1 of 4.
    assert estimate([stem], wide).layers[0].compute_cycles == 8 * 16 * 56 * 56


def test_a_residual_sum_costs_bypass_taps() -> None:
    net = Stack(8, 8)
    first = net.conv(net.image, 8, 1)
    model = net.close(net.conv(net.conv(first, 8, 3), 8, 3, add=first))
    *_, plain, closing = estimate(describe(model), PLAIN).layers
    assert closing.layer.residual
    assert closing.compute_cycles - plain.compute_cycles == 1 * 2 * 16


def test_a_batch_shares_the_weights_of_a_fully_connected_layer_and_nothing_else() -> None:
    net = Stack(16, 8)
    layers = describe(net.close(net.linear(net.conv(net.image, 16, 3), 32)))
    slow = PLAIN.model_copy(update={"memory": Memory(bank_bytes_per_s=1e9)})
    alone, four = estimate(layers, slow), estimate(layers, slow, batch=4)
    assert four.layers[0].cycles == alone.layers[0].cycles
    assert four.layers[1].filter_cycles == pytest.approx(alone.layers[1].filter_cycles / 4)
    assert four.latency_s == pytest.approx(4 / four.images_per_s)
    assert four.layers[1].layer.kind is LayerKind.FULLY_CONNECTED


def test_interleaved_pixels_fill_up_the_last_group() -> None:
    five = PLAIN.model_copy(update={"interleave": 5, "p_vector": 1, "q_vector": 1})
    plain = five.model_copy(update={"interleave": 1})
    layer = one(4, 8, 1, side=7)
    assert estimate([layer], plain).layers[0].compute_cycles == 49
    assert estimate([layer], five).layers[0].compute_cycles == 50


def test_winograd_makes_four_outputs_of_three_taps_at_once() -> None:
    fast = PLAIN.model_copy(update={"p_vector": 1, "q_vector": 6, "winograd": True})
    layer = one(4, 8, 3, side=16)
    assert estimate([layer], fast).layers[0].compute_cycles == 3 * 16 * 4
    plain = fast.model_copy(update={"winograd": False})
    assert estimate([layer], plain).layers[0].compute_cycles == 9 * 16 * 3


def test_depthwise_layers_run_in_their_own_kernel_where_there_is_one() -> None:
    layer = one(32, 32, 3, groups=32)
    through_the_array = estimate([layer], PLAIN).layers[0]
    assert through_the_array.compute_cycles == 32 * 9 * 16
    aux = PLAIN.auxiliary.model_copy(update={"depthwise_k": 8})
    own = PLAIN.model_copy(update={"auxiliary": aux})
    found = estimate([layer], own).layers[0]
    assert (found.compute_cycles, found.drain_cycles) == (0, 32 * 64 / (8 * 4))


def test_maps_that_do_not_fit_cost_traffic_or_slices() -> None:
    net = Stack(4, 32)
    layers = describe(net.close(net.conv(net.conv(net.image, 64, 3), 64, 3)))
    room = 64 * 32 * 32 // (4 * 4)  # of one map: two do not fit
    small = PLAIN.model_copy(
        update={"stream_buffer_depth": room, "group_slicing": False, "memory": Memory(shared=True)}
    )
    large = small.model_copy(update={"stream_buffer_depth": 3 * room})
    extra = estimate(layers, small).ddr_bytes - estimate(layers, large).ddr_bytes
    # The answer of the second leaves anyway; nothing else has to.
    assert extra == 0
    tiny = small.model_copy(update={"stream_buffer_depth": room // 2})
    extra = estimate(layers, tiny).ddr_bytes - estimate(layers, large).ddr_bytes
    assert extra == 2 * 2 * 64 * 32 * 32  # written and read again, FP16
    sliced = tiny.model_copy(update={"group_slicing": True})
    found = estimate(layers, sliced)
    assert found.ddr_bytes == estimate(layers, large).ddr_bytes
    assert found.cycles > estimate(layers, large.model_copy(update={"group_slicing": True})).cycles


@pytest.mark.parametrize("name", NETWORKS)
def test_a_deeper_stream_buffer_never_makes_a_network_slower(name: str) -> None:
    base = find_architecture("agx7-performance-fp13")
    speeds = [
        estimate(
            layers_of(name), base.model_copy(update={"stream_buffer_depth": depth})
        ).images_per_s
        for depth in (1024, 4096, 16384, 65536)
    ]
    assert speeds == sorted(speeds)


@pytest.mark.parametrize("name", NETWORKS)
def test_sums_are_sums_and_no_layer_is_faster_than_its_parts(name: str) -> None:
    found = estimate(layers_of(name), find_architecture("agx7-generic-fp16"))
    assert found.cycles == pytest.approx(sum(layer.cycles for layer in found.layers))
    assert found.ddr_bytes_per_s == pytest.approx(found.ddr_bytes * found.images_per_s)
    assert 0 < found.utilization <= 1
    for layer in found.layers:
        parts = (
            layer.compute_cycles, layer.drain_cycles, layer.filter_cycles, layer.feature_cycles,
        )  # fmt: skip
        assert layer.cycles >= max(parts)
        assert layer.utilization <= 1


def test_twice_the_clock_at_twice_the_bandwidth_is_twice_as_fast() -> None:
    layers, base = layers_of("ResNet-50"), find_architecture("agx7-performance-fp13")
    memory = base.memory.model_copy(update={"bank_bytes_per_s": 2 * base.memory.bank_bytes_per_s})
    fast = base.model_copy(update={"clock_hz": 2 * base.clock_hz, "memory": memory})
    assert estimate(layers, fast).images_per_s == pytest.approx(
        2 * estimate(layers, base).images_per_s
    )
