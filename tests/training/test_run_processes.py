"""`thorax train` beside itself: two processes on one folder, more ranks than processors."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Thorax

from thorax.data.store import Store
from thorax.training.card import newest
from thorax.training.verify import verify

RECIPE = (
    '[network]\ntopology = "resnet18"\nwidth = 0.125\n'
    "[training]\nepochs = {epochs}\nbatch = 8\nthreads = 1\nworkers = 1\n"
    '[optimizer]\nkind = "sgd"\n[schedule]\nkind = "cosine"\npeak = 0.01\n'
)


@pytest.fixture
def words(tiny_store: Store, tmp_path: Path) -> Callable[[int], list[str]]:
    """Return what follows `thorax` to train so many epochs into `run`."""

    def make(epochs: int) -> list[str]:
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(RECIPE.format(epochs=epochs), "utf-8")
        out = str(tmp_path / "run")
        return ["train", str(recipe), "--data", str(tiny_store.path), "--out", out]

    return make


def read_until(process: "subprocess.Popen[str]", beginning: str) -> None:
    """Wait until a process says a line that begins so."""
    assert process.stderr is not None
    assert any(line.startswith(beginning) for line in process.stderr), process.wait()


@pytest.mark.slow
def test_of_two_commands_that_resume_one_run_the_second_is_refused(
    words: Callable[[int], list[str]], thorax: Thorax, tmp_path: Path
) -> None:
    def started(*more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "thorax", *words(500), *more]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    run = tmp_path / "run"
    with started() as killed:
        read_until(killed, "epoch 1 of 500")
        killed.kill()
    with started("--resume") as first:
        read_until(first, "epoch ")
        # It stands still while the second looks at its folder, and is not faster.
        first.send_signal(signal.SIGSTOP)
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        second = thorax(*words(500), "--resume")
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
        first.send_signal(signal.SIGCONT)
        first.send_signal(signal.SIGTERM)
        assert first.stderr is not None
        told = first.stderr.read()
    assert second.returncode == 3
    assert second.stderr.startswith(f"thorax: run-locked: {run} is being trained by process ")
    assert f"process {first.pid} on " in second.stderr
    assert second.stderr.count("\n") == 1
    assert first.returncode == 75, told
    assert [piece.name for piece in verify(run) if piece.damage] == []
    # Whoever held the folder let go of it.
    assert thorax(*words(500), "--resume", "--set", "training.epochs=501").returncode == 2


@pytest.mark.slow
def test_more_ranks_than_processors_say_so_and_train(
    words: Callable[[int], list[str]], tmp_path: Path
) -> None:
    two = sorted(os.sched_getaffinity(0))[:2]

    def bind() -> None:
        os.sched_setaffinity(0, two)

    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "thorax", *words(1), "--json"],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        preexec_fn=bind,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("4 ranks on ") == 1
    cpus = f"{two[0]}-{two[-1]}" if len(two) == 2 and two[1] == two[0] + 1 else None
    assert f"share processors {cpus or ','.join(map(str, two))}, each with 1 thread;" in done.stderr
    document = json.loads(done.stdout)
    assert document["ranks"] == 4
    assert document["steps"] > 0
    folder = newest(tmp_path / "run")
    assert folder is not None
    assert [piece.name for piece in verify(tmp_path / "run") if piece.damage] == []
