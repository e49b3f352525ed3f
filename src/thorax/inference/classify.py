"""Files and folders to findings: what `thorax classify` runs."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from thorax import artifact
from thorax.artifact import Artifact, Card
from thorax.devices import counters
from thorax.devices.describe import Setting, describe, find_setting
from thorax.devices.engine import Engine, Hint
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.forecast import count_rows, forecast_engine
from thorax.errors import DataError, UsageError
from thorax.files.outputs import require_apart
from thorax.inference.findings import (
    Memory,
    findings_of,
    open_csv,
    read_of,
)
from thorax.inference.heatmap_folder import HeatmapFolder
from thorax.inference.heatmap_picture import COLOUR_MAPS
from thorax.inference.predictor import Prediction, Predictor
from thorax.inference.sources import PassedOver, Source, find_sources
from thorax.labels import INTENDED_USE
from thorax.results.findings import SHOWN, ClassifyResult, Findings, LayerCost

OnProgress = Callable[[int], None]
"""Called with how many more images are answered."""


@dataclass(frozen=True, slots=True)
class ClassifyOptions:
    """How radiographs are classified, and what is written of it.

    Attributes:
        device: as `thorax.devices.engine.compile` takes it.
        counters: measure every layer; steps of a simulated card are modelled.
        layers: with `counters`, add the modelled time of each layer of a card.
        heatmaps: folder to draw evidence in.
        colours: of the evidence, one of `thorax.inference.heatmap_picture.COLOUR_MAPS`.
        csv: file to write findings to.
        requests: how many to keep in flight from one thread; None lets as many threads as there
            are streams ask.
        tuned: use the streams and the batch that `thorax tune` stored in the card, if
            it was on this device and hardware.
        keep_all: keep the findings of all files, not of the first hundred.
        identities: tell attributes of the patients too.
        follow_links: go into folders that are linked to.

    Raises:
        UsageError: `heatmap-colours`.
    """

    device: str = "CPU"
    counters: bool = False
    layers: bool = False
    heatmaps: Path | None = None
    colours: str = "inferno"
    csv: Path | None = None
    requests: int | None = None
    tuned: bool = True
    keep_all: bool = True
    identities: bool = False
    follow_links: bool = False

    def __post_init__(self) -> None:
        if self.colours not in COLOUR_MAPS:
            raise UsageError(
                "heatmap-colours",
                f"colours are {self.colours!r}; allowed are {', '.join(COLOUR_MAPS)}",
            )


@dataclass(slots=True)
class Tally:
    """What became of files.

    `images` are files answered, of which `failed` could not be read; `window_s` is wall clock from
    the first file to the last answer, seconds; `warnings` are images by the code of a warning.
    """

    images: int = 0
    failed: int = 0
    window_s: float = 0.0
    warnings: Counter[str] = field(default_factory=Counter)

    def count(self, images: int, failed: int) -> None:
        """Take in files that were answered."""
        self.images += images
        self.failed += failed

    def take(self, findings: Findings) -> None:
        """Take in the findings of one file."""
        self.count(1, findings.error is not None)
        count_warnings(self.warnings, findings)

    @property
    def images_per_s(self) -> float:
        """Files answered with findings / window; a refusal costs next to nothing."""
        return (self.images - self.failed) / self.window_s if self.window_s else 0.0


def classify(
    model: Path,
    inputs: Sequence[Path],
    options: ClassifyOptions = ClassifyOptions(),
    *,
    on_progress: OnProgress | None = None,
) -> ClassifyResult:
    """Run every file named, and every image in every folder named, through an artifact.

    Memory grows with the number of files only where all findings are kept. The model is an artifact
    folder, inputs are files, folders of them, and stores; `on_progress` is called with 1 for each
    file that is answered.

    Raises:
        DataError: `inputs-empty` when there is no file at all.
        ModelError, DeviceError: as `thorax.artifact.load` and `thorax.devices.engine.compile`.
        UsageError: `heatmap-absent` when the network has no heat map, or `output-unwritable`.
    """
    loaded = artifact.load(model)
    if options.heatmaps is not None and loaded.card.heatmap is None:
        raise UsageError(
            "heatmap-absent",
            f"{model} has no heat map: no logits of a pooled linear head are known",
        )
    side, follow_links = loaded.card.input.side, options.follow_links
    files, passed_over = list_sources(inputs, side, follow_links=follow_links)
    require_apart(options.csv, *read_of(model, files))
    folder = options.heatmaps
    heatmaps = HeatmapFolder.open(folder, loaded.card, options.colours) if folder else None
    memory = Memory(None if options.keep_all else SHOWN)
    with open_csv(options.csv, loaded.card.labels, identities=options.identities) as tables:
        engine, setting = _compile(loaded, len(files), options)
        tally, begin = Tally(), time.perf_counter()
        for findings in _answers(engine, files, options, heatmaps):
            for sink in (*tables, memory.write):
                sink(findings)
            tally.take(findings)
            if on_progress:
                on_progress(1)
        tally.window_s = time.perf_counter() - begin
    return ClassifyResult(
        **dict(describe(engine)),
        streams=engine.streams,
        batch=engine.batch,
        tuned=setting.tuning is not None,
        tuned_because=setting.reason,
        images=tally.images,
        failed=tally.failed,
        passed_over=tuple(passed_over.names),
        passed_over_reasons=dict(passed_over.reasons),
        warnings=dict(tally.warnings),
        operating_points=dict(loaded.card.thresholds or {}),
        window_s=tally.window_s,
        images_per_s=tally.images_per_s,
        modelled=forecast_engine(engine),
        cluster=None,
        results=tuple(memory.findings),
        counters=layer_costs(count_rows(engine, layers=options.layers)) if options.counters else (),
        intended_use=INTENDED_USE,
    )


def _answers(
    engine: Engine,
    files: Sequence[Source],
    options: ClassifyOptions,
    heatmaps: HeatmapFolder | None,
) -> Iterator[Findings]:
    predictor = Predictor(engine, profile=options.counters, identities=options.identities)
    predictions: Iterable[Prediction]
    if options.requests is not None:
        predictions = predictor.stream_async(files, requests=options.requests)
    elif len(files) == 1:
        predictions = [predictor.predict_file(files[0])]
    else:
        predictions = predictor.stream(files)
    for number, prediction in enumerate(predictions):
        findings = findings_of(prediction, engine)
        yield findings if heatmaps is None else heatmaps.draw(prediction, findings, number)


def count_warnings(warnings: Counter[str], findings: Findings) -> None:
    """Count an image under the code of each of its warnings."""
    warnings.update({warning.code for warning in findings.warnings})


def list_sources(
    inputs: Sequence[Path], side: int, *, follow_links: bool = False
) -> tuple[list[Source], PassedOver]:
    """Return all radiographs of inputs, and the files of folders and archives that are none.

    Raises:
        DataError: `inputs-empty`.
    """
    passed_over = PassedOver()
    sources = list(find_sources(inputs, side, passed_over, follow_links=follow_links))
    if not sources:
        others = f"; {passed_over.text()} were passed over" if passed_over.names else ""
        raise DataError("inputs-empty", f"no radiograph in {', '.join(map(str, inputs))}{others}")
    return sources, passed_over


def layer_costs(counters: Iterable[counters.Counter]) -> tuple[LayerCost, ...]:
    """Return counters of one image as a result has them."""
    return tuple(
        LayerCost.read(
            {
                **asdict(counter),
                "layer": counter.name,
                "real_ms": counter.real_s * 1e3,
                "cpu_ms": counter.cpu_s * 1e3,
            }
        )
        for counter in counters
    )


def _compile(loaded: Artifact, files: int, options: ClassifyOptions) -> tuple[Engine, Setting]:
    # One file is answered soonest by all processors together, many by one stream each.
    hint: Hint = "latency" if files == 1 else "throughput"
    setting = _setting(loaded.card, files, options)
    engine = compile_artifact(
        loaded,
        options.device,
        hint=hint,
        streams=setting.tuning.streams if setting.tuning else None,
        batch=setting.tuning.batch if setting.tuning else 1,
        counters=options.counters,
    )
    return engine, setting


def _setting(card: Card, files: int, options: ClassifyOptions) -> Setting:
    if not options.tuned:
        return Setting(None, "--no-tuned")
    if options.requests is not None:
        return Setting(None, "--async says how many are in flight")
    if files == 1:
        return Setting(None, "one file is answered soonest by all processors")
    return find_setting(card, options.device)
