"""Make artifacts to time: longer training would change the weights and not the speed.

    python -m benchmarks.subjects.make_artifact FOLDER

Phantoms at 224 pixels, one short epoch, then fp32 and int8: it leaves FOLDER/resnet50-fp32,
FOLDER/resnet50-int8 and the store they came from.
"""

import argparse
import shutil
from pathlib import Path

from benchmarks.harness import result
from thorax.artifact import Precision
from thorax.data import folder, store
from thorax.files.atomic import write_text
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14
from thorax.phantoms import dataset
from thorax.quantization.optimize import optimize
from thorax.training.fit import fit
from thorax.training.optimizers import Sgd
from thorax.training.recipe import Network, Recipe, Training
from thorax.training.schedules import Cosine


def make(
    out: Path, topology: str, *, side: int, count: int, precisions: tuple[Precision, ...]
) -> list[Path]:
    """Return the artifacts `out`/`topology`-`precision`; those that this commit made stay.

    Args:
        out: folder, made if absent.
        topology: as `thorax.training.networks.TOPOLOGIES`.
        side: of the network's input, pixels.
        count: phantoms to train and calibrate on, 60 or more.
        precisions: of the artifacts.
    """
    images, data, run = out / "phantoms", out / f"store-{side}", out / f"run-{topology}-{side}"
    _begin(out)
    if not data.exists():
        dataset.write(images, count=count, side=side, seed=0)
        rows = folder.rows(
            images, labels=images / "labels.csv", boxes=images / "boxes.csv", on_skip=print
        )
        store.write(rows, data, InputSpec(side), NIH14, source="phantoms")
    opened = store.open_store(data)
    recipe = Recipe(
        network=Network.model_validate({"topology": topology}),
        training=Training(epochs=1, batch=8),
        optimizer=Sgd(kind="sgd"),
        schedule=Cosine(kind="cosine", peak=0.01),
    )
    made = [(out / f"{topology}-{precision}", precision) for precision in precisions]
    if not all(path.exists() for path, _ in made):
        trained = fit(recipe, opened, run, resume=run.exists())
        for path, precision in made:
            optimize(trained.checkpoint, path, precision, store=opened)
    return [path for path, _ in made]


def _begin(out: Path) -> None:
    """Make the folder; empty it where another commit filled it, whose graphs may be others.

    Raises:
        SystemExit: something else is in it.
    """
    mark, own = out / "made_at_commit", result.commit()
    if out.exists() and any(out.iterdir()):
        if not mark.is_file():
            raise SystemExit(f"{out} was not made by this script; use a new folder")
        if mark.read_text("utf-8") != own:
            shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    write_text(mark, own)


def main() -> None:
    """Read argv, make, and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for everything, outside the repository")
    parser.add_argument("--topology", default="resnet50")
    parser.add_argument("--side", type=int, default=224, help="input side, pixels")
    parser.add_argument("--count", type=int, default=80, help="phantoms")
    parser.add_argument(
        "--precision", nargs="+", default=[Precision.FP32, Precision.INT8], type=Precision
    )
    chosen = parser.parse_args()
    result.make_folder(parser, chosen.out)
    for path in make(
        chosen.out,
        chosen.topology,
        side=chosen.side,
        count=chosen.count,
        precisions=tuple(chosen.precision),
    ):
        print(path)


if __name__ == "__main__":
    main()
