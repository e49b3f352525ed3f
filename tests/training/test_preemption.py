"""Runs that are asked to stop: a checkpoint at the next update, and nothing lost by it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.training.test_fit import digests, variant

from thorax.data.store import Store
from thorax.training.card import newest, read_card
from thorax.training.fit import fit
from thorax.training.log import Progress
from thorax.training.loop import Callbacks, TrainingLoop
from thorax.training.preemption import PreemptedError, Stop


def stopped(name: str, store: Store, out: Path, at: int) -> PreemptedError:
    recipe, stop = variant(name, checkpoint_steps=0), Stop()

    def ask(progress: Progress) -> None:
        if progress.step == at - 1 and progress.images:
            stop.ask("a test")

    if at == 1:
        stop.ask("a test")
    with pytest.raises(PreemptedError) as caught:
        fit(recipe, store, out, stop=stop, callbacks=Callbacks(on_progress=ask))
    return caught.value


@pytest.mark.parametrize(
    ("name", "at"),
    [("groups", 1), ("averaged", 3), ("asam", 5), ("lars", 6), ("lamb", 8), ("best", 9)],
)
def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_bits(
    tiny: None, store: Store, tmp_path: Path, name: str, at: int
) -> None:
    straight = fit(variant(name, checkpoint_steps=0), store, tmp_path / "straight")
    error = stopped(name, store, tmp_path / "run", at)
    assert (error.step, error.steps, error.reason) == (at, 9, "a test")
    assert error.checkpoint == newest(tmp_path / "run")
    assert error.checkpoint.name.endswith(f"-step-{at:08d}")
    resumed = fit(variant(name, checkpoint_steps=0), store, tmp_path / "run", resume=True)
    assert digests(resumed) == digests(straight)
    assert resumed.auroc == straight.auroc


def test_a_run_whose_every_turn_is_two_updates_ends_all_the_same(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    recipe = variant("averaged", checkpoint_steps=0)
    straight = fit(recipe, store, tmp_path / "straight")
    steps: list[int] = []
    resumed = None
    while resumed is None:
        stop = Stop()

        def ask(progress: Progress, stop: Stop = stop) -> None:
            if progress.images:
                stop.ask("a short slot")

        try:
            resumed = fit(
                recipe,
                store,
                tmp_path / "run",
                stop=stop,
                resume=bool(steps),
                callbacks=Callbacks(on_progress=ask),
            )
        except PreemptedError as error:
            steps.append(error.step)
    # A stop after the last update of an epoch leaves its validation to the next turn.
    assert steps == [2, 3, 5, 6, 8, 9]
    assert digests(resumed) == digests(straight)


def test_a_stop_during_a_validation_is_not_put_off_until_its_end(
    tiny: None, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = fit(variant("averaged", checkpoint_steps=0), store, tmp_path / "straight")
    stop = Stop()
    judge = TrainingLoop._judge

    def judged(self: TrainingLoop, epoch: int, window: object) -> object:
        if epoch == 1:
            stop.ask("a test")
        return judge(self, epoch, window)  # type: ignore[arg-type]

    recipe = variant("averaged", checkpoint_steps=0)
    with monkeypatch.context() as patched:
        patched.setattr(TrainingLoop, "_judge", judged)
        with pytest.raises(PreemptedError) as caught:
            fit(recipe, store, tmp_path / "run", stop=stop)
    assert caught.value.step == 6
    assert caught.value.checkpoint.name == "epoch-0002-step-00000006"
    resumed = fit(variant("averaged", checkpoint_steps=0), store, tmp_path / "run", resume=True)
    assert digests(resumed) == digests(straight)


def test_a_stop_in_the_last_validation_comes_too_late_to_end_a_finished_run_twice(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    done = fit(variant("best"), store, tmp_path / "run")
    stop = Stop()
    stop.ask("a test")
    assert fit(variant("best"), store, tmp_path / "run", stop=stop, resume=True) == done


SCRIPT = """
import sys
from thorax.training import preemption
from thorax.training.preemption import SignalStop

preemption._ECHO_S = float(sys.argv[2])
stop = SignalStop(lambda text: print(text, flush=True), launched=sys.argv[1] == "launched")
with stop.heeded():
    print("ready", flush=True)
    # As in a long update, no instruction of Python is reached for a while.
    sys.stdin.readline()
print(stop.reason, flush=True)
"""


def heeding(*words: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGUSR1])
def test_a_second_signal_ends_at_once(first: signal.Signals, second: signal.Signals) -> None:
    with heeding("alone", "1e9") as process:
        assert process.stdout is not None
        process.send_signal(first)
        assert "second signal ends at once" in process.stdout.readline()
        process.send_signal(second)
        assert "--resume" in process.stdout.readline()
        assert process.wait() == 128 + second


def test_one_signal_leaves_the_run_time_to_stop() -> None:
    with heeding("alone", "0") as process:
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate("\n")
        assert told.splitlines()[-1] == "SIGTERM"
        assert process.returncode == 0


def test_a_signal_that_a_launcher_repeats_is_one() -> None:
    with heeding("launched", "1e9") as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert "stopping" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate("\n")
        assert told == "SIGTERM\n"
        assert process.returncode == 0


def test_a_later_second_signal_ends_a_launched_process() -> None:
    with heeding("launched", "0") as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_afterwards_signals_are_what_they_were() -> None:
    script = SCRIPT.replace("print(stop.reason", "import os; os.kill(os.getpid(), 15); print(stop")
    done = subprocess.run(
        [sys.executable, "-c", script, "alone", "0"], input="\n", capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGTERM


RECIPE = (
    '[network]\ntopology = "resnet18"\nwidth = 0.125\n'
    "[training]\nepochs = 200\nbatch = 8\nmicro_batch = 4\nthreads = 1\nworkers = 1\n"
    '[optimizer]\nkind = "sgd"\n[schedule]\nkind = "cosine"\npeak = 0.01\n'
)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_command_stops_with_its_own_status_and_leaves_a_checkpoint(
    tiny_store: Store, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    words = ["train", str(tmp_path / "recipe.toml"), "--data", str(tiny_store.path)]
    with subprocess.Popen(
        [sys.executable, "-m", "thorax", *words, "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1 of 200"):
                process.send_signal(number)
                break
        told = process.stderr.read()
    assert process.returncode == 75
    folder = newest(tmp_path / "run")
    assert folder is not None
    assert f"thorax: preempted: stopped after update {read_card(folder).step:,} of " in told
    assert number.name in told
    assert folder.name in told
