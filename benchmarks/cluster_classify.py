"""An archive on actors of one thread each against one process on as many threads.

    python -m benchmarks.cluster_classify --work FOLDER [--turns 6] [--count 512]

Both answer the same store into a fresh folder, by turns. Two ratios are told: of the whole run,
with the start of Ray and of its processes on one side and of an engine on the other, which is what
a user waits for; and of the steady state, over the later half of the shards. Their rows must be the
same bytes, and so must those of a run of which an actor was killed.

Workers of Ray end without a parent that waits for them: what they used is seen while they live
(`benchmarks.harness.load.Unwaited`) and but for their last moments counts as our own.
"""

import argparse
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.harness import load, result
from benchmarks.harness.side_by_side import (
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
    require_alike,
)
from benchmarks.subjects import make_artifact
from thorax import artifact
from thorax.artifact import Precision
from thorax.data import folder, store
from thorax.images.preprocess import InputSpec
from thorax.inference.archive import ArchiveOptions, classify_archive
from thorax.labels import NIH14
from thorax.phantoms import dataset
from thorax.results.findings import ClassifyResult

SIDE: Final = 64


def _steady_images_per_s(out: Path) -> float:
    """Return the rate over the later half of the shards, by their files.

    Processes and engines are there by then.
    """
    files = sorted(out.glob("shards/*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    half = len(files) // 2
    heads = (json.loads(path.read_bytes().partition(b"\n")[0]) for path in files[half:])
    images = sum(int(head["images"]) for head in heads)
    window_ns = files[-1].stat().st_mtime_ns - files[half - 1].stat().st_mtime_ns
    return float(images / (window_ns * 1e-9))


def _archive(
    model: Path, images: Path, out: Path, shard_size: int, actors: int | None
) -> ClassifyResult:
    return classify_archive(
        model,
        [images],
        out,
        ArchiveOptions(
            cluster=None if actors is None else "auto",
            actors=actors,
            threads=None if actors is None else 1,
            shard_size=shard_size,
            keep_all=False,
        ),
    )


class Archives:
    """Runs of both ways into folders of their own, whose rows must all be the same bytes."""

    def __init__(
        self, model: Path, images: Path, scratch: Path, shard_size: int, read: load.Read = load.read
    ) -> None:
        self._model, self._images, self._scratch, self._read = model, images, scratch, read
        self._shard_size, self._runs = shard_size, 0
        self._rows: bytes | None = None

    def run(self, actors: int | None) -> tuple[ClassifyResult, Turn]:
        """Answer all images into a new folder."""
        self._runs += 1
        out = self._scratch / f"run{self._runs}"
        begin, used_s = time.perf_counter(), self._read().own_s
        done = _archive(self._model, self._images, out, self._shard_size, actors)
        whole_s, cpu_s = time.perf_counter() - begin, self._read().own_s - used_s
        self.require_same_rows(out)
        steady = _steady_images_per_s(out)
        shutil.rmtree(out)
        return done, Turn(whole_s, cpu_s, done.images, {"steady_images_per_s": steady})

    def run_killed(self, actors: int) -> ClassifyResult:
        """Answer all images while an actor is killed."""
        out, ended = self._scratch / "killed", threading.Event()
        killer = threading.Thread(target=_kill_one, args=(out, ended))
        killer.start()
        try:
            done = _archive(self._model, self._images, out, self._shard_size, actors)
        finally:
            ended.set()
            killer.join()
        if done.cluster is None or not done.cluster.retries:
            raise SystemExit("cluster_classify: no actor was killed in time; give a larger --count")
        self.require_same_rows(out)
        return done

    def require_same_rows(self, out: Path) -> None:
        """Fail for rows that are not those of the runs before."""
        rows = (out / "results.jsonl").read_bytes()
        self._rows = self._rows or rows
        if rows != self._rows:
            raise SystemExit(f"cluster_classify: rows of {out.name} are not those of other runs")


def _kill_one(out: Path, ended: threading.Event) -> None:
    """Kill the actor that begins a shard after the first one is answered."""
    lines: list[str] = []
    while not ended.is_set():
        if list(out.glob("shards/??????.jsonl")):
            for begun in out.glob("shards/*.begun"):
                with suppress(FileNotFoundError):
                    lines = begun.read_text("ascii").splitlines()
                if lines and not begun.with_suffix(".jsonl").exists():
                    os.kill(json.loads(lines[0])["process"], signal.SIGKILL)
                    return
        time.sleep(0.005)


def _store(size: int, count: int, scratch: Path) -> Path:
    drawn = scratch / "drawn"
    dataset.write(drawn, count=count, side=size, seed=1)
    rows = folder.rows(drawn, labels=drawn / "labels.csv", boxes=drawn / "boxes.csv")
    store.write(rows, scratch / "store", InputSpec(size), NIH14, source="phantom")
    return scratch / "store"


def main() -> None:
    """Read argv and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument(
        "--store", type=result.filled_folder, help="of the model's size; default: phantoms"
    )
    parser.add_argument("--count", type=int, default=512, help="phantoms to draw")
    processors = int(result.hardware()["processors"])
    parser.add_argument("--actors", type=int, default=processors, help="default: a processor each")
    parser.add_argument("--shard-size", type=int, default=32)
    add_options(parser, turns=6, seconds=0)
    chosen = result.parse_args(parser)
    with load.Unwaited() as unwaited:
        _measure(chosen, processors, unwaited)


def _measure(chosen: argparse.Namespace, processors: int, unwaited: load.Unwaited) -> None:
    """Measure in turns, print and write."""
    bench = SideBySide("cluster_classify", read_options(chosen), read=unwaited.read)
    bench.require_quiet()
    (model,) = make_artifact.make(
        chosen.work / f"side-{SIDE}", "resnet50", side=SIDE, count=80, precisions=(Precision.FP32,)
    )
    loaded = artifact.load(model)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = chosen.store or _store(loaded.card.input.side, chosen.count, scratch)
        archives = Archives(model, images, scratch, chosen.shard_size, unwaited.read)
        settings = Settings(
            processors,
            loaded.card.precision.value,
            SIDE,
            f"a store, shards of {chosen.shard_size} images",
            process="shared",
        )
        split = replace(
            settings,
            threads=chosen.actors,
            process="own",
            more={"actors": chosen.actors, "threads_per_actor": 1},
        )
        sides = [
            Side("one_process", settings, lambda: archives.run(None)[1]),
            Side("actors", split, lambda: archives.run(chosen.actors)[1]),
        ]
        comparisons = _comparisons(chosen.actors)
        for one in comparisons:
            require_alike(one, {side.name: side for side in sides})
        done, _ = archives.run(None)
        archives.run(chosen.actors)
        bench.take_turns(sides)
        killed = archives.run_killed(chosen.actors)
    assert killed.cluster is not None
    document = {
        "device": done.device,
        "precision": done.precision,
        "source": "phantoms" if chosen.store is None else chosen.store.name,
        "images": done.images,
        "rows_identical": True,
        "killed": {"retries": killed.cluster.retries, "rows_identical": True},
    }
    bench.write(comparisons, document, packages=("thorax", "openvino", "ray", "numpy"))


def _comparisons(actors: int) -> list[Comparison]:
    told = {
        "images/s": ("images/s", "of the whole run, with the start of Ray and its processes"),
        "steady_images_per_s": (
            "images/s when all have started",
            "over the later half of the shards, when all processes have started",
        ),
    }
    return [
        Comparison(
            f"actors over one process, {label}",
            "actors",
            "one_process",
            f"Images a second {when}: {actors} actors of one thread over one process on as many.",
            differs=("process",),
            quantity=quantity,
            label=label,
        )
        for quantity, (label, when) in told.items()
    ]


if __name__ == "__main__":
    main()
