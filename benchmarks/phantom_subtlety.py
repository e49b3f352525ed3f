"""Claim: phantoms are learned by a network, told by no global statistic, and graded by subtlety.

    python -m benchmarks.phantom_subtlety --work FOLDER [--images 1200]

The network is that of `thorax demo`, which is run where the folder does not hold it yet, and what
needs no network is told by `thorax data baseline` on the same store. The network is then asked
phantoms that it has not seen, of one subtlety after the other and otherwise alike. Writes the
result and docs/figures/phantom_subtlety.svg.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from benchmarks.nih_main_job import thorax
from benchmarks.result import table, write
from thorax import artifact
from thorax.cli import demonstration
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.labels import NIH14
from thorax.metrics import bootstrap_auroc
from thorax.phantoms.phantom import draw
from thorax.phantoms.sampling import SUBTLETY
from thorax.phantoms.style import Style
from thorax.report.figure import write_figure

FIGURE: Final = Path(__file__).resolve().parents[1] / "docs/figures/phantom_subtlety.svg"
LEVELS: Final = tuple(round(0.1 * step, 1) for step in range(11))
SEED: Final = 97
"""Of the phantoms that are asked; the network has seen those of seed 0."""
STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "thorax",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}

DRAWN: Final = {"block_deviations": ("#d55e00", "--"), "statistics": ("#009e73", ":")}
"""Baselines of the figure, with colour and dashes."""


def asked(engine: Engine, level: float, images: int) -> dict[str, Any]:
    """Return AUROC of the network on phantoms of one subtlety."""
    style = Style(subtlety=(level, level))
    labels = np.zeros((images, len(NIH14)), np.int8)
    scores = np.zeros((images, len(NIH14)))
    patients = []
    for index in range(images):
        phantom = draw(SEED, index, side=demonstration.SIDE, style=style)
        labels[index] = NIH14.row(phantom.findings)
        scores[index] = engine.infer(phantom.pixels[None, None]).probability[0]
        patients.append(phantom.patient)
    areas = bootstrap_auroc(labels, scores, patients)
    mean = areas.mean
    return {
        "subtlety": level,
        "mean_auroc": mean.value,
        "low": mean.low,
        "high": mean.high,
        "auroc": dict(zip(NIH14.findings, (a.value for a in areas.labels), strict=True)),
    }


def figure(rows: list[dict[str, Any]], models: Sequence[Mapping[str, Any]]) -> Figure:
    """Return mean AUROC against subtlety, every finding's behind it, and baselines as levels."""
    drawn = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = drawn.subplots()
    x = [row["subtlety"] for row in rows]
    for name in NIH14.findings:
        axes.plot(x, [row["auroc"][name] for row in rows], color="#b0b0b0", lw=0.8)
    axes.plot([], [], color="#b0b0b0", lw=0.8, label="each finding")
    axes.fill_between(x, [r["low"] for r in rows], [r["high"] for r in rows], alpha=0.25)
    axes.plot(x, [row["mean_auroc"] for row in rows], "o-", color="#0072b2", label="mean of 14")
    for model in models:
        if model["name"] in DRAWN:
            colour, dash = DRAWN[model["name"]]
            level, name = model["mean_auroc"]["value"], model["what"]
            axes.axhline(level, color=colour, ls=dash, lw=1.2, label=f"{name}, usual phantoms")
    axes.axvspan(*SUBTLETY, color="#000000", alpha=0.05, label="usual range")
    axes.set(
        xlabel="subtlety (0 plain, 1 faintest)",
        ylabel="AUROC (0.5 = chance)",
        ylim=(0.45, 1.01),
    )
    axes.legend(loc="lower left", fontsize=7.5)
    return drawn


def main() -> None:
    """Read argv, train or take a network, ask it and the baselines, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1200, help="phantoms of each subtlety")
    chosen = parser.parse_args()
    demo = chosen.work / "demo"
    if not (demo / "results" / "demo.json").exists():
        demonstration.make(demo)
    easy = thorax("data", "baseline", demo / "store")
    model = demo / "model-fp32"
    engine = compile_artifact(artifact.load(model), "CPU")
    test = thorax("validate", model, demo / "store")
    rows = [asked(engine, level, chosen.images) for level in LEVELS]
    shown = [(f"{r['subtlety']:.1f}", f"{r['mean_auroc']:.3f}") for r in rows]
    table("mean AUROC of the network by subtlety", ("Subtlety", "AUROC"), shown)
    document = {
        "images_a_level": chosen.images,
        "network": {"mean_auroc": test["mean_auroc"], "auroc": test["auroc"]},
        "models": easy["models"],
        "levels": rows,
    }
    write_figure(lambda: figure(rows, easy["models"]), FIGURE, STYLE)
    print(write("phantom_subtlety", document))


if __name__ == "__main__":
    main()
