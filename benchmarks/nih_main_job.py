"""The main job on real radiographs: import, check, train, compile, validate, classify.

    python -m benchmarks.nih_main_job --data ../shared/data --work FOLDER [--set training.epochs=5]

Types the commands of the README on the 1,285 development images of ChestX-ray14 with the official
split, then classifies the raw 1024 x 1024 PNGs and the DICOM chests. A small, weak network: the
figures show that the way works, not how good it can be. A run in the folder is resumed.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.harness.command import thorax
from benchmarks.harness.result import filled_folder, parse_args, table, write

RECIPE = Path(__file__).resolve().parents[1] / "recipes/nih14_resnet18_256.toml"


def classified(document: dict[str, Any]) -> dict[str, Any]:
    """Return how many files were answered, and every refusal."""
    rows = document["results"]
    return {
        "files": len(rows),
        "with_findings": sum(row["error"] is None for row in rows),
        "heatmaps": sum(len(row.get("heatmaps", {})) for row in rows),
        "refused": {Path(row["image"]).name: row["error"]["code"] for row in rows if row["error"]},
        "images_per_s": document["images_per_s"],
    }


def main() -> None:
    """Run all steps and write what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=filled_folder, required=True, help="folder with nih/ and dicom/"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for store, run, models")
    parser.add_argument("--set", action="append", default=[], help="as in `thorax train`")
    options = parse_args(parser)
    nih, work = options.data / "nih", options.work
    store, run = work / "store", work / "run"
    imported = thorax(
        *("data", "import", "nih", nih / "images-256", "--out", store),
        *("--labels", nih / "Data_Entry_2017_v2020.csv.gz"),
        *("--split", nih / "official_split.csv.gz", "--boxes", nih / "BBox_List_2017.csv.gz"),
    )
    checked = thorax("data", "check", store)
    changes = [word for change in options.set for word in ("--set", change)]
    resume = ["--resume"] if run.exists() else []
    trained = thorax("train", RECIPE, "--data", store, "--out", run, *changes, *resume)
    made, found = {}, {}
    for precision in ("fp32", "int8"):
        model = work / f"model-{precision}"
        made[precision] = thorax(
            "optimize", run, "--out", model, "--precision", precision, "--data", store
        )
        against = ["--against", work / "model-fp32"] if precision == "int8" else []
        found[precision] = thorax("validate", model, store, *against)
    model = work / "model-int8"
    pngs = thorax("classify", model, nih / "images-1024", "--heatmaps", work / "maps")
    dicom = thorax(
        *("classify", model, options.data / "dicom/chest", "--heatmaps", work / "maps-dicom"),
        allowed=(0, 3),
    )
    document = {
        "import": {key: imported[key] for key in ("images", "patients")}
        | {"skipped": len(imported["skipped"])},
        "check": {key: checked[key] for key in ("clean", "splits", "leaks")}
        | {"duplicates": len(checked["duplicates"])},
        "train": {key: trained[key] for key in ("topology", "steps", "images_per_s", "mean_auroc")}
        | {"changes": options.set, "epochs": len(trained["history"])},
        "size_bytes": {name: one["size_bytes"] for name, one in made.items()},
        "mean_auroc": {name: one["mean_auroc_interval"] for name, one in found.items()},
        "auroc": {name: one["auroc"] for name, one in found.items()},
        "int8_difference": found["int8"]["against"][0]["mean_difference"],
        "classify_png_1024": classified(pngs),
        "classify_dicom_chest": classified(dicom),
    }
    rows = [
        (
            name,
            str(row["positives"]),
            *(
                f"{one['auroc'][name]['value']:.3f} "
                f"[{one['auroc'][name]['low']:.2f}, {one['auroc'][name]['high']:.2f}]"
                for one in found.values()
            ),
        )
        for name, row in found["fp32"]["auroc"].items()
    ]
    table("Test split, official", ("Finding", "Positives", "fp32", "int8"), rows)
    print(json.dumps({key: document[key] for key in document if "classify" in key}, indent=2))
    print("written:", write("nih_main_job", document, rehearsal=options.rehearsal))


if __name__ == "__main__":
    main()
