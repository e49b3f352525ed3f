"""What every device string must keep to, whatever is behind it."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from thorax.artifact import Artifact, Precision
from thorax.data.store import Store
from thorax.devices.core import simulates, supports
from thorax.devices.engine import compile
from thorax.errors import DeviceError

STRINGS = (
    "CPU", "AUTO", "AUTO:CPU", "HETERO", "HETERO:CPU", "MULTI:CPU,HETERO:CPU", "HETERO:FPGA,CPU",
)  # fmt: skip
"""Those that are here on any machine; AUTO and HETERO take in what else there is."""


@pytest.fixture(params=STRINGS)
def device(request: pytest.FixtureRequest, cards: Path) -> str:
    return str(request.param)


def test_outputs_are_those_of_the_cpu(device: str, tiny_fp32: Artifact, tiny_store: Store) -> None:
    indices = np.arange(5)
    wanted = compile(tiny_fp32, "CPU").infer_many(tiny_store.images, indices)
    # What a card's own arithmetic changes is told elsewhere.
    got = compile(tiny_fp32, device, numerics="fp32").infer_many(tiny_store.images, indices)
    np.testing.assert_allclose(got.probability, wanted.probability, rtol=0, atol=1e-5)
    for mine, cpu in ((got.heatmap, wanted.heatmap), (got.embedding, wanted.embedding)):
        assert mine is not None
        assert cpu is not None
        np.testing.assert_allclose(mine, cpu, rtol=0, atol=1e-5 * max(1.0, np.abs(cpu).max()))


def test_the_precision_is_set_and_read_back(device: str, tiny_fp32: Artifact) -> None:
    engine = compile(tiny_fp32, device)
    assert engine.device == device
    assert engine.precision is Precision.FP32
    assert engine.compute == ("fp11+f32" if simulates(device) else "f32")
    assert "CPU" in engine.devices
    assert engine.streams >= 1
    assert engine.simulated is simulates(device)


def test_int8_runs_and_says_so(device: str, tiny_int8: Artifact, tiny_store: Store) -> None:
    if not supports("CPU", Precision.INT8):
        pytest.skip("this processor has no INT8")
    if simulates(device):
        with pytest.raises(DeviceError) as refused:
            compile(tiny_int8, device)
        assert refused.value.code == "precision-unsupported"
        return
    engine = compile(tiny_int8, device, counters=True)
    assert engine.precision is Precision.INT8
    assert engine.compute == "f32"
    engine.infer(tiny_store.images[:1, None], profile=True)
    assert any("8" in row.kernel.split("_")[-1] for row in engine.counters())


def test_counters_name_the_layers_of_the_graph(
    device: str, tiny_fp32: Artifact, tiny_store: Store
) -> None:
    engine = compile(tiny_fp32, device, counters=True, numerics="fp32")
    engine.infer(tiny_store.images[:1, None], profile=True)
    ran = {row.name for row in engine.counters() if row.type == "Convolution"}
    layers = {
        node.get_friendly_name()
        for node in ov.Core().read_model(tiny_fp32.xml).get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }
    assert layers <= ran


def test_streams_and_hints_reach_the_device(device: str, tiny_fp32: Artifact) -> None:
    for hint in ("latency", "throughput"):
        engine = compile(
            tiny_fp32,
            device,
            hint="latency" if hint == "latency" else "throughput",
            streams=1,
            numerics="fp32",
        )
        assert engine.streams >= 1
        assert engine.compute == "f32"


def test_an_unknown_device_beside_it_is_refused(device: str, tiny_fp32: Artifact) -> None:
    for string in (f"{device},ABACUS" if ":" in device else f"{device}:ABACUS", "ABACUS"):
        with pytest.raises(DeviceError) as refused:
            compile(tiny_fp32, string)
        assert refused.value.code == "device-unknown"
        assert "CPU" in refused.value.message
