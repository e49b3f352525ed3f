"""The log of a run: lines that parse, events that TensorBoard's own reader reads back."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from thorax.config import write_effective
from thorax.data.store import Store
from thorax.errors import ModelError
from thorax.results.training import LOG, RECIPE
from thorax.training.fit import fit
from thorax.training.log import Progress, open_log
from thorax.training.recipe import Recipe
from thorax.training.verify import EVENTS


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a recipe in it."""
    (tmp_path / RECIPE).write_text('[network]\ntopology = "resnet18"\n')
    return tmp_path


def at(step: int, loss: float = 0.5, data_wait: float = 0.0) -> Progress:
    return Progress(1, 2, step, 20, 64, loss, 0.1 * step, data_wait=data_wait)


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / LOG).read_text("utf-8").splitlines()]


def events(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run / EVENTS)).Reload()


def scalars(run: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run).Scalars(tag)]


def test_tensorboard_reads_back_every_update_and_epoch(run: Path, clock: list[float]) -> None:
    with open_log(run, every_s=0) as log:
        log.start({"topology": "resnet18"})
        for step in (1, 2):
            clock[0] += 0.5
            log.step(at(step, loss=1 / step, data_wait=0.25))
        auroc = {"Mass": 0.75, "Hernia": None}
        entry = {"epoch": 1, "step": 2, "loss": 0.75, "images_per_s": 128.0, "data_wait": 0.25}
        log.epoch({**entry, "val_mean_auroc": 0.75, "auroc": auroc})
        log.end({"step": 2})
    assert scalars(run, "train/loss") == [(1, 1.0), (2, 0.5)]
    assert scalars(run, "train/images_per_s") == [(1, 128.0), (2, 128.0)]
    assert scalars(run, "train/data_wait") == [(1, 0.25), (2, 0.25)]
    rates = [value for _, value in scalars(run, "train/learning_rate")]
    assert rates == pytest.approx([0.1, 0.2])
    assert scalars(run, "epoch/loss") == [(2, 0.75)]
    assert scalars(run, "val/mean_auroc") == scalars(run, "val/auroc/Mass") == [(2, 0.75)]
    read = events(run)
    assert "val/auroc/Hernia" not in read.Tags()["scalars"]
    (text,) = (tensor.tensor_proto.string_val[0] for tensor in read.Tensors("recipe"))
    assert b'topology = "resnet18"' in text


def test_steps_are_told_once_a_window_and_as_its_means(run: Path, clock: list[float]) -> None:
    with open_log(run, every_s=5) as log:
        log.start({})
        for step in range(1, 13):
            clock[0] += 1
            log.step(at(step, loss=step, data_wait=step % 2))
        log.epoch({"epoch": 1, "step": 12, "val_mean_auroc": 0.5})
    told = [line for line in lines(run) if line["event"] == "step"]
    assert [line["step"] for line in told] == [5, 10, 12]
    assert [line["loss"] for line in told] == [3.0, 8.0, 11.5]
    assert [line["images_per_s"] for line in told] == [64.0] * 3
    assert [line["data_wait"] for line in told] == [0.6, 0.4, 0.5]
    assert [line["event"] for line in lines(run)][-2:] == ["step", "epoch"]


def test_time_between_epochs_belongs_to_no_rate(run: Path, clock: list[float]) -> None:
    with open_log(run, every_s=0) as log:
        clock[0] = 100
        log.start({})
        for epoch in (1, 2):
            clock[0] += 1
            log.step(at(epoch))
            clock[0] += 1000
            log.epoch({"epoch": epoch, "step": epoch})
    assert [rate for _, rate in scalars(run, "train/images_per_s")] == [64.0, 64.0]


@pytest.mark.parametrize("resumed", [0, 4, 8])
def test_steps_past_the_point_of_resuming_appear_once(run: Path, resumed: int) -> None:
    for attempt, after in enumerate((0, resumed)):
        with open_log(run, after=after, every_s=0) as log:
            log.start({})
            for step in range(after + 1, 9):
                log.step(at(step, loss=attempt))
                if step % 4 == 0:
                    log.epoch({"epoch": step // 4, "step": step, "val_mean_auroc": 0.5 + attempt})
    expected = [(step, float(step > resumed)) for step in range(1, 9)]
    assert scalars(run, "train/loss") == expected
    assert [step for step, _ in scalars(run, "val/mean_auroc")] == [4, 8]
    assert len(events(run).Tensors("recipe")) == 1
    assert [line["resumed_step"] for line in lines(run) if line["event"] == "start"] == [0, resumed]


def test_event_files_are_read_in_the_order_they_were_written(run: Path) -> None:
    for after in range(12):
        with open_log(run, after=after, every_s=0) as log:
            log.start({})
            log.step(at(after + 1, loss=after))
    assert scalars(run, "train/loss") == [(step + 1, float(step)) for step in range(12)]


def test_what_a_killed_process_logged_is_there_and_a_half_line_is_cut_off(run: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from thorax.training.log import Progress, open_log\n"
        "with open_log(pathlib.Path(sys.argv[1]), every_s=0) as log:\n"
        "    log.start({})\n"
        "    log.step(Progress(1, 2, 1, 20, 64, 0.5, 0.1))\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(run)], env={**os.environ})
    assert done.returncode == -9
    assert scalars(run, "train/loss") == [(1, 0.5)]
    with (run / LOG).open("a") as file:
        file.write('{"event": "ste')
    with open_log(run, after=1, every_s=0) as log:
        log.start({})
    assert [line["event"] for line in lines(run)] == ["start", "step", "start"]


def test_a_number_that_json_does_not_have_is_null_in_a_line_and_no_event(run: Path) -> None:
    with open_log(run) as log:
        log.epoch({"epoch": 1, "step": 3, "loss": float("inf"), "auroc": {"Mass": float("nan")}})
    (line,) = lines(run)
    assert (line["loss"], line["auroc"]) == (None, {"Mass": None})
    assert events(run).Tags()["scalars"] == []


def test_a_log_that_cannot_be_written_is_refused(run: Path) -> None:
    (run / LOG).mkdir()
    with pytest.raises(ModelError, match="checkpoint-unwritable"), open_log(run):
        pytest.fail("opened")


def test_a_full_disk_is_said_so(run: Path) -> None:
    (run / LOG).symlink_to("/dev/full")
    with pytest.raises(ModelError, match=r"checkpoint-unwritable.*No space left"):  # noqa: SIM117
        with open_log(run) as log:
            log.start({})


def test_neither_tensorflow_nor_a_server_is_imported() -> None:
    program = (
        "import sys; from thorax.training import log as training_log; import pathlib, tempfile\n"
        "assert 'tensorboard' not in sys.modules\n"
        "with tempfile.TemporaryDirectory() as name:\n"
        "    out = pathlib.Path(name); (out / 'recipe.toml').write_text('')\n"
        "    with training_log.open_log(out) as log: log.start({})\n"
        "sys.exit(bool({'tensorflow', 'grpc', 'werkzeug'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program]).returncode == 0


def test_a_training_run_is_watched(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = fit(recipe, store, out)
    mean = [pytest.approx(entry.val_mean_auroc) for entry in result.history]
    assert [value for _, value in scalars(out, "val/mean_auroc")] == mean
    assert scalars(out, "train/loss")[-1][0] == result.steps
    write_effective(recipe, tmp_path / "again.toml")
    (text,) = (tensor.tensor_proto.string_val[0] for tensor in events(out).Tensors("recipe"))
    assert (tmp_path / "again.toml").read_bytes() in text
