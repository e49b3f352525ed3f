"""Energy over exactly a window, and a sampler that loses no measurement whatever its meter does."""

import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.errors import DeviceError, PeerError, ThoraxError, UsageError
from thorax.power import energy as power_energy
from thorax.power import sampler as power
from thorax.power.energy import joules
from thorax.power.meter import Channel, Reading
from thorax.power.meters import NoMeter
from thorax.power.sampler import Energy, Sampler
from thorax.power.watch import Watch, sparkline
from thorax.report.benchmark import speed_table
from thorax.report.power import energy_table, power_table
from thorax.results.benchmark import BenchmarkResult
from thorax.results.energy import EMULATED_RATE, PowerResult, Quantity

SYSTEM = (Channel("system"),)


def readings(*pairs: tuple[float, float]) -> list[Reading]:
    return [Reading(at_s, (value,)) for at_s, value in pairs]


@dataclass
class Fake:
    """A meter whose every answer is laid down: a value, or an error to raise; the last repeats."""

    answers: Sequence[float | ThoraxError]
    quantity: Quantity = "power"
    channels: tuple[Channel, ...] = SYSTEM
    interval_s: float = 0.001
    source: str = "fake"
    modelled: bool = False
    replayed: bool = False
    asked: int = 0
    reached: threading.Event = field(default_factory=threading.Event)

    def read(self) -> tuple[Reading, ...]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if self.asked >= len(self.answers):
            self.reached.set()
        if isinstance(answer, ThoraxError):
            raise answer
        return (Reading(time.perf_counter(), (answer,)),)

    def close(self) -> None:
        return


def test_power_between_two_readings_is_a_trapezoid_and_edges_are_interpolated() -> None:
    told = readings((0, 100), (10, 200), (20, 200))
    assert joules(told, "power", 0, 20) == pytest.approx(1500 + 2000)
    # From 5 s (150 W) to 10 s (200 W), and on to 12 s.
    assert joules(told, "power", 5, 12) == pytest.approx(875 + 400)
    assert joules(told, "power", 2, 3) == pytest.approx(125)


def test_a_counter_is_differenced_and_interpolated_at_both_edges() -> None:
    told = readings((0, 0), (10, 1000), (20, 4000))
    assert joules(told, "energy", 0, 20) == pytest.approx(4000)
    assert joules(told, "energy", 5, 15) == pytest.approx(2500 - 500)


segments = st.lists(
    st.tuples(
        st.floats(1e-3, 100, allow_subnormal=False), st.floats(0, 1e4, allow_subnormal=False)
    ),
    min_size=2,
    max_size=40,
)


@settings(deadline=None)
@given(segments, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e6))
def test_a_window_anywhere_in_piecewise_linear_power_has_its_closed_form(
    steps: list[tuple[float, float]], one: float, other: float, start_s: float
) -> None:
    times = start_s + np.cumsum([step for step, _ in steps])
    watts = [value for _, value in steps]
    told = readings(*zip(map(float, times), watts, strict=True))
    edges = sorted(float(times[0] + part * (times[-1] - times[0])) for part in (one, other))
    begin, end = edges[0], min(edges[1], float(times[-1]))
    if not end - begin > 1e-3:
        return
    # The integral of a linear piece from a to b is (b - a) times its value in the middle.
    wanted = math.fsum(
        (b - a) * float(np.interp((a + b) / 2, times, watts))
        for left, right in itertools.pairwise(times)
        if (b := min(right, end)) > (a := max(left, begin))
    )
    got = float(joules(told, "power", begin, end)[0])
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9 * max(watts))
    halfway = (begin + end) / 2
    halves = joules(told, "power", begin, halfway) + joules(told, "power", halfway, end)
    assert float(halves[0]) == pytest.approx(got, rel=1e-9, abs=1e-9 * max(watts))


@settings(deadline=None)
@given(segments)
def test_a_watch_keeps_no_reading_and_has_the_same_energy(steps: list[tuple[float, float]]) -> None:
    times = np.cumsum([step for step, _ in steps])
    for quantity, values in (
        ("power", [value for _, value in steps]),
        ("energy", list(np.cumsum([value for _, value in steps]))),
    ):
        kind: Quantity = "power" if quantity == "power" else "energy"
        watch = Watch(kind, SYSTEM)
        told = readings(*((float(a), float(b)) for a, b in zip(times, values, strict=True)))
        for reading in told:
            watch.add(reading)
        assert watch.energy_j == pytest.approx(
            float(joules(told, kind, told[0].at_s, told[-1].at_s)[0]), rel=1e-9, abs=0
        )
        assert watch.mean_w is not None
        assert watch.least_w - 1e-6 <= watch.mean_w <= watch.most_w + 1e-6


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Fake], tuple[float, float]]]:
    """Return a load that lasts until its meter has said all."""

    def run(meter: Fake) -> tuple[float, float]:
        begin_s = time.perf_counter()
        assert meter.reached.wait(20)
        return begin_s, time.perf_counter()

    monkeypatch.setattr(power, "SETTLE_S", 0.0)
    return run  # type: ignore[return-value]


Work = Callable[[Fake], tuple[float, float]]


def test_constant_power_over_a_window_is_power_times_time(work: Work) -> None:
    meter = Fake([250.0] * 20, interval_s=0.005)
    with Sampler(meter) as sampler:
        begin_s, end_s = work(meter)
    energy = sampler.energy(begin_s, end_s)
    assert energy.error is None
    assert energy.energy_j == pytest.approx(250 * (end_s - begin_s))
    assert energy.load_w == pytest.approx(250)
    assert (energy.idle_w, energy.marginal_w) == (None, None)
    assert energy.samples >= 10
    assert not sampler._thread.is_alive()


def test_the_window_lies_between_a_reading_before_and_one_after(work: Work) -> None:
    meter = Fake([1.0, 1.0], interval_s=60.0, quantity="energy")
    with Sampler(meter) as sampler:
        begin_s = time.perf_counter()
        end_s = begin_s + 1e-6
    # A minute's interval: the last one was made on leaving.
    assert [one.at_s <= begin_s for one in sampler.readings] == [True, False]
    assert sampler.readings[-1].at_s >= end_s


def test_idle_power_is_kept_apart_and_of_each_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = (Channel("package"), Channel("core", counted=False), Channel("dram"))
    busy = threading.Event()

    class Two(Fake):
        def read(self) -> tuple[Reading, ...]:
            self.asked += busy.is_set()
            if self.asked > 30:
                self.reached.set()
            return (
                Reading(
                    time.perf_counter(), (100.0, 70.0, 9.0) if busy.is_set() else (20.0, 5.0, 4.0)
                ),
            )

    meter = Two([0.0], channels=channels, interval_s=0.002)
    with Sampler(meter) as sampler:
        sampler.rest(0.3, settle_s=0.0)
        busy.set()
        while meter.asked < 2:
            sampler.wait(0.001)
        begin_s = time.perf_counter()
        meter.reached.wait(20)
        end_s = time.perf_counter()
    energy = sampler.energy(begin_s, end_s)
    assert energy.idle_w == pytest.approx(24)
    assert energy.load_w == pytest.approx(109)
    assert energy.marginal_w == pytest.approx(85)
    assert energy.devices["core"].marginal_w == pytest.approx(65)
    detail = powered(energy, 218.0)
    assert detail.images_per_s_per_w == pytest.approx(2)
    assert detail.marginal_images_per_s_per_w == pytest.approx(218 / 85)
    assert detail.devices["core"].counted is False
    assert sum(one.load_w for one in detail.devices.values() if one.counted) == (pytest.approx(109))


def test_an_idle_window_with_too_few_readings_leaves_the_reason(work: Work) -> None:
    meter = Fake([100.0] * 30, interval_s=0.005)
    with Sampler(meter) as sampler:
        begin_s, end_s = work(meter)
    sampler._idle = (begin_s, begin_s + 1e-6)
    energy = sampler.energy(begin_s, end_s)
    assert energy.energy_j is not None
    assert (energy.idle_w, energy.marginal_w) == (None, None)
    assert "are needed" in str(powered(energy, 1.0).idle_error)
    table = power_table([benchmark(energy)])
    assert table is not None
    assert "No idle power of FP32 CPU" in table.note


def test_without_a_meter_energy_is_null_and_nobody_is_asked() -> None:
    before = set(threading.enumerate())
    with Sampler(NoMeter()) as sampler:
        sampler.rest(3600.0)
        assert set(threading.enumerate()) == before
    energy = sampler.energy(0.0, 1.0)
    assert (energy.energy_j, energy.source) == (None, "none")
    assert energy.power_result(100.0) is None


SILENT = PeerError("meter-unreachable", "no answer")


def test_a_meter_that_dies_leaves_the_reason_and_no_figure(work: Work) -> None:
    meter = Fake([100.0] * 5 + [SILENT] * 3)
    with Sampler(meter) as sampler:
        begin_s, _ = work(meter)
        assert sampler.wait(20)
        end_s = time.perf_counter()
    energy = sampler.energy(begin_s, end_s)
    assert energy.energy_j is None
    assert energy.load_w is None
    assert energy.error is not None
    assert "before the window ended" in energy.error
    assert "no answer" in energy.error
    printed = json.loads(benchmark(energy).to_json())
    assert printed["images_per_s_per_w"] is printed["power"]["images_per_s_per_w"] is None


def test_what_was_measured_before_a_meter_died_is_kept(work: Work) -> None:
    meter = Fake([100.0] * 20 + [SILENT] * 3)
    with Sampler(meter) as sampler:
        begin_s = time.perf_counter()
        while len(sampler.readings) < 19:
            sampler.wait(0.001)
        end_s = sampler.readings[-1].at_s
        work(meter)
    assert sampler.energy(begin_s, end_s).energy_j == pytest.approx(100 * (end_s - begin_s))


def test_one_or_two_failures_are_tried_again(work: Work) -> None:
    meter = Fake([100.0, SILENT, 100.0, SILENT, SILENT, *[100.0] * 8], interval_s=0.005)
    with Sampler(meter) as sampler:
        begin_s, end_s = work(meter)
    assert sampler.failure is None
    assert sampler.energy(begin_s, end_s).energy_j is not None


def test_a_failure_at_the_end_is_tried_again_before_the_sampler_is_left() -> None:
    meter = Fake([0.0, SILENT, SILENT, 5.0], interval_s=60.0, quantity="energy")
    with Sampler(meter) as sampler:
        end_s = time.perf_counter()
    assert sampler.failure is None
    assert sampler.readings[-1].values == (5.0,)
    assert sampler.readings[-1].at_s >= end_s
    assert meter.asked == 4


def test_a_refused_password_is_not_tried_again() -> None:
    meter = Fake([100.0, PeerError("meter-refused", "wrong password"), 100.0])
    with Sampler(meter) as sampler:
        assert sampler.wait(20)
    assert meter.asked == 2
    assert sampler.failure is not None
    assert sampler.failure.code == "meter-refused"


def test_a_meter_that_cannot_be_read_is_known_before_anything_is_measured() -> None:
    meter = Fake([DeviceError("meter-permission", "not for you")])
    with pytest.raises(DeviceError), Sampler(meter):
        pytest.fail("measured")


def test_an_interrupted_measurement_waits_for_no_further_reading() -> None:
    meter = Fake([1.0], interval_s=60.0)
    with pytest.raises(KeyboardInterrupt), Sampler(meter) as sampler:
        raise KeyboardInterrupt
    assert meter.asked == 1
    assert not sampler._thread.is_alive()


def test_too_few_readings_or_a_gap_give_a_reason_and_no_guess() -> None:
    def energy(times: Sequence[float], begin_s: float, end_s: float) -> Energy:
        sampler = Sampler(Fake([1.0], interval_s=1.0))
        sampler.readings = [Reading(at_s, (100.0,)) for at_s in times]
        return sampler.energy(begin_s, end_s)

    cases = [
        ((), 0, 10, "first read after"),
        ((1, 2, 3, 4, 5, 6), 0.5, 5, "first read after"),
        ((0, 1, 2, 3, 4), 0.5, 4.5, "0.50 s before the window ended"),
        ((0, 1, 2, 3), 0.5, 2.5, "read 2 times within 2.00 s, and 3 are needed"),
        ((0, 1, 2, 3, 9, 10), 0.5, 9.5, "silent for 6.00 s"),
    ]
    for times, begin_s, end_s, why in cases:
        told = energy(times, begin_s, end_s)
        assert told.energy_j is None
        assert told.error is not None
        assert why in told.error
    assert energy((0, 1, 2, 3, 4), 0.5, 3.5).energy_j == pytest.approx(300)


def test_a_wall_clock_that_steps_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    steps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1e9 * (-1) ** next(steps))
    meter = Fake([250.0] * 20, interval_s=0.005)
    with Sampler(meter) as sampler:
        begin_s, end_s = work(meter)
    assert sampler.energy(begin_s, end_s).energy_j == pytest.approx(250 * (end_s - begin_s))


@pytest.mark.parametrize("interval_s", [0.0, -1.0, math.inf, math.nan])
def test_an_interval_that_is_none_is_refused(interval_s: float) -> None:
    with pytest.raises(UsageError) as refused:
        Sampler(Fake([1.0]), interval_s)
    assert refused.value.code == "power-interval"


@pytest.mark.parametrize("idle_s", [-1.0, math.inf, math.nan])
def test_an_idle_time_that_is_none_is_refused(idle_s: float) -> None:
    with pytest.raises(UsageError) as refused:
        Sampler(Fake([1.0])).rest(idle_s)
    assert refused.value.code == "power-idle"


def test_efficiency_is_not_divided_by_nothing() -> None:
    assert power.efficiency(100.0, 0.0) is None
    assert power.efficiency(100.0, None) is None
    same = powered(Energy("fake", False, 10.0, 1000.0, idle_w=100.0), 100.0)
    assert same.marginal_w == 0
    assert same.marginal_images_per_s_per_w is None


def test_a_bug_of_a_meter_is_raised_by_who_measures_and_no_traceback_of_a_thread() -> None:
    class Wrong(Fake):
        def read(self) -> tuple[Reading, ...]:
            if self.asked:
                raise RuntimeError("a bug")
            return super().read()

    with pytest.raises(RuntimeError, match="a bug"), Sampler(Wrong([1.0])) as sampler:
        assert sampler.wait(20)


def test_a_sparkline_goes_from_the_least_to_the_most() -> None:
    assert sparkline([]) == ""
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([0, 50, 100]) == "▁▅█"


def powered(energy: Energy, images_per_s: float, *, emulated: bool = False) -> PowerResult:
    power = energy.power_result(images_per_s, emulated=emulated)
    assert power is not None
    return power


def benchmark(energy: Energy, **fields: object) -> BenchmarkResult:
    result = BenchmarkResult(
        model="a",
        topology="resnet18",
        digest="9f86",
        device="CPU",
        devices=("CPU",),
        precision="fp32",
        compute="f32",
        simulated=False,
        scenario="offline",
        images_per_s=100.0,
        power_w=energy.load_w,
        energy_j=energy.energy_j,
        images_per_s_per_w=power.efficiency(100.0, energy.load_w),
        energy_source=energy.source,
        energy_error=energy.error,
        power=energy.power_result(100.0),
    )
    return result.model_copy(update=fields)


def test_a_counter_that_is_coarse_has_no_energy_in_a_watch_either() -> None:
    for joules_told, why in (
        ([0.0] * 20, "did not move"),
        ([3600.0 * (at // 10) for at in range(20)], "moved 1 times within 19.00 s, by 3,600 J"),
    ):
        watch = Watch("energy", SYSTEM)
        for at_s, value in enumerate(joules_told):
            watch.add(Reading(float(at_s), (value,)))
        result = watch.result(Fake([1.0], quantity="energy"))
        assert why in str(result.energy_error)
        figures = (result.energy_j, result.power_w, result.least_w, result.most_w)
        assert figures == (None,) * 4
        assert result.devices["system"].energy_j is None
        assert why in energy_table(result).note
        modelled = watch.result(Fake([1.0], quantity="energy", modelled=True))
        assert "energy_error" not in modelled.document()


@pytest.mark.parametrize("load_w", [400.0, 400.1, 402.0, 399.0])
def test_a_difference_within_what_a_meter_tells_is_no_marginal_rate(load_w: float) -> None:
    detail = powered(Energy("fake", False, 10.0, 10 * load_w, idle_w=400.0), 4.05e3)
    assert detail.marginal_images_per_s_per_w is None
    assert "cannot be told from none" in str(detail.marginal_error)
    assert detail.images_per_s_per_w == pytest.approx(4.05e3 / load_w)
    energy = Energy("fake", False, 10.0, 10 * load_w, idle_w=400.0)
    table = power_table([benchmark(energy)])
    assert table is not None
    assert "No marginal images/s/W of FP32 CPU: the load drew" in table.note


def test_the_step_and_the_noise_of_a_meter_bound_what_it_tells() -> None:
    def bound(*windows: list[float], quantity: Quantity = "power") -> float:
        meter = Fake([1.0])
        meter.quantity = quantity
        readings = [
            [Reading(float(at_s), (value,)) for at_s, value in enumerate(window)]
            for window in windows
        ]
        return power_energy.resolution_w(meter, readings)

    assert bound([400.0] * 9, [401.0] * 9) == 1.0
    assert bound([400.2] * 9, [401.3] * 9) == pytest.approx(0.1)
    assert bound([1 / 3] * 9, [2 / 3] * 9) == 0.0
    # Readings of 10 W more or less, half of each: 3 * sqrt(2 * 10 ** 2 * (100 / 99) / 100).
    noisy = [90.0, 110.0] * 50
    assert bound(noisy, noisy) == pytest.approx(3 * math.sqrt(2 * 100 / 99))
    assert bound([0.0, 100.0, 200.0, 300.0], [0.0, 90.0, 180.0], quantity="energy") == 0.0
    precise = Energy("fake", False, 10.0, 4100.0, idle_w=400.0, resolution_w=9.0)
    assert powered(precise, 100.0).marginal_images_per_s_per_w == 10
    coarse = Energy("fake", False, 10.0, 4100.0, idle_w=400.0, resolution_w=10.0)
    assert powered(coarse, 100.0).marginal_images_per_s_per_w is None


@pytest.mark.parametrize("modelled", [True, False])
def test_the_rate_of_an_emulation_is_divided_by_no_watts(modelled: bool) -> None:
    energy = Energy("model: x" if modelled else "rapl", modelled, 10.0, 1000.0, idle_w=50.0)
    detail = powered(energy, 8.4e5, emulated=True)
    assert (detail.images_per_s_per_w, detail.marginal_images_per_s_per_w) == (None, None)
    assert detail.efficiency_error == EMULATED_RATE
    assert (detail.load_w, detail.marginal_w) == (100, 50)
    # Not in a table either, be it of a document that has such a figure all the same.
    result = benchmark(energy, simulated=True, device="HETERO:FPGA,CPU")
    table = power_table([result])
    assert table is not None
    assert "Img/s/W, whole" not in table.columns
    assert f"No images/s/W of FP32 HETERO:FPGA,CPU: {EMULATED_RATE}." in table.note
    assert "Img/s/W" not in speed_table([result]).columns
