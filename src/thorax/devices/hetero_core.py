"""A core for OpenVINO's own tools and other people's programs, that knows simulated cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from thorax.devices.core import has_real_fpga, list_devices, simulates, thorax_name
from thorax.devices.partition import partition
from thorax.devices.placement import Numerics, compile_placed, place, target
from thorax.fpga.plugin import listed_plugins, open_cards


class DropInCore(ov.Core):  # type: ignore[misc]  # OpenVINO has no types
    """`openvino.Core` with the cards in it: what is compiled for one runs as Thorax runs it.

    A program that makes its own `openvino.Core()` is given this one instead and says
    `HETERO:FPGA,CPU`: it gets the same partition, the same arithmetic and so the same bits as
    `thorax.devices.engine.compile`. Strings without a card go to OpenVINO as they are. Numerics are
    as `thorax.devices.placement.place` takes them, `state` is the file of the cards' state.

    Raises:
        DeviceError: `fpga-openvino` or `fpga-selftest`.

    Example:
        >>> from openvino.tools.benchmark import benchmark, main  # doctest: +SKIP
        >>> benchmark.Core = DropInCore                           # doctest: +SKIP
        >>> main.main()                                           # doctest: +SKIP
    """

    def __init__(self, *, numerics: Numerics = "bitstream", state: Path | None = None) -> None:
        if has_real_fpga():
            super().__init__()
        else:
            open_cards()
            with listed_plugins() as listed:
                super().__init__(listed)
        self._numerics: Numerics = numerics
        self._state = state

    @property
    def available_devices(self) -> list[str]:
        """Devices by the names that this core takes: cards are `FPGA.0`, `FPGA.1`, ..."""
        return [thorax_name(name) for name in super().available_devices]

    def compile_model(
        self,
        model: ov.Model | str | Path,
        device_name: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        weights: bytes | None = None,
    ) -> ov.CompiledModel:
        """Compile as `openvino.Core.compile_model`; for cards split and with their arithmetic.

        Raises:
            DeviceError, ModelError: as `thorax.devices.placement`.
        """
        device = _own_names(device_name) if device_name else None
        if device is None or not simulates(device):
            return super().compile_model(model, device, dict(config or {}), weights=weights)
        if not isinstance(model, ov.Model):
            model = self.read_model(model, weights)
        placed = place(model, device, numerics=self._numerics, state=self._state)
        shared = dict(config or {})
        each = shared.pop("DEVICE_PROPERTIES", {})
        each = getattr(each, "value", each)
        return compile_placed(placed, {}, shared, each=each, core=super())

    def query_model(
        self, model: ov.Model, device_name: str, config: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Return the device of each layer that one of a string's devices runs.

        Raises:
            DeviceError, ModelError: as `thorax.devices.partition.partition`.
        """
        device = _own_names(device_name)
        if not simulates(device):
            return dict(super().query_model(model, device, dict(config or {})))
        return {row.name: row.device for row in partition(model, device, state=self._state).rows}

    def get_property(self, *words: str) -> object:
        """Return a property of a device; a card's full name says that it is simulated."""
        if not words or not simulates(device := _own_names(words[0])):
            return super().get_property(*words)
        if words[1:] == ("FULL_DEVICE_NAME",) and ":" not in device:
            return next(
                entry.full_name for entry in list_devices() if entry.name in (device, f"{device}.0")
            )
        return super().get_property(target(device), *words[1:])

    def set_property(self, *words: object) -> None:
        """Set a property of all devices or of one."""
        if words and isinstance(words[0], str):
            words = (_openvino_names(words[0]), *words[1:])
        super().set_property(*words)

    def get_versions(self, device_name: str) -> dict[str, Any]:
        """Return the version of each device of a string."""
        return dict(super().get_versions(_openvino_names(device_name)))

    def import_model(
        self, model_stream: object, device_name: str, config: Mapping[str, Any] | None = None
    ) -> ov.CompiledModel:
        """Return a model that was exported after it was compiled."""
        named = _openvino_names(device_name)
        return super().import_model(model_stream, named, dict(config or {}))


def _own_names(device: str) -> str:
    """Return a device string in which cards that bear OpenVINO's names bear ours."""
    head, colon, rest = device.partition(":")
    if not colon:
        return thorax_name(device)
    return f"{head}:{','.join(thorax_name(part.strip()) for part in rest.split(','))}"


def _openvino_names(device: str) -> str:
    own = _own_names(device)
    return target(own) if simulates(own) else own
