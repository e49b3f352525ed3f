"""Archives on actors of Ray: killed actors, killed runs, shards that kill, and the same answers.

One cluster of two processors serves the module. Ray runs in processes of its own: pytest makes
errors of warnings, and Ray has some.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.conftest import Thorax

from thorax.artifact import Artifact
from thorax.inference.archive import ArchiveOptions, classify_archive
from thorax.inference.archive_files import PLAN, open_archive
from thorax.inference.archive_plan import arithmetic, make_plan, read_plan
from thorax.inference.archive_worker import Job, compile_pinned
from thorax.inference.classify import ClassifyOptions, classify
from thorax.inference.sources import Source

pytest.importorskip("ray")

# Ray starts a dozen processes, which takes long where tests of other modules run beside.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DEADLY = '''
"""Actors die when they have answered a shard and not yet written it, as often as they are told."""

import importlib.abc
import importlib.util
import json
import os
import sys


def arm(worker):
    write = worker.write_shard

    def deadly(out, shard, rows, processor):
        told = out.with_name(out.name + ".deaths")
        deaths = json.loads(told.read_text()) if told.exists() else {}
        begun = out / "shards" / f"{shard.number:06d}.begun"
        if len(begun.read_text().splitlines()) <= deaths.get(str(shard.number), 0):
            os.kill(os.getpid(), 9)
        return write(out, shard, rows, processor)

    worker.write_shard = deadly


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "thorax.inference.archive_worker":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), arm(module))
        return spec


if any("default_worker.py" in word for word in sys.orig_argv):
    sys.meta_path.insert(0, Finder())
'''

HEAD = """
import shutil, sys, tempfile
import ray
folder = tempfile.mkdtemp(prefix="ray-thorax-", dir="/tmp")
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
         object_store_memory=80 << 20, _temp_dir=folder)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
shutil.rmtree(folder, ignore_errors=True)
"""


@pytest.fixture(scope="module")
def deadly(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which actors die as they are told."""
    folder = tmp_path_factory.mktemp("deadly")
    (folder / "sitecustomize.py").write_text(DEADLY)
    known = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join([str(folder), *([known] if known else [])])
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
    return {**os.environ, **own, "PYTHONPATH": paths}


@pytest.fixture(scope="module")
def head(deadly: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster."""
    with (tmp_path_factory.mktemp("head") / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=deadly,
        )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address, "Ray did not start"
    yield address
    process.communicate(timeout=60)


def wait_until(condition: Callable[[], object]) -> None:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < 200
        time.sleep(0.02)


def descendants(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children")
    found = [int(word) for word in children.read_text().split()] if children.exists() else []
    return [one for child in found for one in (child, *descendants(child))]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def rows_of(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_a_killed_run_leaves_nothing_running_and_goes_on_though_an_actor_is_killed(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, deadly: dict[str, str], head: str,
    thorax: Thorax,
) -> None:  # fmt: skip
    bad = tmp_path / "web.dcm"
    bad.write_text("<html></html>")
    out, deaths = tmp_path / "out", tmp_path / "out.deaths"
    # The shard that always kills keeps the first run from its end until it is killed.
    deaths.write_text('{"5": 9}')
    words = ["classify", tiny_fp32.path, phantoms, bad, "--out", out, "--shard-size", 8, "--json"]
    command = [sys.executable, "-m", "thorax", *map(str, words)]
    first = subprocess.Popen(
        [*command, "--cluster", "auto", "--actors", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=deadly,
    )
    wait_until(lambda: list(out.glob("shards/??????.jsonl")) or first.poll() is not None)
    assert first.poll() is None
    started = descendants(first.pid)
    assert len(started) > 2
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until(lambda: not any(map(alive, started)))
    there = len(list(out.glob("shards/??????.jsonl")))
    assert 1 <= there < 9
    assert not (out / "results.jsonl").exists()

    deaths.write_text('{"5": 1}')
    done = thorax(*words, "--cluster", head, "--csv", tmp_path / "all.csv", env=deadly, timeout=250)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    plain = classify(tiny_fp32.path, [phantoms, bad], ClassifyOptions(csv=tmp_path / "plain.csv"))
    assert document["results"] == rows_of(out) == plain.document()["results"]
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert document["failed"] == 1
    assert document["cluster"] == {
        "address": head, "nodes": 1, "actors": min(2, 9 - there), "threads_per_actor": 1,
        "shards": 9, "shards_resumed": there, "retries": 1,
        "processors": document["cluster"]["processors"], "rows": str(out / "results.jsonl"),
    }  # fmt: skip
    assert all(line.startswith("classifying: ") for line in done.stderr.splitlines())
    assert not (out / "ray.log").exists()


def test_a_shard_that_kills_its_actors_is_given_up_and_all_others_are_done(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, deadly: dict[str, str], head: str,
    thorax: Thorax,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    (tmp_path / "out.deaths").write_text('{"1": 9}')
    words = ["classify", tiny_fp32.path, phantoms, "--out", out, "--shard-size", 16]
    done = thorax(*words, "--cluster", head, "--json", env=deadly, timeout=250)
    assert (done.returncode, done.stdout) == (6, "")
    said = done.stderr.splitlines()[-1]
    assert said.startswith("thorax: shard-failed: 1 shards were given up and all others are done")
    assert "shard 1: its actor died 3 times" in said
    names = sorted(path.name for path in out.glob("shards/*.jsonl"))
    assert names == ["000000.jsonl", "000002.jsonl", "000003.jsonl"]
    assert not (out / "results.jsonl").exists()
    # The same run goes on without Ray.
    again = classify_archive(tiny_fp32.path, [phantoms], out, ArchiveOptions(shard_size=16))
    assert again.cluster is not None
    assert again.cluster.shards_resumed == 3
    plain = classify(tiny_fp32.path, [phantoms])
    assert again.results == plain.results
    assert rows_of(out) == plain.document()["results"]


@pytest.mark.parametrize(
    ("change", "actors", "refusal"),
    [
        ({"thorax": "0.0.0"}, 1, ("cluster-version", "install the same on all machines")),
        ({"plan": "0" * 64}, 1, ("cluster-folder", "that all machines share")),
        ({}, 3, ("cluster-room", "room for 2 actors of 1 processors, not for 3")),
    ],
)
def test_a_cluster_that_will_not_do_is_refused_before_the_first_image(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, deadly: dict[str, str], head: str,
    change: dict[str, str], actors: int, refusal: tuple[str, str],
) -> None:  # fmt: skip
    files: list[Source] = [*phantoms.glob("*.png")]
    with open_archive(
        tmp_path, *make_plan(arithmetic(compile_pinned(tiny_fp32, "CPU", 1)), files, 16)
    ) as shards:
        digest = read_plan(tmp_path / PLAN)["sha256"]
    card = tiny_fp32.card.answers_digest
    job = Job(str(tmp_path), digest, str(tiny_fp32.path), card, "f32", threads=1, folder=None)
    asked = {
        "job": asdict(replace(job, **change)),  # type: ignore[arg-type]
        "shards": [asdict(shard) for shard in shards],
        "address": head,
        "actors": actors,
        "folder": None,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "thorax.inference.ray_driver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=deadly,
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        driver.stdin.write(json.dumps(asked) + "\n")
        driver.stdin.flush()
        *_, event = map(json.loads, driver.stdout)
    code, reason = refusal
    assert (event["event"], event["code"]) == ("failed", code)
    assert reason in event["message"]
    assert not list(tmp_path.glob("shards/*"))


@pytest.mark.realdata
def test_real_radiographs_on_two_actors_one_killed_are_answered_as_by_one_process(
    realdata: Path, tiny_fp32: Artifact, tmp_path: Path
) -> None:
    from thorax.data import nih, store
    from thorax.images.preprocess import InputSpec
    from thorax.labels import NIH14

    folder = realdata / "nih"
    rows = nih.rows(folder / "images-256", labels=folder / "Data_Entry_2017_v2020.csv.gz")
    store.write(rows, tmp_path / "store", InputSpec(48), NIH14, source="nih")
    out = tmp_path / "out"
    words = ["classify", tiny_fp32.path, tmp_path / "store", "--out", out, "--shard-size", 64]
    command = [sys.executable, "-m", "thorax", *map(str, words), "--cluster", "auto"]
    said = tmp_path / "said"
    with said.open("wb") as errors:
        running = subprocess.Popen(
            [*command, "--actors", "2", "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    wait_until(lambda: list(out.glob("shards/*.begun")) or running.poll() is not None)
    assert running.poll() is None, said.read_text()
    begun = sorted(out.glob("shards/*.begun"))
    # The actor has written its number before it answers, and a shard takes it a while.
    actor = json.loads(begun[0].read_text().splitlines()[0])["process"]
    os.kill(actor, signal.SIGKILL)
    answered, _ = running.communicate(timeout=250)
    document = json.loads(answered)
    assert running.returncode == 0
    plain = classify(tiny_fp32.path, [tmp_path / "store"])
    assert plain.images == 1285
    assert document["results"] == rows_of(out) == plain.document()["results"]
    assert (document["cluster"]["actors"], document["cluster"]["retries"]) == (2, 1)
