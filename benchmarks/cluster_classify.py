"""An archive on two actors of one thread each against one process of two streams.

Both answer the same store into a fresh folder, by turns. Their rows must be the same bytes, and so
must those of a run of which an actor was killed: this is checked in every turn, the speed compared
over all of them. The rate of the actors is told with and without the start of their processes.
"""

import argparse
import json
import os
import signal
import statistics
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import result
from thorax import artifact
from thorax.data import folder, store
from thorax.images.preprocess import InputSpec
from thorax.inference.archive import ArchiveOptions, classify_archive
from thorax.labels import NIH14
from thorax.phantoms import dataset
from thorax.results.findings import ClassifyResult


def _steady_images_per_s(out: Path, ways: int) -> float:
    """Return the rate between the first shard of the slowest way and the end, by the files.

    Processes and engines are there by then.
    """
    files = sorted(out.glob("shards/*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    later = files[ways:]
    images = sum(json.loads(path.open("rb").readline())["images"] for path in later)
    window_ns = files[-1].stat().st_mtime_ns - files[ways - 1].stat().st_mtime_ns
    return images / (window_ns * 1e-9)


def _run(
    model: Path, images: Path, out: Path, shard_size: int, actors: int | None
) -> tuple[ClassifyResult, dict[str, float], bytes]:
    begin = time.perf_counter()
    done = classify_archive(
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
    rates = {
        "images_per_s": done.images_per_s,
        "steady_images_per_s": _steady_images_per_s(out, actors or 1),
        "whole_s": time.perf_counter() - begin,
    }
    return done, rates, (out / "results.jsonl").read_bytes()


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
    rows = folder.rows(drawn, labels=drawn / "labels.csv")
    store.write(rows, scratch / "store", InputSpec(size), NIH14, source="phantom")
    return scratch / "store"


def main() -> None:
    """Read argv, measure in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="artifact")
    parser.add_argument("--store", type=Path, help="of the model's size; default: phantoms")
    parser.add_argument("--count", type=int, default=1285, help="phantoms to draw")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=64)
    chosen = parser.parse_args()
    loaded = artifact.load(chosen.model)
    turns: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = chosen.store or _store(loaded.card.input.side, chosen.count, scratch)
        for number in range(chosen.turns):
            told = (chosen.model, images)
            one, single, wanted = _run(*told, scratch / f"one{number}", chosen.shard_size, None)
            _, several, found = _run(
                *told, scratch / f"several{number}", chosen.shard_size, chosen.actors
            )
            assert found == wanted, "the rows of the actors are not those of one process"
            turns.append({"one_process": single, "actors": several})
            ratio = several["steady_images_per_s"] / single["steady_images_per_s"]
            print(f"turn {number + 1}: actors / one process {ratio:.3f}", flush=True)
        out, ended = scratch / "killed", threading.Event()
        killer = threading.Thread(target=_kill_one, args=(out, ended))
        killer.start()
        killed, killed_rates, found = _run(*told, out, chosen.shard_size, chosen.actors)
        ended.set()
        killer.join()
        assert found == wanted, "a killed actor changed the rows"
    assert killed.cluster is not None
    medians = {
        way: {key: statistics.median(turn[way][key] for turn in turns) for key in single}
        for way in ("one_process", "actors")
    }
    ratio = result.median_ratio(
        [turn["actors"]["steady_images_per_s"] for turn in turns],
        [turn["one_process"]["steady_images_per_s"] for turn in turns],
    )
    result.table(
        f"{loaded.card.name}, {one.images} images, {chosen.turns} turns (medians)",
        ("Way", "images/s", "with start", "whole run, s"),
        [
            (
                label,
                f"{medians[way]['steady_images_per_s']:.1f}",
                f"{medians[way]['images_per_s']:.1f}",
                f"{medians[way]['whole_s']:.1f}",
            )
            for label, way in (
                ("one process", "one_process"),
                (f"{chosen.actors} actors of 1 thread", "actors"),
            )
        ],
    )
    print(f"actors / one process: {ratio:.3f}")
    print(f"rows the same bytes in all runs; {killed.cluster['retries']} shard begun again")
    document = {
        **one.engine,
        "source": "phantoms" if chosen.store is None else chosen.store.name,
        "images": one.images,
        "shard_size": chosen.shard_size,
        "actors": chosen.actors,
        "threads_per_actor": 1,
        "ratio": ratio,
        "median": medians,
        "turns": turns,
        "rows_identical": True,
        "killed": {**killed_rates, "retries": killed.cluster["retries"], "rows_identical": True},
    }
    print(f"written: benchmarks/results/{result.write('cluster_classify', document).name}")


if __name__ == "__main__":
    main()
