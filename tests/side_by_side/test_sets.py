"""Sets of claims: what is run again, what failed, how a ratio stands against a committed one."""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from benchmarks import whole_set
from benchmarks.quick import HEADLINES, RUNS, Row, committed, compare, status
from benchmarks.record.agreement import verdict

HARDWARE = {"cpu": "one", "processors": 2, "instructions": ["avx2"], "governor": None}


class Runs:
    """Commands that were run, of which some fail."""

    def __init__(self, *failing: str) -> None:
        self.modules: list[str] = []
        self._failing = failing

    def __call__(self, words: Sequence[str]) -> str | None:
        self.modules.append(words[2])
        return None if words[2] in self._failing else f"{words[2]}.json"


def test_a_set_goes_on_where_it_stopped(tmp_path: Path) -> None:
    claims: dict[str, Sequence[str]] = {"one": (), "two": (), "three": ()}
    progress, runs = tmp_path / "all.json", Runs("benchmarks.two")
    assert whole_set.run_all(claims, progress, "a", run=runs) == ["two"]
    assert runs.modules == ["benchmarks.one", "benchmarks.two", "benchmarks.three"]
    later = Runs()
    assert whole_set.run_all(claims, progress, "a", run=later) == []
    assert later.modules == ["benchmarks.two"]
    again = Runs()
    assert whole_set.run_all(claims, progress, "a", again=True, run=again) == []
    assert whole_set.run_all(claims, progress, "b", run=again) == []
    assert len(again.modules) == 6


def test_a_command_tells_what_it_wrote_and_that_it_failed() -> None:
    say = "print('turn 1'); print('written: one_2026.json, not for the record')"
    python = [sys.executable, "-c"]
    assert whole_set.run([*python, say]) == "one_2026.json"
    assert whole_set.run([*python, f"{say}; raise SystemExit(1)"]) is None


@pytest.mark.parametrize("claim", [*whole_set.CLAIMS, *RUNS])
def test_every_claim_of_a_set_is_a_module_that_runs(claim: str) -> None:
    assert callable(import_module(f"benchmarks.{claim}").main)


def test_ten_headlines_are_of_what_the_quick_set_runs() -> None:
    assert len(set(HEADLINES)) == 10
    assert {claim for claim, _ in HEADLINES} == set(RUNS)


def row(low: float, high: float, quantity: str = "images/s") -> dict[str, Any]:
    wall = {"ratio": (low + high) / 2, "low": low, "high": high}
    return {"name": "ours over theirs", "quantity": quantity, "wall": wall}


def document(made: dict[str, Any], *, others: float = 0.0, date: str = "2026-12-01") -> Any:  # noqa: ANN401
    return {
        "claim": "claim",
        "commit": "abcdef0",
        "date": date,
        "hardware": HARDWARE,
        "load": {"others_share": others, "allowed_share": 0.1},
        "comparisons": [made],
    }


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (row(1.00, 1.04), row(1.01, 1.05), "agree"),
        (row(0.98, 1.16), row(0.98, 1.16), "undecided"),
        (row(0.5, 2.0), row(0.9, 1.1), "undecided"),
        (row(1.00, 1.02), row(1.06, 1.08), "differ"),
        (row(1.2, 1.3), row(1.0, 1.1), "better"),
        (row(0.8, 0.9), row(1.0, 1.1), "differ"),
        (row(1.2, 1.3, "seconds"), row(1.0, 1.1, "seconds"), "differ"),
        (row(0.8, 0.9, "p99_s"), row(1.0, 1.1, "p99_s"), "better"),
        (row(1.2, 1.3, "steady_images_per_s"), row(1.0, 1.1), "better"),
    ],
)
def test_the_interval_of_the_ratio_of_both_runs_decides(
    now: dict[str, Any], before: dict[str, Any], expected: str
) -> None:
    assert verdict(now, before) == expected


def test_what_cannot_be_compared_is_said_and_is_no_agreement() -> None:
    name, sound = "ours over theirs", document(row(1.0, 1.04))
    assert compare(name, sound, sound).verdict == "agree"
    assert "no result of such" in compare(name, sound, None).verdict
    loaded = compare(name, document(row(1.0, 1.2), others=0.5), sound)
    assert loaded.verdict == "cannot compare: others used 50% of the processors"
    assert "not measured" in compare("another", sound, sound).verdict
    assert compare(name, None, sound).verdict == "failed"


def test_the_newest_result_of_such_a_processor_is_taken(tmp_path: Path) -> None:
    def write(name: str, made: dict[str, Any]) -> None:
        (tmp_path / f"claim_{name}.json").write_text(json.dumps(made), "utf-8")

    assert committed("claim", HARDWARE, tmp_path) is None
    write("older", document(row(1.0, 1.1), date="2026-11-01"))
    write("newer", document(row(2.0, 2.1)) | {"time_utc": "06:11:05"})
    write("of_that_day", document(row(3.0, 3.1)))
    another = document(row(3.0, 3.1), date="2026-12-02")
    write("another", another | {"hardware": HARDWARE | {"instructions": ["avx2", "amx_int8"]}})
    old_form = document(row(4.0, 4.1), date="2026-12-02")
    del old_form["comparisons"]
    write("old_form", old_form)
    write("dirty", document(row(5.0, 5.1), date="2026-12-02") | {"commit": "abc-dirty"})
    write("rehearsal", document(row(5.0, 5.1), date="2026-12-02") | {"for_record": False})
    assert committed("claim", HARDWARE, tmp_path) == tmp_path / "claim_newer.json"


def test_the_exit_status_is_that_of_the_worst() -> None:
    def of(*verdicts: str) -> int:
        return status(Row("", "", "", text) for text in verdicts)

    assert of("agree", "better") == 0
    assert of("agree", "cannot compare: x") == 2
    assert of("agree", "undecided") == 2
    assert of("undecided", "differ") == 1
    assert of("differ", "cannot compare: x") == 1
    assert of("failed") == 1
