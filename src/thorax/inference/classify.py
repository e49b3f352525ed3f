"""Files and folders to findings: what `thorax classify` runs."""

import functools
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from thorax import artifact
from thorax.artifact import INTENDED_USE, Card
from thorax.benchmark.run import describe
from thorax.devices.counters import Counter, lines
from thorax.devices.engine import Hint
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.forecast import count_rows, forecast_engine
from thorax.devices.settings import Setting, find_setting
from thorax.errors import DataError, UsageError
from thorax.files.atomic import require_place, sha256, sweep_folder, write_bytes
from thorax.inference.findings import csv_writer, read_of, require_apart, to_row, writing
from thorax.inference.heatmap import COLOUR_MAPS, overlay
from thorax.inference.predictor import Prediction, Predictor, find_sources
from thorax.labels import plain_name

_NO_NAME: Final = frozenset('/\\:*?"<>|')
"""What no name of a file may hold on one system or another."""
SHOWN: Final = 100
"""Rows of the table for people; JSON and CSV have all."""
_STEM: Final = 80
"""Bytes of the name of an image, and of a label, in that of its picture: file systems allow 255 in
all, of which 33 are for what stands around it while it is written."""


@dataclass(slots=True)
class Classification:
    """Answers for a set of files.

    Attributes:
        engine: what a document says of the engine.
        images: files answered, those with an error too.
        failed: files that could not be read.
        window_s: wall clock from the first file to the last answer, seconds.
        rows: one JSON object a file, in order; the first hundred unless all were asked for.
        counters: mean cost of each layer, and of each step of a card, with `counters`.
        modelled: what simulated cards would do, as `thorax.devices.card_model` has it.
        cluster: who answered the shards of an archive; None where there are none.
        answered: of an archive, images answered with findings in this run; the others were there.
        passed_over: files of the folders that are no images by name and content.
    """

    engine: dict[str, Any]
    images: int = 0
    failed: int = 0
    window_s: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    counters: list[Counter] = field(default_factory=list)
    modelled: dict[str, Any] | None = None
    cluster: dict[str, Any] | None = None
    answered: int = 0
    passed_over: tuple[str, ...] = ()

    @property
    def images_per_s(self) -> float | None:
        """Files answered with findings / wall-clock window; a refusal costs next to nothing.

        None where all was answered before, which leaves nothing to be timed.
        """
        if self.cluster is not None and not self.answered:
            return None
        answered = self.images - self.failed if self.cluster is None else self.answered
        return answered / self.window_s if self.window_s else 0.0

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `thorax classify`."""
        return {
            "command": "classify",
            **self.engine,
            "images": self.images,
            "failed": self.failed,
            "passed_over": list(self.passed_over),
            "window_s": self.window_s,
            "images_per_s": self.images_per_s,
            "modelled": self.modelled,
            "cluster": self.cluster,
            "results": self.rows,
            "counters": [
                {
                    "layer": counter.name,
                    "type": counter.type,
                    "kernel": counter.kernel,
                    "status": counter.status,
                    "real_ms": counter.real_s * 1e3,
                    "cpu_ms": counter.cpu_s * 1e3,
                    "subgraph": counter.subgraph,
                    "device": counter.device,
                    "part_of": counter.part_of,
                    "member": counter.member,
                    "origin": counter.origin,
                }
                for counter in self.counters
            ],
            "intended_use": INTENDED_USE,
        }

    def lines(self) -> list[str]:
        """Return the counters as the samples of 2018 printed them."""
        return lines(self.counters) if self.counters else []


def classify(
    model: Path,
    inputs: Sequence[Path],
    *,
    device: str = "CPU",
    counters: bool = False,
    layers: bool = False,
    heatmaps: Path | None = None,
    colours: str = "inferno",
    csv_path: Path | None = None,
    requests: int | None = None,
    tuned: bool = True,
    keep_all: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> Classification:
    """Run every file named, and every image in every folder named, through an artifact.

    Memory does not grow with the number of files unless `keep_all` keeps their answers. With
    `requests`, so many are kept in flight from one thread; the answers are the same.

    Args:
        model: artifact folder.
        inputs: files, folders of them, and stores.
        device: as `thorax.devices.engine.compile` takes it.
        counters: measure every layer; steps of a simulated card are modelled.
        layers: with `counters`, add the modelled time of each layer of a card.
        heatmaps: folder to draw evidence in.
        colours: of the evidence.
        csv_path: file to write findings to.
        requests: how many to keep in flight from one thread; None lets as many threads as there
            are streams ask.
        tuned: use the streams and the batch that `thorax benchmark --tune` stored in the card, if
            it was on this device and hardware.
        keep_all: keep the answers of all files, not of the first hundred.
        on_progress: called with 1 for each file that is answered.

    Raises:
        DataError: `inputs-empty` when there is no file at all.
        ModelError, DeviceError: as `thorax.artifact.load` and `thorax.devices.engine.compile`.
        UsageError: `heatmap-colours`, `heatmap-absent` when the network has no heat map, or
            `output-unwritable`.
    """
    if colours not in COLOUR_MAPS:
        raise UsageError(
            "heatmap-colours", f"colours are {colours!r}; allowed are {', '.join(COLOUR_MAPS)}"
        )
    loaded = artifact.load(model)
    if heatmaps is not None and loaded.card.heatmap is None:
        raise UsageError(
            "heatmap-absent", f"{model} has no heat map: its network has no pooled linear head"
        )
    passed_over: list[Path] = []
    files = list(find_sources(inputs, loaded.card.input.side, passed_over))
    if not files:
        raise nothing_in(inputs)
    require_apart(csv_path, *read_of(model, files))
    if heatmaps is not None:
        with writing(heatmaps):
            heatmaps.mkdir(parents=True, exist_ok=True)
            require_place(heatmaps / "000000.png")
            sweep_folder(heatmaps)
    with csv_writer(csv_path, loaded.card) as write:
        # One file is answered soonest by all processors together, many by one stream each.
        hint: Hint = "latency" if len(files) == 1 else "throughput"
        setting = _setting(loaded.card, device, len(files), requests, tuned=tuned)
        engine = compile_artifact(
            loaded,
            device,
            hint=hint,
            streams=setting.tuning.streams if setting.tuning else None,
            batch=setting.tuning.batch if setting.tuning else 1,
            counters=counters,
        )
        predictor = Predictor(engine, profile=counters)
        result = Classification(
            {
                **describe(engine),
                "streams": engine.streams,
                "batch": engine.batch,
                "tuned": setting.tuning is not None,
                "tuned_because": setting.reason,
            },
            passed_over=tuple(map(str, passed_over)),
        )
        begin = time.perf_counter()
        if requests is not None:
            answers = predictor.stream_async(files, requests=requests)
        elif len(files) == 1:
            answers = iter([predictor.predict_file(files[0])])
        else:
            answers = predictor.stream(files)
        for prediction in answers:
            row = to_row(prediction, engine)
            if heatmaps is not None and prediction.error is None:
                drawn = _draw(prediction, loaded.card, heatmaps, result.images, colours)
                row["heatmaps"] = {name: str(path) for name, path in drawn.items()}
                row["heatmaps_sha256"] = {name: sha256(path) for name, path in drawn.items()}
            write(row)
            result.images += 1
            result.failed += prediction.error is not None
            if keep_all or len(result.rows) < SHOWN:
                result.rows.append(row)
            if on_progress:
                on_progress(1)
        result.window_s = time.perf_counter() - begin
    result.counters = count_rows(engine, layers=layers) if counters else []
    found = forecast_engine(engine)
    result.modelled = found.result().model_dump(mode="json") if found else None
    return result


def _setting(card: Card, device: str, files: int, requests: int | None, *, tuned: bool) -> Setting:
    if not tuned:
        return Setting(None, "--no-tuned")
    if requests is not None:
        return Setting(None, "--async says how many are in flight")
    if files == 1:
        return Setting(None, "one file is answered soonest by all processors")
    return find_setting(card, device)


def nothing_in(inputs: Sequence[Path]) -> DataError:
    """Return the error of inputs among which there is no radiograph."""
    return DataError("inputs-empty", f"no PNG, JPEG or DICOM file in {', '.join(map(str, inputs))}")


def _draw(
    prediction: Prediction, card: Card, folder: Path, number: int, colours: str
) -> dict[str, Path]:
    """Write one picture for each positive finding, or for the likeliest when none is."""
    assert prediction.heatmap is not None
    assert prediction.prepared is not None
    assert card.heatmap is not None
    likeliest = max(prediction.findings, key=prediction.findings.__getitem__)
    names = prediction.positive or (likeliest,)
    written = {}
    for name in names:
        title = f"{plain_name(name)}  {prediction.findings[name]:.2f}"
        if not prediction.positive:
            title += (
                "  (likeliest; below its operating point)" if card.thresholds else "  (likeliest)"
            )
        picture = overlay(
            prediction.prepared[0],
            prediction.heatmap[card.labels.index(name)],
            card.heatmap,
            title=title,
            colours=colours,
        )
        stem = _file_part(Path(prediction.image).stem)
        path = folder / f"{number:06d}_{stem}_{_label_parts(card.labels)[name]}.png"
        with writing(path):
            encoded = np.asarray(cv2.imencode(".png", picture)[1]).tobytes()
            write_bytes(path, encoded, swept=True)
        written[name] = path
    return written


@functools.lru_cache(maxsize=8)
def _label_parts(labels: tuple[str, ...]) -> dict[str, str]:
    """Return what stands for each label in the name of a file; no two of them are the same."""
    parts: dict[str, str] = {}
    taken: set[str] = set()
    for number, label in enumerate(labels):
        part = _file_part(label)
        # There are file systems for which `mass` and `Mass` are one name.
        while part.casefold() in taken:
            part = f"{part}-{number}"
        taken.add(part.casefold())
        parts[label] = part
    return parts


def _file_part(text: str) -> str:
    """Return text as a part of a file's name: nothing that leads elsewhere or is no letter."""
    plain = "".join(
        letter if letter.isprintable() and letter not in _NO_NAME else "_"
        for letter in unicodedata.normalize("NFC", text)
    )
    return plain.encode()[:_STEM].decode(errors="ignore")
