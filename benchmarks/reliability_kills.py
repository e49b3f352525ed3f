"""Kill commands at random moments, run them again, and compare what comes of it.

    .venv/bin/python benchmarks/reliability_kills.py train train-2 --kills 60 --out kills.json

Each kind of work is run undisturbed once. Then it is started again and again in another folder and
killed, with all its processes, at a moment drawn evenly from the time that the undisturbed run
took. A run that ends before its moment is compared and begun anew; so is the last one, which is
left alone. What is compared is the value of `finish`, such as digests of weights; leftovers of
killed processes must be gone from a finished folder.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

RECIPE = """
[network]
topology = "resnet18"
width = 0.125
[training]
epochs = 6
batch = 8
micro_batch = 4
checkpoint_steps = 2
threads = 1
workers = 1
keep = "last"
[optimizer]
kind = "lars"
[schedule]
kind = "polynomial"
base_per_256 = 8.0
[augmentation]
flip = 0.5
rotation_deg = 10.0
[ema]
decay = 0.9
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """Work that can be killed and begun again.

    Attributes:
        name: on the command line.
        prepare: makes in a folder what the work reads; done once.
        start: begins the work in a folder, or goes on with it. Given that of the inputs, too.
        finish: returns what the finished work is compared by.
    """

    name: str
    prepare: Callable[[Path], None]
    start: Callable[[Path, Path], "subprocess.Popen[bytes]"]
    finish: Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a campaign of kills found.

    Attributes:
        kind: of work.
        kills: that hit a running process.
        finished: runs that came to an end, the last one included.
        different: of them, those with another value than the undisturbed run.
        failed: starts that ended by themselves with an error.
        leftovers: names of half-written files in finished folders.
        undisturbed_s: wall clock of the undisturbed run.
    """

    kind: str
    kills: int
    finished: int
    different: int
    failed: list[str]
    leftovers: list[str]
    undisturbed_s: float


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Add a kind of work."""
    assert kind.name not in KINDS, kind.name
    KINDS[kind.name] = kind


def launch(words: list[str], log: Path, **environment: str) -> "subprocess.Popen[bytes]":
    """Start a command whose words are kept in a file."""
    with log.open("ab") as file:
        return subprocess.Popen(
            words,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )


def campaign(kind: Kind, folder: Path, *, kills: int, seed: int) -> Outcome:
    """Kill a kind of work so often."""
    chance = random.Random(seed)
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    kind.prepare(inputs)
    begin = time.perf_counter()
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    assert kind.start(inputs, undisturbed).wait() == 0, (folder / "undisturbed.log").read_text()
    whole_s = time.perf_counter() - begin
    wanted = kind.finish(undisturbed)
    work = folder / "work"
    work.mkdir()
    done = finished = different = 0
    failed: list[str] = []
    leftovers: list[str] = []
    while True:
        process = kind.start(inputs, work)
        if done < kills:
            try:
                process.wait(chance.uniform(0.0, whole_s))
            except subprocess.TimeoutExpired:
                kill_all(process)
                done += 1
                continue
        if process.wait() != 0:
            failed.append(f"status {process.returncode} after {done} kills")
            print(f"{kind.name}: {failed[-1]}", file=sys.stderr)
            if len(failed) > 3:
                break
        else:
            finished += 1
            different += kind.finish(work) != wanted
            leftovers += sorted(path.name for path in work.rglob(".*") if path.name != ".lock")
            print(f"{kind.name}: {done} kills, {finished} finished, {different} differ", flush=True)
            if done >= kills:
                break
        shutil.rmtree(work)
        work.mkdir()
    return Outcome(kind.name, done, finished, different, failed, leftovers, whole_s)


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it started, as a loss of power does."""
    family = [process.pid]
    for pid in family:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                family += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def thorax(*words: object) -> list[str]:
    """Return the words of a command of Thorax."""
    return [sys.executable, "-m", "thorax", *map(str, words)]


def make_store(folder: Path) -> None:
    """Draw and import radiographs."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    drawn = folder / "drawn"
    words = thorax("phantom", drawn, "--count", 64, "--size", 64, "--seed", 1)
    subprocess.run(words, **quiet)  # type: ignore[call-overload]
    labels = drawn / "labels.csv"
    words = thorax("data", "import", "folder", drawn, "--labels", labels, "--size", 64)
    subprocess.run([*words, "--out", str(folder / "store")], **quiet)  # type: ignore[call-overload]
    (folder / "recipe.toml").write_text(RECIPE, "utf-8")


def start_training(ranks: int) -> Callable[[Path, Path], "subprocess.Popen[bytes]"]:
    """Return what trains with so many ranks."""

    def start(inputs: Path, work: Path) -> "subprocess.Popen[bytes]":
        run = work / "run"
        words = ["-m", "thorax", "train", str(inputs / "recipe.toml")]
        words += ["--data", str(inputs / "store"), "--out", str(run)]
        words += ["--resume"] if (run / "begun.json").exists() else []
        if ranks > 1:
            torchrun = ["-m", "torch.distributed.run", "--standalone"]
            words = [*torchrun, "--nproc-per-node", str(ranks), *words]
        log = work.with_suffix(".log")
        return launch([sys.executable, *words], log, GLOO_SOCKET_IFNAME="lo")

    return start


def trained(work: Path) -> str:
    """Return the digests of weights and of what the optimizer remembers."""
    from thorax.training.card import read_card, resolve
    from thorax.training.verify import verify

    run = work / "run"
    damaged = [piece for piece in verify(run) if piece.damage]
    assert not damaged, damaged
    card = read_card(resolve(run))
    return f"{card.weights_sha256} {card.optimizer_sha256}"


register(Kind("train", make_store, start_training(1), trained))
register(Kind("train-2", make_store, start_training(2), trained))


def start_import(inputs: Path, work: Path) -> "subprocess.Popen[bytes]":
    """Import what was drawn."""
    drawn = inputs / "drawn"
    words = thorax("data", "import", "folder", drawn, "--labels", drawn / "labels.csv")
    words += ["--size", "64", "--out", str(work / "store")]
    return launch(words, work.with_suffix(".log"))


def imported(work: Path) -> str:
    """Return the digest of the pixels and of the tables of a store."""
    digest = hashlib.sha256()
    for path in sorted((work / "store").iterdir()):
        if path.suffix in (".u8", ".csv", ".npy"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


register(Kind("import", make_store, start_import, imported))


def main() -> None:
    """Run the campaigns that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="+", choices=sorted(KINDS))
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.kinds:
            place = Path(folder) / name
            outcomes.append(
                asdict(campaign(KINDS[name], place, kills=options.kills, seed=options.seed))
            )
    text = json.dumps(outcomes, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
