"""An archive on disk: whole files, one plan, and each input exactly once."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import openvino as ov
import pytest

from thorax.devices.extensions import Extension
from thorax.errors import DataError, ThoraxError, UsageError
from thorax.inference.archive_files import (
    PLAN,
    Shard,
    assemble,
    begin,
    missing,
    open_archive,
    read_inputs,
    read_shard,
    write_shard,
)
from thorax.inference.archive_plan import Arithmetic, Plan, extension_digest, make_plan, read_plan
from thorax.inference.archive_verify import is_archive, verify
from thorax.inference.findings import Memory
from thorax.inference.sources import Source, StoredImage
from thorax.results.findings import Findings

SOURCES: list[Source] = [Path(f"/scans/{number}.png") for number in range(7)]

COMPUTES = Arithmetic(
    card="5" * 64, precision="fp32", device="HETERO:FPGA,CPU", devices=("FPGA.0", "CPU"),
    compute="fp11+f32", cards={"FPGA.0": "a bitstream, fp11, emulation 1"},
)  # fmt: skip


def row(name: object) -> Findings:
    return Findings(image=str(name), findings={}, positive=(), error=None)


@pytest.fixture
def plan() -> tuple[Plan, bytes]:
    return make_plan(COMPUTES, SOURCES, 3)


@pytest.fixture
def shards(plan: tuple[Plan, bytes], tmp_path: Path) -> list[Shard]:
    with open_archive(tmp_path / "out", *plan) as shards:
        return shards


def answer_all(out: Path, shards: list[Shard]) -> None:
    for shard in shards:
        write_shard(out, shard, [row(source) for source in read_inputs(out, shard)], "a CPU")


def put_together(out: Path, shards: list[Shard]) -> None:
    assemble(out, shards, [])


def test_shards_are_runs_of_the_inputs_and_have_all_of_them(
    shards: list[Shard], tmp_path: Path
) -> None:
    assert [shard.images for shard in shards] == [3, 3, 1]
    read = [source for shard in shards for source in read_inputs(tmp_path / "out", shard)]
    assert read == SOURCES


def test_inputs_of_stores_and_names_that_no_encoding_has_come_back_as_they_were(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "store.json").write_text("{}")
    sources: list[Source] = [Path("/scans/\udcff\n.png"), StoredImage(store, 5, "a.png")]
    plan, listed = make_plan(COMPUTES, sources, 256)
    with open_archive(tmp_path / "out", plan, listed) as shards:
        assert read_inputs(tmp_path / "out", shards[0]) == sources
    (store / "store.json").write_text('{"count": 1}')
    again = make_plan(COMPUTES, sources, 256)[0]
    assert (again.inputs, again.stores != plan.stores) == (plan.inputs, True)
    with (
        pytest.raises(UsageError, match=r"archive-other: .* differs in the stores \("),
        open_archive(tmp_path / "out", again, listed),
    ):
        pass


def test_rows_are_put_together_in_the_order_of_the_inputs_whoever_came_first(
    shards: list[Shard], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer_all(out, shards[::-1])
    answer_all(out, shards[:1])
    written, first = Memory(None), Memory(2)
    done = assemble(out, shards, [written.write, first.write])
    lines = [json.loads(line)["image"] for line in done.path.read_text().splitlines()]
    assert lines == list(map(str, SOURCES)) == [findings.image for findings in written.findings]
    assert [findings.image for findings in first.findings] == lines[:2]
    assert (done.images, done.failed, done.processors) == (7, 0, ("a CPU",))
    assert not list(out.rglob("*.partial"))
    told, name = (out / "results.sha256").read_text().split()
    assert told == hashlib.sha256((out / name).read_bytes()).hexdigest()


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
    assert read_shard(out, shards[0]) is not None


def test_a_shard_changed_while_it_is_put_together_gives_no_result(
    shards: list[Shard], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer_all(out, shards[:2])
    with pytest.raises(DataError, match="archive-damaged"):
        put_together(out, shards)
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
    plan: tuple[Plan, bytes], shards: list[Shard], tmp_path: Path
) -> None:
    other = make_plan(COMPUTES, SOURCES[1:], 4)
    with (
        pytest.raises(UsageError, match="archive-other") as caught,
        open_archive(tmp_path / "out", *other),
    ):
        pass
    assert "images (7 there, 6 here), the list of inputs (" in caught.value.message
    assert "--shard-size (3 there, 4 here)" in caught.value.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"card": "6" * 64}, "the model (555555555555... there, 666666666666... here)"),
        ({"precision": "fp16"}, "precision (fp32 there, fp16 here)"),
        ({"device": "CPU"}, "device (HETERO:FPGA,CPU there, CPU here)"),
        ({"devices": ("CPU",)}, "the devices that execute (FPGA.0 CPU there, CPU here)"),
        ({"compute": "fp16+f32"}, "what is computed in (fp11+f32 there, fp16+f32 here)"),
        (
            {"cards": {"FPGA.0": "a bitstream, fp11, emulation 2"}},
            "what a card computes with (FPGA.0: a bitstream, fp11, emulation 1 there, "
            "a bitstream, fp11, emulation 2 here)",
        ),
        ({"cards": {}}, "(FPGA.0: a bitstream, fp11, emulation 1 there, not there here)"),
        ({"extensions": ("7" * 64,)}, "--extension (none there, 777777777777... here)"),
        ({"openvino": "2027.1"}, "openvino ("),
        ({"thorax": "9.9"}, "thorax ("),
    ],
)
def test_whatever_may_change_an_answer_is_part_of_the_plan(
    shards: list[Shard], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    other = make_plan(replace(COMPUTES, **change), SOURCES, 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught, open_archive(tmp_path / "out", *other):
        pass
    assert caught.value.code == "archive-other"
    assert f"which differs in {said}" in caught.value.message or said in caught.value.message


def test_a_custom_layer_is_known_by_the_file_that_computes_it(tmp_path: Path) -> None:
    library = tmp_path / "layers.so"
    library.write_bytes(b"1")
    first = extension_digest(Extension(library=library))
    library.write_bytes(b"2")
    assert extension_digest(Extension(library=library)) != first
    assert extension_digest(Extension(layer=ov.Op)) == extension_digest(Extension(layer=ov.Op))


def test_answers_of_another_plan_are_not_taken_for_those_of_this_one(
    plan: tuple[Plan, bytes], shards: list[Shard], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer_all(out, shards)
    (out / "archive.json").unlink()
    with open_archive(out, *plan) as same:
        assert missing(out, same) == []
    (out / "archive.json").unlink()
    with open_archive(out, *make_plan(replace(COMPUTES, compute="f32"), SOURCES, 3)) as others:
        assert missing(out, others) == others


def test_relative_names_belong_to_the_folder_they_were_typed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, _ = make_plan(COMPUTES, [Path("a.png")], 3)
    assert first.folder == str(tmp_path)
    assert make_plan(COMPUTES, SOURCES, 3)[0].folder is None


def test_a_folder_of_something_else_is_left_alone(plan: tuple[Plan, bytes], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="archive-foreign"), open_archive(tmp_path, *plan):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/train.tar").write_bytes(b"")
    with pytest.raises(UsageError, match="archive-foreign"), open_archive(tmp_path, *plan):
        pass


def test_two_runs_do_not_write_one_folder_and_the_other_is_named(
    plan: tuple[Plan, bytes], tmp_path: Path
) -> None:
    with (
        open_archive(tmp_path / "out", *plan),
        pytest.raises(DataError, match=rf"archive-locked: process {os.getpid()} on .* is writing"),
        open_archive(tmp_path / "out", *plan),
    ):
        pass


HOLDER = """
import sys
from pathlib import Path
from tests.inference.test_archive_files import COMPUTES, SOURCES
from thorax.inference.archive_files import open_archive
from thorax.inference.archive_plan import make_plan
with open_archive(Path(sys.argv[1]), *make_plan(COMPUTES, SOURCES, 3)):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_run_lets_go_of_its_folder(plan: tuple[Plan, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(DataError, match=f"archive-locked: process {other.pid} on "),
            open_archive(out, *plan),
        ):
            pass
        other.kill()
        other.wait()
    with open_archive(out, *plan) as shards:
        answer_all(out, shards)
        put_together(out, shards)
    assert all(piece.damage is None for piece in verify(out))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "archive-damaged"),
        ("[" * 100_000, "archive-damaged"),
        ("[]", "archive-damaged"),
        ('{"format": 2, "images": 1e999}', "archive-damaged"),
        ('{"card": "a", "precision": "fp32", "device": "CPU", "format": 1}', "archive-format"),
    ],
)
def test_a_plan_that_cannot_be_taken_is_told(
    plan: tuple[Plan, bytes], shards: list[Shard], tmp_path: Path, content: str, code: str
) -> None:
    (tmp_path / "out/archive.json").write_text(content)
    with pytest.raises(DataError, match=code), open_archive(tmp_path / "out", *plan):
        pass
    with pytest.raises(DataError, match=code):
        read_plan(tmp_path / "out" / PLAN)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
@pytest.mark.parametrize("name", ["archive.json", "inputs.jsonl"])
def test_what_is_no_file_where_one_should_be_is_one_line(
    plan: tuple[Plan, bytes], shards: list[Shard], tmp_path: Path, name: str, kind: str
) -> None:
    place = tmp_path / "out" / name
    place.unlink()
    make: dict[str, Callable[[], None]] = {
        "folder": place.mkdir,
        "pipe": lambda: os.mkfifo(place),
        "loop": lambda: place.symlink_to(place),
    }
    make[kind]()
    with pytest.raises(ThoraxError) as caught, open_archive(tmp_path / "out", *plan):
        pass
    assert caught.value.code in ("archive-damaged", "output-unwritable")


def test_results_may_be_written_nowhere_but_into_the_folder(
    plan: tuple[Plan, bytes], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file/x", Path("/dev/null"), Path("/proc/x")):
        with pytest.raises(UsageError, match="output-unwritable"), open_archive(place, *plan):
            pass
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with open_archive(tmp_path / "link", *plan):
        assert (tmp_path / "there/archive.json").is_file()


# One changed bit.


@pytest.fixture
def whole(shards: list[Shard], tmp_path: Path) -> Path:
    """A finished archive in which one shard was begun twice."""
    out = tmp_path / "out"
    answer_all(out, shards)
    put_together(out, shards)
    begin(out, shards[1])
    begin(out, shards[1])
    return out


def flipped(path: Path, rng: random.Random, count: int) -> list[bytes]:
    content = path.read_bytes()
    made = []
    for _ in range(count):
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        made.append(bytes(changed))
    return made


def test_every_changed_bit_of_every_file_is_found(whole: Path) -> None:
    assert is_archive(whole)
    names = [piece.name for piece in verify(whole)]
    assert names == [
        "archive.json", "inputs.jsonl", "shards/000000.jsonl", "shards/000001.jsonl",
        "shards/000001.begun", "shards/000002.jsonl", "results.jsonl", "results.sha256",
    ]  # fmt: skip
    assert {path.relative_to(whole).as_posix() for path in whole.rglob("*.*")} == set(names)
    assert all(piece.damage is None for piece in verify(whole))
    rng = random.Random(7)
    for name in names:
        path = whole / name
        sound = path.read_bytes()
        for content in flipped(path, rng, 60):
            path.write_bytes(content)
            damaged = {piece.name for piece in verify(whole) if piece.damage}
            # The line end of the last of several lines is one more way to write a blank.
            last = content[:-1] == sound[:-1] and name.endswith(".begun")
            assert name in damaged or last, (name, content)
        path.write_bytes(sound)


def test_a_changed_bit_never_reaches_an_answer(
    whole: Path, plan: tuple[Plan, bytes], shards: list[Shard], tmp_path: Path
) -> None:
    wanted = (whole / "results.jsonl").read_bytes()
    names = sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*.*"))
    rng = random.Random(8)
    found = 0
    copy = tmp_path / "copy"
    for name in names:
        for content in flipped(whole / name, rng, 40):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(whole, copy)
            (copy / name).write_bytes(content)
            try:
                with open_archive(copy, *plan) as opened:
                    answer_all(copy, missing(copy, opened))
                    put_together(copy, opened)
            except DataError as error:
                found += error.code == "archive-damaged"
                # What the message says to do is done, and all is well again.
                (copy / name).unlink()
                with open_archive(copy, *plan) as opened:
                    assert missing(copy, opened) == []
                    put_together(copy, opened)
            assert (copy / "results.jsonl").read_bytes() == wanted
            assert all(piece.damage is None for piece in verify(copy))
    assert found == 2 * 40


def test_whoever_reads_the_inputs_of_a_shard_finds_a_changed_bit(
    shards: list[Shard], tmp_path: Path
) -> None:
    path = tmp_path / "out/inputs.jsonl"
    rng = random.Random(9)
    for content in flipped(path, rng, 60):
        path.write_bytes(content)
        refused = 0
        for shard in shards:
            try:
                read_inputs(tmp_path / "out", shard)
            except DataError as error:
                refused += error.code == "archive-damaged"
        assert refused


def test_an_attempt_that_was_changed_is_not_counted(shards: list[Shard], tmp_path: Path) -> None:
    out = tmp_path / "out"
    begin(out, shards[0])
    path = out / "shards/000000.begun"
    for content in flipped(path, random.Random(10), 40):
        if content[:-1] == path.read_bytes()[:-1]:
            continue
        path.write_bytes(content)
        with pytest.raises(DataError, match="archive-damaged"):
            begin(out, shards[0])
