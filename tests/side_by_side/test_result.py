"""Result files: what hardware they tell, that none takes another's place, and what is refused."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from benchmarks.harness import result
from benchmarks.record.evidence import Evidence, ResultFile

CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: A CPU
stepping\t: 8
flags\t\t: fpu fma avx2 avx512_vnni
"""


def kernel(root: Path, files: dict[str, str]) -> Path:
    """Make a folder with what the kernel tells."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", "ascii")
    return root


def test_hardware_is_as_linux_tells_it(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu/cpu0"
    caches = {
        f"{cpu}/cache/index{index}/{name}": text
        for index, row in enumerate(
            [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("3", "Unified", "1M")]
        )
        for name, text in zip(("level", "type", "size"), row, strict=True)
    }
    siblings = {f"{cpu}/topology/thread_siblings_list": "0,4-5"}
    here = result.hardware(kernel(tmp_path, {"proc/cpuinfo": CPUINFO, **caches, **siblings}))
    told = [here[key] for key in ("cpu", "vendor", "family", "model", "stepping")]
    assert told == ["A CPU", "GenuineIntel", 6, 143, 8]
    assert here["caches_bytes"] == {"L1d": 48 << 10, "L1i": 32 << 10, "L3": 1 << 20}
    assert here["threads_per_core"] == 3
    assert here["instructions"] == ["fma", "avx2", "avx512_vnni"]


def test_what_linux_does_not_tell_is_none(tmp_path: Path) -> None:
    here = result.hardware(kernel(tmp_path, {"proc/cpuinfo": "model\t\t:\nmodel name : A CPU"}))
    unknown = (
        "vendor", "family", "model", "stepping", "threads_per_core", "caches_bytes", "governor",
    )  # fmt: skip
    assert [here[key] for key in unknown] == [None] * len(unknown)
    assert here["cpu"] == "A CPU"


def test_no_run_takes_the_place_of_another(tmp_path: Path) -> None:
    paths = [result.write("claim", {"run": run}, rehearsal=tmp_path) for run in range(3)]
    assert [json.loads(path.read_text("utf-8"))["run"] for path in paths] == [0, 1, 2]
    files = sorted(map(ResultFile.at, paths), key=lambda file: file.age)
    assert [file.path for file in files] == paths
    assert {file.claim for file in files} == {"claim"}
    assert all(file.document["date"] == file.date for file in files)


def test_what_is_computed_alone_tells_no_machine_and_is_newer_than_files_of_its_day(
    tmp_path: Path,
) -> None:
    path = result.write("claim", {"run": 1}, rehearsal=tmp_path, modelled=True)
    document = json.loads(path.read_text("utf-8"))
    assert path.name.startswith(f"claim_model_{document['date']}T")
    assert document["modelled"] is True
    assert not {"hardware", "load_average"} & set(document)
    assert document["commit"]
    of_old = tmp_path / f"claim_model_{document['date']}.json"
    of_old.write_text(json.dumps({"claim": "claim", "run": 0}), "utf-8")
    # As it is where the code is committed, whatever the tree of this test is like.
    document |= {"for_record": True, "commit": "a"}
    path.write_text(json.dumps(document), "utf-8")
    assert Evidence(tmp_path).newest("claim").document["run"] == 1


def test_of_one_day_the_latest_counts(tmp_path: Path) -> None:
    document = {"claim": "claim", "hardware": {"instructions": ["avx2"]}}
    for moment in ("2026-12-01T0611", "2026-12-01", "2026-12-01T061130", "2026-12-01T0610"):
        path = tmp_path / f"claim_a-cpu_{moment}.json"
        path.write_text(json.dumps(document | {"at": moment}), "utf-8")
    found = Evidence(tmp_path)
    assert [file.document["at"] for file in found.runs("claim")] == [
        "2026-12-01", "2026-12-01T0610", "2026-12-01T0611", "2026-12-01T061130",
    ]  # fmt: skip
    assert found.newest("claim").date == "2026-12-01"


def git(tree: Path, *words: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *names, *words], cwd=tree, check=True, capture_output=True)


def test_code_that_is_not_committed_is_told_and_results_and_documents_are_none(
    tmp_path: Path,
) -> None:
    for name in ("a.py", "docs/a.md", "benchmarks/results/a.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n", "utf-8")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "all")
    for name in ("docs/a.md", "benchmarks/results/a.json", "notes.txt"):
        (tmp_path / name).write_text("2\n", "utf-8")
    assert result.changes(tmp_path) == []
    assert not result.commit(tmp_path).endswith("-dirty")
    (tmp_path / "b.py").write_text("1\n", "utf-8")
    (tmp_path / "c.toml").write_text("1\n", "utf-8")
    assert result.changes(tmp_path) == ["b.py", "c.toml"]
    (tmp_path / "a.py").write_text("2\n", "utf-8")
    assert result.changes(tmp_path) == ["a.py", "b.py", "c.toml"]
    assert not result.commit(tmp_path).endswith("-dirty"), "a process keeps what it began with"
    result.commit.cache_clear()
    assert result.commit(tmp_path).endswith("-dirty")


def test_a_result_of_code_that_is_not_committed_is_refused_and_kept_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(result, "changes", lambda tree=None: ["a.py", "b.py"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit, match=r"claim: a\.py and 1 more is not as committed; commit it"):
        result.write("claim", {})
    assert not (tmp_path / "results").exists()
    (kept,) = tmp_path.glob("thorax-benchmarks-*/*.json")
    document = json.loads(kept.read_text("utf-8"))
    assert document["for_record"] is False
    assert document["commit"].endswith("-dirty")
    assert result.write("claim", {}, rehearsal=tmp_path / "aside").parent == tmp_path / "aside"
    monkeypatch.setattr(result, "changes", lambda tree=None: [])
    assert result.write("claim", {}).parent == tmp_path / "results"


def test_argv_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(result, "changes", lambda tree=None: ["a.py"])

    def parsed(*words: object) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        parser.add_argument("--work", type=Path)
        parser.add_argument("--data", type=result.filled_folder)
        monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
        return result.parse_args(parser)

    with pytest.raises(SystemExit, match=r"^a\.py is not as committed"):
        parsed("--work", tmp_path / "work")
    assert not (tmp_path / "work").exists()
    aside = ("--rehearsal", tmp_path / "aside")
    file, empty = tmp_path / "file", tmp_path / "empty"
    file.touch()
    empty.mkdir()
    for words, message in (
        (("--work", file / "work"), "work cannot be made: Not a directory"),
        (("--data", tmp_path / "none"), "none is no folder; give one with data"),
        (("--data", empty), "empty is empty; give a folder with data"),
    ):
        with pytest.raises(SystemExit, match="2"):
            parsed(*words, *aside)
        assert message in capsys.readouterr().err
    chosen = parsed("--work", tmp_path / "work", "--data", tmp_path, *aside)
    assert (chosen.work.is_dir(), chosen.data, chosen.rehearsal) == (True, tmp_path, aside[1])
