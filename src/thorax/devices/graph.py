"""Compile a bare graph for a device, in the arithmetic asked for."""

from collections.abc import Mapping
from typing import Any

import openvino as ov

from thorax.artifact import Precision
from thorax.devices.core import VIRTUAL, physical_devices, simulates, supports
from thorax.devices.placement import Numerics, compile_placed, place
from thorax.devices.process_core import open_core
from thorax.errors import DeviceError, last_line


def compile_graph(
    model: ov.Model,
    device: str = "CPU",
    *,
    compute: str = "f32",
    hint: str = "latency",
    counters: bool = False,
    numerics: Numerics = "bitstream",
) -> ov.CompiledModel:
    """Return a graph compiled for a device; floating-point layers compute as asked, or not at all.

    Args:
        model: of static shapes; it is not changed.
        device: as `physical_devices` takes it.
        compute: "f32" or "bf16".
        hint: "latency" or "throughput".
        counters: measure every kernel, at a small cost.
        numerics: "fp32" leaves the arithmetic of simulated cards out.

    Raises:
        DeviceError: `device-unknown`, `precision-unsupported` or `device-compile`; for a simulated
            card as `thorax.devices.placement.place`.
        ModelError: `fpga-shape`.
    """
    parts = physical_devices(device)
    for part in parts:
        if compute == "bf16" and not supports(part, Precision.BF16):
            raise DeviceError(
                "precision-unsupported",
                f"device {part} does not compute bf16 natively; name a device that does "
                "(`thorax devices` lists what each has)",
            )
    common = {"INFERENCE_PRECISION_HINT": compute}
    shared: dict[str, Any] = {"PERFORMANCE_HINT": hint.upper(), "PERF_COUNT": counters}
    if simulates(device):
        return compile_placed(place(model, device, numerics=numerics), common, shared)
    return compile_real(model, device, common, shared)


def compile_real(
    model: ov.Model, device: str, common: Mapping[str, Any], shared: Mapping[str, Any]
) -> ov.CompiledModel:
    """Compile a graph for devices none of which is simulated.

    Args:
        model: of static shapes; it is not changed.
        device: as `physical_devices` takes it.
        common: configuration of every device.
        shared: configuration of the whole.

    Raises:
        DeviceError: `device-unknown` or `device-compile`.
    """
    parts = physical_devices(device)
    if device.partition(":")[0] in VIRTUAL:
        target = f"HETERO:{','.join(parts)}" if device == "HETERO" else device
        config = {**shared, "DEVICE_PROPERTIES": dict.fromkeys(parts, common)}
    else:
        target, config = device, {**shared, **common}
    try:
        return open_core().compile_model(model, target, config)
    except RuntimeError as error:
        raise DeviceError("device-compile", f"{device}: {last_line(error)}") from error
