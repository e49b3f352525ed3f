"""What the claim of an archive on actors measures, and when it says that an actor was killed."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks import cluster_classify
from benchmarks.cluster_classify import Archives
from benchmarks.harness.side_by_side import Settings, Side, Turn, require_alike

ANSWERS = b"rows\n"


def shards(out: Path, ends_s: list[int], images: int = 10) -> None:
    """Write shards that ended at these seconds."""
    (out / "shards").mkdir(parents=True)
    for number, end_s in enumerate(ends_s):
        path = out / "shards" / f"{number:06d}.jsonl"
        path.write_text(json.dumps({"images": images}) + "\n", "ascii")
        os.utime(path, ns=(0, end_s * 10**9))
    (out / "results.jsonl").write_bytes(ANSWERS)


def archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, retries: int, rows: bytes = ANSWERS
) -> Archives:
    """Return archives that are answered without a model."""

    def answered(
        model: Path, images: Path, out: Path, shard_size: int, actors: int | None
    ) -> object:
        shards(out, [1, 2, 3, 5])
        (out / "results.jsonl").write_bytes(rows)
        return SimpleNamespace(images=40, cluster=SimpleNamespace(retries=retries))

    monkeypatch.setattr(cluster_classify, "_archive", answered)
    return Archives(tmp_path / "model", tmp_path / "images", tmp_path, 10)


def test_the_steady_rate_is_of_the_later_half_of_the_shards(tmp_path: Path) -> None:
    # An actor that starts late ends its first shard third: nothing before counts.
    shards(tmp_path, [1, 2, 30, 31, 32, 33])
    assert cluster_classify._steady_images_per_s(tmp_path) == pytest.approx(30 / 3)


def test_a_turn_has_both_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, turn = archives(tmp_path, monkeypatch, retries=0).run(2)
    assert turn.images == 40
    assert turn.more == {"steady_images_per_s": pytest.approx(20 / 3)}
    assert not (tmp_path / "run1").exists()


def test_a_run_in_which_no_actor_was_killed_is_no_evidence_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="no actor was killed in time"):
        archives(tmp_path, monkeypatch, retries=0).run_killed(2)


def test_rows_that_are_not_those_of_other_runs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archives(tmp_path, monkeypatch, retries=1)
    made.run(None)
    archives(tmp_path, monkeypatch, retries=1, rows=b"others\n")
    with pytest.raises(SystemExit, match="rows of killed are not those of other runs"):
        made.run_killed(2)


def test_fewer_actors_than_threads_of_the_process_are_refused() -> None:
    one = Settings(4, "fp32", 64, "a store", process="shared")
    two = Settings(2, "fp32", 64, "a store")
    sides = {
        name: Side(name, chosen, lambda: Turn(1.0, None, 1))
        for name, chosen in (("actors", two), ("one_process", one))
    }
    for comparison in cluster_classify._comparisons(2):
        with pytest.raises(SystemExit, match="threads of actors and one_process are not alike"):
            require_alike(comparison, sides)
