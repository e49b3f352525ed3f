"""Small inputs after public reports of wrong answers: what becomes of each.

A case is a folder with an input and what is right about it: `expected.npy`, the grey image, float32
0-1; `ref.npz`, images `img` and the probabilities `prob` that their own framework gives for them,
with `meta.json` saying how they are normalised; or `expected.txt` alone, words that a person reads
beside the answer. Tables and folders are typed as commands.
"""

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.harness import result
from thorax import artifact
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import ModelError, ThoraxError
from thorax.images.radiograph import read
from thorax.inference.predictor import calibrate

IMAGE_TOLERANCE: Final = 2 / 255
PROBABILITY_TOLERANCE: Final = 1e-3
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "L01": ("data import chexpert . --labels train.csv --size 32 --out {out} --uncertain ignore",),
    "L03": (
        "data import mimic files --labels mimic-cxr-2.0.0-chexpert.csv.gz --size 32 --out {out}",
        "data import folder files --labels joined.csv --size 32 --out {out}",
        "data import folder files --labels joined-with-path.csv --size 32 --out {out}",
    ),
    "L04": (
        "data import padchest images --labels labels.csv --size 32 --out {out}",
        "data import folder images --labels labels-columns.csv --size 32 --out {out}",
    ),
    "L05": (
        "data import rsna stage_2_train_images --labels stage_2_train_labels.csv --size 32 "
        "--out {out}",
    ),
    "L08": ("data import folder img --labels labels.csv --size 32 --out {out}",),
    "L10": tuple(
        f"data import folder img --labels {name}.csv --size 32 --out {{out}}"
        for name in ("semicolon", "tab", "sep", "utf16", "latin1")
    ),
    "L11": tuple(
        command
        for name in ("NA", "float2", "float4", "nan", "none", "true")
        for command in (
            f"data import folder img --labels {name}.csv --size 32 --out {{out}}",
            f"score pred.csv --labels {name}.csv",
        )
    ),
    "L17": tuple(
        f"data import folder img --labels {name}.csv --size 32 --out {{out}}"
        for name in ("absolute", "backslash", "dot", "relative-to-csv", "upper")
    ),
    "L21": ("data import folder img --labels labels.csv --size 32 --out {out}",),
    "L22": (
        "data import folder img --labels labels.csv --size 128 --out {out}",
        "data check {out}",
    ),
    "O1": ("classify {model} .",),
    "O3": ("classify {model} .",),
    "O4": ("classify {model} .",),
    "O6": ("classify nothr ../P10-bmp/image.bmp",),
    "O9": ("classify {model} p1 p2",),
    "S01": ("score pred.csv --labels labels.csv", "score allone.csv --labels labels.csv"),
    "S03": ("score pred.csv --labels labels.csv",),
    "S04": ("score pred.csv --labels labels.csv",),
}
"""What is typed in the folder of a case, by its number; `{out}` is a new folder."""
_TOLD: Final = (
    "images", "patients", "left_out", "splits", "views", "labels", "boxes", "failed",
    "passed_over_reasons", "warnings", "auroc", "mean_auroc",
)  # fmt: skip
"""Keys of a document that the table keeps."""
_LONGEST: Final = 600


def main() -> None:
    """Read argv, try every case, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=result.filled_folder, help="folder of the cases of images and tables"
    )
    parser.add_argument("--models", type=result.filled_folder, help="folder of the cases of models")
    parser.add_argument(
        "--model", type=result.filled_folder, help="artifact that commands classify by"
    )
    chosen = result.parse_args(parser)
    if chosen.images is None and chosen.models is None:
        parser.error("give --images FOLDER, --models FOLDER or both")
    rows: dict[str, dict[str, Any]] = {}
    for case in _cases(chosen.images):
        rows[case.name] = _image(case) or _commands(case, chosen.model)
    for case in _cases(chosen.models):
        rows[case.name] = _model(case)
    result.table(
        "Cases after public reports",
        ("Case", "result"),
        [(name, str(row["result"])[:70]) for name, row in rows.items()],
    )
    document = {
        "image_tolerance": IMAGE_TOLERANCE,
        "probability_tolerance": PROBABILITY_TOLERANCE,
        "cases": rows,
    }
    print("written:", result.write("reported_files", document, rehearsal=chosen.rehearsal))


def _cases(folder: Path | None) -> Iterator[Path]:
    return iter(sorted(path for path in folder.iterdir() if path.is_dir()) if folder else ())


def _image(case: Path) -> dict[str, Any] | None:
    """Return what is read of a case of one image; None of another case."""
    files = [*case.glob("image.*"), *case.glob("study.zip")]
    if len(files) != 1:
        return None
    try:
        radiograph = read(files[0])
    except ThoraxError as error:
        return {"result": f"refused: {error.code}", "message": error.message}
    row: dict[str, Any] = {
        "result": "read",
        "contrast": radiograph.meaning.contrast,
        "warnings": [warning.code for warning in radiograph.meaning.warnings],
    }
    if (case / "expected.npy").is_file():
        expected = np.load(case / "expected.npy")
        same = expected.shape == radiograph.shape
        apart = float(np.abs(expected - radiograph.pixels).max()) if same else 1.0
        row["largest_difference"] = apart
        row["result"] = "right" if apart <= IMAGE_TOLERANCE else "wrong"
    return row


def _commands(case: Path, model: Path | None) -> dict[str, Any]:
    """Return what a person reads after typing the commands of a case."""
    answers = []
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(case):
        for number, command in enumerate(COMMANDS.get(case.name.partition("-")[0], ())):
            own = command.format(out=Path(scratch, "store"), model=model)
            if "--out" in command and number:
                own = own.replace(str(Path(scratch, "store")), str(Path(scratch, f"store{number}")))
            status, text = _typed([*shlex.split(own), "--json"])
            answers.append({"command": command, "status": status, "answer": text[:_LONGEST]})
    statuses = ", ".join(str(answer["status"]) for answer in answers)
    return {"result": f"exit status {statuses}", "answers": answers}


def _typed(argv: list[str]) -> tuple[int, str]:
    """Return the exit status of a command, and its error or the document less its rows."""
    done = subprocess.run(
        [sys.executable, "-m", "thorax", *argv], capture_output=True, text=True, check=False
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("thorax: ")]
    text = done.stdout
    if text:
        document = json.loads(text)
        text = json.dumps({key: document[key] for key in _TOLD if document.get(key)})
    return done.returncode, " ".join(errors) or text


def _model(case: Path) -> dict[str, Any]:
    """Return what an artifact of a model answers, an image at a time and together."""
    meta = json.loads((case / "meta.json").read_text("utf-8"))
    labels = ",".join(f"F{number}" for number in range(meta["k"] or 3))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "model")
        argv = [
            "optimize", str(case / meta["file"]), "--out", str(out), "--labels", labels,
            "--mean", ",".join(map(str, meta["mean"])), "--std", ",".join(map(str, meta["std"])),
            *meta["args"], "--json",
        ]  # fmt: skip
        status, text = _typed(argv)
        if status:
            return {"result": f"refused, status {status}", "message": text}
        if not (case / "ref.npz").is_file():
            return {"result": "read", "expected": meta["expect"]}
        reference = np.load(case / "ref.npz")
        loaded = artifact.load(out)
        apart = {}
        for batch in (1, 5):
            try:
                engine = compile_artifact(loaded, batch=batch)
            except ModelError:
                # It answers one image at a time, and says so.
                continue
            images = reference["img"][:, None]
            parts = [
                engine.infer(images[start : start + engine.batch]).probability
                for start in range(0, len(images) - len(images) % engine.batch, engine.batch)
            ]
            answers = calibrate(np.concatenate(parts), loaded.card)
            difference = np.abs(answers - reference["prob"].reshape(len(images), -1))
            apart[f"batch_{batch}"] = float(difference.max())
    right = max(apart.values()) <= PROBABILITY_TOLERANCE
    return {"result": "right" if right else "apart", **apart, "note": meta["note"]}


if __name__ == "__main__":
    main()
