"""Peaks: what is given is taken, the rest is measured, and no number is made up."""

import pytest

from thorax.artifact import Precision
from thorax.devices import peak
from thorax.devices.core import supports
from thorax.devices.counters import list_kernels
from thorax.devices.graph import compile_graph
from thorax.devices.peak import Peaks, find_peaks, measure_bandwidth
from thorax.errors import DeviceError, UsageError


def test_what_is_given_is_not_measured() -> None:
    given = find_peaks("CPU", operations_per_s={"f32": 1e12}, bytes_per_s=5e10)
    assert given == Peaks("CPU", {"f32": 1e12}, 5e10, ())
    assert find_peaks("CPU", measure=False) is None
    half = find_peaks("CPU", bytes_per_s=5e10, measure=False)
    assert half == Peaks("CPU", {}, 5e10, ())


def test_what_is_not_given_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_WINDOW_S", 0.02)
    monkeypatch.setattr(peak, "_WINDOWS", 1)
    told: list[str] = []
    found = find_peaks("CPU", bytes_per_s=5e10, on_progress=told.append)
    assert found is not None
    wanted = ["f32"] + [
        element
        for element, precision in (("bf16", Precision.BF16), ("int8", Precision.INT8))
        if supports("CPU", precision)
    ]
    assert list(found.operations_per_s) == list(found.measured) == wanted
    assert all(rate > 1e8 for rate in found.operations_per_s.values())
    assert len(told) == len(wanted)


def test_the_bandwidth_is_that_of_bytes_moved() -> None:
    assert measure_bandwidth(array_bytes=2**20) > 1e8


@pytest.mark.skipif(not supports("CPU", Precision.INT8), reason="this CPU computes no int8")
def test_int8_is_measured_on_kernels_that_compute_in_8_bits() -> None:
    for make in (peak._convolutions, peak._products):
        kernels = list_kernels(compile_graph(make("int8").model))
        working = [one for one in kernels if one.type in ("Convolution", "FullyConnected")]
        assert working
        assert all("I8" in one.implementation for one in working)


def test_work_is_counted_as_two_operations_a_multiply_accumulate() -> None:
    work = peak._convolutions("f32", channels=8, side=4, length=3)
    assert work.operations == 2 * 3 * 8 * 8 * 16
    assert peak._products("f32", size=16, length=2).operations == 2 * 2 * 16**3


def test_what_cannot_be_measured_or_be_is_refused() -> None:
    with pytest.raises(DeviceError):
        find_peaks("TPU")
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError) as refused:
            find_peaks("CPU", bytes_per_s=wrong)
        assert refused.value.code == "peak-bandwidth"
