"""A bare graph on a device, in the arithmetic asked for or not at all."""

from collections.abc import Mapping

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

import thorax.devices.graph
from thorax.devices.graph import compile_graph
from thorax.errors import DeviceError


def graph() -> ov.Model:
    value = ops.parameter([1, 8], np.float32)
    return ov.Model([ops.multiply(value, ops.constant(np.float32(1 / 3)))], [value])


@pytest.mark.parametrize("device", ["CPU", "AUTO", "AUTO:-GPU", "HETERO", "HETERO:CPU"])
def test_float32_stays_float32(device: str) -> None:
    compiled = compile_graph(graph(), device)
    given = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    assert np.abs(compiled(given)[0] - given * np.float32(1 / 3)).max() < 1e-7


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(DeviceError) as refused:
        compile_graph(graph(), "TPU")
    assert refused.value.code == "device-unknown"


@pytest.mark.parametrize("native", [False, True])
def test_bf16_is_asked_for_or_refused_where_it_would_quietly_be_f32(
    monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    """Both kinds of processor, whichever this one is."""
    asked: list[Mapping[str, object]] = []

    def told(
        model: ov.Model, device: str, own: Mapping[str, object], shared: Mapping[str, object]
    ) -> None:
        asked.append(own)

    monkeypatch.setattr(thorax.devices.graph, "supports", lambda name, precision: native)
    monkeypatch.setattr(thorax.devices.graph, "compile_real", told)
    if native:
        compile_graph(graph(), compute="bf16")
        assert asked == [{"INFERENCE_PRECISION_HINT": "bf16"}]
        return
    with pytest.raises(DeviceError) as refused:
        compile_graph(graph(), compute="bf16")
    assert refused.value.code == "precision-unsupported"
    assert not asked
