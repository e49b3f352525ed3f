"""Claim: reading a power meter beside a measurement costs less than 1 % of its throughput.

One engine keeps all its streams busy, by turns alone and with a sampler beside it: RAPL (a tree of
files with two packages and their memory, read as sysfs is) every 100 and every 10 ms, and Redfish
every second from the emulator of sushy-tools, a process of its own on this computer. The ratio is
taken within each turn, and every turn begins with the next way. Beside the ratios, which have the
noise of the machine, stands the processor time of one reading, which has little: over the interval
and the processors it is the most that sampling can take.
`python -m benchmarks.power_sampling_cost ARTIFACT`
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import result
from thorax import artifact
from thorax.devices import timing
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.power.meter import Meter
from thorax.power.rapl import Rapl
from thorax.power.redfish import Redfish
from thorax.power.sampler import Sampler

GOAL: Final = 0.99
ALONE: Final = "alone"


@dataclass(frozen=True, slots=True)
class Way:
    """A meter beside the load, and how often it is asked."""

    meter: Meter
    interval_s: float


def zones(root: Path) -> Path:
    """Write the counters of two packages and their memory as Linux shows them."""
    for package in (0, 1):
        for zone, name in ((f"{package}", f"package-{package}"), (f"{package}:0", "dram")):
            folder = root / f"intel-rapl:{zone}"
            folder.mkdir(parents=True)
            for file, text in (
                ("name", name),
                ("energy_uj", "123456789"),
                ("max_energy_range_uj", "262143328850"),
            ):
                (folder / file).write_text(f"{text}\n", "ascii")
    return root


@contextmanager
def emulator(root: Path) -> Iterator[str]:
    """Run `sushy-static` on one chassis and yield its address."""
    chassis = "/redfish/v1/Chassis/1"
    tree: Mapping[str, Mapping[str, Any]] = {
        "": {"Chassis": {"@odata.id": "/redfish/v1/Chassis"}},
        "Chassis": {"Members": [{"@odata.id": chassis}]},
        "Chassis/1": {"Id": "1", "EnvironmentMetrics": {"@odata.id": f"{chassis}/Environment"}},
        "Chassis/1/Environment": {"PowerWatts": {"Reading": 344.0}},
    }
    for path, resource in tree.items():
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "index.json").write_text(json.dumps(resource), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("sushy-static")
    words = [str(program), "-i", "127.0.0.1", "-p", str(port), "-m", str(root)]
    peer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if peer.poll() is not None:
                    raise
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        peer.terminate()
        peer.wait()


def reading_s(meter: Meter, count: int = 100) -> float:
    """Return the processor time of one reading, seconds."""
    begin_s = time.process_time()
    for _ in range(count):
        meter.read()
    return (time.process_time() - begin_s) / count


def speed(engine: Engine, way: Way | None, window_s: float) -> float:
    """Return images per second, alone or with a sampler beside it."""
    with ExitStack() as stack:
        if way:
            stack.enter_context(Sampler(way.meter, way.interval_s))
        return timing.images_per_s(engine, window_s)


def main() -> None:
    """Read argv, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("-d", "--device", default="CPU")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    made = artifact.load(chosen.artifact)
    engine = compile_artifact(made, chosen.device, hint="throughput")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rapl = Rapl(zones(Path(folder) / "powercap"))
        url = stack.enter_context(emulator(Path(folder) / "redfish"))
        redfish = stack.enter_context(closing(Redfish(url)))
        ways: dict[str, Way | None] = {
            ALONE: None,
            "rapl every 100 ms": Way(rapl, 0.1),
            "rapl every 10 ms": Way(rapl, 0.01),
            "redfish every 1 s": Way(redfish, 1.0),
        }
        costs_s = {name: reading_s(way.meter) for name, way in ways.items() if way}
        names = list(ways)
        found: dict[str, list[float]] = {name: [] for name in names}
        timing.images_per_s(engine, timing.WARM_UP_S)
        for turn in range(chosen.turns):
            for place in range(len(names)):
                name = names[(place + turn) % len(names)]
                found[name].append(speed(engine, ways[name], chosen.seconds))
    rows, table = [], [[ALONE, f"{statistics.median(found[ALONE]):,.1f}", "1.000", "", ""]]
    processors = result.hardware()["processors"]
    for name, way in ways.items():
        if way is None:
            continue
        ratio = result.median_ratio(found[name], found[ALONE])
        share = costs_s[name] / way.interval_s / processors
        rows.append(
            {
                "way": name,
                "interval_s": way.interval_s,
                "images_per_s": found[name],
                "ratio": ratio,
                "processor_s_per_reading": costs_s[name],
                "share_of_processors": share,
                "reached": ratio >= GOAL,
            }
        )
        speeds = f"{statistics.median(found[name]):,.1f}"
        table.append([name, speeds, f"{ratio:.4f}", f"{costs_s[name] * 1e6:,.0f}", f"{share:.4%}"])
    header = ["", "images/s", "ratio", "us a reading", "of all processors"]
    result.table(f"{made.card.name}, {chosen.device}, goal {GOAL}", header, table)
    if chosen.keep:
        document = {
            "model": made.card.name,
            "side": made.card.input.side,
            "precision": made.card.precision.value,
            "device": chosen.device,
            "seconds": chosen.seconds,
            "turns": chosen.turns,
            "goal": GOAL,
            "alone_images_per_s": found[ALONE],
            "ways": rows,
        }
        print(result.write("power-sampling-cost", document))


if __name__ == "__main__":
    main()
