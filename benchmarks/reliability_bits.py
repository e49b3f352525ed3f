"""One changed bit in a file that Thorax wrote: found, harmless, or used without a word?

Of every kind of folder and document a copy is made, one bit of one file is turned over, and what
is made of the copy is compared with what is made of the original. A kind is added to `KINDS`.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from benchmarks.harness import result
from thorax import artifact
from thorax.benchmark.baseline import read_baseline
from thorax.data import store
from thorax.data.samples import Box, Sample
from thorax.data.store_facts import partial_of
from thorax.errors import DataError, ModelError, ThoraxError
from thorax.files.documents import checked_line, document_digest
from thorax.fpga import card as cards
from thorax.fpga.bitstreams import bitstreams_for
from thorax.images.preprocess import InputSpec
from thorax.inference import archive_files, archive_verify
from thorax.inference.archive_plan import Arithmetic, make_plan
from thorax.inference.sources import Source
from thorax.labels import NIH14
from thorax.power.log import Log, Recording
from thorax.power.meter import Channel, Reading
from thorax.results.benchmark import BenchmarkResult
from thorax.results.energy import Quantity
from thorax.results.findings import Findings
from thorax.results.training import LOG
from thorax.training import card as checkpoints
from thorax.training import verify

_SIDE: Final = 16
_LINES: Final = 12
"""Images that an interrupted import has a line for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of folder that is damaged on purpose.

    Attributes:
        name: what it is, for people.
        make: fills a folder that is not there yet; the same each time.
        use: returns all that a command would take from a copy of the folder, comparable by ==.
            What it finds to be damaged it refuses with a `ThoraxError`. May change the copy.
    """

    name: str
    make: Callable[[Path], None]
    use: Callable[[Path], object]


@dataclass(slots=True)
class Outcome:
    """What became of the changed bits of a kind.

    Attributes:
        kind: its name.
        files: whose bits were changed.
        found: refused with a code.
        harmless: the result was that of the original.
        silent: another result and no word: file, byte and bit.
        crashed: an error of another kind than `ThoraxError`: file, byte, bit and the error.
        codes: how often each code was told.
    """

    kind: str
    files: tuple[str, ...]
    found: int = 0
    harmless: int = 0
    silent: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def flips(self) -> int:
        """How many bits were changed."""
        return self.found + self.harmless + len(self.silent) + len(self.crashed)


def campaign(kind: Kind, scratch: Path, *, flips: int, seed: int = 0) -> Outcome:
    """Change one bit at a time, all files of the kind by turns, at places that the seed chooses.

    Args:
        kind: what to damage.
        scratch: an empty folder to work in.
        flips: how many bits.
        seed: same seed, same bits.
    """
    original, copy = scratch / "original" / "it", scratch / "copy" / "it"
    original.parent.mkdir(parents=True)
    kind.make(original)
    files = sorted(path for path in original.rglob("*") if path.is_file() and path.stat().st_size)
    names = tuple(path.relative_to(original).as_posix() for path in files)
    outcome = Outcome(kind.name, names)

    def renew() -> None:
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        shutil.copytree(original, copy)

    renew()
    expected = kind.use(copy)
    rng = random.Random(f"{kind.name} {seed}")
    for number in range(flips):
        name = names[number % len(names)]
        renew()
        content = bytearray((copy / name).read_bytes())
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        content[place] ^= 1 << bit
        (copy / name).write_bytes(content)
        _judge(kind, copy, expected, f"{name}, byte {place}, bit {bit}", outcome)
    return outcome


def _judge(kind: Kind, copy: Path, expected: object, what: str, outcome: Outcome) -> None:
    try:
        value = kind.use(copy)
    except ThoraxError as error:
        outcome.found += 1
        outcome.codes[error.code] = outcome.codes.get(error.code, 0) + 1
    except Exception as error:
        outcome.crashed.append(f"{what}: {type(error).__name__}: {error}")
    else:
        if value == expected:
            outcome.harmless += 1
        else:
            outcome.silent.append(what)


def make_rows(folder: Path, count: int) -> list[Sample]:
    """Return rows with images of noise, which are drawn where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        path = folder / f"{number:03d}.png"
        if not path.exists():
            pixels = np.random.default_rng(number).integers(0, 256, (_SIDE, _SIDE), np.uint8)
            cv2.imwrite(str(path), pixels)
        labels = np.zeros(len(NIH14), np.int8)
        labels[number % len(NIH14)] = 1
        boxes = (Box(NIH14.findings[number % len(NIH14)], 1.0, 2.0, 3.0, 4.5),)
        rows.append(Sample(path.name, path, f"p{number // 2}", labels, view="PA", boxes=boxes))
    unreadable = folder / "unreadable.png"
    unreadable.write_bytes(b"no image")
    rows.insert(3, Sample(unreadable.name, unreadable, "px", np.zeros(len(NIH14), np.int8)))
    return rows


def _import(sources: Path, out: Path) -> None:
    rows = make_rows(sources, _LINES)
    store.write(rows, out, InputSpec(_SIDE), NIH14, source="noise", workers=1)


def _interrupted(sources: Path, folder: Path, *, step: str) -> None:
    """Make the folder of an import that ended at a step; `folder` takes the place of `.partial`."""
    out = folder.parent / "store"
    with mock.patch(f"thorax.data.store.{step}", side_effect=InterruptedError):
        try:
            _import(sources, out)
        except ThoraxError:
            partial_of(out).rename(folder)


def _resumed(sources: Path, folder: Path) -> object:
    """Return what a repeated import makes of its folder: the whole store."""
    out = folder.parent / "store"
    folder.rename(partial_of(out))
    _import(sources, out)
    return _content(out)


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def use_store(folder: Path) -> object:
    """Return everything that a reader takes from a store."""
    opened = store.open_store(folder)
    return (
        *(opened.names, opened.patients, opened.splits, opened.views, opened.digests),
        *(opened.boxes, opened.label_set, opened.source, opened.labels.tobytes()),
        *(image.tobytes() for image in opened.images),
    )


def make_artifact(folder: Path) -> None:
    """Write an artifact of one dense layer over 16 x 16 pixels."""
    rng = np.random.default_rng(0)
    image = ops.parameter([1, 1, _SIDE, _SIDE], np.uint8, name="image")
    flat = ops.reshape(ops.convert(image, "f32"), np.array([1, _SIDE**2]), special_zero=False)
    weights = ops.constant(rng.normal(0, 0.01, (_SIDE**2, len(NIH14))).astype(np.float32))
    answer = ops.sigmoid(ops.matmul(flat, weights, transpose_a=False, transpose_b=False))
    model = ov.Model([ops.result(answer)], [image], "dense")
    with artifact.new_folder(folder) as staging:
        ov.save_model(model, staging / artifact.XML, compress_to_fp16=False)
        card = artifact.Card(
            name="dense",
            topology="dense",
            label_set=NIH14.name,
            labels=NIH14.findings,
            input=InputSpec(_SIDE),
            precision=artifact.Precision.FP32,
            thresholds=dict.fromkeys(NIH14.findings, 0.5),
            parameters=weights.get_data().size,
            macs=weights.get_data().size,
            size_bytes=0,
        )
        artifact.seal(staging, card)


def use_artifact(folder: Path) -> object:
    """Return the card of an artifact and what its network answers."""
    loaded = artifact.load(folder)
    network = ov.Core().compile_model(ov.Core().read_model(loaded.xml), "CPU")
    image = np.arange(_SIDE**2, dtype=np.uint8).reshape(1, 1, _SIDE, _SIDE)
    return loaded.card, network(image)[0].tobytes()


def make_cards(folder: Path) -> None:
    """Write the state of two programmed cards."""
    folder.mkdir()
    path = folder / "cards.json"
    for name in cards.CARDS[:2]:
        board = cards.find_card(name, path).board.name
        cards.program(name, bitstreams_for(board)[0].name, state=path)


def use_cards(folder: Path) -> object:
    """Return the cards of a state file."""
    return cards.list_cards(folder / "cards.json")


def make_benchmark(folder: Path) -> None:
    """Write what `thorax benchmark --json` prints, as far as it is compared."""
    folder.mkdir()
    slices = {"images_per_s": [11.5, 12.0, 12.5, 13.0] * 5, "latency_p99_ms": [90.25] * 20}
    result = BenchmarkResult.model_validate(
        {
            "model": "resnet18-int8",
            "topology": "resnet18",
            "digest": "9f86d081",
            "device": "CPU",
            "devices": ["CPU"],
            "precision": "int8",
            "compute": "f32",
            "simulated": False,
            "scenario": "offline",
            "images_per_s": 12.25,
            "latency_ms": {"p50": 80.5, "p90": 85.125, "p99": 90.25},
            "slices": slices,
        }
    )
    (folder / "baseline.json").write_text(result.digested().to_json())


def use_benchmark(folder: Path) -> object:
    """Return what a later benchmark is compared with."""
    return read_baseline(folder / "baseline.json")


@dataclass(slots=True)
class _Meter:
    """A meter of one channel, which a log is written of."""

    source: str = "none: made up"
    quantity: Quantity = "power"
    modelled: bool = False
    replayed: bool = False
    interval_s: float = 1.0
    channels: tuple[Channel, ...] = (Channel("board", counted=True),)

    def read(self) -> tuple[Reading, ...]:
        return ()

    def close(self) -> None:
        return


def make_log(folder: Path) -> None:
    """Write a log of 20 readings of watts."""
    folder.mkdir()
    log = Log(folder / "watts.jsonl", _Meter(), 1.0)
    for second in range(20):
        log.add(Reading(float(second), (100.0 + second % 7,)))
    log.close()


def use_log(folder: Path) -> object:
    """Return the readings of a log and what they come to."""
    recording = Recording.read(folder / "watts.jsonl")
    return recording.readings, recording.header.channels, recording.energy()


_SOURCES: Final[list[Source]] = [Path(f"/scans/{number}.png") for number in range(10)]
_COMPUTES: Final = Arithmetic(
    card="5" * 64, precision="fp32", device="CPU", devices=("CPU",), compute="f32"
)


def answer(folder: Path, *, most: int) -> None:
    """Begin an archive, or go on with it, and end when so many shards are answered."""
    with archive_files.open_archive(folder, *make_plan(_COMPUTES, _SOURCES, 3)) as every:
        for shard in archive_files.missing(folder, every)[:most]:
            archive_files.begin(folder, shard)
            rows = [
                Findings(image=str(source), findings={"Mass": 0.25}, positive=(), error=None)
                for source in archive_files.read_inputs(folder, shard)
            ]
            archive_files.write_shard(folder, shard, rows, "a CPU")
        if (remaining := archive_files.missing(folder, every)) == []:
            archive_files.assemble(folder, every, [])
        else:
            archive_files.begin(folder, remaining[0])


def use_archive(folder: Path) -> object:
    """Return the answers of an archive that is sound."""
    damaged = [piece.name for piece in archive_verify.verify(folder) if piece.damage]
    if damaged:
        raise DataError("archive-damaged", f"{damaged[0]} is not what was written")
    return _content(folder)


def resume_archive(folder: Path) -> object:
    """Return the answers that an archive has once it was gone on with to its end."""
    answer(folder, most=len(_SOURCES))
    names = (archive_files.RESULTS, archive_files.DIGEST)
    return [(folder / name).read_bytes() for name in names], use_archive(folder) is not None


def make_run(folder: Path) -> None:
    """Write the folder of a run of two epochs of a small network, which nothing was taught."""
    import torch

    from thorax.training import checkpoint, networks
    from thorax.training.optimizers import Sgd
    from thorax.training.recipe import Network, Recipe, Training
    from thorax.training.schedules import Cosine

    recipe = Recipe(
        network=Network(topology="resnet18", width=0.0625),
        training=Training(epochs=2, batch=8),
        optimizer=Sgd(kind="sgd"),
        schedule=Cosine(kind="cosine", peak=0.05),
    )
    facts = recipe.model_dump(mode="json")
    folder.mkdir()
    start = checkpoints.Begun(recipe=facts, precision="fp32", data={}, init=None, launch=None)
    checkpoints.begin(folder, recipe, start)
    network = networks.build("resnet18", classes=len(NIH14), output_stride=32, width=0.0625)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 0.125)
    lines = []
    for epoch in (1, 2):
        optimizer.step()
        card = checkpoints.CheckpointCard(
            **{"topology": "resnet18", "output_stride": 32, "width": 0.0625},  # type: ignore[arg-type]
            **{"label_set": NIH14, "input": InputSpec(_SIDE), "precision": "fp32"},  # type: ignore[arg-type]
            **{"recipe": facts, "data": {"labels": [5, 6]}, "epoch": epoch, "step": 3 * epoch},  # type: ignore[arg-type]
            **{"metrics": {"mean_auroc": 0.75}, "history": ({"epoch": 1.0, "loss": 0.5},)},  # type: ignore[arg-type]
            **{"kept": "epoch-0001", "software": {"thorax": "1"}},  # type: ignore[arg-type]
        )
        checkpoint.save(folder, network, card, optimizer)
        lines.append(checked_line({"epoch": epoch, "loss": 0.5 / epoch}))
    (folder / LOG).write_text("".join(lines), "ascii")
    document = {"command": "train", "steps": 6, "mean_auroc": 0.75}
    document["sha256"] = document_digest(document)
    (folder / verify.RESULT).write_text(json.dumps(document), "ascii")


def use_run(folder: Path) -> object:
    """Return what the folder of a sound run says, and the digests of its tensors."""
    damaged = [piece.name for piece in verify.verify(folder) if piece.damage]
    if damaged:
        raise ModelError("checkpoint-damaged", f"{damaged[0]} is not what was written")
    documents = (checkpoints.read_begun(folder), json.loads((folder / verify.RESULT).read_bytes()))
    exact = {
        name: content for name, content in _content(folder).items() if not name.endswith(".json")
    }
    return documents, [checkpoints.read_card(one) for one in _epochs(folder)], exact


def use_checkpoint(folder: Path) -> object:
    """Return what a conversion and a resumption take from a run."""
    taken: list[object] = [checkpoints.resolve(folder).name, checkpoints.read_begun(folder)]
    for one in _epochs(folder):
        card = checkpoints.read_card(one)
        checkpoints.require_digest(one / checkpoints.WEIGHTS, card.weights_sha256)
        checkpoints.require_digest(one / checkpoints.OPTIMIZER, card.optimizer_sha256)
        taken += [card, (one / checkpoints.WEIGHTS).read_bytes()]
        taken.append((one / checkpoints.OPTIMIZER).read_bytes())
    return taken


def _epochs(folder: Path) -> list[Path]:
    return checkpoints.newest_first(folder)


def kinds(sources: Path) -> tuple[Kind, ...]:
    """Return every kind that is damaged.

    Args:
        sources: folder for the images that imports decode, which are never damaged.
    """
    unjournaled = partial(_interrupted, sources, step="_write_tables")
    unnamed = partial(_interrupted, sources, step="_publish")
    return (
        Kind("store", lambda folder: _import(sources, folder), use_store),
        Kind("import, its images decoded", unjournaled, partial(_resumed, sources)),
        Kind("import, all but its name", unnamed, partial(_resumed, sources)),
        Kind("artifact", make_artifact, use_artifact),
        Kind("state of simulated cards", make_cards, use_cards),
        Kind("document of a benchmark", make_benchmark, use_benchmark),
        Kind("power log", make_log, use_log),
        Kind("archive", partial(answer, most=len(_SOURCES)), use_archive),
        Kind("archive, gone on with", partial(answer, most=2), resume_archive),
        Kind("training run", make_run, use_run),
        Kind("checkpoints of a run", make_run, use_checkpoint),
    )


def show(outcomes: Sequence[Outcome]) -> None:
    """Print a row for each kind."""
    result.table(
        "one changed bit at a time",
        ("Kind", "files", "flips", "found", "harmless", "used silently", "other error"),
        [
            (
                outcome.kind,
                *(f"{len(outcome.files)}", f"{outcome.flips:,}", f"{outcome.found:,}"),
                *(f"{outcome.harmless:,}", f"{len(outcome.silent)}", f"{len(outcome.crashed)}"),
            )
            for outcome in outcomes
        ],
    )
    for outcome in outcomes:
        for line in (*outcome.silent[:5], *outcome.crashed[:5]):
            print(f"  {outcome.kind}: {line}")


def main() -> None:
    """Read argv, damage every kind, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=600, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", help="only kinds whose name has this in it")
    chosen = result.parse_args(parser)
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, kind in enumerate(kinds(Path(scratch) / "sources")):
            if not chosen.kind or any(word in kind.name for word in chosen.kind):
                place = Path(scratch) / str(number)
                outcomes.append(campaign(kind, place, flips=chosen.flips, seed=chosen.seed))
    show(outcomes)
    if chosen.kind:
        return
    document: dict[str, Any] = {
        "seed": chosen.seed,
        "flips": sum(outcome.flips for outcome in outcomes),
        "used_silently": sum(len(outcome.silent) for outcome in outcomes),
        "kinds": [
            {
                "kind": outcome.kind,
                "files": list(outcome.files),
                "flips": outcome.flips,
                "found": outcome.found,
                "harmless": outcome.harmless,
                "silent": outcome.silent,
                "crashed": outcome.crashed,
                "codes": outcome.codes,
            }
            for outcome in outcomes
        ],
    }
    print("written:", result.write("reliability_bits", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
