"""Every claim about speed that one checkout tells, one after another, each into its result file.

    python -m benchmarks.whole_set --work FOLDER [--only CLAIM ...] [--again] [--rehearsal FOLDER]

Those that compare with an earlier commit (`child_cost`, `command_cost`) are run by themselves, and
so is what is not timed (memory, AUROC, reliability). It asks for a quiet machine and committed
code. A claim that was written at this commit is not measured again, so that a set that was
interrupted, or of which others' load failed a part, is run on by the same command. What failed is
told at the end, and the exit status is 1.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import result
from thorax.files.atomic import write_text

CLAIMS: Final[Mapping[str, Sequence[str]]] = {
    "resnet50_peers": (),
    "precisions": (),
    "hardware_peak": (),
    "scenarios_against_async_queue": (),
    "offline_against_benchmark_app": (),
    "classify_end_to_end": (),
    "classify_startup": (),
    "cluster_classify": (),
    "fpga_emulation_cost": (),
    "power_sampling_cost": (),
    "training_throughput": (),
    "partition_merging": (),
    "store_verification": (),
    "phantom_speed": (),
    "main_job": (),
}
"""Claims in order, each a module, with what its defaults are changed to."""
_MAKE_NOTHING: Final = {"phantom_speed"}
"""Those that need no folder for what they make."""

_WRITTEN: Final = "written: "
Run = Callable[[Sequence[str]], str | None]
"""Runs a command and returns the name of the result it wrote, None where it failed."""


def run(words: Sequence[str]) -> str | None:
    """Run a command, show what it prints, and return the name of the result it wrote."""
    name = None
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith(_WRITTEN):
                name = line.removeprefix(_WRITTEN).split(",")[0].strip()
    return None if process.returncode else name


def run_all(
    claims: Mapping[str, Sequence[str]],
    progress: Path,
    commit: str,
    *,
    again: bool = False,
    run: Run = run,
) -> list[str]:
    """Run what is not done and return the claims that failed.

    Args:
        claims: the whole options of each.
        progress: file that says what is done.
        commit: that it counts for.
        again: whether to run what is done as well.
        run: runs a command.
    """
    failed = []
    done = json.loads(progress.read_text("utf-8")) if progress.exists() else {}
    for claim, options in claims.items():
        if not again and done.get(claim, {}).get("commit") == commit:
            print(f"{claim}: done, {done[claim]['result']}")
            continue
        print(f"{claim}:", flush=True)
        name = run([sys.executable, "-m", f"benchmarks.{claim}", *options])
        if name is None:
            failed.append(claim)
            continue
        done[claim] = {"commit": commit, "result": name}
        write_text(progress, json.dumps(done, indent=2) + "\n")
    return failed


def main() -> None:
    """Read argv, run, and say what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--only", choices=tuple(CLAIMS), nargs="+", default=list(CLAIMS))
    parser.add_argument("--again", action="store_true", help="what is done, too")
    chosen = result.parse_args(parser)
    more = [] if chosen.rehearsal is None else ["--rehearsal", str(chosen.rehearsal)]
    claims = {
        claim: [
            *(() if claim in _MAKE_NOTHING else ("--work", str(chosen.work))),
            *CLAIMS[claim],
            *more,
        ]
        for claim in CLAIMS
        if claim in chosen.only
    }
    progress = chosen.work / ("all.json" if chosen.rehearsal is None else "rehearsal.json")
    failed = run_all(claims, progress, result.commit(), again=chosen.again)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; run the same command to go on")


if __name__ == "__main__":
    main()
