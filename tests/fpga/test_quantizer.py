import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest
from tests.fpga import integer_model

from thorax.fpga.formats import FORMATS, Format
from thorax.fpga.numerics import ROUNDINGS, Rounding, quantize
from thorax.fpga.quantizer import Quantizer

Floats = npt.NDArray[np.float32]


def run(
    x: Floats,
    form: Format,
    *,
    block: int,
    rounding: Rounding = "faithful",
    image: bool = False,
    signed: bool = True,
    groups: int = 1,
) -> Floats:
    """Return what the CPU plug-in makes of the nodes, f32 asked for."""
    parameter = ops.parameter(list(x.shape), np.float32)
    quantizer = Quantizer("q", None, form, rounding=rounding, image=image, signed=signed)
    found = quantizer.insert(parameter.output(0), block=block, groups=groups)
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(ov.Model([found], [parameter]), "CPU", config)
    return np.array(compiled(x)[0])


def same(found: Floats, wanted: Floats) -> None:
    np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("block", [4, 8, 16, 32])
def test_the_graph_equals_the_reference_to_the_bit(
    name: str, rounding: Rounding, block: int
) -> None:
    form = FORMATS[name]
    x = integer_model.adversarial(2 * 64 * 11 * 13, seed=block).reshape(2, 64, 11, 13)
    for image in (False, True):
        found = run(x, form, block=block, rounding=rounding, image=image)
        same(found, quantize(x, block=block, precision=form, rounding=rounding, image=image))
    positive = np.abs(x)
    found = run(positive, form, block=block, rounding=rounding, signed=False)
    same(found, quantize(positive, block=block, precision=form, rounding=rounding))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("channels", [1, 3, 16, 40, 100])
def test_channels_need_not_fill_their_blocks(rounding: Rounding, channels: int) -> None:
    x = integer_model.adversarial(channels * 30, seed=channels).reshape(2, channels, 3, 5)
    wanted = quantize(x, block=16, precision="fp11", rounding=rounding)
    same(run(x, FORMATS["fp11"], block=16, rounding=rounding), wanted)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("features", [1, 32, 50])
def test_vectors_before_a_fully_connected_layer_are_blocks_too(
    rounding: Rounding, features: int
) -> None:
    x = integer_model.adversarial(40 * features, seed=features).reshape(40, features)
    wanted = quantize(x, block=8, precision="fp12agx", rounding=rounding)
    same(run(x, FORMATS["fp12agx"], block=8, rounding=rounding), wanted)


@pytest.mark.parametrize("groups", [2, 4, 24])
def test_blocks_do_not_cross_groups(groups: int) -> None:
    x = integer_model.adversarial(24 * 35, seed=groups).reshape(1, 24, 5, 7)
    parts = [quantize(part, block=8, precision="fp11") for part in np.split(x, groups, axis=1)]
    same(run(x, FORMATS["fp11"], block=8, groups=groups), np.concatenate(parts, axis=1))


def test_a_block_may_have_128_channels() -> None:
    x = integer_model.adversarial(256 * 12, seed=9).reshape(1, 256, 3, 4)
    same(run(x, FORMATS["fp11"], block=128), quantize(x, block=128, precision="fp11"))
    equal = np.full((1, 128, 1, 1), 1.96875, np.float32)
    same(run(equal, FORMATS["fp11"], block=128), equal)


def test_every_node_has_a_name_and_the_affinity_asked_for() -> None:
    parameter = ops.parameter([1, 8, 2, 2], np.float32)
    form = FORMATS["fp11"]
    quantizer = Quantizer("x/fp11", "FPGA", form, rounding="faithful", image=False, signed=True)
    model = ov.Model([quantizer.insert(parameter.output(0), block=4)], [parameter])
    added = [n for n in model.get_ops() if n.get_type_name() not in ("Parameter", "Result")]
    assert {node.get_friendly_name() for node in added} == set(quantizer.names)
    assert len(added) == len(quantizer.names)
    assert all(node.get_rt_info()["affinity"].astype(str) == "FPGA" for node in added)
