"""Claim: the demo ends within six minutes, its AUROC is 0.90 or more, INT8 costs 0.005 or less.

    python -m benchmarks.main_job --work FOLDER

Runs `thorax demo`, as `make demo` does, on a machine that nothing else uses, and keeps its figures:
elapsed time, AUROC by precision, what INT8 costs, and how often heat-map peaks lie in lesion boxes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import load
from benchmarks.harness.result import parse_args, table, write

GOALS: Final = {"elapsed_s": 360.0, "mean_auroc": 0.90, "int8_drop": 0.005}


def demo(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Run `thorax demo` and return what it answered, and what each precision validated as."""
    out = folder / "demo"
    subprocess.run([sys.executable, "-m", "thorax", "demo", "--out", str(out)], check=True)
    results = out / "results"
    answer: dict[str, Any] = json.loads((results / "demo.json").read_text("utf-8"))
    found = {
        path.stem.removeprefix("validate-"): json.loads(path.read_text("utf-8"))
        for path in sorted(results.glob("validate-*.json"))
    }
    return answer, found


def main() -> None:
    """Run the demo, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    chosen = parse_args(parser)
    watched = load.Watch("main_job", chosen.rehearsal)
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        answer, found = demo(Path(folder))
    document = {
        "elapsed_s": answer["elapsed_s"],
        "mean_auroc": {name: one["mean_auroc_interval"] for name, one in found.items()},
        "auroc": {name: one["auroc"] for name, one in found.items()},
        "int8_drop": answer["int8_drop"],
        "pointing": found["fp32"]["pointing"],
        "goals": GOALS,
        "load": watched.facts(),
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
    print("written:", write("main_job", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
