"""The best setting is found in turns, kept in the card, and used to classify."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thorax.artifact import CARD, Artifact, keep_tuning, load
from thorax.benchmark import tune
from thorax.benchmark.tune import TuningTrial, tuning_result
from thorax.cli.app import _run
from thorax.devices import describe
from thorax.devices.counters import Counter, CounterTotals
from thorax.devices.engine import compile
from thorax.errors import DeviceError, ModelError, UsageError
from thorax.files import atomic
from thorax.files.documents import document_digest
from thorax.inference.archive import ArchiveOptions, classify_archive
from thorax.inference.classify import ClassifyOptions, classify
from thorax.inference.predictor import Predictor
from thorax.report.benchmark import tuning_table
from thorax.report.findings import findings_tables
from thorax.report.table import Table
from thorax.results.benchmark import TuningResult
from thorax.results.read import parse_result


@pytest.fixture
def own(tiny_fp32: Artifact, tmp_path: Path) -> Artifact:
    return load(Path(shutil.copytree(tiny_fp32.path, tmp_path / "own")))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "BATCHES", (1, 3))
    monkeypatch.setattr(tune, "_streams", lambda: [1, 2])


def tried(artifact: Artifact, streams: int, rate: float, p99_s: float) -> TuningTrial:
    one = TuningTrial(artifact, "CPU", streams, 1, engine=compile(artifact, streams=streams))
    one.rates, one.latencies_s, one.window_s = [rate], [np.full(9, p99_s)], 1.0
    return one


def test_every_setting_has_its_turns_and_one_is_chosen(own: Artifact) -> None:
    told: list[int] = []
    found = tune.tune([own], ["CPU"], duration_s=0.1, on_progress=told.append)
    assert [(one.streams, one.batch) for one in found] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert len(found) == tune.count_settings([own], ["CPU"])
    assert all(len(one.rates) == tune.ROUNDS for one in found)
    assert sum(told) == len(found) * tune.ROUNDS
    (best,) = [one for one in found if one.chosen]
    result = tuning_result(found, None)
    made = json.loads(result.to_json())
    assert made["command"] == "benchmark"
    assert made["images_per_s"] == best.images_per_s
    assert made["images"] == best.batch * sum(map(len, best.latencies_s))
    assert made["window_s"] >= 0.1
    assert (made["tuned"]["streams"], made["tuned"]["batch"]) == (made["streams"], made["batch"])
    assert [row["chosen"] for row in made["tried"]].count(True) == 1
    assert all(row["reason"] for row in made["tried"])
    assert isinstance(tuning_table(result), Table)


def test_what_is_kept_changes_nothing_that_thresholds_belong_to(own: Artifact) -> None:
    before = own.card
    tune.store(tune.tune([own], ["CPU"], duration_s=0.05), None)
    after = load(own.path).card
    assert len(after.tuned) == 1
    assert (after.digest, after.thresholds, after.files) == (
        before.digest, before.thresholds, before.files,
    )  # fmt: skip
    assert after.model_copy(update={"tuned": (), "card_sha256": before.card_sha256}) == before
    # Again, and for another device: one entry a key.
    tune.store(tune.tune([load(own.path)], ["CPU", "HETERO:CPU"], duration_s=0.05), None)
    assert [one.device for one in load(own.path).card.tuned] == ["CPU", "HETERO:CPU"]


def test_a_card_from_before_has_no_settings_and_is_whole(own: Artifact) -> None:
    stored = json.loads((own.path / CARD).read_text("utf-8"))
    del stored["tuned"]
    stored["card_sha256"] = document_digest(stored, "card_sha256")
    (own.path / CARD).write_text(json.dumps(stored), "utf-8")
    assert load(own.path).card.tuned == ()


def test_the_limit_of_latency_is_kept(own: Artifact) -> None:
    quick, fast = tried(own, 1, 50.0, 0.02), tried(own, 2, 80.0, 0.06)
    tune._judge([quick, fast], 0.03)
    tune.store([quick, fast], 0.03)
    assert (quick.chosen, fast.chosen) == (True, False)
    assert fast.reason == "above the limit of latency"
    (kept,) = load(own.path).card.tuned
    assert (kept.streams, kept.latency_limit_ms) == (1, 30)
    with pytest.raises(UsageError) as none:
        tune.store([quick, fast], 0.01)
    assert none.value.code == "latency-limit"
    assert "20 ms" in none.value.message


def test_a_sweep_is_shown_though_no_setting_keeps_the_limit(
    own: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["benchmark", str(own.path), "--tune", "--latency-limit-ms", "1e-6"]
    command += ["--duration", "0.05"]
    assert _run([*command, "--json"], debug=False) == 2
    told = capsys.readouterr()
    made = json.loads(told.out)
    assert (made["tuned"], made["valid"], made["latency_limit_ms"]) == (None, None, 1e-6)
    assert {row["reason"] for row in made["tried"]} == {"above the limit of latency"}
    assert all(row["images_per_s"] > 0 for row in made["tried"])
    assert "latency-limit" in told.err
    assert _run(command, debug=False) == 2
    assert "nothing is stored" in capsys.readouterr().out
    assert load(own.path).card.tuned == ()


@pytest.mark.parametrize(
    "command",
    [["tune", "{0}", "{0}", "-d", "CPU"], ["benchmark", "{0}", "--tune", "--against", "{0}"]],
)
def test_tune_is_a_command_and_an_option_of_benchmark(
    own: Artifact, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    words = [word.format(own.path) for word in command]
    assert _run([*words, "--duration", "0.05", "--json"], debug=False) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["command"] == "benchmark"
    assert list(made)[-4:] == ["latency_limit_ms", "tuned", "tried", "sha256"]
    assert made["sha256"] == document_digest(made)
    assert len(made["tried"]) == 2 * len(tune.BATCHES) * 2
    assert isinstance(parse_result(made), TuningResult)


def test_an_artifact_that_cannot_be_written_is_refused_before_the_first_turn(
    own: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def refuse(path: Path, *, beside: bool) -> Iterator[None]:
        raise PermissionError(13, "Permission denied")
        yield

    monkeypatch.setattr(atomic, "locked", refuse)
    with pytest.raises(ModelError, match="artifact-unwritable"), tune.locked([own]):
        pass


def test_a_second_sweep_over_an_artifact_is_refused_at_once(
    own: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    with tune.locked([own, own]):
        with pytest.raises(ModelError, match="artifact-locked"), tune.locked([own]):
            pass
        assert _run(["benchmark", str(own.path), "--tune", "--duration", "1000"], debug=False) == 4
        told = capsys.readouterr()
        assert "artifact-locked" in told.err
        assert f"process {os.getpid()} on" in told.err
        # What is kept meanwhile, under the lock, stays.
        tune.store([tried(own, 2, 80.0, 0.06)], None)
    with tune.locked([own]):
        assert len(load(own.path).card.tuned) == 1


def test_of_settings_as_fast_the_soonest_is_chosen(own: Artifact) -> None:
    quick, fast = tried(own, 1, 79.0, 0.02), tried(own, 2, 80.0, 0.06)
    tune._judge([fast, quick], None)
    assert quick.chosen
    assert "to 2 %; answers sooner" in quick.reason


def test_a_setting_that_cannot_be_compiled_is_listed(
    own: Artifact, tiny_int8: Artifact, cards: Path
) -> None:
    found = tune.tune([own, tiny_int8], ["CPU"], duration_s=0.05)
    assert {one.artifact.card.precision.value for one in found} == {"fp32", "int8"}
    with pytest.raises(DeviceError) as refused:
        tune.tune([tiny_int8], ["FPGA.0"], duration_s=0.05)
    assert refused.value.code == "precision-unsupported"


def test_classify_uses_what_was_kept_and_answers_the_same(own: Artifact, phantoms: Path) -> None:
    files = sorted(phantoms.glob("*.png"))[:8]
    plain = classify(own.path, files)
    assert (plain.document()["tuned"], plain.document()["tuned_because"]) == (
        False, "not tuned for CPU",
    )  # fmt: skip
    best = tried(own, 2, 80.0, 0.06)
    best.batch = 3
    keep_tuning(own, tune.to_tuning(best, None))
    bad = phantoms / "labels.csv"
    done = classify(own.path, [*files[:4], bad, *files[4:]])
    made = done.document()
    assert (made["tuned"], made["streams"], made["batch"]) == (True, 2, 3)
    assert "as tuned" in findings_tables(done)[0].note
    assert [row["image"] for row in made["results"]] == [
        str(one) for one in [*files[:4], bad, *files[4:]]
    ]
    assert made["results"][4]["error"] is not None
    answered = [row for row in made["results"] if row["error"] is None]
    for one, other in zip(answered, plain.document()["results"], strict=True):
        assert one["findings"] == pytest.approx(other["findings"], abs=2e-5)
        assert one["positive"] == other["positive"]
    for options in (ClassifyOptions(tuned=False), ClassifyOptions(requests=2)):
        left_out = classify(own.path, files, options).document()
        assert (left_out["tuned"], left_out["batch"]) == (False, 1)
    assert classify(own.path, files[:1]).document()["tuned"] is False


def test_another_machine_ignores_it_and_says_so(
    own: Artifact, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_tuning(own, tune.to_tuning(tried(own, 2, 80.0, 0.06), None))
    monkeypatch.setattr(describe, "processors", lambda: 1000)
    made = classify(own.path, sorted(phantoms.glob("*.png"))[:2]).document()
    assert made["tuned"] is False
    assert "here is" in made["tuned_because"]


def test_an_image_is_answered_alike_wherever_it_lies_in_a_batch(
    own: Artifact, phantoms: Path
) -> None:
    predictor = Predictor(compile(own, hint="throughput", streams=1, batch=4))
    files = sorted(phantoms.glob("*.png"))[:6]
    first = [one.findings for one in predictor.stream(files)]
    turned = [one.findings for one in predictor.stream([*files[3:], *files[:3]])]
    assert first == turned[3:] + turned[:3]


def test_what_a_layer_cost_is_told_for_one_image_of_a_batch(
    own: Artifact, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock by which each layer of each inference takes 12 us, whatever its batch.
    def fixed(self: CounterTotals) -> list[Counter]:
        return [Counter("conv", "Convolution", "jit", "EXECUTED", 12e-6, 24e-6, None)]

    monkeypatch.setattr(CounterTotals, "mean", fixed)
    best = tried(own, 1, 80.0, 0.06)
    best.batch = 3
    keep_tuning(own, tune.to_tuning(best, None))
    files = sorted(phantoms.glob("*.png"))[:3]
    done = classify(own.path, files, ClassifyOptions(counters=True))
    (row,) = done.document()["counters"]
    assert (row["real_ms"], row["cpu_ms"]) == pytest.approx((0.004, 0.008))
    assert "3 images at a time" in findings_tables(done)[-1].note
    (row,) = classify(own.path, files, ClassifyOptions(counters=True, tuned=False)).document()[
        "counters"
    ]
    assert row["real_ms"] == pytest.approx(0.012)


def test_other_networks_are_not_tuned_beside_each_other(own: Artifact) -> None:
    for change in (
        {"topology": "vgg16"},
        {"labels": ("Nodule",)},
        {"input": replace(own.card.input, side=96)},
    ):
        other = Artifact(own.path, own.card.model_copy(update=change))
        with pytest.raises(UsageError, match="tune-other") as refused:
            tune.tune([own, other], ["CPU"], duration_s=0.05)
        assert next(iter(change)) in refused.value.message
    made = tuning_result([_chosen(own)], None)
    assert tuning_table(made).columns[0] == "Model"


def _chosen(artifact: Artifact) -> TuningTrial:
    one = tried(artifact, 1, 80.0, 0.06)
    one.chosen = True
    return one


def test_an_artifact_made_of_a_tuned_one_is_not_tuned(own: Artifact) -> None:
    from thorax.ir.open import open_artifact

    keep_tuning(own, tune.to_tuning(tried(own, 2, 80.0, 0.06), None))
    assert open_artifact(own.path)[1].tuned == ()


def test_an_archive_goes_on_after_its_artifact_was_tuned(
    own: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    files = sorted(phantoms.glob("*.png"))[:4]
    first = classify_archive(own.path, files, tmp_path / "out", ArchiveOptions(shard_size=2))
    keep_tuning(own, tune.to_tuning(tried(own, 2, 80.0, 0.06), None))
    again = classify_archive(own.path, files, tmp_path / "out", ArchiveOptions(shard_size=2))
    assert again.cluster is not None
    assert again.cluster.shards_resumed == 2
    assert again.results == first.results
