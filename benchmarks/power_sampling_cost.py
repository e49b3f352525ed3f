"""Claim: the sampler of power meters costs less than 1 % of the throughput beside it.

    python -m benchmarks.power_sampling_cost --work FOLDER [--turns 12] [--seconds 3]

One engine keeps all its streams busy, by turns alone and with a sampler beside it. The meters are
stand-ins: of RAPL a tree of text files with two packages and their memory, on a disk and not in
sysfs, whose counters the kernel would read from the processor; of Redfish the emulator of
sushy-tools, a process on this computer that takes processor time from it, and no BMC behind a
network. So these are the costs of Thorax's own part and of reading such files and answers, and not
those of a real meter. Beside the ratios, which have the noise of the machine, stands the processor
time of one reading, which has little: over the interval and the processors it is the most that
sampling can take.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import result
from benchmarks.harness.side_by_side import (
    Bound,
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
from benchmarks.subjects import make_artifact
from thorax import artifact
from thorax.artifact import Precision
from thorax.devices import timing
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.power.meter import Meter
from thorax.power.rapl import Rapl
from thorax.power.redfish import Redfish
from thorax.power.sampler import Sampler

GOAL: Final = 0.99
ALONE: Final = "alone"
SIDE: Final = 224
STAND_INS: Final = {
    "rapl": "four zones of RAPL as text files on a disk",
    "redfish": "an emulator of Redfish on this computer",
}
"""What is read in place of each meter."""


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
    program = [sys.executable, "-c", "from sushy_tools.static.main import main; main()"]
    words = [*program, "-i", "127.0.0.1", "-p", str(port), "-m", str(root)]
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


def speed(engine: Engine, way: Way | None, window_s: float) -> Turn:
    """Return one turn, alone or with a sampler beside it."""
    with ExitStack() as stack:
        if way:
            stack.enter_context(Sampler(way.meter, way.interval_s))
        used = time.process_time()
        load = timing.keep_busy(engine, [timing.noise_batch(1, SIDE)], window_s)
        return Turn(load.window_s, time.process_time() - used, load.inferences)


def main() -> None:
    """Read argv, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    add_options(parser, turns=12, seconds=3)
    chosen = result.parse_args(parser)
    bench = SideBySide("power_sampling_cost", read_options(chosen))
    bench.require_quiet()
    (path,) = make_artifact.make(
        chosen.work / f"side-{SIDE}", "resnet50", side=SIDE, count=80, precisions=(Precision.FP32,)
    )
    engine = compile_artifact(artifact.load(path), "CPU", hint="throughput")
    processors = int(result.hardware()["processors"])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rapl = Rapl(zones(Path(folder) / "powercap"))
        url = stack.enter_context(emulator(Path(folder) / "redfish"))
        redfish = stack.enter_context(closing(Redfish(url)))
        ways: dict[str, Way | None] = {
            ALONE: None,
            "rapl_100_ms": Way(rapl, 0.1),
            "rapl_10_ms": Way(rapl, 0.01),
            "redfish_1_s": Way(redfish, 1.0),
        }
        costs_s = {name: reading_s(way.meter) for name, way in ways.items() if way}
        timing.images_per_s(engine, timing.WARM_UP_S)
        settings = Settings(
            processors,
            engine.precision.value,
            SIDE,
            "uint8 tensor that stays",
            process="shared",
            more={"streams": engine.streams},
        )
        bench.take_turns(
            [
                Side(name, settings, lambda way=way: speed(engine, way, chosen.seconds))  # type: ignore[misc]
                for name, way in ways.items()
            ]
        )
    rows = {
        name: {
            "stand_in": STAND_INS[name.partition("_")[0]],
            "interval_s": way.interval_s,
            "processor_s_per_reading": costs_s[name],
            "share_of_processors": costs_s[name] / way.interval_s / processors,
        }
        for name, way in ways.items()
        if way
    }
    for name, row in rows.items():
        print(f"{name}: {row['processor_s_per_reading']:.2e} s of one processor a reading")
    bench.write([_comparison(name) for name in rows], {"meters": rows})


def _comparison(name: str) -> Comparison:
    meter = STAND_INS[name.partition("_")[0]]
    return Comparison(
        f"{name} over alone",
        name,
        ALONE,
        f"Images a second with a sampler beside the engine that reads {meter}, over those without.",
        bound=Bound(1.0, "sampling takes time and gives none"),
        goal=GOAL,
    )


if __name__ == "__main__":
    main()
