"""The whole sentence on phantoms: draw, train, compile, validate, classify, benchmark, report."""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from thorax.artifact import Artifact, Precision
from thorax.benchmark.scenarios import ScenarioOptions, benchmark
from thorax.cli import console
from thorax.data import folder, store
from thorax.data.check import check
from thorax.data.store import Store, open_store
from thorax.devices.core import supports
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import UsageError
from thorax.evaluate.baselines import baselines
from thorax.evaluate.validate import validate_each
from thorax.files.atomic import write_text
from thorax.images.preprocess import InputSpec
from thorax.inference.classify import ClassifyOptions, classify
from thorax.labels import INTENDED_USE, NIH14
from thorax.phantoms import dataset
from thorax.quantization.optimize import optimize
from thorax.report.baselines import verdict
from thorax.report.page import write_report
from thorax.report.text import rate_text
from thorax.results.demo import DemoResult
from thorax.results.schema import Result
from thorax.results.training import TrainResult
from thorax.training.fit import fit
from thorax.training.loop import Callbacks
from thorax.training.recipe import Recipe

COUNT: Final = 5000
SIDE: Final = 128
RECIPE: Final[Mapping[str, Any]] = {
    "network": {"topology": "resnet18", "output_stride": 16, "width": 0.25},
    "training": {"epochs": 22, "batch": 32, "precision": "auto"},
    "optimizer": {"kind": "adamw"},
    "schedule": {"kind": "cosine", "peak": 2e-3, "warmup_epochs": 0.5},
    "augmentation": {"flip": 0.5},
}
"""The same values as recipes/phantom_small.toml; a test compares them."""

EXAMPLES: Final = 12
BENCHMARK_S: Final = 4.0
_MARK: Final = "thorax-demo.json"

_Keep: TypeAlias = Callable[[str, Result], None]
"""Takes a result for the page, and writes it under a name."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made.

    Attributes:
        result: the page and the figures.
        artifact: the int8 artifact.
        examples: folder of the radiographs that were classified.
    """

    result: DemoResult
    artifact: Path
    examples: Path

    def summary(self) -> str:
        """Return the last words on a terminal."""
        return (
            f"\nmean AUROC {self.result.mean_auroc:.4f} on the test split, phantoms the network "
            f"never saw; fp32 minus int8, its drop: {self.result.int8_drop:+.4f}\n"
            f"int8: {rate_text(self.result.images_per_s)} images/s on this machine; "
            f"all of it took {self.result.elapsed_s:.0f} s\n\n"
            f"report: {self.result.report}   (open it in a browser; it needs no network)\n\n"
            "try next:\n"
            f"  thorax classify {self.artifact} {self.examples} --heatmaps maps\n"
            f"  thorax classify {self.artifact} YOUR_IMAGE.png -pc\n"
            f"  thorax benchmark {self.artifact} --scenario single-stream\n\n"
            f"{INTENDED_USE} This network has only seen drawings.\n"
        )


def make(out: Path, *, seed: int = 0) -> Demo:
    """Run the main job on synthetic radiographs and write everything below `out`.

    A folder that an earlier demo wrote is replaced.

    Raises:
        UsageError: `demo-folder` when `out` holds something else.
    """
    begin = time.perf_counter()
    _clear(out)
    results: list[Result] = []

    def keep(name: str, result: Result) -> None:
        results.append(result)
        console.save(result, out / "results" / f"{name}.json")

    data = _data(out, seed)
    with _stage("2. train a ResNet-18 of a quarter of the width"):
        keep("train", _train(data, out / "run", seed))
    with _stage("3. compile"):
        artifacts = _compile(out, data, keep)
    with _stage("4. validate on the test split"):
        auroc = _validate(artifacts, data, keep)
        _compare_with_baselines(data, out, keep)
    with _stage("5. classify"):
        examples = _examples(out, data)
        answers = classify(
            artifacts[Precision.INT8].path, [examples], ClassifyOptions(heatmaps=out / "heatmaps")
        )
        keep("classify", answers)
    with _stage("6. benchmark"):
        speed = _benchmark(artifacts, keep)
    with _stage("7. report"):
        report = write_report(results, out / "report.html", title="Thorax demo on phantoms")
    result = DemoResult(
        report=str(report),
        mean_auroc=auroc[Precision.FP32],
        int8_drop=auroc[Precision.FP32] - auroc[Precision.INT8],
        images_per_s=speed,
        elapsed_s=time.perf_counter() - begin,
    )
    console.save(result, out / "results" / "demo.json")
    return Demo(result, artifacts[Precision.INT8].path, examples)


@contextmanager
def _stage(title: str) -> Iterator[None]:
    console.say("")
    console.say(title)
    begin = time.perf_counter()
    yield
    console.say(f"   {time.perf_counter() - begin:.1f} s")


def _clear(out: Path) -> None:
    mine = (out / _MARK).is_file() or (out.is_dir() and not any(out.iterdir()))
    if out.exists() and not mine:
        raise UsageError(
            "demo-folder", f"{out} holds something that no demo wrote; give another --out"
        )
    if out.exists():
        shutil.rmtree(out)
    (out / "results").mkdir(parents=True)
    write_text(out / _MARK, '{\n  "command": "demo"\n}\n')


def _data(out: Path, seed: int) -> Store:
    with _stage(f"1. draw {COUNT:,} radiographs and import them"):
        images = out / "phantoms"
        with console.steps("drawing", COUNT) as tell:
            dataset.write(images, count=COUNT, side=SIDE, seed=seed, on_progress=tell)
        rows = folder.rows(images, labels=images / "labels.csv", boxes=images / "boxes.csv")
        store.write(rows, out / "store", InputSpec(SIDE), NIH14, source="phantom")
        data = open_store(out / "store")
        report = check(data)
        report.require_clean()
        splits = ", ".join(f"{count:,} {split}" for split, count in report.splits.items())
        console.say(f"   {len(data):,} images of {report.patients:,} patients: {splits}")
    return data


def _train(data: Store, run_folder: Path, seed: int) -> TrainResult:
    recipe = Recipe.model_validate(RECIPE)
    training = recipe.training.model_copy(update={"seed": seed})
    recipe = recipe.model_copy(update={"training": training})
    with console.training() as tell:
        return fit(recipe, data, run_folder, callbacks=Callbacks(on_progress=tell))


def _compile(out: Path, data: Store, keep: _Keep) -> dict[Precision, Artifact]:
    artifacts = {}
    for precision in (Precision.FP32, Precision.BF16, Precision.INT8):
        if not supports("CPU", precision):
            console.say(f"   {precision}: left out, this CPU does not compute it")
            continue
        made = optimize(out / "run", out / f"model-{precision}", precision, store=data)
        artifacts[precision] = made.artifact
        keep(f"optimize-{precision}", made.result)
        console.say(f"   {precision}: {made.artifact.card.size_bytes / 1e6:.1f} MB")
    return artifacts


def _validate(
    artifacts: Mapping[Precision, Artifact], data: Store, keep: _Keep
) -> dict[Precision, float]:
    means = {}
    engines = (compile_artifact(made, "CPU", hint="throughput") for made in artifacts.values())
    for precision, result in zip(artifacts, validate_each(engines, data), strict=True):
        keep(f"validate-{precision}", result)
        means[precision] = result.mean_auroc or math.nan
        console.say(f"   {precision}: mean AUROC {means[precision]:.4f}, {result.split} split")
    return means


def _compare_with_baselines(data: Store, out: Path, keep: _Keep) -> None:
    """Say how far simple features go, beside the network in FP32."""
    result = baselines(data, against=out / "results" / f"validate-{Precision.FP32}.json")
    keep("data-baseline", result)
    console.say(f"   {verdict(result)[0]}")


def _examples(out: Path, data: Store) -> Path:
    """Copy some radiographs of the test split: those with the most findings, then by order."""
    chosen = sorted(data.select("test"), key=lambda index: -int((data.labels[index] == 1).sum()))
    examples = out / "examples"
    examples.mkdir()
    for index in chosen[:EXAMPLES]:
        name = data.names[index]
        shutil.copyfile(out / "phantoms" / name, examples / name)
    return examples


def _benchmark(artifacts: Mapping[Precision, Artifact], keep: _Keep) -> float:
    speed = 0.0
    for precision, made in artifacts.items():
        engine = compile_artifact(made, "CPU", hint="throughput")
        result = benchmark(engine, ScenarioOptions("offline", BENCHMARK_S))
        keep(f"benchmark-{precision}", result)
        console.say(f"   {precision}: {rate_text(result.images_per_s)} images/s offline")
        speed = result.images_per_s
    engine = compile_artifact(artifacts[Precision.INT8], "CPU", hint="latency")
    result = benchmark(engine, ScenarioOptions("single-stream", BENCHMARK_S))
    keep("benchmark-int8-single-stream", result)
    return speed
