"""What every meter must keep to, whatever is behind it."""

import itertools
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.power.bmc import RedfishBmc, redfish_tree
from tests.power.meters import RACADM_GET, RACADM_SENSORS, FakeNvml, Zones, program, write_log

from thorax.errors import DeviceError, PeerError, ThoraxError
from thorax.power import rapl as meters_rapl
from thorax.power.log import Replay
from thorax.power.meter import Meter, Reading
from thorax.power.meters import NoMeter
from thorax.power.modelled import Modelled
from thorax.power.nvml import Nvml
from thorax.power.programs import Ipmi, Racadm
from thorax.power.rapl import Rapl
from thorax.power.redfish import Account, Redfish
from thorax.power.sampler import Sampler
from thorax.power.window import joules


@dataclass
class Case:
    """A meter and what is behind it.

    Attributes:
        open: returns the meter, asked once.
        source: that it must name, as a pattern.
        tell: makes a power meter tell so many watts, and a counter go on by so many joules.
        fail: makes it unable to answer, until it is told something again; None where it cannot be.
        modelled: whether its figures are computed.
    """

    open: Callable[[], Meter]
    source: str
    tell: Callable[[float], None]
    fail: Callable[[], None] | None
    modelled: bool = False


def rapl(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, *, psys: bool) -> Case:
    # Joules that a package takes a second for are told at once here.
    monkeypatch.setattr(meters_rapl, "_UPDATE_S", 1.0)
    zones = Zones(folder)
    zones.add("intel-rapl:0", "package-0")
    zones.add("intel-rapl:0:0", "dram")
    if psys:
        zones.add("intel-rapl:1", "psys")
    whole = ["intel-rapl:1"] if psys else ["intel-rapl:0", "intel-rapl:0:0"]

    def tell(value: float) -> None:
        zones.heal()
        for zone in whole:
            zones.count(zone, value / len(whole))

    return Case(lambda: Rapl(folder), "rapl", tell, lambda: zones.break_("intel-rapl:0"))


def nvml(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, *, counts: bool) -> Case:
    library: Any = FakeNvml(devices=2, counts=counts)

    def tell(value: float) -> None:
        library.broken = False
        library.tell(value / 2)

    def fail() -> None:
        library.broken = True

    return Case(lambda: Nvml(library), "nvml", tell, fail)


def redfish(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, *, kind: str) -> Case:
    now = {"value": 7200.0 if kind in ("energy", "joules") else 200.0}
    bmc = stack.enter_context(
        RedfishBmc(redfish_tree(kind, lambda: now["value"]), users={"reader": "secret"})
    )

    def tell(value: float) -> None:
        bmc.answer.clear()
        now["value"] = now["value"] + value if kind in ("energy", "joules") else value

    def fail() -> None:
        for path in bmc.tree():
            bmc.answer[path] = (500, {}, b"")

    account = Account("reader", "secret", insecure=True)
    return Case(lambda: Redfish(bmc.url, account), r"redfish: .* of 127\.0\.0\.1", tell, fail)


def ipmi(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Case:
    tell = program(folder, monkeypatch, "ipmitool")

    def reading(value: float) -> None:
        tell(f"    Instantaneous power reading:            {value:8.0f} Watts\n", 0)

    reading(200)
    return Case(Ipmi, "ipmi: DCMI", reading, lambda: tell("", 1))


def racadm(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, *, form: str) -> Case:
    tell = program(folder, monkeypatch, "ssh" if "{" not in form else "racadm")
    text = RACADM_SENSORS if form == "{sensors}" else RACADM_GET

    def reading(value: float) -> None:
        tell(text.replace("224", f"{value:.0f}"), 0)

    reading(224)
    if "{" not in form:
        return Case(lambda: Racadm(form), f"racadm: {form}", reading, lambda: tell("", 1))
    return Case(Racadm, "racadm", reading, lambda: tell("", 1))


def modelled(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Case:
    busy = {"s": 0.0}
    file = folder / "m.toml"
    file.write_text(
        '[[devices]]\nname = "a"\nidle_w = 0.0\nbusy_w = 100.0\nsource = "assumed"\n', "utf-8"
    )

    def tell(joules: float) -> None:
        busy["s"] += joules / 100.0

    return Case(
        lambda: Modelled(file, busy_s=lambda: busy["s"]), r"model: m\.toml", tell, None, True
    )


def replay(folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Case:
    clock = {"s": 50.0}
    file = write_log(folder / "log.jsonl", [(float(at), 200.0) for at in range(200)])

    def tell(value: float) -> None:
        clock["s"] += 1.0

    def fail() -> None:
        clock["s"] += 1e4

    return Case(lambda: Replay(file, clock=lambda: clock["s"]), r"replay: log\.jsonl", tell, fail)


METERS: dict[str, tuple[Callable[..., Case], dict[str, Any]]] = {
    "rapl": (rapl, {"psys": False}),
    "rapl with psys": (rapl, {"psys": True}),
    "nvml energy": (nvml, {"counts": True}),
    "nvml power": (nvml, {"counts": False}),
    "redfish environment": (redfish, {"kind": "environment"}),
    "redfish subsystem": (redfish, {"kind": "subsystem"}),
    "redfish power": (redfish, {"kind": "power"}),
    "redfish kWh": (redfish, {"kind": "energy"}),
    "redfish joules": (redfish, {"kind": "joules"}),
    "ipmi": (ipmi, {}),
    "racadm sensors": (racadm, {"form": "{sensors}"}),
    "racadm get": (racadm, {"form": "{get}"}),
    "racadm ssh": (racadm, {"form": "root@idrac"}),
    "modelled": (modelled, {}),
    "replay": (replay, {}),
}


@pytest.fixture(params=METERS)
def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    make, options = METERS[request.param]
    with ExitStack() as stack:
        yield make(tmp_path, stack, monkeypatch, **options)


def test_it_says_what_it_is_and_of_what(case: Case) -> None:
    with closing(case.open()) as meter:
        assert re.match(case.source, meter.source)
        assert meter.modelled is case.modelled
        assert meter.replayed is isinstance(meter, Replay)
        assert meter.quantity in ("power", "energy")
        assert meter.interval_s > 0
        names = [one.name for one in meter.channels]
        assert len(set(names)) == len(names) >= 1
        assert all(names)
        assert any(one.counted for one in meter.channels)


def test_every_reading_has_its_time_and_a_figure_of_each_channel(case: Case) -> None:
    with closing(case.open()) as meter:
        told: list[Reading] = []
        for _ in range(3):
            case.tell(200)
            begin_s = time.perf_counter()
            new = meter.read()
            end_s = time.perf_counter()
            if not isinstance(meter, Replay):
                assert [begin_s <= one.at_s <= end_s for one in new] == [True]
            told += new
        assert all(a.at_s < b.at_s for a, b in itertools.pairwise(told))
        for reading in told:
            assert len(reading.values) == len(meter.channels)
            assert all(0 <= value < math.inf for value in reading.values)


def test_the_sum_of_what_counts_is_what_is_behind_it(case: Case) -> None:
    with closing(case.open()) as meter:
        counted = [place for place, one in enumerate(meter.channels) if one.counted]
        told = list(meter.read())
        case.tell(60.0)
        told += meter.read()
        case.tell(40.0)
        told += meter.read()
        sums = [sum(one.values[place] for place in counted) for one in told]
        if meter.quantity == "energy":
            assert [b - a for a, b in itertools.pairwise(sums)] == pytest.approx([60, 40])
            each = joules(told, "energy", told[0].at_s, told[-1].at_s)
            assert sum(each[counted]) == pytest.approx(100)
        elif isinstance(meter, Replay):
            assert set(sums) == {200.0}
        else:
            assert sums[1:] == pytest.approx([60, 40])


def test_a_failure_is_told_in_one_line_with_what_to_do_and_passes(case: Case) -> None:
    if case.fail is None:
        return
    with closing(case.open()) as meter:
        case.tell(10.0)
        meter.read()
        case.fail()
        if isinstance(meter, Replay):
            # What is left of the log comes first.
            meter.read()
        with pytest.raises(ThoraxError) as failed:
            meter.read()
        assert isinstance(failed.value, DeviceError | PeerError) or isinstance(meter, Replay)
        assert failed.value.code.startswith(("meter-", "rapl-"))
        assert re.search(r"[;?:]", failed.value.message)
        if not isinstance(meter, Replay):
            case.tell(10.0)
            (again,) = meter.read()
            assert all(0 <= value < math.inf for value in again.values)


def test_one_that_dies_in_mid_run_leaves_the_measurement_and_a_reason(case: Case) -> None:
    if case.fail is None:
        return
    with closing(case.open()) as meter, Sampler(meter, 0.005) as sampler:
        begin_s = time.perf_counter()
        case.tell(10.0)
        case.fail()
        assert sampler.wait(60)
        end_s = time.perf_counter() + (1e4 if isinstance(meter, Replay) else 0)
    energy = sampler.energy(begin_s, end_s)
    assert energy.energy_j is None
    assert energy.error is not None
    assert sampler.failure is not None
    assert sampler.failure.message in energy.error
    power = energy.power_result(10.0)
    assert power is not None
    assert power.load_w is None


def test_it_is_closed_as_often_as_one_likes(case: Case) -> None:
    meter = case.open()
    meter.close()
    meter.close()


def test_none_reads_nothing_and_is_never_0() -> None:
    meter = NoMeter()
    assert (meter.source, meter.channels, meter.read()) == ("none", (), ())
    with Sampler(meter) as sampler:
        pass
    assert sampler.energy(0.0, 1.0).energy_j is None
    meter.close()


def test_no_password_is_in_what_a_meter_shows(case: Case) -> None:
    with closing(case.open()) as meter:
        assert "secret" not in f"{meter!r} {meter.source}"
