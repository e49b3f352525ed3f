"""NVML: the graphics processors of NVIDIA, asked through nvidia-ml-py.

Energy counters where every device has one (Volta and later; NVML API reference,
nvmlDeviceGetTotalEnergyConsumption, millijoules since the driver was loaded), else power
(nvmlDeviceGetPowerUsage, milliwatts, on recent devices the mean of a second).
"""

import time
from collections.abc import Callable
from typing import Any, Final

from thorax.errors import DeviceError, PeerError, last_line
from thorax.measure.power import Channel, Quantity, Reading
from thorax.measure.sentinels import whole_watts

_REFUSED: Final = ("NVMLError_NoPermission",)
_ABSENT: Final = (
    "NVMLError_LibraryNotFound",
    "NVMLError_DriverNotLoaded",
    "NVMLError_Uninitialized",
)


class Nvml:
    """Every GPU of this computer; what else the computer draws is not in its sum.

    Args:
        library: the module `pynvml`, or what answers as it does.

    Raises:
        DeviceError: `meter-absent` without a driver or a GPU, `meter-permission`.
        PeerError: `meter-answer` for what else the driver refuses.
    """

    source = "nvml"
    modelled = False
    replayed = False
    interval_s = 0.1

    def __init__(self, library: Any) -> None:  # noqa: ANN401 - a module without types
        self._library = library
        self._open = False
        self._call(library.nvmlInit)
        self._open = True
        try:
            self._handles = [
                self._call(library.nvmlDeviceGetHandleByIndex, index)
                for index in range(self._call(library.nvmlDeviceGetCount))
            ]
            if not self._handles:
                raise DeviceError("meter-absent", "NVML: the driver shows no GPU; see nvidia-smi")
            self.channels = tuple(Channel(f"gpu{index}") for index in range(len(self._handles)))
            self.quantity: Quantity = "energy" if self._all_count() else "power"
            ask = "nvmlDeviceGetTotalEnergyConsumption"
            self._ask: Callable[[Any], int] = getattr(
                library, ask if self.quantity == "energy" else "nvmlDeviceGetPowerUsage"
            )
            start = [self._call(self._ask, handle) for handle in self._handles]
            self._last = self._start = start if self.quantity == "energy" else [0] * len(start)
        except BaseException:
            self.close()
            raise

    def _all_count(self) -> bool:
        for handle in self._handles:
            try:
                self._library.nvmlDeviceGetTotalEnergyConsumption(handle)
            except self._library.NVMLError as error:
                if type(error).__name__ == "NVMLError_NotSupported":
                    return False
                raise self._translated(error) from error
        return True

    def read(self) -> tuple[Reading, ...]:
        """Return joules since the meter was opened, or watts.

        Raises:
            DeviceError: `meter-absent` or `meter-permission`.
            PeerError: `meter-answer` where the driver refuses, or a counter went back.
        """
        begin_s = time.perf_counter()
        raw = [self._call(self._ask, handle) for handle in self._handles]
        at_s = (begin_s + time.perf_counter()) / 2
        if self.quantity == "energy":
            for channel, last, now in zip(self.channels, self._last, raw, strict=True):
                if now < last:
                    raise PeerError(
                        "meter-answer",
                        f"NVML: the energy counter of {channel.name} went back from {last} to "
                        f"{now} mJ; was the driver loaded anew?",
                    )
            self._last = raw
        else:
            for channel, milliwatts in zip(self.channels, raw, strict=True):
                whole_watts(milliwatts, f"NVML: {channel.name}")
        values = tuple((now - start) / 1e3 for now, start in zip(raw, self._start, strict=True))
        return (Reading(at_s, values),)

    def close(self) -> None:
        """Let go of the driver."""
        if self._open:
            self._open = False
            try:
                self._library.nvmlShutdown()
            except self._library.NVMLError:
                return

    def _call(self, ask: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
        try:
            return ask(*arguments)
        except self._library.NVMLError as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> DeviceError | PeerError:
        kind, said = type(error).__name__, last_line(error)
        if kind in _ABSENT:
            return DeviceError(
                "meter-absent", f"NVML: {said}; NVIDIA's driver is needed, see nvidia-smi"
            )
        if kind in _REFUSED:
            return DeviceError(
                "meter-permission", f"NVML: {said}; this user may not ask the driver: see its admin"
            )
        return PeerError("meter-answer", f"NVML: {said}; see nvidia-smi")
