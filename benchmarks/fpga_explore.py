"""Claim: what falling precision leaves of two networks, and what it would bring, side by side.

    python -m benchmarks.fpga_explore STORE ARTIFACT... [--side 224]

Each artifact (fp32) goes through `thorax fpga explore`: AUROC on the validation split of the store
is computed with the overlay's arithmetic, speed, area and power are modelled, with --side for
images of another side than the network was trained on. Plots go to docs/figures. The networks of
docs/fpga.md are those that benchmarks.precision_cost trains on phantoms.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness.result import figures_folder, filled_folder, parse_args, table, write
from thorax.files.atomic import write_bytes


def explore(artifact: Path, store: Path, side: int | None, figures: Path) -> dict[str, Any]:
    """Return the document of one network; its plot goes into a folder."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        words = ["fpga", "explore", artifact, "--data", store, "--out", out]
        words += [] if side is None else ["--side", side]
        command = [sys.executable, "-m", "thorax", *map(str, words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads((out / "explore.json").read_text("utf-8"))
        network = found["model"].partition("-")[0]
        plot = figures / f"fpga_explore_{network}_{found['modelled_side']}px.svg"
        write_bytes(plot, (out / "explore.svg").read_bytes())
    return found


def main() -> None:
    """Explore every artifact, and leave all documents in one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=filled_folder)
    parser.add_argument("artifacts", type=filled_folder, nargs="+")
    parser.add_argument("--side", type=int)
    given = parse_args(parser)
    figures = figures_folder(given.rehearsal)
    documents = [
        explore(artifact, given.store, given.side, figures) for artifact in given.artifacts
    ]
    for document in documents:
        table(
            f"{document['model']}, AUROC computed, images/s/W modelled",
            ("precision", "mean AUROC", "AUROC drop", "images/s/W"),
            [
                (
                    one["name"],
                    f"{one['mean_auroc']['value']:.4f}",
                    f"{0.0 - one['mean_difference']['value']:+.4f}",
                    f"{one['modelled']['images_per_s_per_w']:.2f}",
                )
                for one in document["variants"]
            ],
        )
    side = documents[0]["modelled_side"]
    whole = {"documents": documents}
    print("written:", write(f"fpga_explore_{side}px", whole, rehearsal=given.rehearsal))


if __name__ == "__main__":
    main()
