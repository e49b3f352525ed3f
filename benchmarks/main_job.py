"""Claim: the demo ends within six minutes, its AUROC is 0.90 or more, INT8 costs 0.005 or less.

    make demo && python -m benchmarks.main_job demo

Keeps the figures of a demo that was run: elapsed time, AUROC by precision, what INT8 costs, and how
often heat-map peaks lie in lesion boxes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.result import table, write


def main() -> None:
    """Write what a demo showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="folder that `thorax demo` wrote")
    results = parser.parse_args().demo / "results"
    answer: dict[str, Any] = json.loads((results / "demo.json").read_text())
    found = {
        path.stem.removeprefix("validate-"): json.loads(path.read_text())
        for path in sorted(results.glob("validate-*.json"))
    }
    document = {
        "elapsed_s": answer["elapsed_s"],
        "mean_auroc": {name: one["mean_auroc_interval"] for name, one in found.items()},
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
