"""The official-style recipe on the real development images: train, compile, validate on test.

    python -m benchmarks.nih_official_recipe --work FOLDER --data ../shared/data/nih

`recipes/nih14_densenet121_official.toml` as it is, but for what 1,530 images of 64 x 64 pixels and
two cores ask for (`CHANGES`), and from random weights, because none can be had here. The split is
the official one, patient-disjoint. It shows that the way works, not how good a network can be. A
finished run in the folder is not trained again.
"""

import argparse
from pathlib import Path

from benchmarks.harness.command import thorax
from benchmarks.harness.result import filled_folder, parse_args, table, write
from benchmarks.subjects import tasks
from thorax.training.card import newest, read_card, resolve

RECIPE = Path(__file__).resolve().parents[1] / "recipes/nih14_densenet121_official.toml"
CHANGES = {
    "training.epochs": 10,
    "training.batch": 64,
    "training.workers": 1,
    "training.threads": 1,
    "schedule.base_per_256": 4e-3,
}
"""Peak 1e-3 as there at 1,024: weights that begin at random need it, and updates are few."""


def main() -> None:
    """Run all steps and write what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for store, run and model")
    parser.add_argument(
        "--data", type=filled_folder, required=True, help="folder of the NIH images"
    )
    options = parse_args(parser)
    store = tasks.radiographs(options.work, options.data)
    run, model = options.work / "run", options.work / "model-fp32"
    if newest(run) is None:
        changes = [word for key, value in CHANGES.items() for word in ("--set", f"{key}={value}")]
        thorax("train", RECIPE, "--data", store.path, "--out", run, *changes)
    if not model.exists():
        thorax("optimize", run, "--out", model, "--precision", "fp32", "--data", store.path)
    found = thorax("validate", model, store.path)
    card = read_card(resolve(run))
    path = write(
        "nih_official_recipe",
        {
            "changes": CHANGES,
            "init": card.init,
            "split": {name: len(store.select(name)) for name in ("train", "val", "test")},
            "epoch": card.epoch,
            "schedule": card.schedule,
            "history": card.history,
            **{key: found[key] for key in ("mean_auroc", "mean_auroc_interval", "auroc")},
        },
        rehearsal=options.rehearsal,
    )
    rows = [
        (name, f"{one['positives']}", f"{one['value']:.3f}", f"{one['low']:.3f}-{one['high']:.3f}")
        for name, one in found["auroc"].items()
    ]
    mean = found["mean_auroc_interval"]
    rows.append(("mean", "", f"{mean['value']:.3f}", f"{mean['low']:.3f}-{mean['high']:.3f}"))
    table("ChestX-ray14, 498 test images", ("finding", "positives", "AUROC", "95 %"), rows)
    print("written:", path)


if __name__ == "__main__":
    main()
