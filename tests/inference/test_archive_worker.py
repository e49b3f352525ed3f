"""An actor, without the cluster around it: what it answers, and that it never raises."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from thorax.artifact import Artifact
from thorax.inference.archive_files import Shard, begin, open_archive, read_shard
from thorax.inference.archive_plan import arithmetic, make_plan
from thorax.inference.archive_worker import ATTEMPTS, Actor, Job, compile_pinned, look
from thorax.inference.sources import Source


@pytest.fixture
def job(tiny_fp32: Artifact, phantoms: Path, tmp_path: Path) -> tuple[Job, list[Shard]]:
    sources: list[Source] = [*sorted(phantoms.glob("*.png"))[:5], Path("/no/such/file.png")]
    plan, listed = make_plan(arithmetic(compile_pinned(tiny_fp32, "CPU", 1)), sources, 4)
    with open_archive(tmp_path / "out", plan, listed) as shards:
        job = Job(
            out=str(tmp_path / "out"),
            plan=plan.digest,
            model=str(tiny_fp32.path),
            card=tiny_fp32.card.answers_digest,
            compute="f32",
            threads=1,
            folder=None,
        )
        return job, shards


def ask(job: Job, shard: Shard) -> dict[str, object]:
    batch = {name: np.array([value]) for name, value in asdict(shard).items()}
    answered = Actor(job)(batch)
    return {name: column[0] for name, column in answered.items()}


def test_an_actor_answers_a_shard_and_says_how_many_could_not_be_read(
    job: tuple[Job, list[Shard]], tmp_path: Path
) -> None:
    told, shards = job
    assert ask(told, shards[1]) == {
        "shard": 1, "images": 2, "failed": 1, "attempt": 1, "error": "",
    }  # fmt: skip
    read = read_shard(tmp_path / "out", shards[1])
    assert read is not None
    head, _ = read
    assert (head.images, head.failed) == (2, 1)
    again = ask(told, shards[1])
    assert (again["images"], again["failed"], again["error"]) == (2, 1, "")


def test_a_shard_that_killed_its_actors_is_given_up(
    job: tuple[Job, list[Shard]], tmp_path: Path
) -> None:
    told, shards = job
    for _ in range(ATTEMPTS):
        begin(tmp_path / "out", shards[0])
    answered = ask(told, shards[0])
    assert answered["error"] == "its actor died 3 times"
    assert read_shard(tmp_path / "out", shards[0]) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"thorax": "0.0.0"}, "has Thorax "),
        ({"openvino": "2019.1"}, "has Thorax "),
        ({"card": "0" * 64}, "sees another model"),
        ({"model": "/no/such/model"}, "artifact-missing"),
        ({"folder": "/no/such/folder"}, "No such file"),
        ({"extensions": ("nothing",)}, "extension-missing"),
        ({"extension_digests": ("0" * 64,)}, "sees another --extension"),
        ({"compute": "bf16"}, "computes in f32"),
    ],
)
def test_what_an_actor_cannot_do_is_its_answer(
    job: tuple[Job, list[Shard]], change: dict[str, str], said: str
) -> None:
    told, shards = job
    error = ask(replace(told, **change), shards[0])["error"]  # type: ignore[arg-type]
    assert isinstance(error, str)
    assert said in error
    assert "\n" not in error


def test_inputs_that_were_changed_are_answered_by_no_one(
    job: tuple[Job, list[Shard]], tmp_path: Path
) -> None:
    told, shards = job
    path = tmp_path / "out/inputs.jsonl"
    path.write_bytes(path.read_bytes().replace(b"_000001.png", b"_000000.png"))
    assert "archive-damaged" in str(ask(told, shards[0])["error"])
    assert read_shard(tmp_path / "out", shards[0]) is None
    assert ask(told, shards[1])["error"] == ""


def test_a_disk_that_refuses_is_an_answer(
    job: tuple[Job, list[Shard]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from thorax.inference import archive_worker

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_worker, "write_shard", full)
    told, shards = job
    assert "No space left on device" in str(ask(told, shards[0])["error"])


def test_each_stream_has_one_thread_that_is_bound_to_no_processor(tiny_fp32: Artifact) -> None:
    engine = compile_pinned(tiny_fp32, "CPU", 2)
    compiled = engine.members[0].compiled
    assert int(compiled.get_property("NUM_STREAMS")) == engine.streams == 2
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_a_machine_says_what_it_has_and_sees(job: tuple[Job, list[Shard]]) -> None:
    told, _ = job
    sight = look(told)
    assert (sight.thorax, sight.openvino, sight.plan) == (told.thorax, told.openvino, told.plan)
    assert sight.host == os.uname().nodename
    assert look(replace(told, out="/no/such/folder")).plan is None
    (Path(told.out) / "archive.json").write_text("{}")
    assert look(told).plan is None
