"""An archive on disk: whole files, one plan, and each input exactly once."""

import csv
import json
from pathlib import Path

import pytest

from thorax.answers import Row
from thorax.artifact import Artifact
from thorax.errors import DataError, UsageError
from thorax.predict import Source, StoredImage
from thorax.shards import (
    Plan,
    Shard,
    assemble,
    begin,
    make_plan,
    missing,
    open_archive,
    read_head,
    read_inputs,
    write_shard,
)

SOURCES: list[Source] = [Path(f"/scans/{number}.png") for number in range(7)]


def row(name: object) -> Row:
    return {"image": str(name), "findings": {}, "positive": [], "error": None}


@pytest.fixture
def plan(tiny_fp32: Artifact) -> tuple[Plan, bytes]:
    return make_plan(tiny_fp32.card, "CPU", SOURCES, 3)


@pytest.fixture
def shards(plan: tuple[Plan, bytes], tmp_path: Path) -> list[Shard]:
    with open_archive(tmp_path / "out", *plan) as shards:
        return shards


def answer_all(out: Path, shards: list[Shard]) -> None:
    for shard in shards:
        write_shard(out, shard, [row(source) for source in read_inputs(out, shard)], "a CPU")


def test_shards_are_runs_of_the_inputs_and_have_all_of_them(
    shards: list[Shard], tmp_path: Path
) -> None:
    assert [shard.images for shard in shards] == [3, 3, 1]
    read = [source for shard in shards for source in read_inputs(tmp_path / "out", shard)]
    assert read == SOURCES


def test_inputs_of_stores_and_names_that_no_encoding_has_come_back_as_they_were(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "store.json").write_text("{}")
    sources: list[Source] = [Path("/scans/\udcff\n.png"), StoredImage(store, 5, "a.png")]
    plan, listed = make_plan(tiny_fp32.card, "CPU", sources, 256)
    with open_archive(tmp_path / "out", plan, listed) as shards:
        assert read_inputs(tmp_path / "out", shards[0]) == sources
    (store / "store.json").write_text('{"count": 1}')
    assert make_plan(tiny_fp32.card, "CPU", sources, 256)[0].inputs != plan.inputs


def test_rows_are_put_together_in_the_order_of_the_inputs_whoever_came_first(
    tiny_fp32: Artifact, shards: list[Shard], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer_all(out, shards[::-1])
    answer_all(out, shards[:1])
    done = assemble(out, shards, tiny_fp32.card, csv_path=tmp_path / "all.csv", keep=2)
    lines = [json.loads(line)["image"] for line in done.path.read_text().splitlines()]
    assert lines == list(map(str, SOURCES))
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [line["image"] for line in csv.DictReader(file)] == lines
    assert [one["image"] for one in done.rows] == lines[:2]
    assert (done.images, done.failed, done.processors) == (7, 0, ("a CPU",))
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "another"])
def test_a_shard_that_is_not_what_was_written_is_missing(
    shards: list[Shard], tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    answer_all(out, shards)
    path = out / "shards/000001.jsonl"
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-5],
            "changed": content.replace(b"/3.png", b"/4.png"),
            "empty": b"",
            "another": (out / "shards/000000.jsonl").read_bytes(),
        }[damage]
    )
    assert missing(out, shards) == [shards[1]]
    assert read_head(out, shards[0]) is not None


def test_a_shard_changed_while_it_is_put_together_gives_no_result(
    tiny_fp32: Artifact, shards: list[Shard], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer_all(out, shards[:2])
    with pytest.raises(DataError, match="archive-damaged"):
        assemble(out, shards, tiny_fp32.card, csv_path=None, keep=None)
    assert sorted(path.name for path in out.iterdir()) == ["archive.json", "inputs.jsonl", "shards"]


def test_attempts_are_counted_within_a_run(
    plan: tuple[Plan, bytes], shards: list[Shard], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert [begin(out, shards[0]), begin(out, shards[0]), begin(out, shards[1])] == [1, 2, 1]
    with open_archive(out, *plan):
        assert begin(out, shards[0]) == 1
    answer_all(out, shards)
    assert not list(out.rglob("*.begun"))


def test_another_run_is_told_from_the_one_that_is_there(
    plan: tuple[Plan, bytes], shards: list[Shard], tiny_fp32: Artifact, tmp_path: Path
) -> None:
    other = make_plan(tiny_fp32.card, "CPU", SOURCES[1:], 4)
    with (
        pytest.raises(UsageError, match="archive-other") as caught,
        open_archive(tmp_path / "out", *other),
    ):
        pass
    assert "images (7 there, 6 here), the list of inputs (" in caught.value.message
    assert "--shard-size (3 there, 4 here)" in caught.value.message
    card = tiny_fp32.card.model_copy(update={"name": "another"})
    with (
        pytest.raises(UsageError, match=r"differs in the model \("),
        open_archive(tmp_path / "out", *make_plan(card, "CPU", SOURCES, 3)),
    ):
        pass


def test_relative_names_belong_to_the_folder_they_were_typed_in(
    tiny_fp32: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, _ = make_plan(tiny_fp32.card, "CPU", [Path("a.png")], 3)
    assert first.folder == str(tmp_path)
    assert make_plan(tiny_fp32.card, "CPU", SOURCES, 3)[0].folder is None


def test_a_folder_of_something_else_is_left_alone(plan: tuple[Plan, bytes], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="archive-foreign"), open_archive(tmp_path, *plan):
        pass


def test_two_runs_do_not_write_one_folder(plan: tuple[Plan, bytes], tmp_path: Path) -> None:
    with (
        open_archive(tmp_path / "out", *plan),
        pytest.raises(DataError, match="archive-locked"),
        open_archive(tmp_path / "out", *plan),
    ):
        pass


def test_a_damaged_plan_is_told(
    plan: tuple[Plan, bytes], shards: list[Shard], tmp_path: Path
) -> None:
    (tmp_path / "out/archive.json").write_text("{")
    with pytest.raises(DataError, match="archive-damaged"), open_archive(tmp_path / "out", *plan):
        pass
