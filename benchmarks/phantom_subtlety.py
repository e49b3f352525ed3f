"""Claim: phantoms are learned by a network, told by no global statistic, and graded by subtlety.

    python -m benchmarks.phantom_subtlety --work FOLDER [--images 1200]

The network is that of `thorax demo`, which is run where the folder does not hold it yet.
Baselines are logistic regressions on the same training split, whose L2 is chosen on the validation
split: 16 x 16 block means with and without block deviations, whole-image statistics (mean,
deviation, percentiles, a histogram of 32 bins) and the border's pixels. The network is then asked
phantoms that it has not seen, of one subtlety after the other and otherwise alike. Writes the
result and docs/figures/phantom_subtlety.svg.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from benchmarks.nih_main_job import thorax
from benchmarks.result import table, write
from thorax import artifact
from thorax.cli import demonstration
from thorax.data.store import Store, open_store
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.labels import NIH14
from thorax.metrics import auroc, bootstrap_auroc
from thorax.phantoms.dataset import Style, draw
from thorax.phantoms.sampling import SUBTLETY
from thorax.report.figure import write_figure

FIGURE: Final = Path(__file__).resolve().parents[1] / "docs/figures/phantom_subtlety.svg"
LEVELS: Final = tuple(round(0.1 * step, 1) for step in range(11))
SEED: Final = 97
"""Of the phantoms that are asked; the network has seen those of seed 0."""
SHRINKAGES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
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

Features = npt.NDArray[np.float32]


def features(pixels: npt.NDArray[np.uint8]) -> dict[str, Features]:
    """Return float32 [N, F] by baseline of images uint8 [N, S, S], S a multiple of 16."""
    count, side, _ = pixels.shape
    blocks = pixels.reshape(count, 16, side // 16, 16, side // 16).astype(np.float32)
    means = blocks.mean((2, 4)).reshape(count, -1)
    deviations = blocks.std((2, 4)).reshape(count, -1)
    flat = pixels.reshape(count, -1)
    whole = np.column_stack(
        (
            *(f(flat, axis=1) for f in (np.mean, np.std, np.min, np.max)),
            np.percentile(flat, (1, 5, 10, 25, 50, 75, 90, 95, 99), axis=1).T,
            np.stack([np.bincount(row // 8, minlength=32) for row in flat]),
        )
    )
    border = (pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1])
    return {
        "block means": means,
        "block means and deviations": np.concatenate((means, deviations), axis=1),
        "whole-image statistics": whole.astype(np.float32),
        "border pixels": np.concatenate(border, axis=1).astype(np.float32),
        "file order": np.arange(count, dtype=np.float32)[:, None],
    }


def baseline(found: Features, labels: npt.NDArray[np.int8], store: Store) -> list[float]:
    """Return the AUROC of each finding on the test split, of a logistic regression."""
    train, val, test = (store.select(split) for split in ("train", "val", "test"))
    x = torch.from_numpy((found - found[train].mean(0)) / (found[train].std(0) + 1e-6))
    y = torch.from_numpy(labels.astype(np.float32))
    chosen = np.full((2, len(NIH14)), -1.0)
    for shrinkage in SHRINKAGES:
        weights = torch.zeros(x.shape[1], len(NIH14), requires_grad=True)
        bias = torch.zeros(len(NIH14), requires_grad=True)
        solver = torch.optim.LBFGS([weights, bias], max_iter=80, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            solver.zero_grad()  # noqa: B023 - called within this turn
            logits = x[train] @ weights + bias  # noqa: B023
            fit = torch.nn.functional.binary_cross_entropy_with_logits(logits, y[train])
            total = fit * len(NIH14) + shrinkage * weights.square().sum()  # noqa: B023
            total.backward()  # type: ignore[no-untyped-call]
            return total

        solver.step(loss)  # type: ignore[no-untyped-call]
        scores = (x @ weights + bias).detach().numpy().astype(np.float64)
        areas = np.stack([auroc(labels[part], scores[part]) for part in (val, test)])
        better = areas[0] > chosen[0]
        chosen[:, better] = areas[:, better]
    return [float(area) for area in chosen[1]]


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


def figure(rows: list[dict[str, Any]], told: Mapping[str, list[float]]) -> Figure:
    """Return mean AUROC against subtlety, every finding's behind it, and baselines as levels."""
    drawn = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = drawn.subplots()
    x = [row["subtlety"] for row in rows]
    for name in NIH14.findings:
        axes.plot(x, [row["auroc"][name] for row in rows], color="#b0b0b0", lw=0.8)
    axes.plot([], [], color="#b0b0b0", lw=0.8, label="each finding")
    axes.fill_between(x, [r["low"] for r in rows], [r["high"] for r in rows], alpha=0.25)
    axes.plot(x, [row["mean_auroc"] for row in rows], "o-", color="#0072b2", label="mean of 14")
    for (name, colour), dash in zip(
        (("block means and deviations", "#d55e00"), ("whole-image statistics", "#009e73")),
        ("--", ":"),
        strict=True,
    ):
        level = float(np.mean(told[name]))
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
    store = open_store(demo / "store")
    pixels = np.stack([store.images[index] for index in range(len(store))])
    told = {name: baseline(found, store.labels, store) for name, found in features(pixels).items()}
    model = demo / "model-fp32"
    engine = compile_artifact(artifact.load(model), "CPU")
    test = thorax("validate", model, demo / "store")
    rows = [asked(engine, level, chosen.images) for level in LEVELS]
    shown = [(f"{r['subtlety']:.1f}", f"{r['mean_auroc']:.3f}") for r in rows]
    table("mean AUROC of the network by subtlety", ("Subtlety", "AUROC"), shown)
    table(
        "mean AUROC without looking at structure",
        ("Baseline", "AUROC"),
        [(name, f"{np.mean(areas):.3f}") for name, areas in told.items()],
    )
    document = {
        "images_a_level": chosen.images,
        "network": {"mean_auroc": test["mean_auroc"], "auroc": test["auroc"]},
        "baselines": {
            name: {
                "mean_auroc": float(np.mean(areas)),
                "auroc": dict(zip(NIH14.findings, areas, strict=True)),
            }
            for name, areas in told.items()
        },
        "levels": rows,
    }
    write_figure(lambda: figure(rows, told), FIGURE, STYLE)
    print(f"written: benchmarks/results/{write('phantom_subtlety', document).name}")


if __name__ == "__main__":
    main()
