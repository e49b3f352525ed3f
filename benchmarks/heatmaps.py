"""Where heat maps point: as they are, finer, relative, beside points that need no network.

    python -m benchmarks.heatmaps --work FOLDER --data CHEST_XRAY_14

The pointing game of `thorax validate` on the test splits of the demo's drawings (5,000 of 128 x 128
pixels, seed 0) and of the development images of ChestX-ray14 at that side, official split, whose
boxes are of 57 lesions, 44 of them Pneumonia. The demo's network, a ResNet-18 of a quarter of the
width, is trained on each at output strides 16 and 32 and made an fp32 artifact with each kind of
map that `thorax optimize --heatmap` offers. What each costs is told in multiply-accumulates. Stores
and runs in the folder are not made again.
"""

import argparse
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.command import thorax
from benchmarks.harness.result import filled_folder, parse_args, table, write
from benchmarks.subjects import runs, tasks
from thorax.cli import demonstration

RECIPE: Final = Path(__file__).resolve().parents[1] / "recipes/phantom_small.toml"
MAPS: Final = ("cam", "fine", "relative")


def measured(work: Path, task: str, store: Path, stride: int) -> list[dict[str, Any]]:
    """Return pointing, AUROC and work of each kind of map of one network."""
    changes = {"network.output_stride": stride}
    run = runs.trained(work / f"run-{task}-{stride}", RECIPE, store, changes)
    rows = []
    for maps in MAPS:
        out = work / f"model-{task}-{stride}-{maps}"
        made = thorax("optimize", run, "--out", out, "--heatmap", maps, "--data", store)
        found = thorax("validate", out, store)
        rows.append(
            {
                "task": task,
                "output_stride": stride,
                "maps": maps,
                "mean_auroc": found["mean_auroc_interval"],
                "macs": made["macs"],
                "pointing_mean": found["pointing_mean"],
                "pointing": found["pointing"],
            }
        )
    return rows


def main() -> None:
    """Make what is absent, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=filled_folder, required=True, help="folder of ChestX-ray14")
    options = parse_args(parser)
    stores = {
        "drawings": tasks.drawings(options.work),
        "radiographs": tasks.boxed(options.work, options.data, demonstration.SIDE),
    }
    rows = [
        row
        for task, store in stores.items()
        for stride in (16, 32)
        for row in measured(options.work, task, store, stride)
    ]
    cells = [
        (
            f"{row['task']}, stride {row['output_stride']}, {row['maps']}",
            f"{row['mean_auroc']['value']:.4f}",
            f"{row['macs'] / 1e6:,.0f}",
            *(
                "-" if row["pointing_mean"][key] is None else f"{row['pointing_mean'][key]:.3f}"
                for key in ("rate", "random_rate", "fixed_rate")
            ),
        )
        for row in rows
    ]
    header = ("", "mean AUROC", "10^6 MACs", "hits", "random point", "fixed point")
    table("Pointing game on the test split, mean over findings", header, cells)
    document = {"images": demonstration.COUNT, "side": demonstration.SIDE, "rows": rows}
    print("written:", write("heatmaps", document, rehearsal=options.rehearsal))


if __name__ == "__main__":
    main()
