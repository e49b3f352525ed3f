"""The log of a training run, read where there is no torch."""

import json
from pathlib import Path
from typing import Any

import pytest

from thorax.errors import DataError
from thorax.files.documents import checked_line
from thorax.report.training import run_line
from thorax.results.training import read_run

SCHEDULE = {"kind": "cosine", "batch": 8192, "steps_per_epoch": 2, "steps": 6, "peak": 3.2}


def start(resumed: int = 0, **facts: object) -> dict[str, Any]:
    return {"event": "start", "resumed_step": resumed, "schedule": SCHEDULE, "steps": 6, **facts}


def step(number: int, loss: float | None = 0.5) -> dict[str, Any]:
    rates = {"learning_rate": 0.1, "images_per_s": 100.0, "data_wait": 0.25}
    return {"event": "step", "epoch": 1, "step": number, "loss": loss, **rates}


def epoch(number: int, auroc: float = 0.8) -> dict[str, Any]:
    speed = {"images": 200, "train_s": 4.0, "data_wait": 0.25}
    return {
        "event": "epoch",
        "epoch": number,
        "step": 2 * number,
        "val_mean_auroc": auroc,
        **speed,
    }


def written(folder: Path, *events: dict[str, Any]) -> Path:
    text = "".join(map(checked_line, events))
    (folder / "train.jsonl").write_text(text, "utf-8")
    return folder


def test_a_run_is_read_with_its_speed_over_all_epochs(tmp_path: Path) -> None:
    run = written(tmp_path, start(ranks=8), step(1), step(2), epoch(1), epoch(2), {"event": "end"})
    record = read_run(run)
    assert (record.command, record.run) == ("train", tmp_path.name)
    assert (record.finished, record.starts, record.ranks) == (True, 1, 8)
    assert (record.images_per_s, record.data_wait) == (50.0, 0.25)
    assert [point.epoch for point in record.curve] == [0.5, 1.0]
    assert [epoch.epoch for epoch in record.history] == [1, 2]


def test_what_was_trained_again_after_a_kill_counts_once(tmp_path: Path) -> None:
    before = [start(), step(1), step(2), epoch(1), step(3, 9.0), step(4, 9.0), epoch(2, 0.1)]
    again = [start(3), step(4), epoch(2), step(5), step(6), epoch(3), {"event": "end"}]
    record = read_run(written(tmp_path, *before, *again))
    assert [point.step for point in record.curve] == [1, 2, 3, 4, 5, 6]
    assert [point.loss for point in record.curve] == [0.5, 0.5, 9.0, 0.5, 0.5, 0.5]
    assert [epoch.val_mean_auroc for epoch in record.history] == [0.8] * 3
    assert record.starts == 2
    assert "resumed once" in run_line(record)


def test_a_run_under_way_says_how_far_it_is_whatever_its_last_half_line(tmp_path: Path) -> None:
    run = written(tmp_path, start(topology="resnet50"), step(1), step(2), epoch(1), step(3))
    with (run / "train.jsonl").open("a") as file:
        file.write('{"event": "st')
    line = run_line(read_run(run))
    assert f"{tmp_path.name}, resnet50, not finished, 3 of 6 steps" in line
    assert line.endswith("mean AUROC 0.800, validation split, after epoch 1")


def test_a_long_curve_is_thinned_to_means(tmp_path: Path) -> None:
    steps = [step(number, float(number % 3)) for number in range(1, 1201)]
    curve = read_run(written(tmp_path, start(), *steps)).curve
    assert len(curve) == 400
    assert {point.loss for point in curve} == {1.0}
    assert curve[-1].step == 1200


def test_a_loss_that_was_not_finite_is_a_gap(tmp_path: Path) -> None:
    curve = read_run(written(tmp_path, start(), step(1, None), step(2))).curve
    assert [point.loss for point in curve] == [None, 0.5]


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        "null",
        "{}",
        '{"event": "step"}',
        '{"event": "start"}',
        '{"event": "step", "step": "1", "loss": 1, "learning_rate": 1}',
        '{"event": "epoch", "step": 1}',
    ],
)
@pytest.mark.parametrize("checked", [False, True])
def test_a_line_that_is_no_event_is_named(tmp_path: Path, bad: str, checked: bool) -> None:
    run = written(tmp_path, start())
    with (run / "train.jsonl").open("a") as file:
        # What a run would have written, and what no run has.
        known = checked and bad.startswith('{"')
        file.write(checked_line(json.loads(bad)) if known else bad + "\n")
    with pytest.raises(DataError, match=r"training-log-damaged: .*train\.jsonl, line 2: "):
        read_run(run)


def test_a_changed_line_is_named(tmp_path: Path) -> None:
    run = written(tmp_path, start())
    text = (run / "train.jsonl").read_text("utf-8")
    (run / "train.jsonl").write_text(text.replace("start", "stert", 1), "utf-8")
    with pytest.raises(DataError, match=r"training-log-damaged: .*line 1: .*not what was written"):
        read_run(run)


def test_a_log_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match="training-log-damaged"):
        read_run(tmp_path)


def test_what_training_logs_is_what_is_read(tmp_path: Path) -> None:
    from thorax.training.log import Progress, open_log

    (tmp_path / "recipe.toml").write_text("")
    for after in (0, 2):
        with open_log(tmp_path, after=after, every_s=0) as log:
            log.start({"topology": "resnet18", "steps": 4, "schedule": SCHEDULE})
            for number in range(after + 1, 5):
                log.step(Progress((number + 1) // 2, 2, number, 4, 64, 0.5, 0.1))
                if number % 2 == 0:
                    entry = {"epoch": number // 2, "images": 128, "train_s": 1.0, "data_wait": 0.0}
                    log.epoch({**entry, "step": number, "auroc": {"Mass": None}})
            log.end({"step": 4})
    record = read_run(tmp_path)
    assert [point.step for point in record.curve] == [1, 2, 3, 4]
    assert [epoch.epoch for epoch in record.history] == [1, 2]
    assert (record.images_per_s, record.starts, record.finished) == (128.0, 2, True)
