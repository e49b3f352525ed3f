"""A bare graph on a device, in the arithmetic asked for or not at all."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.artifact import Precision
from thorax.devices.core import supports
from thorax.devices.graph import compile_graph
from thorax.errors import DeviceError


def graph() -> ov.Model:
    value = ops.parameter([1, 8], np.float32)
    return ov.Model([ops.multiply(value, ops.constant(np.float32(1 / 3)))], [value])


@pytest.mark.parametrize("device", ["CPU", "AUTO", "HETERO", "HETERO:CPU"])
def test_float32_stays_float32(device: str) -> None:
    compiled = compile_graph(graph(), device)
    given = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    assert np.abs(compiled(given)[0] - given * np.float32(1 / 3)).max() < 1e-7


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(DeviceError) as refused:
        compile_graph(graph(), "TPU")
    assert refused.value.code == "device-unknown"


@pytest.mark.skipif(supports("CPU", Precision.BF16), reason="this CPU computes bf16")
def test_bf16_is_refused_where_it_would_quietly_be_f32() -> None:
    with pytest.raises(DeviceError) as refused:
        compile_graph(graph(), compute="bf16")
    assert refused.value.code == "precision-unsupported"
