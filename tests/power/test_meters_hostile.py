"""Meters that are attacked, or broken: each ends in one line, in time, and with little memory."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.power.meters import FakeNvml, Zones, program

from thorax.errors import DeviceError, PeerError, ThoraxError, UsageError
from thorax.power.modelled import Modelled
from thorax.power.nvml import Nvml
from thorax.power.programs import Ipmi, Racadm, racadm_watts
from thorax.power.rapl import Rapl

WITHIN_S = 1.0


def script(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> None:
    program(folder, monkeypatch, name)
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n", "utf-8")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("while :; do echo Instantaneous; done", "meter-answer"),
        ("while :; do echo Instantaneous; done >&2", "meter-answer"),
        ("exec cat /dev/zero", "meter-answer"),
        ("exec cat /dev/zero >&2", "meter-answer"),
        ("exec sleep 1000", "meter-unreachable"),
        ("exec >&- 2>&-; exec sleep 1000", "meter-unreachable"),
        ("sleep 1000 & echo later", "meter-unreachable"),
        ("trap '' TERM INT HUP; while :; do sleep 1000; done", "meter-unreachable"),
        ("while :; do printf x; sleep 0.05; done", "meter-unreachable"),
        ("kill -9 $$", "meter-unreachable"),
        ("echo some error >&2; exit 3", "meter-unreachable"),
        ("echo permission denied >&2; exit 1", "meter-refused"),
        ("exit 0", "meter-answer"),
        ("head -c 100000 /dev/urandom", "meter-answer"),
        ("echo 'Instantaneous power reading: -5 Watts'", "meter-answer"),
        ("echo 'Instantaneous power reading: 0 Watts'", "meter-answer"),
        ("echo 'Instantaneous power reading: 65535 Watts'", "meter-answer"),
        ("echo 'Instantaneous power reading: 65534 Watts'", "meter-answer"),
        ("echo 'Instantaneous power reading: 4294967295 Watts'", "meter-answer"),
        ("echo 'Instantaneous power reading: 2000000 Watts'", "meter-answer"),
        (f"echo 'Instantaneous power reading: {'9' * 500} Watts'", "meter-answer"),
        ("echo 'Instantaneous power reading: NaN Watts'", "meter-answer"),
        ("printf '\\033]0;evil\\007' >&2; exit 1", "meter-unreachable"),
    ],
)
def test_a_program_that_misbehaves_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: str
) -> None:
    for name, meter in (("ipmitool", Ipmi), ("racadm", Racadm)):
        script(tmp_path, monkeypatch, name, body)
        with pytest.raises(ThoraxError) as refused:
            # Only what would never end is ended by the deadline.
            meter(timeout_s=WITHIN_S if "sleep" in body else 60.0)
        assert refused.value.code == code
        assert len(refused.value.message) < 500
        assert refused.value.message.isprintable()


def test_what_a_program_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "child"
    script(tmp_path, monkeypatch, "ipmitool", f"sleep 1000 & echo $! > '{note}'; wait")
    with pytest.raises(PeerError):
        Ipmi(timeout_s=5.0)
    status = Path(f"/proc/{int(note.read_text('ascii'))}/stat")
    # A signal takes effect when the program is next given a processor.
    ending = time.monotonic() + 60.0
    while _runs(status) and time.monotonic() < ending:
        time.sleep(0.01)
    assert not _runs(status)


def _runs(status: Path) -> bool:
    """Return whether a process is neither gone nor a zombie that its new parent has to fetch."""
    try:
        return status.read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    "state", ["Ok", "OK", "Warning", "Critical", "Non-Critical", "Lower Warning"]
)
@pytest.mark.parametrize("gap", [" ", "      "])
def test_the_state_of_a_sensor_of_racadm_is_read_past(state: str, gap: str) -> None:
    line = (
        f"System Board Pwr Consumption{gap}{state}{gap}930Watts{gap}NA{gap}980Watts  0Watts [N]\n"
    )
    assert racadm_watts(line) == 930.0


@pytest.mark.parametrize(
    "figure", ["NA", "N/A", "-3Watts", "65535Watts", "0Watts", "4294967295Watts"]
)
def test_a_sensor_of_racadm_that_reads_nothing_is_no_ceiling(figure: str) -> None:
    line = f"System Board Pwr Consumption      Ok        {figure}    NA    980Watts   896Watts\n"
    with pytest.raises(PeerError) as refused:
        racadm_watts(line)
    assert refused.value.code == "meter-answer"


def test_a_driver_of_gpus_that_hangs_is_given_up_and_not_asked_again() -> None:
    library = FakeNvml()
    held = threading.Event()
    asked: list[int] = []

    def hang(handle: int) -> int:
        asked.append(handle)
        held.wait()
        return 0

    meter = Nvml(library, answer_s=0.2)
    meter._ask = hang
    for _ in range(3):
        with pytest.raises(PeerError) as refused:
            meter.read()
        assert refused.value.code == "meter-unreachable"
    assert asked == [0]
    meter.close()
    held.set()


@pytest.mark.parametrize(
    "error",
    [RuntimeError("x" * 5000), OSError("gone"), ValueError(), MemoryError(), UnicodeError()],
)
def test_whatever_a_driver_of_gpus_raises_is_translated(error: Exception) -> None:
    library = FakeNvml()
    meter = Nvml(library)

    def broken(handle: int) -> int:
        raise error

    meter._ask = broken
    with pytest.raises(PeerError) as refused:
        meter.read()
    assert refused.value.code == "meter-answer"
    assert len(refused.value.message) < 500
    library.start_error = error  # type: ignore[assignment]
    with pytest.raises(PeerError):
        Nvml(library)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize(
    "value", [-1, float("nan"), float("inf"), None, "1000", True, 2**32 - 1, 2**64 - 1, 65535]
)
def test_a_gpu_that_tells_no_reading_is_refused(counts: bool, value: object) -> None:
    library = FakeNvml(counts=counts)
    meter = Nvml(library)
    library.millis = [value]  # type: ignore[list-item]
    with pytest.raises(PeerError) as refused:
        meter.read()
    assert refused.value.code == "meter-answer"


@pytest.mark.parametrize("count", [-1, 10**9, None, "2", 2.5])
def test_a_number_of_gpus_that_cannot_be_is_refused(count: object) -> None:
    library = FakeNvml()
    library.devices = count  # type: ignore[assignment]
    with pytest.raises((PeerError, DeviceError)) as refused:
        Nvml(library)
    assert refused.value.code in ("meter-answer", "meter-absent")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


def _nowhere(path: Path) -> None:
    path.symlink_to(path)


def _binary(path: Path) -> None:
    path.write_bytes(b"\xff" * 10_000)


def _long(path: Path) -> None:
    path.write_bytes(b"9" * 10_000_000)


@pytest.mark.parametrize("attribute", ["energy_uj", "name", "max_energy_range_uj"])
@pytest.mark.parametrize("make", [_fifo, _zero, _folder, _nowhere, _binary, _long])
def test_a_counter_that_is_no_file_is_neither_waited_for_nor_believed(
    tmp_path: Path, attribute: str, make: Callable[[Path], None]
) -> None:
    zones = Zones(tmp_path)
    zones.add("intel-rapl:0", "package-0")
    (tmp_path / "intel-rapl:0" / attribute).unlink()
    make(tmp_path / "intel-rapl:0" / attribute)
    with pytest.raises((PeerError, DeviceError)) as refused:
        Rapl(tmp_path)
    assert refused.value.code in ("meter-answer", "meter-absent")
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("make", [_fifo, _zero, _folder, _nowhere, _binary, _long])
def test_a_model_that_is_no_file_is_neither_waited_for_nor_believed(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "server.toml")
    with pytest.raises(UsageError) as refused:
        Modelled(tmp_path / "server.toml")
    assert refused.value.code in ("config-unreadable", "config-syntax")
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("watts", ["1e308", "1.1e9", "1e999", "nan", "-1"])
def test_watts_that_nothing_draws_are_refused_in_a_model(tmp_path: Path, watts: str) -> None:
    device = f'[[devices]]\nname = "a"\nidle_w = {watts}\nbusy_w = {watts}\nsource = "x"\n'
    (tmp_path / "server.toml").write_text(device * 2)
    with pytest.raises(UsageError, match="config-value"):
        Modelled(tmp_path / "server.toml")


def rapl(folder: Path, *packages: tuple[str, int]) -> tuple[Zones, list[str]]:
    zones = Zones(folder)
    for place, (name, energy_uj) in enumerate(packages):
        zones.add(f"intel-rapl:{place}", name, energy_uj)
        zones.add(f"intel-rapl:{place}:0", "dram", energy_uj)
    return zones, [one.name for one in Rapl(folder).channels if one.counted]


@pytest.mark.parametrize(
    ("packages", "counted"),
    [
        # One counter under two names: Linux has more dies than the processor has counters.
        ([("package-0-die-0", 5000), ("package-0-die-1", 5000)], [0]),
        ([("package-0", 5000), ("package-0", 5000)], [0]),
        ([("package-0", 5000), ("package-0", 5600)], [0]),
        ([("package-0", 5000), ("package-0", 5000), ("package-1", 5000)], [0, 2]),
        # Counters of their own.
        ([("package-0-die-0", 5000), ("package-0-die-1", 5001)], [0, 1]),
        ([("package-0", 5000), ("package-1", 5000)], [0, 1]),
        ([("package-0", 5000), ("package-0", 40_000_000_000)], [0, 1]),
    ],
)
def test_a_counter_that_is_shown_twice_is_in_the_sum_once(
    tmp_path: Path, packages: list[tuple[str, int]], counted: list[int]
) -> None:
    zones, names = rapl(tmp_path, *packages)
    assert sum("dram" not in name for name in names) == len(counted)
    assert sum("dram" in name for name in names) == len(counted)
    now = {"s": 0.0}
    meter = Rapl(tmp_path, clock=lambda: now["s"])
    now["s"] = 1.0
    for place in range(len(packages)):
        zones.count(f"intel-rapl:{place}", 100.0)
    (reading,) = meter.read()
    pairs = zip(reading.values, meter.channels, strict=True)
    assert sum(value for value, one in pairs if one.counted) == 100.0 * len(counted)


def test_a_platform_that_draws_less_than_its_packages_is_none(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    for place, name in enumerate(("package-0", "package-1", "psys")):
        zones.add(f"intel-rapl:{place}", name)
    now = {"s": 0.0}
    meter = Rapl(tmp_path, clock=lambda: now["s"])
    now["s"] = 1.0
    zones.count("intel-rapl:0", 100.0)
    zones.count("intel-rapl:1", 100.0)
    zones.count("intel-rapl:2", 260.0)
    assert meter.read()[0].values == pytest.approx((100, 100, 260))
    now["s"] = 2.0
    zones.count("intel-rapl:0", 200.0)
    zones.count("intel-rapl:1", 200.0)
    with pytest.raises(PeerError) as refused:
        meter.read()
    assert refused.value.code == "meter-answer"
    assert "psys drew 260 J" in refused.value.message


def test_platforms_of_all_packages_make_the_sum(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    for place, name in enumerate(("package-0", "psys", "package-1", "psys-1")):
        zones.add(f"intel-rapl:{place}", name)
    assert [one.name for one in Rapl(tmp_path).channels if one.counted] == ["psys", "psys-1"]
