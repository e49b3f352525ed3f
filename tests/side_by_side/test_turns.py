"""What may be said of two sides: the order of turns, intervals, and what is refused."""

import json
import os
import random
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from benchmarks.harness import load, result
from benchmarks.harness.load import Load, Reading
from benchmarks.harness.side_by_side import (
    Bound,
    Comparison,
    Options,
    Settings,
    Side,
    SideBySide,
    Turn,
    less_is_better,
    read_options,
)

from thorax.benchmark.confidence import median_of_turns

SETTINGS = Settings(threads=2, precision="int8", side=224, input="tensor that stays")
FASTER = Comparison("ours over theirs", "ours", "theirs", "Images a second of both.")


@pytest.fixture(autouse=True)
def adopts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests goes on after them and shall not become a parent of orphans."""
    monkeypatch.setattr(load, "adopt", lambda: None)


def clocks(others: float) -> Callable[[], Reading]:
    """Return clocks of one processor of which others use a share, ours the other half of it."""
    moments = count()

    def read() -> Reading:
        second = float(next(moments))
        return Reading(second, second * (others + 0.5), second * 0.5)

    return read


def side(name: str, rates: Iterator[float], settings: Settings = SETTINGS) -> Side:
    return Side(name, settings, lambda: Turn(1.0 / next(rates), 2.0, images=1))


def bench(tmp_path: Path, others: float = 0.0, *, turns: int = 8, seed: int = 0) -> SideBySide:
    options = Options(turns, 1.0, seed, rehearsal=tmp_path)
    made = SideBySide("claim", options, read=clocks(others))
    made._processors = 1
    return made


def forever(rate: float) -> Iterator[float]:
    while True:
        yield rate


def measured(
    tmp_path: Path,
    others: float = 0.0,
    ours: float = 2.0,
    theirs: float = 1.0,
    settings: Settings = SETTINGS,
) -> SideBySide:
    made = bench(tmp_path, others)
    made.take_turns([side("ours", forever(ours), settings), side("theirs", forever(theirs))])
    return made


def places(tmp_path: Path, seed: int) -> list[int]:
    made = bench(tmp_path, seed=seed, turns=20)
    made.take_turns([side(name, forever(1.0)) for name in ("ours", "theirs", "third")])
    return [turn["place"] for turn in made.turns["ours"]]


def test_the_order_is_random_and_its_seed_repeats_it(tmp_path: Path) -> None:
    first = places(tmp_path, 0)
    assert first == places(tmp_path, 0)
    assert first != places(tmp_path, 1)
    assert set(first) == {0, 1, 2}


def test_every_turn_is_kept_with_place_and_load(tmp_path: Path) -> None:
    made = measured(tmp_path, others=0.05)
    written = json.loads(made.write([FASTER]).read_text("utf-8"))
    for name in ("ours", "theirs"):
        rows = written["sides"][name]["turns"]
        assert [row["turn"] for row in rows] == list(range(8))
        assert all(row["others_share"] == pytest.approx(0.05) for row in rows)
    both = zip(*(written["sides"][name]["turns"] for name in ("ours", "theirs")), strict=True)
    assert all({a["place"], b["place"]} == {0, 1} for a, b in both)
    assert written["comparisons"][0]["wall"] == {"ratio": 2.0, "low": 2.0, "high": 2.0}
    assert written["comparisons"][0]["cpu"] == {"ratio": 1.0, "low": 1.0, "high": 1.0}
    assert written["load"]["others_share"] == pytest.approx(0.05)
    assert written["for_record"] is False
    assert {"governor", "instructions", "cpu"} <= set(written["hardware"])
    assert written["commit"]


def test_a_loaded_run_is_refused_with_its_share_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(result, "changes", lambda tree=None: [])
    made = measured(tmp_path, others=0.25)
    made.write([FASTER])
    made.options = replace(made.options, rehearsal=None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit, match=r"others used 25% .* 10% is allowed; end what .*none was"):
        made.write([FASTER])
    assert not (tmp_path / "results").exists()
    (kept,) = tmp_path.glob("thorax-benchmarks-*/*.json")
    assert json.loads(kept.read_text("utf-8"))["for_record"] is False
    made.options = replace(made.options, others=0.3)
    assert made.write([FASTER]).parent == tmp_path / "results"


def test_a_machine_that_is_not_quiet_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "watch", lambda seconds, processors: Load(0.5, 1.0))
    made = bench(tmp_path)
    made.require_quiet()
    made.options = replace(made.options, rehearsal=None)
    with pytest.raises(SystemExit, match="others used 50% of the processors before it"):
        made.require_quiet()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"threads": 1}, "threads"),
        ({"precision": "fp32"}, "precision"),
        ({"side": 64}, "side"),
        ({"input": "array passed anew"}, "input"),
        ({"batch": 8}, "batch"),
        ({"batch_choice": "fastest of 1, 8"}, "batch_choice"),
        ({"warm_up_s": 1.0}, "warm_up_s"),
        ({"process": "shared"}, "process"),
    ],
)
def test_sides_that_are_not_set_alike_are_refused_unless_it_is_named(
    tmp_path: Path, change: dict[str, Any], name: str
) -> None:
    made = measured(tmp_path, settings=replace(SETTINGS, **change))
    with pytest.raises(SystemExit, match=f"{name} of ours and theirs are not alike"):
        made.judge(FASTER)
    judged = made.judge(replace(FASTER, differs=(name,)))
    assert judged["differs"] == [name]


def test_what_is_alike_is_not_said_to_differ_and_own_options_are_no_difference(
    tmp_path: Path,
) -> None:
    made = measured(tmp_path, settings=replace(SETTINGS, more={"library": "another"}))
    made.judge(FASTER)
    assert made.judge(replace(FASTER, differs=("threads",)))["differs"] == []


def test_batches_that_both_were_probed_for_may_differ(tmp_path: Path) -> None:
    probed = replace(SETTINGS, batch_choice="fastest of 1, 8")
    assert probed.differences(replace(probed, batch=8)) == ()


def test_a_ratio_beyond_its_bound_must_be_explained(tmp_path: Path) -> None:
    made = measured(tmp_path)
    bounded = replace(FASTER, bound=Bound(1.5, "both run the same kernels"))
    assert "not for the record" in made.judge(bounded)["above_bound"]
    made.options = replace(made.options, rehearsal=None)
    with pytest.raises(SystemExit, match=r"2\.000 is beyond the bound of 1\.5 \(both run"):
        made.judge(bounded)
    assert made.judge(replace(bounded, above_bound="a reason"))["above_bound"] == "a reason"
    within = replace(bounded, bound=Bound(2.5, "more than that"), above_bound="a reason")
    assert made.judge(within)["above_bound"] is None


def test_a_bound_of_seconds_is_the_least(tmp_path: Path) -> None:
    made = measured(tmp_path)
    made.options = replace(made.options, rehearsal=None)
    seconds = replace(FASTER, quantity="seconds", bound=Bound(1.0, "the same work and more"))
    with pytest.raises(SystemExit, match=r"0\.500 is beyond the bound of 1"):
        made.judge(seconds)


def test_noise_about_a_bound_explains_itself(tmp_path: Path) -> None:
    made = bench(tmp_path)
    noise = iter([0.99, 1.02, 1.03, 0.98, 1.01, 1.04, 1.02, 0.97])
    made.take_turns([side("ours", noise), side("theirs", forever(1.0))])
    bounded = replace(FASTER, bound=Bound(1.0, "the same work"))
    for explained in (None, "a reason"):
        judged = made.judge(replace(bounded, above_bound=explained))
        assert judged["above_bound"] == "noise: the interval holds the bound"


def test_a_quantity_has_a_name_for_people(tmp_path: Path) -> None:
    made = measured(tmp_path)
    assert made.judge(FASTER)["label"] == "images/s"
    judged = made.judge(replace(FASTER, quantity="seconds", label="time of a run"))
    assert (judged["quantity"], judged["label"]) == ("seconds", "time of a run")


@pytest.mark.parametrize(
    ("quantity", "less"),
    [
        ("images/s", False), ("seconds", True), ("p99_s", True), ("steady_images_per_s", False),
        ("images_per_s", False), ("size_bytes", True), ("gops", False),
    ],
)  # fmt: skip
def test_of_time_and_size_less_is_better(quantity: str, less: bool) -> None:
    assert less_is_better(quantity) is less


def test_fewer_turns_than_an_interval_needs_are_refused() -> None:
    told: dict[str, Any] = {"seconds": 1.0, "seed": 0, "others": 0.1, "rehearsal": None}
    options = read_options(Namespace(turns=6, **told))
    assert (options.turns, options.seed) == (6, 0)
    with pytest.raises(SystemExit, match="--turns is 5; an interval of 95% needs 6"):
        read_options(Namespace(turns=5, **told))


def test_more_load_of_others_is_for_rehearsals_alone(tmp_path: Path) -> None:
    told: dict[str, Any] = {"turns": 6, "seconds": 1.0, "seed": 0, "others": 0.3}
    with pytest.raises(SystemExit, match=r"--others is 0\.3; for the record 0\.1 is allowed"):
        read_options(Namespace(rehearsal=None, **told))
    assert read_options(Namespace(rehearsal=tmp_path, **told)).others == 0.3


def test_load_beside_one_side_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(result, "require_committed", lambda: None)
    busy = {"ours": 0.0, "theirs": 0.15}
    now = {"at": 0.0, "busy": 0.0}

    def one(name: str) -> Side:
        def measure() -> Turn:
            now["at"] += 1.0
            now["busy"] += busy[name]
            return Turn(1.0, 1.0, images=1)

        return Side(name, SETTINGS, measure)

    options = Options(6, 1.0, 0)
    made = SideBySide("claim", options, read=lambda: Reading(now["at"], now["busy"], 0.0))
    made._processors = 1
    made.take_turns([one("ours"), one("theirs")])
    with pytest.raises(SystemExit, match=r"others used 15% of the processors beside theirs"):
        made.write([FASTER])


def test_a_seed_that_is_not_given_is_drawn_anew() -> None:
    told: dict[str, Any] = {"seconds": 1.0, "seed": None, "others": 0.1, "rehearsal": None}
    seeds = {read_options(Namespace(turns=6, **told)).seed for _ in range(4)}
    assert len(seeds) > 1


@pytest.mark.parametrize("turns", [6, 9, 15])
def test_intervals_hold_the_true_ratio_as_often_as_they_say(turns: int) -> None:
    noise = random.Random(0)
    held = 0
    for _ in range(1000):
        # What else the machine does slows a whole turn; each side has noise of its own besides.
        ratios = []
        for _ in range(turns):
            slow = noise.choice([1.0, 1.0, 0.6])
            ours, theirs = (slow * noise.lognormvariate(0, 0.05) for _ in range(2))
            ratios.append(1.1 * ours / theirs)
        interval = median_of_turns(ratios)
        assert interval is not None
        held += interval.low <= 1.1 <= interval.high
    assert held / 1000 > 0.94


def test_what_is_measured_once_is_refused_beside_others_and_rehearsed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    quiet = Load(0.05, 1.0)
    monkeypatch.setattr(load, "watch", lambda seconds, processors: quiet)
    assert load.Watch("claim", None, read=clocks(0.05)).facts()["others_share"] == 0.05
    with pytest.raises(SystemExit, match="claim: others used 25% of the processors beside it"):
        load.Watch("claim", None, read=clocks(0.25)).facts()
    assert load.Watch("claim", tmp_path, read=clocks(0.25)).facts()["others_share"] == 0.25
    quiet = Load(0.5, 1.0)
    with pytest.raises(SystemExit, match="claim: others used 50% of the processors before it"):
        load.Watch("claim", None, read=clocks(0.0))


def test_load_is_of_others_alone_and_never_below_nothing() -> None:
    before = Reading(0.0, 100.0, 10.0)
    assert Load.between(before, Reading(10.0, 119.0, 18.0), 2).share == pytest.approx(0.55)
    assert Load.between(before, Reading(10.0, 104.0, 14.1), 2).share == 0.0
    both = Load(1.0, 10.0) + Load(3.0, 10.0)
    assert both.share == pytest.approx(0.2)


def test_processor_time_of_a_child_is_our_own_while_it_runs_and_after() -> None:
    begin = load.read().own_s
    work = "import sys; sum(range(4_000_000)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = load.read().own_s
        child.communicate()
    assert begin + 0.02 < running
    # Clocks of the kernel go on by hundredths.
    assert load.read().own_s > running - 0.03


ORPHANED = """
import os, subprocess, sys
from benchmarks.harness import load

WORK = (
    "import sys, time; sum(range(8_000_000)); print(time.process_time(), flush=True); "
    "sys.stdin.read()"
)

def used_s():
    begin = load.read().own_s
    reads, holds = os.pipe()
    parent = subprocess.Popen(
        ["sh", "-c", 'exec 3<&0; "$0" -c "$1" <&3 & exit', sys.executable, WORK],
        stdin=reads, stdout=subprocess.PIPE,
    )
    os.close(reads)
    assert parent.wait() == 0
    worked = float(parent.stdout.readline())
    used = load.read().own_s - begin
    os.close(holds)
    parent.stdout.read()
    return used / worked

lost = used_s()
load.adopt()
print(lost, used_s())
"""


def test_processor_time_of_those_who_lost_their_parent_is_our_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHANED], capture_output=True, text=True, check=True, timeout=60
    )
    lost, counted = map(float, done.stdout.split())
    assert counted > lost + 0.5, "shares of the processor time of a process without its parent"


UNWAITED = """
import subprocess, sys, time
from benchmarks.harness import load

WORK = (
    "import time; sum(range(16_000_000)); print(time.process_time(), flush=True); "
    "time.sleep(0.6)"
)
PARENT = (
    "import signal, subprocess, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    f"subprocess.run([sys.executable, '-c', {WORK!r}]); print('ended', flush=True); "
    "sys.stdin.read()"
)

def used_s(read):
    begin = read().own_s
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    worked = float(parent.stdout.readline())
    assert parent.stdout.readline() == b"ended\\n"
    used = read().own_s - begin
    parent.communicate()
    return used / worked

with load.Unwaited() as unwaited:
    print(used_s(load.read), used_s(unwaited.read))
"""


def test_processor_time_of_those_whose_parent_does_not_wait_is_seen_while_they_live() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNWAITED], capture_output=True, text=True, check=True, timeout=60
    )
    lost, counted = map(float, done.stdout.split())
    assert counted > lost + 0.5, "shares of the processor time of a process nobody waits for"
