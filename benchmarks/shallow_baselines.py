"""How easy three tasks are: what regressions on simple features reach, and how long that takes.

    python -m benchmarks.shallow_baselines --work FOLDER --data KERMANY --nih CHEST_XRAY_14

`thorax data baseline` on the drawings of the demo (5,000 of 128 x 128 pixels, seed 0) and on the
radiographs of Kermany, Zhang and Goldbaum at 128 x 128, imported with two labels as docs/data.md
does, and on the development images of ChestX-ray14 at 64 x 64, official split. Stores in the folder
are not made again.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.command import thorax
from benchmarks.harness.result import filled_folder, parse_args, table, write
from benchmarks.subjects import tasks
from thorax.cli import demonstration


def stores(work: Path, data: Path, nih: Path) -> dict[str, Path]:
    """Return the stores by name, made where they are absent."""
    return {
        "drawings": tasks.drawings(work),
        "children": tasks.kermany(work, data, demonstration.SIDE).path,
        "radiographs": tasks.radiographs(work, nih).path,
    }


def measured(store: Path) -> dict[str, Any]:
    """Return the document of one store, and the seconds that the command took."""
    begin = time.perf_counter()
    document = thorax("data", "baseline", store)
    return {"elapsed_s": time.perf_counter() - begin, **document}


def main() -> None:
    """Make what is absent, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=filled_folder, required=True, help="folder with labels.csv")
    parser.add_argument("--nih", type=filled_folder, required=True, help="folder of ChestX-ray14")
    options = parse_args(parser)
    made = stores(options.work, options.data, options.nih)
    found = {name: measured(path) for name, path in made.items()}
    for name, document in found.items():
        findings = list(document["best"])
        rows = [
            (
                model["what"],
                f"{model['mean_auroc']['value']:.3f}",
                *(f"{model['auroc'][finding]['value']:.3f}" for finding in findings),
            )
            for model in document["models"]
        ]
        title = f"{name}: mean AUROC, by finding; {document['elapsed_s']:.1f} s"
        table(title, ("", "mean", *findings), rows)
    document = {"side": demonstration.SIDE, "tasks": found}
    print("written:", write("shallow_baselines", document, rehearsal=options.rehearsal))


if __name__ == "__main__":
    main()
