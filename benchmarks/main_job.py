"""Claim: the demo ends within six minutes, its AUROC is 0.90 or more, INT8 costs 0.005 or less.

    python -m benchmarks.main_job [--seed 0]

Runs `thorax demo` as a person would and keeps its figures: elapsed time, AUROC by precision, what
INT8 costs, and how often heat-map peaks lie in lesion boxes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.result import table, write


def main() -> None:
    """Run the demo and write what it showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of phantoms and training")
    seed = str(parser.parse_args().seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        command = [sys.executable, "-m", "thorax", "demo", "--out", str(out), "--seed", seed]
        run = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, check=True)
        answer: dict[str, Any] = json.loads(run.stdout)
        found = {
            path.stem.removeprefix("validate-"): json.loads(path.read_text())
            for path in sorted((out / "results").glob("validate-*.json"))
        }
    document = {
        "seed": int(seed),
        "elapsed_s": answer["elapsed_s"],
        "mean_auroc": {name: one["mean_auroc"] for name, one in found.items()},
        "auroc": {name: one["auroc"] for name, one in found.items()},
        "int8_drop": answer["int8_drop"],
        "pointing": found["fp32"]["pointing"],
    }
    rows = [
        (
            name,
            f"{row['value']:.3f}",
            f"{found['int8']['auroc'][name]['value']:.3f}",
            f"{found['fp32']['pointing'][name]['rate']:.0%}",
        )
        for name, row in found["fp32"]["auroc"].items()
    ]
    table("The main job on phantoms", ("Finding", "fp32", "int8", "Peak in box"), rows)
    print(f"{answer['elapsed_s']:.0f} s; INT8 costs {answer['int8_drop']:+.4f}")
    print(write("main_job", document))


if __name__ == "__main__":
    main()
