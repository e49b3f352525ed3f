"""Claim: `thorax benchmark` offline runs at 0.97 or more of OpenVINO's own benchmark_app.

Both read the same model.xml, in processes of their own, with the same device, precision and hint,
by turns: thorax, benchmark_app, thorax, ... The ratio is taken within each turn, and every other
turn begins with the other one. `python -m benchmarks.offline_against_benchmark_app ARTIFACT...`
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import result
from thorax import artifact
from thorax.artifact import Artifact

GOAL: Final = 0.97


@dataclass(frozen=True, slots=True)
class Turn:
    """Images per second of one program in one turn, and how many inferences ran side by side."""

    images_per_s: float
    requests: int


def thorax(made: Artifact, device: str, seconds: float) -> Turn:
    """Time `thorax benchmark`."""
    words = ["-m", "thorax", "benchmark", str(made.path), "-d", device, "--scenario", "offline"]
    ran = subprocess.run(
        [sys.executable, *words, "--duration", str(seconds), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(ran.stdout)
    return Turn(float(found["images_per_s"]), int(found["streams"]))


def benchmark_app(made: Artifact, device: str, duration_s: float) -> Turn:
    """Time OpenVINO's program on the same graph, at the same precision."""
    program = Path(sys.executable).with_name("benchmark_app")
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", str(made.xml), "-d", device, "-hint", "throughput", "-t", f"{duration_s:g}"]
        words += ["-infer_precision", made.card.precision.compute]
        words += ["-json_stats", "-report_type", "no_counters", "-report_folder", folder]
        subprocess.run([str(program), *words], check=True, capture_output=True)
        report = json.loads((Path(folder) / "benchmark_report.json").read_text("utf-8"))
    found = report["execution_results"]
    setup = report["configuration_setup"]
    seconds = float(found["total execution time (ms)"]) / 1e3
    images = int(found["total number of iterations"]) * int(setup["batch size"])
    return Turn(images / seconds, int(setup["number of parallel infer requests"]))


def compare(made: Artifact, device: str, *, turns: int, seconds: float) -> dict[str, Any]:
    """Return both programs' speeds, turn by turn, and the median of their ratios."""
    ours, theirs = [], []
    for turn in range(turns):
        if turn % 2:
            theirs.append(benchmark_app(made, device, seconds))
            ours.append(thorax(made, device, seconds))
        else:
            ours.append(thorax(made, device, seconds))
            theirs.append(benchmark_app(made, device, seconds))
    mine = [one.images_per_s for one in ours]
    peers = [one.images_per_s for one in theirs]
    ratio = result.median_ratio(mine, peers)
    return {
        "model": made.card.name,
        "side": made.card.input.side,
        "device": device,
        "precision": made.card.precision.value,
        "thorax_images_per_s": mine,
        "benchmark_app_images_per_s": peers,
        "thorax_requests": ours[0].requests,
        "benchmark_app_requests": theirs[0].requests,
        "ratio": ratio,
        "goal": GOAL,
        "reached": ratio >= GOAL,
    }


def main() -> None:
    """Read argv, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path, nargs="+")
    parser.add_argument("-d", "--device", default="CPU")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    chosen = parser.parse_args()
    rows = [
        compare(artifact.load(path), chosen.device, turns=chosen.turns, seconds=chosen.seconds)
        for path in chosen.artifact
    ]
    written = result.write(
        "offline-against-benchmark-app",
        {"seconds": chosen.seconds, "turns": chosen.turns, "models": rows},
    )
    table = []
    for row in rows:
        speeds = [row["thorax_images_per_s"], row["benchmark_app_images_per_s"]]
        medians = [f"{statistics.median(speed):,.1f}" for speed in speeds]
        table.append([str(row["model"]), *medians, f"{row['ratio']:.3f}"])
    header = ["images/s, medians", "thorax", "benchmark_app", "median ratio"]
    result.table(f"offline, {chosen.device}, goal {GOAL}", header, table)
    print(written)


if __name__ == "__main__":
    main()
