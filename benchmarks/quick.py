"""Ten ratios measured again in a few minutes, and held against those that are committed.

    python -m benchmarks.quick --work FOLDER

Each is compared with the newest committed result of the same claim on the same kind of machine,
by the ratio of both and its interval: *better* or *differ* where that excludes 1, *agree*
where it holds 1 and little more (`agreement.ALIKE`), and *undecided* else. Exit status 0 if all
agree or are better, 1 if one differs or failed, 2 if some are undecided or cannot be compared:
without such a result, or beside others' load above what is allowed.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import whole_set
from benchmarks.harness import result
from benchmarks.harness.processors import Machine
from benchmarks.record.admission import why_not
from benchmarks.record.agreement import verdict
from benchmarks.record.comparisons import compared
from thorax.benchmark.confidence import FEWEST_TURNS

_SIDES: Final = (
    "thorax_int8,thorax_bf16,thorax_fp32,onnxruntime_int8,onnxruntime_fp32,openvino_queue_int8,"
    "torch_fp32,torch_channels_last_bf16"
)
RUNS: Final[Mapping[str, Sequence[str]]] = {
    "resnet50_peers": ("--seconds", "1", "--sides", _SIDES),
    "offline_against_benchmark_app": ("--seconds", "1", "--precisions", "int8"),
    "scenarios_against_async_queue": (
        "--seconds", "1", "--sides", "64", "--precisions", "int8",
    ),
    "classify_end_to_end": ("--seconds", "1", "--count", "48"),
    "classify_startup": (),
    "fpga_emulation_cost": ("--seconds", "0.7"),
}  # fmt: skip
TURNS: Final = str(FEWEST_TURNS)
CHOICES_OF: Final = "resnet50_peers"
"""The claim whose sides take the batch and instances of the committed result, and probe none."""
HEADLINES: Final = (
    ("resnet50_peers", "Thorax INT8 over ONNX Runtime INT8"),
    ("resnet50_peers", "Thorax INT8 over OpenVINO's queue INT8"),
    ("resnet50_peers", "Thorax INT8 over PyTorch eager FP32"),
    ("resnet50_peers", "Thorax BF16 over PyTorch eager, channels last BF16"),
    ("resnet50_peers", "Thorax FP32 over ONNX Runtime FP32"),
    ("offline_against_benchmark_app", "thorax benchmark over benchmark_app, int8"),
    ("scenarios_against_async_queue", "offline, int8 at 64 px, images/s"),
    ("classify_end_to_end", "classify over reading, then inferring"),
    ("classify_startup", "classify over a bare OpenVINO script"),
    ("fpga_emulation_cost", "latency: HETERO:FPGA,CPU over CPU in fp32"),
)
"""Claim and name of the comparison."""


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio: what was measured now, what is committed, and the verdict with its reason."""

    name: str
    now: str
    committed: str
    verdict: str


def committed(claim: str, hardware: Mapping[str, Any], folder: Path) -> Path | None:
    """Return the newest result of a claim that was measured on such a machine, None without."""
    found = []
    for path in folder.glob(f"{claim}_*.json"):
        document = _read(path)
        if (
            Machine.of(document["hardware"]) == Machine.of(hardware)
            and why_not(document) is None
            and document["claim"] == claim
            and "comparisons" in document
        ):
            moment = str(document["date"]), str(document.get("time_utc", ""))
            found.append((moment, path))
    return max(found)[1] if found else None


def _read(path: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    return document


def compare(name: str, now: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> Row:
    """Return how a comparison of two results of a claim stands."""
    if now is None:
        return Row(name, "", "", "failed")
    own, load = _named(now, name), now["load"]
    if own is None:
        return Row(name, "", "", "cannot compare: not measured here")
    text = _text(own)
    if load["others_share"] > load["allowed_share"]:
        used = f"others used {load['others_share']:.0%} of the processors"
        return Row(name, text, "", f"cannot compare: {used}")
    theirs = None if before is None else _named(before, name)
    if theirs is None:
        return Row(name, text, "", "cannot compare: no result of such a machine")
    return Row(name, text, _text(theirs), verdict(own, theirs))


def _named(document: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return next((row for row in compared(document) if row["name"] == name), None)


def _text(row: Mapping[str, Any]) -> str:
    return "{ratio:.3f} [{low:.3f}, {high:.3f}]".format(**row["wall"])


def status(rows: Iterable[Row]) -> int:
    """Return the exit status of all verdicts."""
    verdicts = [row.verdict for row in rows]
    if {"differ", "failed"} & {*verdicts}:
        return 1
    return 2 if any(text.startswith(("cannot", "undecided")) for text in verdicts) else 0


def main() -> None:
    """Read argv, measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    work: Path = parser.parse_args().work
    result.make_folder(parser, work)
    hardware = result.hardware()
    before = {claim: committed(claim, hardware, result.RESULTS) for claim in RUNS}
    now: dict[str, Mapping[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for claim, options in RUNS.items():
            words = ["--work", str(work), "--turns", TURNS, "--rehearsal", folder, *options]
            earlier = before[claim]
            if claim == CHOICES_OF and earlier is not None:
                words += ["--choices-of", str(earlier)]
            progress = Path(folder) / "progress.json"
            if not whole_set.run_all({claim: words}, progress, result.commit()):
                (written,) = Path(folder).glob(f"{claim}_*.json")
                now[claim] = _read(written)
    rows = [
        compare(name, now.get(claim), None if (path := before[claim]) is None else _read(path))
        for claim, name in HEADLINES
    ]
    result.table(
        "Now against what is committed, wall clock [95 %]",
        ("Ratio", "now", "committed", "verdict"),
        [(row.name, row.now, row.committed, row.verdict) for row in rows],
    )
    raise SystemExit(status(rows))


if __name__ == "__main__":
    main()
