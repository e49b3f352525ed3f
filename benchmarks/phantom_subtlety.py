"""Claim: phantoms are learned by a network, told by no global statistic, and graded by subtlety.

    python -m benchmarks.phantom_subtlety --work FOLDER [--images 1200]

The network is that of `thorax demo`, which is run where the folder does not hold it yet, and what
needs no network is told by `thorax data baseline` on the same store. The network is then asked
phantoms that it has not seen, of one subtlety after the other and otherwise alike. Writes the
result and docs/figures/phantom_subtlety.svg.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness.command import thorax
from benchmarks.harness.result import figures_folder, parse_args, table, write
from thorax import artifact
from thorax.cli import demonstration
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.labels import NIH14, plain_name
from thorax.metrics import bootstrap_auroc
from thorax.phantoms.phantom import draw
from thorax.phantoms.sampling import SUBTLETY
from thorax.phantoms.style import Style
from thorax.report.figure import ON_WHITE, WIDTH, note, write_figure
from thorax.report.series import COLOURS, INK

LEVELS: Final = tuple(round(0.1 * step, 1) for step in range(11))
SEED: Final = 97
"""Of the phantoms that are asked; the network has seen those of seed 0."""
STYLE: Final[dict[Any, Any]] = {**ON_WHITE, "axes.grid": True}
_BETWEEN: Final = 0.02
"""AUROC that names beside the lines are apart at least."""

DRAWN: Final = {"block_deviations": (COLOURS[2], "--"), "statistics": (COLOURS[3], ":")}
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
    drawn = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    axes = drawn.subplots()
    x = [row["subtlety"] for row in rows]
    for name in NIH14.findings:
        axes.plot(x, [row["auroc"][name] for row in rows], color=INK, lw=0.8)
    axes.plot([], [], color=INK, lw=0.8, label="each finding")
    lows, highs = [row["low"] for row in rows], [row["high"] for row in rows]
    axes.fill_between(x, lows, highs, color=COLOURS[0], alpha=0.25, lw=0)
    axes.plot(x, [row["mean_auroc"] for row in rows], "o-", color=COLOURS[0], label="mean of 14")
    for model in models:
        if model["name"] in DRAWN:
            colour, dash = DRAWN[model["name"]]
            level, name = model["mean_auroc"]["value"], model["what"]
            axes.axhline(level, color=colour, ls=dash, lw=1.2, label=f"{name}, usual phantoms")
    axes.axvspan(*SUBTLETY, color=INK, alpha=0.1, lw=0, label="usual range")
    axes.set(
        xlabel="Subtlety, 0 plain to 1 faintest",
        ylabel="AUROC, 0.5 is chance",
        xlim=(min(x), max(x)),
        ylim=(0.45, 1.01),
    )
    name_lines(axes, rows[-1])
    drawn.legend(loc="outside lower center", ncols=2)
    return drawn


def name_lines(axes: Axes, last: Mapping[str, Any]) -> None:
    """Write the name of each finding beside the end of its line, with room between the names."""
    ends = {plain_name(name): last["auroc"][name] for name in NIH14.findings}
    ends["mean of 14"] = last["mean_auroc"]
    names = sorted(ends, key=ends.__getitem__)
    places = [ends[name] for name in names]
    for _ in range(200):
        for low, high in pairwise(range(len(places))):
            lack = _BETWEEN - (places[high] - places[low])
            if lack > 0:
                places[low] -= lack / 2
                places[high] += lack / 2
    at = last["subtlety"]
    for name, place in zip(names, places, strict=True):
        weight = "bold" if name == "mean of 14" else "normal"
        axes.plot([at, at + 0.02], [ends[name], place], color=INK, lw=0.6, clip_on=False)
        note(
            axes, f"{name} {ends[name]:.2f}", (at + 0.025, place), (0, 0), va="center",
            fontsize=8, weight=weight, annotation_clip=False,
        )  # fmt: skip


def main() -> None:
    """Read argv, train or take a network, ask it and the baselines, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1200, help="phantoms of each subtlety")
    chosen = parse_args(parser)
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
    picture = figures_folder(chosen.rehearsal) / "phantom_subtlety.svg"
    write_figure(lambda: figure(rows, easy["models"]), picture, STYLE)
    print("written:", write("phantom_subtlety", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
