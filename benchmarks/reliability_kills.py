"""Kill commands at random moments, run them again, and compare what comes of it.

    .venv/bin/python -m benchmarks.reliability_kills archive optimize --kills 40

Each kind of work is run undisturbed once. Then it is started again and again in another folder and
ended, with all its processes, at a moment drawn evenly from the time that the undisturbed run
took, or from the part of it after its imports. A run that ends before its moment is compared and
begun anew; so is the last one, which is left alone. What is compared is the value of `finish`, such
as digests of weights. What a process that was asked to end leaves half written, in the folder or in
that for temporary files, is counted at once; what a killed one leaves, after the next run.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path

from benchmarks.harness import result
from benchmarks.killed_work import KINDS, Kind
from thorax.files.atomic import write_text


@dataclass(slots=True)
class Outcome:
    """What a campaign of kills found.

    Attributes:
        kind: of work.
        undisturbed_s: wall clock of the undisturbed run.
        imports: share of it within which no process was ended.
        kills: that hit a running process.
        signals: how many of each.
        states: how often ended processes left what.
        broken: what an ended process left that is not sound.
        finished: runs that came to an end, the last one included.
        different: of them, those with another value than the undisturbed run.
        failed: starts that ended by themselves with an error.
        leftovers: half-written files of processes that were asked to end, and of killed ones after
            a run that came to its end.
    """

    kind: str
    undisturbed_s: float
    imports: float
    kills: int = 0
    signals: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    finished: int = 0
    different: int = 0
    failed: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        """Whether nothing was lost, damaged, refused or left over."""
        return not (self.broken or self.different or self.failed or self.leftovers)


def campaign(kind: Kind, folder: Path, *, kills: int, seed: int) -> Outcome:
    """Kill a kind of work so often."""
    chance = random.Random(f"{kind.name} {seed}")
    inputs, undisturbed, work = folder / "inputs", folder / "undisturbed", folder / "work"
    for place in (inputs, undisturbed, folder / "temporary"):
        place.mkdir(parents=True)
    kind.prepare(inputs)
    kind.begin(inputs, undisturbed)
    begin = time.perf_counter()
    assert kind.start(inputs, undisturbed).wait() == 0, (folder / "undisturbed.log").read_text()
    outcome = Outcome(kind.name, time.perf_counter() - begin, kind.imports)
    wanted = kind.finish(undisturbed)
    signals = cycle(kind.signals)
    while True:
        if not work.exists():
            work.mkdir()
            kind.begin(inputs, work)
        before = half_written(work)
        process = kind.start(inputs, work)
        if outcome.kills < kills:
            moment_s = chance.uniform(kind.imports, 1.0) * outcome.undisturbed_s
            if end(process, moment_s, signals, outcome):
                look(kind, work, before, process.returncode, outcome)
                continue
        if not ended(process, max(60.0, 10 * outcome.undisturbed_s)):
            kill_all(process)
        if process.returncode != 0:
            # -9 of one that did not end within ten times its time.
            outcome.failed.append(f"status {process.returncode} after {outcome.kills} kills")
            print(f"{kind.name}: {outcome.failed[-1]}", file=sys.stderr)
            if len(outcome.failed) > 3:
                return outcome
        else:
            outcome.finished += 1
            outcome.different += kind.finish(work) != wanted
            outcome.leftovers += [f"finished: {name}" for name in sorted(half_written(work))]
            print(f"{kind.name}: {outcome.kills} kills, {outcome.finished} finished", flush=True)
            if outcome.kills >= kills:
                return outcome
        shutil.rmtree(work)


def ended(process: "subprocess.Popen[bytes]", most_s: float) -> bool:
    """Wait for the end of a process; False when it does not come."""
    try:
        process.wait(most_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def end(
    process: "subprocess.Popen[bytes]",
    moment_s: float,
    signals: Iterator[signal.Signals],
    outcome: Outcome,
) -> bool:
    """End a process at a moment with the next signal; False when it ended by itself before."""
    if ended(process, moment_s):
        return False
    number = next(signals)
    if number == signal.SIGKILL:
        kill_all(process)
    elif number == signal.SIGHUP:
        # As a terminal that is closed.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    if not ended(process, 60.0):
        kill_all(process)
        outcome.failed.append(f"did not heed {number.name}")
    outcome.kills += 1
    outcome.signals[number.name] = outcome.signals.get(number.name, 0) + 1
    return True


def look(kind: Kind, work: Path, before: set[str], status: int, outcome: Outcome) -> None:
    """Look at what an ended process left."""
    try:
        state = kind.state(work)
    except Exception as error:
        outcome.broken.append(f"after {outcome.kills} kills: {type(error).__name__}: {error}")
        print(f"{kind.name}: {outcome.broken[-1]}", file=sys.stderr)
    else:
        outcome.states[state] = outcome.states.get(state, 0) + 1
    if status != -signal.SIGKILL:
        left = sorted(half_written(work) - before)
        outcome.leftovers += [f"ended with {status}: {name}" for name in left]


def half_written(work: Path) -> set[str]:
    """Return the names of what processes left half written: beside outputs, and temporary."""
    inside = {path for path in work.rglob(".*") if path.name != ".lock"}
    temporary = set((work.parent / "temporary").glob(".thorax.*.partial"))
    return {str(path.relative_to(work.parent)) for path in inside | temporary}


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


def show(outcomes: Sequence[Outcome]) -> None:
    """Print a row for each kind."""
    result.table(
        "processes ended at random moments",
        ("Kind", "kills", "finished", "different", "failed", "broken", "leftovers", "s"),
        [
            (
                *(one.kind, f"{one.kills}", f"{one.finished}", f"{one.different}"),
                *(f"{len(one.failed)}", f"{len(one.broken)}", f"{len(one.leftovers)}"),
                f"{one.undisturbed_s:.1f}",
            )
            for one in outcomes
        ],
    )


def main() -> None:
    """Run the campaigns that are named, or put together the outcomes of earlier ones."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", choices=[*sorted(KINDS), []], help=", ".join(KINDS))
    parser.add_argument("--kills", type=int, default=40, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the outcomes, to put together later")
    parser.add_argument("--together", type=Path, nargs="+", help="such files; writes the result")
    options = result.parse_args(parser)
    if options.together:
        texts = [path.read_text("utf-8") for path in options.together]
        outcomes = [Outcome(**one) for text in texts for one in json.loads(text)]
        show(outcomes)
        document = {
            "kills": sum(one.kills for one in outcomes),
            "lost": sum(not one.survived for one in outcomes),
            "kinds": [asdict(one) for one in outcomes],
        }
        written = result.write("reliability_kills", document, rehearsal=options.rehearsal)
        print("written:", written)
        return
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.kinds:
            place = Path(folder) / name
            outcomes.append(campaign(KINDS[name], place, kills=options.kills, seed=options.seed))
    show(outcomes)
    if options.out:
        write_text(options.out, json.dumps([asdict(one) for one in outcomes], indent=2) + "\n")


if __name__ == "__main__":
    main()
