"""Work that `benchmarks.reliability_kills` ends at random moments and begins again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from thorax import artifact
from thorax.fpga.card import CARDS, list_cards, program

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
        begin: puts into a fresh folder what the work finds there. Given that of the inputs, too.
        state: returns in a word what an ended process left, once it is found to be sound.
        signals: that end it, in turn.
        imports: share of the undisturbed run that is over before anything is written; no process
            is ended within it.
    """

    name: str
    prepare: Callable[[Path], None]
    start: Callable[[Path, Path], "subprocess.Popen[bytes]"]
    finish: Callable[[Path], str]
    begin: Callable[[Path, Path], None] = lambda inputs, work: None
    state: Callable[[Path], str] = lambda work: "not looked at"
    signals: tuple[signal.Signals, ...] = (signal.SIGKILL,)
    imports: float = 0.0


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
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TMPDIR": str(log.parent / "temporary"),
                **environment,
            },
        )


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


SIDE: Final = 64
"""Of the input of a network that is converted, pixels."""


def write_onnx(path: Path, seed: int) -> None:
    """Write a network of 300,000 weights."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(seed)
    sizes = {"first": (SIDE * SIDE, 72), "second": (72, 14)}
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.02, size).astype(np.float32), name)
        for name, size in sizes.items()
    ]
    nodes = [
        helper.make_node("Flatten", ["image"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["rectified"]),
        helper.make_node("MatMul", ["rectified", "second"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["findings"]),
    ]
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    findings = helper.make_tensor_value_info("findings", onnx.TensorProto.FLOAT, [1, 14])
    graph = helper.make_graph(nodes, "dense", [image], [findings], weights)
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )


def run_quietly(words: Sequence[str]) -> None:
    """Run a command of the preparation, which must succeed."""
    subprocess.run(words, check=True, capture_output=True)


NETWORKS: Final = ("first", "second")


def convert(source: Path, out: Path) -> list[str]:
    """Return the command that converts a network."""
    return thorax("optimize", source, "--out", out, *("--labels", "nih14", "--mean", 0, "--std", 1))


def make_networks(folder: Path) -> None:
    """Write two networks, and the artifact of each."""
    for seed, name in enumerate(NETWORKS):
        write_onnx(folder / f"{name}.onnx", seed)
        run_quietly(convert(folder / f"{name}.onnx", folder / name))


def place_first(inputs: Path, work: Path) -> None:
    """Put the artifact there that stands before the command is given."""
    shutil.copytree(inputs / NETWORKS[0], work / "model")


def start_optimize(inputs: Path, work: Path) -> "subprocess.Popen[bytes]":
    """Convert, over the artifact that stands, the network that it was not made of."""
    wanted = NETWORKS[1] if standing(work) == NETWORKS[0] else NETWORKS[0]
    (work.parent / "wanted").write_text(wanted, "ascii")
    return launch(convert(inputs / f"{wanted}.onnx", work / "model"), work.with_suffix(".log"))


def answers(folder: Path) -> str:
    """Return the digest of what an artifact answers, all of it verified."""
    return artifact.load(folder).card.answers_digest


def standing(work: Path) -> str:
    """Return of which network the artifact is that stands; another one is not sound."""
    found, inputs = answers(work / "model"), work.parent / "inputs"
    (name,) = (name for name in NETWORKS if answers(inputs / name) == found)
    return name


def old_or_new(work: Path) -> str:
    """Return whether the artifact is as before the command or as after it."""
    return "new" if standing(work) == (work.parent / "wanted").read_text("ascii") else "old"


register(
    Kind(
        *("optimize", make_networks, start_optimize, old_or_new, place_first, old_or_new),
        signals=(signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP),
        imports=0.3,
    )
)


SHARDS: Final = 15


def make_archive(folder: Path) -> None:
    """Draw radiographs, and convert a network that answers them."""
    run_quietly(thorax("phantom", folder / "drawn", "--count", 60, "--size", 768, "--seed", 1))
    write_onnx(folder / "net.onnx", 1)
    run_quietly(convert(folder / "net.onnx", folder / "model"))


def start_archive(inputs: Path, work: Path) -> "subprocess.Popen[bytes]":
    """Classify an archive, or go on with it; of one that has all shards most are lost first."""
    shards = sorted((work / "archive" / "shards").glob("*.jsonl"))
    for shard in shards[3:] if len(shards) == SHARDS else []:
        shard.unlink()
    images = sorted((inputs / "drawn").glob("*.png"))
    words = thorax("classify", inputs / "model", *images, "--out", work / "archive")
    words += ["--csv", str(work / "all.csv"), "--shard-size", "4"]
    return launch(words, work.with_suffix(".log"))


def archived(work: Path) -> str:
    """Return the digest of the rows and of the table, the whole folder verified."""
    from thorax.inference.archive_verify import verify

    damaged = [piece for piece in verify(work / "archive") if piece.damage]
    assert not damaged, damaged
    rows = (work / "archive" / "results.jsonl").read_bytes()
    assert len(rows.splitlines()) == 60
    return hashlib.sha256(rows + (work / "all.csv").read_bytes()).hexdigest()


def shards_so_far(work: Path) -> str:
    """Return whether an ended run left shards; each file that is there must be sound."""
    from thorax.inference.archive_verify import is_archive, verify

    out = work / "archive"
    if not is_archive(out):
        return "no plan yet"
    # The results are put together anew, so that they may be there without their digest.
    pieces = [piece for piece in verify(out) if not piece.name.startswith("results.")]
    damaged = [piece for piece in pieces if piece.damage]
    assert not damaged, damaged
    done = sum(piece.name.endswith(".jsonl") for piece in pieces) - 1
    return "no shard" if done == 0 else "some shards" if done < SHARDS else "all shards"


register(Kind("archive", make_archive, start_archive, archived, state=shards_so_far, imports=0.3))


def make_tunable(folder: Path) -> None:
    """Convert a network, and keep a setting of another machine in its card."""
    write_onnx(folder / "net.onnx", 1)
    run_quietly(convert(folder / "net.onnx", folder / "model"))
    other = artifact.Tuning(
        device="CPU",
        hardware="another",
        processors=1,
        streams=1,
        batch=1,
        latency_limit_ms=None,
        images_per_s=1.0,
        p99_ms=1.0,
        simulated=False,
        measured="2026-01-01",
        thorax="0",
        openvino="0",
    )
    artifact.keep_tuning(artifact.load(folder / "model"), other)


def place_tunable(inputs: Path, work: Path) -> None:
    """Put the artifact there that is tuned."""
    shutil.copytree(inputs / "model", work / "model")


def start_tune(inputs: Path, work: Path) -> "subprocess.Popen[bytes]":
    """Look for the best setting of an artifact whose card has none of this machine."""
    shutil.copy(inputs / "model" / artifact.CARD, work / "model" / artifact.CARD)
    words = thorax("tune", work / "model", "--duration", 0.05)
    return launch(words, work.with_suffix(".log"))


def settings(work: Path) -> str:
    """Return how many settings the card has; that of the other machine must be there."""
    hardware = [tuning.hardware for tuning in artifact.load(work / "model").card.tuned]
    assert hardware[:1] == ["another"], hardware
    assert len(hardware) <= 2, hardware
    return "without the setting" if len(hardware) == 1 else "with the setting"


def tuned(work: Path) -> str:
    """Return what the artifact answers and whether it has the setting, which is not compared."""
    return f"{answers(work / 'model')} {settings(work)}"


register(Kind("tune", make_tunable, start_tune, tuned, place_tunable, settings, imports=0.3))

BITSTREAMS: Final = ("2-0-1_RC_FP11_Generic", "2-0-1_RC_FP16_Generic")


def start_program(inputs: Path, work: Path) -> "subprocess.Popen[bytes]":
    """Put on all cards the bitstream that they have not."""
    del inputs
    state = work / "fpga.json"
    found = list_cards(state)[0].bitstream
    wanted = BITSTREAMS[found is not None and found.name == BITSTREAMS[0]]
    (work.parent / "wanted").write_text(wanted, "ascii")
    words = thorax("fpga", "program", "all", wanted, "--state", state)
    return launch(words, work.with_suffix(".log"))


def listed(work: Path) -> str:
    """Return what all cards have, as the command says it; they must have the same."""
    words = thorax("fpga", "list", "--state", work / "fpga.json", "--json")
    done = subprocess.run(words, check=True, capture_output=True)
    names = [card["bitstream"] for card in json.loads(done.stdout)]
    assert len(names) == len(CARDS), names
    assert len(set(names)) == 1, names
    return str(names[0] or "not programmed")


def programmed(work: Path) -> str:
    """Return whether all cards have what they were last programmed with."""
    return str(listed(work) == (work.parent / "wanted").read_text("ascii"))


def place_programmed(inputs: Path, work: Path) -> None:
    """Program all cards."""
    del inputs
    program("all", BITSTREAMS[0], state=work / "fpga.json")


register(
    Kind(
        *("fpga", lambda folder: None, start_program, programmed, place_programmed, listed),
        imports=0.6,
    )
)
