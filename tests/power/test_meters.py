"""What each meter alone has to get right: wraps, rights, units, broken answers, damaged logs."""

import hashlib
import itertools
import json
import math
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.power.bmc import IpmiBmc
from tests.power.meters import (
    RACADM_GET,
    RACADM_SENSORS,
    RANGE_UJ,
    FakeNvml,
    NVMLError_GpuIsLost,
    NVMLError_LibraryNotFound,
    NVMLError_NoPermission,
    Source,
    Zones,
    lines,
    program,
    write_log,
)

from thorax.errors import DataError, DeviceError, PeerError, ThoraxError, UsageError
from thorax.files.documents import checked_line
from thorax.fpga import boards as fpga_power
from thorax.power.energy import joules
from thorax.power.log import FORMAT, Log, Recording, Replay, verify
from thorax.power.meter import Channel, Meter, Reading
from thorax.power.meters import HERE, SPECS, Access, open_meter, probe_meters
from thorax.power.modelled import Modelled
from thorax.power.nvml import Nvml
from thorax.power.programs import Ipmi, Racadm, dcmi_watts, racadm_watts, run
from thorax.power.rapl import Rapl
from thorax.power.sampler import Sampler
from thorax.results.energy import Quantity


def counted(meter: Meter) -> list[str]:
    return [one.name for one in meter.channels if one.counted]


def test_all_packages_and_their_memory_make_the_sum_and_cores_are_a_part(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    for package in (0, 1):
        zones.add(f"intel-rapl:{package}", f"package-{package}")
        zones.add(f"intel-rapl:{package}:0", "core")
        zones.add(f"intel-rapl:{package}:1", "dram")
    zones.add("intel-rapl-mmio:0", "package-0")
    meter = Rapl(tmp_path)
    assert counted(meter) == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    assert [one.name for one in meter.channels if not one.counted] == [
        "package-0/core", "package-1/core",
    ]  # fmt: skip


def test_the_platform_is_the_sum_where_it_is_there_and_nothing_counts_twice(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    zones.add("intel-rapl:0", "package-0")
    zones.add("intel-rapl:0:0", "core")
    zones.add("intel-rapl:0:1", "dram")
    zones.add("intel-rapl:1", "psys")
    assert counted(Rapl(tmp_path)) == ["psys"]


def test_processors_of_amd_have_the_same_names_and_no_memory(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    for package in (0, 1):
        zones.add(f"intel-rapl:{package}", f"package-{package}")
        zones.add(f"intel-rapl:{package}:0", "core")
    assert counted(Rapl(tmp_path)) == ["package-0", "package-1"]


def test_dies_of_one_package_that_share_a_name_are_told_apart(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    zones.add("intel-rapl:0", "psys")
    zones.add("intel-rapl:1", "psys", 30_000_000_000)
    assert counted(Rapl(tmp_path)) == ["psys", "psys (intel-rapl:1)"]


def test_a_counter_that_wraps_between_two_reads_goes_on(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    zones.add("intel-rapl:0", "package-0", RANGE_UJ - 5_000_000)
    now = {"s": 0.0}
    meter = Rapl(tmp_path, clock=lambda: now["s"])
    told: list[Reading] = []
    for _ in range(4):
        now["s"] += 0.1
        zones.count("intel-rapl:0", 3.0)
        told += meter.read()
    assert [one.values[0] for one in told] == pytest.approx([3, 6, 9, 12])
    assert joules(told, "energy", told[0].at_s, told[-1].at_s) == pytest.approx(9)


@given(st.lists(st.integers(0, RANGE_UJ - 1), min_size=1, max_size=30), st.integers(0, RANGE_UJ))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_counter_goes_on_by_less_than_a_turn_is_counted(
    tmp_path: Path, steps: list[int], start: int
) -> None:
    root = tmp_path / str(time.perf_counter_ns())
    zones = Zones(root)
    zones.add("intel-rapl:0", "package-0", start)
    now = {"s": 0.0}
    meter = Rapl(root, clock=lambda: now["s"])
    for step in steps:
        # As fast as a package may.
        now["s"] += step / 1e6 / 1000.0
        zones.count("intel-rapl:0", step / 1e6)
        (reading,) = meter.read()
    assert reading.values[0] == pytest.approx(sum(steps) / 1e6, abs=1e-5)


def test_an_interval_in_which_it_may_have_wrapped_twice_is_refused(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    zones.add("intel-rapl:0", "package-0")
    now = {"s": 7.0}
    meter = Rapl(tmp_path, clock=lambda: now["s"])
    now["s"] += 64.0
    zones.count("intel-rapl:0", 10.0)
    assert meter.read()[0].values == pytest.approx((10,))
    now["s"] += 66.0
    with pytest.raises(PeerError) as refused:
        meter.read()
    assert refused.value.code == "rapl-wrap"
    assert "at least every 66 s" in refused.value.message


@pytest.mark.parametrize(("before", "after"), [(5_000_000_000, 1000), (1000, 5_000_000_000)])
def test_a_counter_that_was_reset_is_no_wrap(tmp_path: Path, before: int, after: int) -> None:
    zones = Zones(tmp_path, 262_143_328_850)
    zones.add("intel-rapl:0", "package-0", before)
    now = {"s": 7.0}
    meter = Rapl(tmp_path, clock=lambda: now["s"])
    now["s"] += 0.1
    zones.set("intel-rapl:0", after)
    with pytest.raises(PeerError) as refused:
        meter.read()
    assert refused.value.code == "rapl-reset"
    assert f"from {before} to {after} uJ" in refused.value.message


def test_a_counter_that_was_reset_ends_the_sampling_without_a_figure(tmp_path: Path) -> None:
    zones = Zones(tmp_path, 262_143_328_850)
    zones.add("intel-rapl:0", "package-0", 5_000_000_000)
    meter = Rapl(tmp_path)
    with Sampler(meter, 0.01) as sampler:
        begin_s = time.perf_counter()
        zones.set("intel-rapl:0", 1000)
        assert sampler.wait(60)
        end_s = time.perf_counter()
    energy = sampler.energy(begin_s, end_s)
    assert energy.energy_j is None
    assert "was reset" in str(energy.error)


def test_parts_without_a_package_are_no_meter(tmp_path: Path) -> None:
    Zones(tmp_path).add("intel-rapl:0:0", "core")
    Zones(tmp_path).add("intel-rapl:0:1", "dram")
    with pytest.raises(DeviceError) as refused:
        Rapl(tmp_path)
    assert refused.value.code == "meter-absent"
    assert "no package" in refused.value.message


def test_no_zone_says_why_that_may_be(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as refused:
        Rapl(tmp_path / "none")
    assert refused.value.code == "meter-absent"
    assert "virtual" in refused.value.message


@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj", "name"])
def test_a_zone_that_may_not_be_read_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    Zones(tmp_path).add("intel-rapl:0", "package-0")
    real = os.open

    def refuse(path: Path, flags: int) -> int:
        # Root may read everything, and tests may run as root.
        if Path(path).name == file:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceError) as refused:
        Rapl(tmp_path)
    assert refused.value.code == "meter-permission"
    assert "chmod" in refused.value.message
    assert "udev" in refused.value.message


@pytest.mark.parametrize("text", ["", "many", "-5", "1e9", "9" * 30, str(RANGE_UJ + 1)])
def test_a_counter_that_is_no_number_of_its_range_is_refused(tmp_path: Path, text: str) -> None:
    Zones(tmp_path).add("intel-rapl:0", "package-0")
    meter = Rapl(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text(text, "ascii")
    with pytest.raises(PeerError) as refused:
        meter.read()
    assert refused.value.code == "meter-answer"


def test_a_read_that_fails_in_mid_run_loses_no_joule(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    zones.add("intel-rapl:0", "package-0")
    zones.add("intel-rapl:1", "package-1")
    meter = Rapl(tmp_path)
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        zones.count(zone, 5.0)
    zones.break_("intel-rapl:1")
    with pytest.raises(PeerError):
        meter.read()
    zones.heal()
    zones.count("intel-rapl:1", 2.0)
    assert meter.read()[0].values == pytest.approx((5, 7))


def test_a_zone_that_goes_away_is_said_to(tmp_path: Path) -> None:
    zones = Zones(tmp_path)
    zones.add("intel-rapl:0", "package-0")
    meter = Rapl(tmp_path)
    shutil.rmtree(tmp_path / "intel-rapl:0")
    with pytest.raises(DeviceError) as refused:
        meter.read()
    assert refused.value.code == "meter-absent"


def test_energy_counters_are_millijoules_and_power_milliwatts() -> None:
    for counts, quantity in ((True, "energy"), (False, "power")):
        library = FakeNvml(counts=counts)
        meter = Nvml(library)
        assert meter.quantity == quantity
        library.tell(2.5)
        assert meter.read()[0].values == (2.5,)
        meter.close()
        assert library.open == 0


def test_one_gpu_without_a_counter_makes_all_of_them_tell_power() -> None:
    class Mixed(FakeNvml):
        def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
            self.counts = handle == 0
            return super().nvmlDeviceGetTotalEnergyConsumption(handle)

    assert Nvml(Mixed(devices=2)).quantity == "power"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NVMLError_LibraryNotFound("NVML Shared Library Not Found"), "meter-absent"),
        (NVMLError_NoPermission("Insufficient Permissions"), "meter-permission"),
        (NVMLError_GpuIsLost("GPU is lost"), "meter-answer"),
    ],
)
def test_what_the_driver_says_is_translated(error: Any, code: str) -> None:  # noqa: ANN401
    library = FakeNvml()
    library.start_error = error
    with pytest.raises(ThoraxError) as refused:
        Nvml(library)
    assert refused.value.code == code
    assert str(error) in refused.value.message


def test_no_gpu_and_a_counter_that_goes_back_are_refused() -> None:
    library = FakeNvml(devices=0)
    with pytest.raises(DeviceError) as absent:
        Nvml(library)
    assert (absent.value.code, library.open) == ("meter-absent", 0)
    library = FakeNvml()
    meter = Nvml(library)
    library.millis = [5]
    with pytest.raises(PeerError) as back:
        meter.read()
    assert "went back from 1000 to 5 mJ" in back.value.message


def test_the_names_that_are_called_are_those_of_the_library() -> None:
    pynvml = pytest.importorskip("pynvml")
    for name in dir(FakeNvml):
        if name.startswith("nvml"):
            assert callable(getattr(pynvml, name)), name
    for kind in ("NotSupported", "GpuIsLost", "NoPermission", "LibraryNotFound"):
        assert type(pynvml.NVMLError(getattr(pynvml, NVML[kind]))).__name__ == f"NVMLError_{kind}"


NVML = {
    "NotSupported": "NVML_ERROR_NOT_SUPPORTED",
    "GpuIsLost": "NVML_ERROR_GPU_IS_LOST",
    "NoPermission": "NVML_ERROR_NO_PERMISSION",
    "LibraryNotFound": "NVML_ERROR_LIBRARY_NOT_FOUND",
}

DCMI = """
    Instantaneous power reading:                   212 Watts
    Minimum during sampling period:                 98 Watts
    Maximum during sampling period:                408 Watts
    Average power reading over sample period:      180 Watts
    IPMI timestamp:                           Mon Nov 19 10:12:01 2018
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}


"""
"""As ipmitool 1.8.18 prints it."""


def test_the_instantaneous_power_of_dcmi_is_read_and_no_other() -> None:
    assert dcmi_watts(DCMI.format(state="activated")) == 212


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        (DCMI.format(state="deactivated"), "deactivated; activate it"),
        ("", "nothing"),
        ("Instantaneous power reading: n/a Watts", "n/a"),
        ("\x00\xff" * 5000, "no instantaneous power"),
        (DCMI.format(state="activated").replace("212", "0"), "tells 0 W"),
    ],
)
def test_dcmi_without_a_figure_is_refused(printed: str, why: str) -> None:
    with pytest.raises(PeerError) as refused:
        dcmi_watts(printed)
    assert refused.value.code == "meter-answer"
    assert why in refused.value.message
    assert len(refused.value.message) < 400


def test_both_forms_of_racadm_are_read() -> None:
    assert racadm_watts(RACADM_SENSORS) == racadm_watts(RACADM_GET) == 224
    assert racadm_watts("System.Power.Realtime.Power=180 W | 614 Btu/hr") == 180
    assert racadm_watts("#Realtime.Power = 97") == 97


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "ERROR: RAC1159 : RACADM subcommand 'get' failed",
        RACADM_SENSORS.replace("224Watts", "NA"),
        RACADM_GET.replace("#Realtime.Power", "#Somewhen.Power"),
        RACADM_GET.replace("224 W", "0 W"),
    ],
)
def test_racadm_without_a_figure_is_refused(printed: str) -> None:
    with pytest.raises(PeerError) as refused:
        racadm_watts(printed)
    assert refused.value.code == "meter-answer"


def test_racadm_falls_to_the_other_form_where_the_first_has_no_watts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = program(tmp_path, monkeypatch, "racadm")
    tell(RACADM_GET, 0)
    assert Racadm().read()[0].values == (224.0,)
    asked = tmp_path / "bin" / "racadm"
    asked.write_text(f"#!/bin/sh\n[ $1 = get ] || exit 1\ncat '{tmp_path}/racadm.said'\n", "utf-8")
    meter = Racadm()
    assert meter.read()[0].values == (224.0,)


def test_a_remote_racadm_is_asked_by_ssh_that_never_asks_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, monkeypatch, "ssh")(RACADM_SENSORS, 0)
    assert Racadm("root@idrac.example").read()[0].values == (224.0,)
    told = (tmp_path / "ssh.told").read_text("utf-8").split()
    assert "BatchMode=yes" in told
    assert told[told.index("--") + 1 :] == ["root@idrac.example", "racadm", "getsensorinfo"]


def test_a_login_that_ssh_refuses_is_no_reason_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = program(tmp_path, monkeypatch, "ssh")
    tell("root@idrac: Permission denied (publickey,password).", 255)
    with pytest.raises(PeerError) as refused:
        Racadm("root@idrac")
    assert refused.value.code == "meter-refused"


@pytest.mark.parametrize("spec", ["racadm:-oProxyCommand=touch x", "racadm:a b"])
def test_a_login_that_would_be_an_option_of_ssh_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        open_meter(spec)


def test_a_program_that_is_missing_or_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError) as absent:
        Ipmi()
    assert (absent.value.code, "ipmitool" in absent.value.message) == ("meter-absent", True)
    slow = tmp_path / "ipmitool"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 60\n", "utf-8")
    slow.chmod(0o755)
    with pytest.raises(PeerError) as late:
        Ipmi(timeout_s=0.05)
    assert late.value.code == "meter-unreachable"
    assert "within 0.05 s" in late.value.message
    slow.write_bytes(b"\x7fELF no program")
    with pytest.raises(DeviceError) as broken:
        Ipmi()
    assert broken.value.code == "meter-absent"


def test_a_password_is_in_no_list_of_processes_and_in_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "ipmitool"
    place.write_text(
        f"#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/cmdline > '{tmp_path}/argv'\n"
        f"env > '{tmp_path}/env'\n"
        'while [ "$1" != -f ]; do shift; done\n'
        f"cat \"$2\" > '{tmp_path}/file'\n"
        "echo 'Instantaneous power reading: 7 Watts'\n",
        "utf-8",
    )
    place.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    access = Access(lambda account: "s3cret")
    with closing(open_meter("ipmi:reader@bmc.example:6230", access)) as meter:
        assert meter.read()[0].values == (7.0,)
    assert (tmp_path / "file").read_text("utf-8") == "s3cret\n"
    argv = (tmp_path / "argv").read_text("utf-8").split("\n")
    assert "s3cret" not in " ".join(argv)
    assert "s3cret" not in (tmp_path / "env").read_text("utf-8")
    for pair in (["-I", "lanplus"], ["-H", "bmc.example"], ["-p", "6230"], ["-U", "reader"]):
        assert argv[argv.index(pair[0]) + 1] == pair[1]


needs_ipmitool = pytest.mark.skipif(not shutil.which("ipmitool"), reason="ipmitool is missing")


@needs_ipmitool
def test_ipmitool_itself_reads_a_bmc_by_its_password() -> None:
    with IpmiBmc(watts=212, password="pa ss$1") as bmc:
        spec = f"ipmi:lan://{bmc.user}@127.0.0.1:{bmc.port}"
        with closing(open_meter(spec, Access(lambda account: bmc.password))) as meter:
            assert meter.source == "ipmi: DCMI of 127.0.0.1"
            bmc.watts = 345
            assert meter.read()[0].values == (345.0,)
            bmc.active = False
            with pytest.raises(PeerError) as off:
                meter.read()
            assert "deactivated" in off.value.message
        assert bmc.sessions == 3


@needs_ipmitool
def test_ipmitool_with_a_wrong_password_reads_nothing() -> None:
    with IpmiBmc() as bmc:
        with pytest.raises(PeerError) as refused:
            Ipmi("127.0.0.1", user="reader", password="wrong", port=bmc.port, interface="lan")
        assert refused.value.code == "meter-unreachable"
        assert "password" in refused.value.message
        assert bmc.sessions == 0


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[int]:
    """Run OpenIPMI's simulator, which speaks RMCP+ and has no DCMI; yield its port."""
    if not shutil.which("ipmi_sim"):
        pytest.skip("ipmi_sim is missing")
    port = IpmiBmc().__enter__()
    number = port.port
    port.__exit__()
    (tmp_path / "lan.conf").write_text(
        f'name "bmc"\nset_working_mc 0x20\nstartlan 1\naddr 127.0.0.1 {number}\n'
        "priv_limit admin\nallowed_auths_admin none md5\n"
        "guid a123456789abcdefa123456789abcdef\nendlan\n"
        'user 2 true "reader" "secret" admin 10 md5\n',
        "utf-8",
    )
    (tmp_path / "bmc.emu").write_text(
        "mc_setbmc 0x20\n"
        "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n"
        "mc_enable 0x20\n",
        "utf-8",
    )
    words = ["ipmi_sim", "-c", "lan.conf", "-f", "bmc.emu", "-n", "-s", "state"]
    peer = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        yield number
    finally:
        peer.terminate()
        peer.wait()


@needs_ipmitool
def test_a_bmc_without_dcmi_is_said_to_have_none(simulator: int) -> None:
    with pytest.raises(DeviceError) as refused:
        Ipmi("127.0.0.1", user="reader", password="secret", port=simulator)
    assert refused.value.code == "meter-absent"
    assert "Invalid command" in refused.value.message


@needs_ipmitool
def test_ipmitool_on_a_machine_without_a_bmc_says_what_to_do() -> None:
    if any(Path("/dev").glob("ipmi*")):
        pytest.skip("this machine has a BMC")
    with pytest.raises(DeviceError) as refused:
        Ipmi()
    assert refused.value.code == "meter-permission"
    assert "ipmi:USER@HOST" in refused.value.message


MODEL = """
[[devices]]
name = "CPU"
idle_w = 100.0
busy_w = 300.0
source = "assumed"

[[devices]]
name = "fans"
idle_w = 10.0
busy_w = 40.0
source = "assumed"
follows = "nothing"

[[devices]]
name = "card"
board = "pac-a10"
"""


def test_modelled_energy_is_idle_and_what_load_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.toml"
    file.write_text(MODEL, "utf-8")
    busy = {"s": 500.0}
    now = {"s": 1000.0}
    monkeypatch.setattr(time, "perf_counter", lambda: now["s"])
    meter = Modelled(file, busy_s=lambda: busy["s"])
    assert (meter.modelled, meter.source) == (True, "model: server.toml")
    told = [channel.source or "" for channel in meter.channels]
    assert all(source.endswith(": assumed") for source in told)
    assert any("idle calibrated" in source for source in told)
    now["s"] += 10
    # Half of all processors, for 10 s.
    busy["s"] += 5
    values = meter.read()[0].values
    card = 10 * fpga_power.IDLE_W + 5 * (43.0 - fpga_power.IDLE_W)
    assert values == pytest.approx((10 * 100 + 5 * 200, 10 * 40, card))


def test_the_processors_say_how_busy_they_are(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(MODEL, "utf-8")
    meter = Modelled(file)
    begin_s = time.perf_counter()
    while time.perf_counter() - begin_s < 0.1:
        pass
    (reading,) = meter.read()
    watts = reading.values[0] / (time.perf_counter() - begin_s)
    assert 0 < watts < 400


@pytest.mark.parametrize(
    "text",
    [
        "devices = []",
        '[[devices]]\nname = "a"\nidle_w = 1.0\nbusy_w = 2.0',
        '[[devices]]\nname = "a"\nboard = "pac-a10"\nidle_w = 1.0',
        '[[devices]]\nname = "a"\nboard = "abacus"',
        '[[devices]]\nname = "a"\nboard = "n6001"',
        '[[devices]]\nname = "a"\nidle_w = 3.0\nbusy_w = 2.0\nsource = "x"',
        '[[devices]]\nname = "a"\nidle_w = -1.0\nbusy_w = 2.0\nsource = "x"',
        '[[devices]]\nname = "a"\nwatts = 1.0',
    ],
)
def test_a_model_without_source_or_sense_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(UsageError) as refused:
        Modelled(file)
    assert refused.value.code in ("config-value", "config-key")


def logs(least_s: float) -> st.SearchStrategy[list[tuple[float, float]]]:
    """Return steps in time, seconds, and values; readings are not closer than that."""
    step = st.tuples(st.floats(least_s, 50), st.floats(0, 5000, allow_subnormal=False))
    return st.lists(step, min_size=2, max_size=30)


CLOCK_S = 2**-36
"""What the clock of a replay may round the two ends of an interval by together, at 70,000 s."""


@given(st.one_of(logs(0.05), logs(1e-3)), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_replayed_log_has_its_recorded_energy(
    tmp_path: Path, steps: list[tuple[float, float]], counts: bool
) -> None:
    times = list(itertools.accumulate(step for step, _ in steps))
    values = [value for _, value in steps]
    if counts:
        values = list(itertools.accumulate(values))
    quantity = "energy" if counts else "power"
    file = write_log(
        tmp_path / "log.jsonl",
        [(3e4 + at, value) for at, value in zip(times, values, strict=True)],
        "energy" if counts else "power",
    )
    recording = Recording.read(file)
    recorded = recording.energy_j
    assert recording.energy()["system"] == pytest.approx(recorded, rel=1e-9, abs=0)
    # Replayed in whatever steps of time, through a sampler's own arithmetic.
    now = {"s": 7e4}
    meter = Replay(file, clock=lambda: now["s"])
    told = [*meter.read()]
    while len(told) < len(steps):
        now["s"] += 7.0
        told += meter.read()
    again = float(joules(told, quantity, told[0].at_s, told[-1].at_s)[0])  # type: ignore[arg-type]
    # Where readings are 50 ms apart to 1e-9; closer ones to what the clock rounds at each.
    close = min(step for step, _ in steps[1:]) < 0.05 and not counts
    rounded = CLOCK_S * math.fsum(values) if close else 0.0
    assert again == pytest.approx(recorded, rel=1e-9, abs=rounded)
    # The same, worked out anew from what stands in the file.
    body = lines(file)[1:-1]
    if not counts:
        own = sum(
            (b["at_s"] - a["at_s"]) * (a["values"][0] + b["values"][0]) / 2  # type: ignore[operator, index]
            for a, b in itertools.pairwise(body)
        )
        assert own == pytest.approx(recorded, rel=1e-9, abs=0)


def test_a_sampler_over_a_replay_integrates_exactly_its_window(tmp_path: Path) -> None:
    # A ramp of 100 W/s: energy from a to b is 50 (b^2 - a^2).
    file = write_log(tmp_path / "log.jsonl", [(at / 100, float(at)) for at in range(2000)])
    meter = Replay(file)
    with Sampler(meter, 0.01) as sampler:
        start_s = sampler.readings[0].at_s
        begin_s = time.perf_counter()
        while len(sampler.readings) < 12:
            sampler.wait(0.005)
        end_s = time.perf_counter()
    energy = sampler.energy(begin_s, end_s)
    a, b = begin_s - start_s, end_s - start_s
    assert energy.energy_j == pytest.approx(50 * (b * b - a * a), rel=1e-9)
    assert energy.source == "replay: log.jsonl (redfish: test)"


def test_a_log_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, Source(), 1.0)
    for at_s in (5.0, 6.0):
        log.add(Reading(at_s, (100.0,)))
    assert not path.exists()
    log.close()
    assert Recording.read(path).energy_j == 100
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]
    empty = Log(tmp_path / "empty.jsonl", Source(), 1.0)
    empty.close()
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_log_keeps_which_channels_count_and_that_they_were_modelled(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    channels = (Channel("package"), Channel("core", counted=False))
    log = Log(path, Source(channels=channels, modelled=True, source="model: x"), 1.0)
    for at_s in (0.0, 10.0):
        log.add(Reading(at_s, (100.0, 60.0)))
    log.close()
    meter = Replay(path)
    assert (meter.channels, meter.modelled) == (channels, True)
    document = meter.recording.result("log.jsonl", 2.0, 7.0).document()
    assert (document["energy_j"], document["power_w"]) == (500, 100)
    assert document["devices"]["core"] == {"energy_j": 300, "power_w": 60, "counted": False}


HEADER = {
    "format": "thorax power log 2",
    "source": "rapl",
    "quantity": "power",
    "modelled": False,
    "interval_s": 1.0,
    "recorded": "2026-11-23T00:00:00Z",
    "channels": [{"name": "a", "counted": True}],
}
GOOD: list[dict[str, object]] = [
    HEADER,
    {"at_s": 0.0, "values": [1.0]},
    {"at_s": 1.0, "values": [1.0]},
    {"end": True, "energy_j": 1.0, "readings": 2},
]


def written(path: Path, content: list[dict[str, object]]) -> Path:
    """Write lines that are checked, and an end with the digest of what stands before it."""
    text = b""
    for line in content:
        digest = {"sha256": hashlib.sha256(text).hexdigest()} if line.get("end") else {}
        text += checked_line({**digest, **line}).encode()
    path.write_bytes(text)
    return path


def damaged(place: int, **changes: object) -> list[dict[str, object]]:
    return [{**line, **changes} if at == place else dict(line) for at, line in enumerate(GOOD)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "has 0 lines"),
        (GOOD[:3], "has 3 lines"),
        ([*GOOD[:3], GOOD[2]], "does not end"),
        (damaged(3, readings=3), "not whole"),
        (damaged(3, sha256="0" * 64), "not whole"),
        (damaged(3, energy_j="much"), "not whole"),
        (damaged(0, format="other"), "header"),
        (damaged(0, quantity="volume"), "header"),
        (damaged(0, channels=[]), "header"),
        (damaged(2, at_s=0.0), "no clock"),
        (damaged(2, at_s=-1.0), "no reading"),
        (damaged(2, values=[1.0, 2.0]), "one value a channel"),
        (damaged(2, values=[-1.0]), "below 0"),
        (damaged(2, values=[1e300]), "without end"),
        (damaged(2, values=["1"]), "no reading"),
        (damaged(3, energy_j=2.0), "says 2.0 J at its end, and its readings 1.0 J"),
        (damaged(3, energy_j=-7), "at its end"),
        (damaged(0, channels=[{"name": "a", "counted": False}]), "no channel that is counted"),
        (damaged(0, channels=[{"name": "a", "counted": True}] * 2), "a name of their own"),
        (damaged(0, channels=[{"name": "", "counted": True}]), "a name of their own"),
    ],
)
def test_a_log_that_is_damaged_or_goes_back_in_time_is_refused(
    tmp_path: Path, content: list[dict[str, object]], why: str
) -> None:
    path = written(tmp_path / "log.jsonl", content)
    with pytest.raises(DataError) as refused:
        Replay(path)
    assert refused.value.code == "power-log"
    assert why in refused.value.message


def test_a_count_that_goes_back_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    content = damaged(2, values=[0.5])
    content[0]["quantity"] = "energy"
    written(path, content)
    with pytest.raises(DataError, match="goes back"):
        Replay(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="has 1 lines"):
        Replay(path)
    path.write_bytes(b"\xff\xfe\x00\n" * 9)
    with pytest.raises(DataError, match="line 1 is not what was written"):
        Replay(path)
    with pytest.raises(DataError, match="cannot be read"):
        Replay(tmp_path / "none.jsonl")


def test_blank_lines_at_the_end_of_a_log_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path, GOOD)
    path.write_bytes(path.read_bytes() + b"\n\n")
    assert Recording.read(path).energy_j == 1.0


def test_no_changed_bit_of_a_log_is_taken_for_a_reading(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", [(0.0, 100.5), (1.0, 101.25), (2.5, 99.0)])
    assert verify(path) == 3
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place * 5 % 8
        path.write_bytes(changed)
        with pytest.raises(DataError) as refused:
            Recording.read(path)
        assert refused.value.code == "power-log"


@pytest.mark.parametrize("change", ["drop", "twice", "swap", "cut", "join", "other"])
def test_lines_that_are_whole_and_not_in_their_place_are_no_log(
    tmp_path: Path, change: str
) -> None:
    pairs = [(float(at), 100.0) for at in range(6)]
    path = write_log(tmp_path / "log.jsonl", pairs)
    other = write_log(tmp_path / "other.jsonl", [*pairs[:5], (5.0, 101.0)])
    kept = path.read_bytes().splitlines(keepends=True)
    rows = list(kept)
    match change:
        case "drop":
            del rows[3]
        case "twice":
            rows.insert(3, rows[3])
        case "swap":
            rows[2], rows[3] = rows[3], rows[2]
        case "cut":
            rows = rows[:-2]
        case "join":
            rows[1:3] = [rows[1].rstrip(b"\n") + rows[2]]
        case "other":
            rows[-2] = other.read_bytes().splitlines(keepends=True)[-2]
    path.write_bytes(b"".join(rows))
    with pytest.raises(DataError) as refused:
        verify(path)
    assert refused.value.code == "power-log"


def test_a_log_of_an_earlier_form_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    early = [{**HEADER, "format": "thorax power log 1"}, *GOOD[1:]]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in early), "utf-8")
    with pytest.raises(DataError, match=r"earlier Thorax.*record it anew"):
        Replay(path)
    assert HEADER["format"] == FORMAT


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "log.jsonl")
    return folder / "log.jsonl"


def test_a_log_that_is_no_file_is_neither_waited_for_nor_read_without_end(tmp_path: Path) -> None:
    for path in (_fifo(tmp_path), Path("/dev/zero"), tmp_path):
        with pytest.raises(DataError) as refused:
            Replay(path)
        assert refused.value.code == "power-log"
        assert "cannot be read" in refused.value.message


def test_one_log_has_one_writer_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    script = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from tests.power.meters import Source; from thorax.power.log import Log\n"
        "from thorax.power.sampler import Reading\n"
        "log = Log(Path(sys.argv[2]), Source(), 1.0)\n"
        "for at_s in range(5): log.add(Reading(float(at_s), (100.0,)))\n"
        "print('writing', flush=True); time.sleep(1000)\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", script, root, str(path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"writing\n"
        for name in ("log.jsonl", "link.jsonl"):
            other = tmp_path / name
            if name.startswith("link"):
                other.symlink_to(path)
            with pytest.raises(DataError) as refused:
                Log(other, Source(), 1.0)
            assert refused.value.code == "power-log-locked"
            assert f"process {holder.pid} on" in refused.value.message
        holder.kill()
    write_log(path, [(0.0, 1.0), (1.0, 1.0)])
    assert verify(path) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.jsonl", "log.jsonl"]


def test_a_log_keeps_the_mode_of_its_file_follows_links_and_writes_to_streams(
    tmp_path: Path,
) -> None:
    file, linked = tmp_path / "log.jsonl", tmp_path / "link.jsonl"
    file.write_text("old")
    file.chmod(0o640)
    linked.symlink_to(file)
    write_log(linked, [(0.0, 1.0), (1.0, 1.0)])
    assert linked.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert verify(file) == 2
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_log(pipe, [(0.0, 1.0), (1.0, 1.0)])
    received = os.read(reader, 1 << 20)
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert len(received.splitlines()) == 4
    (tmp_path / "copy.jsonl").write_bytes(received)
    assert verify(tmp_path / "copy.jsonl") == 2
    write_log(Path("/dev/null"), [(0.0, 1.0), (1.0, 1.0)])
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(UsageError) as refused:
        Log(pipe, Source(), 1.0)
    assert refused.value.code == "power-log-path"


def test_a_log_of_0_w_or_of_a_counter_that_stands_still_has_no_energy(tmp_path: Path) -> None:
    cases = [
        ("power", [(at, 0.0) for at in range(20)], "told 0 W"),
        ("energy", [(at, 5.0) for at in range(20)], "did not move"),
        ("energy", [(at, 3.6e3 * (at // 10)) for at in range(20)], "moved 1 times"),
    ]
    for kind, pairs, why in cases:
        quantity: Quantity = "power" if kind == "power" else "energy"
        log = write_log(tmp_path / "log.jsonl", [(float(a), b) for a, b in pairs], quantity)
        with pytest.raises(DataError, match=why):
            Recording.read(log).result("log.jsonl")
    # Between two readings of a counter that goes on its energy is interpolated.
    log = write_log(tmp_path / "log.jsonl", [(0.0, 0.0), (10.0, 1e3), (20.0, 2e3)], "energy")
    assert Recording.read(log).result("log.jsonl", 2.0, 3.0).energy_j == pytest.approx(100)


def test_a_log_in_the_place_of_a_folder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        Log(tmp_path, Source(), 1.0)
    assert refused.value.code == "power-log-path"
    assert not list(tmp_path.parent.glob(".*partial"))


def test_a_window_beyond_a_log_is_refused(tmp_path: Path) -> None:
    recording = Recording.read(write_log(tmp_path / "log.jsonl", [(0.0, 1.0), (9.0, 1.0)]))
    for begin_s, end_s in ((-1.0, 2.0), (1.0, 10.0), (5.0, 5.0), (6.0, 5.0)):
        with pytest.raises(DataError) as refused:
            recording.energy(begin_s, end_s)
        assert refused.value.code == "power-log-window"


@pytest.mark.parametrize(
    "spec",
    [
        "", "abacus", "rapl:0", "none:x", "redfish", "redfish:", "redfish:bmc", "redfish:ftp://bmc",
        "modelled", "replay:", "ipmi:", "ipmi:a b", "ipmi:-H", "ipmi:h:9x",
    ],
)  # fmt: skip
def test_what_is_no_meter_is_refused_with_what_is(spec: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_meter(spec)
    assert refused.value.code in ("power-meter", "power-spec")


@pytest.mark.parametrize(
    "spec",
    [
        "redfish:https://reader:s3cret@bmc.example", "redfish:https//reader:s3cret@bmc",
        "redfish:reader:s3cret@bmc", "Redfish:https://reader:s3cret@bmc", "ipmi:root:s3cret@bmc",
        "ipmi:lanplus://root:s3cret@bmc", "racadm:root:s3cret@idrac", "racadm:root:s3c@ret@idrac",
    ],
)  # fmt: skip
def test_a_password_in_an_address_is_refused_and_not_repeated(spec: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_meter(spec)
    assert refused.value.code == "power-password"
    assert "s3c" not in refused.value.message


def test_what_is_no_meter_is_repeated_by_its_name_alone() -> None:
    with pytest.raises(UsageError) as refused:
        open_meter("s3cret-free:x@s3cret")
    assert "@s3cret" not in refused.value.message


@pytest.mark.parametrize("spec", ["redfish:https://reader@bmc", "ipmi:reader@bmc"])
def test_a_user_without_a_password_is_refused_where_nobody_can_be_asked(spec: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_meter(spec)
    assert refused.value.code == "power-password"


def test_every_meter_without_an_address_is_tried_and_answers_or_says_why() -> None:
    meters = probe_meters().meters
    assert [meter.name for meter in meters] == list(HERE)
    for meter in meters:
        assert bool(meter.devices) is meter.available is (meter.problem is None)
    assert {spec.partition("[")[0].partition(":")[0] for spec in SPECS} > set(HERE)


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    problem = {meter.name: meter.problem for meter in probe_meters().meters}["nvml"]
    assert problem is not None
    assert problem.code == "extra-missing"


def test_a_program_is_given_no_input_and_its_output_is_read_whole() -> None:
    assert run([sys.executable, "-c", "print('x' * 100000)"]) == "x" * 100000 + "\n"
    assert run([sys.executable, "-c", "import sys; print(len(sys.stdin.read()))"]) == "0\n"


def test_fake_programs_are_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "ipmitool")
    assert (tmp_path / "bin" / "ipmitool").stat().st_mode & stat.S_IXUSR
