"""NVML: the graphics processors of NVIDIA, asked through nvidia-ml-py.

Energy counters where every device has one (Volta and later; NVML API reference,
nvmlDeviceGetTotalEnergyConsumption, millijoules since the driver was loaded), else power
(nvmlDeviceGetPowerUsage, milliwatts, on recent devices the mean of a second).
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from thorax.errors import DeviceError, PeerError, last_line
from thorax.power.meter import Channel, Meter, Reading
from thorax.power.sentinels import believed, whole_watts

_ANSWER_S: Final = 10.0
_MOST_DEVICES: Final = 1024
_SHOWN: Final = 200
_ABSENT: Final = (
    "NVMLError_LibraryNotFound",
    "NVMLError_DriverNotLoaded",
    "NVMLError_Uninitialized",
)


class Nvml(Meter):
    """Every GPU of this computer; what else the computer draws is not in its sum.

    The library is the module `pynvml`, or what answers as it does, within `answer_s` a question.

    Raises:
        DeviceError: `meter-absent` without a driver or a GPU, `meter-permission`.
        PeerError: `meter-answer` for what else the driver refuses, `meter-unreachable` where it
            hangs.
    """

    source = "nvml"
    interval_s = 0.1

    def __init__(
        self,
        library: Any,  # noqa: ANN401 - a module without types
        *,
        answer_s: float = _ANSWER_S,
    ) -> None:
        self._library = library
        self._answer_s = answer_s
        self._hangs = False
        self._open = False
        self._call(library.nvmlInit)
        self._open = True
        try:
            count = self._call(library.nvmlDeviceGetCount)
            if not count:
                raise DeviceError("meter-absent", "NVML: the driver shows no GPU; see nvidia-smi")
            if not isinstance(count, int) or not 0 < count <= _MOST_DEVICES:
                raise PeerError("meter-answer", f"NVML: {count!r:.40} GPUs; see nvidia-smi")
            self._handles = [
                self._call(library.nvmlDeviceGetHandleByIndex, index) for index in range(count)
            ]
            self.channels = tuple(Channel(f"gpu{index}") for index in range(len(self._handles)))
            self.quantity = "energy" if self._all_count() else "power"
            ask = "nvmlDeviceGetTotalEnergyConsumption"
            self._ask: Callable[[Any], float] = getattr(
                library, ask if self.quantity == "energy" else "nvmlDeviceGetPowerUsage"
            )
            start = self._ask_all()
            self._last = self._start = start if self.quantity == "energy" else [0.0] * len(start)
        except BaseException:
            self.close()
            raise

    def _all_count(self) -> bool:
        for handle in self._handles:
            try:
                self._in_time(self._library.nvmlDeviceGetTotalEnergyConsumption, handle)
            except Exception as error:
                if type(error).__name__ == "NVMLError_NotSupported":
                    return False
                raise self._translated(error) from error
        return True

    def _ask_all(self) -> list[float]:
        unit = "mJ" if self.quantity == "energy" else "mW"
        values = []
        for channel, handle in zip(self.channels, self._handles, strict=True):
            value = self._call(self._ask, handle)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise PeerError(
                    "meter-answer", f"NVML: {channel.name} tells {value!r:.40}; see nvidia-smi"
                )
            values.append(believed(value, "NVML", channel.name, unit))
        return values

    def read(self) -> tuple[Reading, ...]:
        """Return joules since the meter was opened, or watts.

        Raises:
            DeviceError: `meter-absent` or `meter-permission`.
            PeerError: `meter-answer` where the driver refuses, or a counter went back,
                `meter-unreachable` where it hangs.
        """
        begin_s = time.perf_counter()
        raw = self._ask_all()
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
                whole_watts(milliwatts / 1e3, f"NVML: {channel.name}")
        values = tuple((now - start) / 1e3 for now, start in zip(raw, self._start, strict=True))
        return (Reading(at_s, values),)

    def close(self) -> None:
        """Let go of the driver."""
        if self._open:
            self._open = False
            # Whatever it says of that, nothing can be done about it.
            with contextlib.suppress(Exception):
                self._in_time(self._library.nvmlShutdown)

    def _call(self, ask: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
        try:
            return self._in_time(ask, *arguments)
        except Exception as error:
            raise self._translated(error) from error

    def _in_time(self, ask: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
        """Ask the driver on a thread of its own, for a driver that hangs cannot be interrupted."""
        if self._hangs:
            raise TimeoutError("it hangs since it was asked before")
        answer: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

        def work() -> None:
            try:
                answer.put((ask(*arguments), None))
            except Exception as error:
                answer.put((None, error))

        threading.Thread(target=work, name="nvml", daemon=True).start()
        try:
            value, error = answer.get(timeout=self._answer_s)
        except queue.Empty as late:
            self._hangs = True
            raise TimeoutError(f"no answer within {self._answer_s:g} s") from late
        if error:
            raise error
        return value

    def _translated(self, error: Exception) -> DeviceError | PeerError:
        kind, reason = type(error).__name__, last_line(error)[:_SHOWN]
        if isinstance(error, TimeoutError):
            return PeerError(
                "meter-unreachable", f"NVML: {reason}; look at the driver, e.g. with nvidia-smi"
            )
        if kind in _ABSENT:
            return DeviceError(
                "meter-absent", f"NVML: {reason}; NVIDIA's driver is needed, see nvidia-smi"
            )
        if kind == "NVMLError_NoPermission":
            return DeviceError(
                "meter-permission",
                f"NVML: {reason}; this user may not ask the driver: see its admin",
            )
        return PeerError("meter-answer", f"NVML: {reason}; see nvidia-smi")
