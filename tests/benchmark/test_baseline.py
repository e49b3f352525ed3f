"""A loss of speed is told when it is sure, and never of what cannot be compared."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.benchmark.documents import digested, run

from thorax.artifact import Artifact
from thorax.benchmark.baseline import (
    compare_in_turns,
    compare_runs,
    require_comparable,
    require_held,
    require_limits,
)
from thorax.errors import ModelError, UsageError
from thorax.report.benchmark import comparison_table
from thorax.results.benchmark import BaselineComparison, BenchmarkResult


def compare(
    now: dict[str, Any], then: dict[str, Any], max_loss: float = 0.05
) -> BaselineComparison:
    run, baseline = map(BenchmarkResult.model_validate, (now, then))
    require_comparable(run, baseline, name="then.json")
    return compare_runs(run, baseline, name="then.json", max_loss=max_loss)


@pytest.mark.parametrize(
    ("rate", "noise", "verdict"),
    [
        (100.0, 0.01, "held"),
        (120.0, 0.01, "held"),
        (97.0, 0.01, "held"),
        (90.0, 0.01, "loss"),
        (90.0, 0.3, "undecided"),
        (95.2, 0.05, "undecided"),
    ],
)
def test_a_loss_counts_when_all_of_its_interval_lies_beyond_the_limit(
    rate: float, noise: float, verdict: str
) -> None:
    found = compare(run(rate, noise=noise, seed=1), run(noise=noise, seed=2))
    judged = found.metrics[0]
    assert judged.name == "images_per_s"
    assert judged.ratio == pytest.approx(rate / 100)
    assert judged.low is not None
    assert judged.high is not None
    assert judged.low < judged.ratio < judged.high
    assert found.verdict == verdict
    if verdict == "loss":
        with pytest.raises(ModelError, match=r"speed-loss: Images/s: -10\.0% \[.*\] against then"):
            require_held(found)
    else:
        require_held(found)


def test_more_may_be_lost_where_more_is_allowed() -> None:
    now, then = run(90.0, seed=1), run(seed=2)
    assert compare(now, then, 0.15).verdict == "held"
    assert compare(now, then, 0.0).verdict == "loss"


def test_a_run_without_slices_has_no_interval_and_fails_nothing() -> None:
    then = run()
    del then["slices"]
    found = compare(run(50.0), then)
    assert found.verdict == "undecided"
    assert found.metrics[0].low is None
    assert "one of them has too few slices, so that no interval is known" in found.differences
    require_held(found)


def test_a_run_of_few_answers_is_told_how_long_it_must_be() -> None:
    few: dict[str, Any] = {
        "slices": {"images_per_s": [], "latency_p99_ms": []},
        "images": 20, "batch": 2, "window_s": 10.0,
    }  # fmt: skip
    comparison = compare(run(2.0, few), run())
    # 50 answers are needed, and one came a second: a fifth more for luck.
    assert comparison.advice == "this run had too few answers: give --duration 60"
    (rate, *_) = comparison_table(comparison).rows
    assert rate[4] == "undecided: this run had too few answers: give --duration 60"
    assert compare(run(90.0, noise=0.3, seed=1), run()).advice == "measure longer"
    assert compare(run(), run()).advice == ""


def test_arrivals_at_another_rate_are_told_and_not_a_longer_run() -> None:
    now, then = (run(80.0, {"scenario": "server", "rate": rate}) for rate in (80.0, 40.0))
    assert compare(now, then).advice == "arrivals differ: give --rate 40.0"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("topology", "vgg16_bn", "network vgg16_bn and not resnet18"),
        ("precision", "fp32", "precision fp32 and not int8"),
        ("device", "GPU", "device GPU and not CPU"),
        ("scenario", "single-stream", "scenario single-stream and not offline"),
        ("compute", "bf16", "arithmetic bf16 and not f32"),
    ],
)
def test_what_was_measured_another_way_is_refused(key: str, value: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"baseline-other: then.json has {told}; "):
        compare(run(), run(100.0, {key: value}))


def test_another_machine_is_refused_by_name() -> None:
    here = run()["environment"]
    for environment in (
        {**here, "devices": {"CPU": "Another Processor"}},
        {**here, "processors": 4},
        None,
    ):
        with pytest.raises(UsageError, match=r"baseline-hardware: .*this is A Processor, 2 proc"):
            compare(run(), run(100.0, {"environment": environment}))
    # A device that took no part is no matter.
    other = here | {"devices": {"CPU": "A Processor"}}
    alone, beside = (BenchmarkResult.read(run(1.0, {"environment": e})) for e in (other, here))
    assert alone.hardware == beside.hardware == "A Processor, 2 processors"


@pytest.mark.parametrize("which", ["this run", "then.json"])
def test_an_emulation_is_compared_with_nothing(which: str) -> None:
    now, then = (run(100.0, {"simulated": one == which}) for one in ("this run", "then.json"))
    with pytest.raises(UsageError, match=f"baseline-simulated: {which} has a simulated card"):
        compare(now, then)


def test_other_versions_weights_and_streams_are_told_and_not_refused() -> None:
    environment = run()["environment"] | {"openvino": "2026.5.0"}
    found = compare(
        run(100.0, {"environment": environment, "digest": "abc", "streams": 1}),
        run(100.0, {"valid": False, "batch": 2}),
    )
    assert found.differences == (
        "artifact: 9f86d081884c… then, abc now",
        "streams: 2 then, 1 now",
        "batch: 2 then, 1 now",
        "OpenVINO: 2026.4.1 then, 2026.5.0 now",
        "the baseline was not valid: no reason told",
    )
    # Latency offline is that of a batch beside others: of other batches it is not compared.
    assert [one.name for one in found.metrics] == ["images_per_s"]


def test_under_given_arrivals_latency_is_judged_and_not_the_rate() -> None:
    server: dict[str, Any] = {"scenario": "server", "rate": 80.0}
    now = run(80.0, server, seed=1)
    slow = {**now, "latency_ms": {"p99": 3 * now["latency_ms"]["p99"]}}
    slow["slices"] = {
        **now["slices"],
        "latency_p99_ms": [3 * one for one in now["slices"]["latency_p99_ms"]],
    }
    found = compare(slow, run(80.0, server, seed=2))
    assert [(one.name, one.judged) for one in found.metrics] == [
        ("latency_p99_ms", True),
        ("images_per_s", False),
    ]
    assert found.metrics[0].better == "lower"
    assert found.verdict == "loss"
    with pytest.raises(ModelError, match=r"speed-loss: p99 latency, ms: \+200.0%"):
        require_held(found)
    assert compare(now, slow | {"rate": 80.0}).verdict == "held"
    # At another rate the latencies are not those of one load.
    other = compare(slow, run(80.0, server, {"rate": 40.0}, seed=2))
    assert [one.name for one in other.metrics] == ["images_per_s"]
    assert other.verdict == "undecided"


def test_watts_are_compared_where_one_meter_measured_both() -> None:
    power: dict[str, Any] = {
        "energy_source": "rapl", "images_per_s_per_w": 2.0, "power": {"modelled": False},
    }  # fmt: skip
    found = compare(run(100.0, power), run(100.0, power, {"images_per_s_per_w": 4.0}))
    told = found.metrics[-1]
    assert (told.name, told.ratio, told.judged) == ("images_per_s_per_w", 0.5, False)
    assert found.verdict == "held"
    replayed = {"modelled": False, "replayed": True}
    both = compare(run(100.0, power, {"power": replayed}), run(100.0, power, {"power": replayed}))
    assert [one.name for one in both.metrics] == [one.name for one in found.metrics[:-1]]
    assert "watts are replayed in one of them, and are not compared" in both.differences
    for other in (
        {"power": {"modelled": True}},
        {"power": replayed},
        {"energy_source": "redfish"},
    ):
        found = compare(run(100.0, power), run(100.0, power, other))
        assert all(one.name != "images_per_s_per_w" for one in found.metrics)
        assert any("not compared" in one for one in found.differences)


def test_the_document_and_the_table_say_all_of_it() -> None:
    now = run(90.0, seed=1)
    comparison = compare(now, run(100.0, {"digest": "abc"}, seed=2))
    document = json.loads(json.dumps(comparison.model_dump(exclude_unset=True), allow_nan=False))
    assert list(document)[-2:] == ["confidence", "verdict"]
    assert document["verdict"] == "loss"
    assert (document["how"], document["confidence"]) == ("earlier run", 0.95)
    table = comparison_table(comparison)
    assert table.rows[0][:3] == ("Images/s", "90", "100")
    assert table.rows[0][3].startswith("-10.0% [-1")
    assert table.rows[0][4] == "sure loss"
    assert table.rows[1][4] == "told, not judged"
    assert "artifact: abc then" in table.note


def test_limits_that_say_nothing_are_refused() -> None:
    require_limits(0.0, 6)
    for max_loss, rounds in ((-0.1, 15), (1.0, 15), (float("nan"), 15), (0.1, 5)):
        with pytest.raises(UsageError, match=r"baseline-(limit|rounds)"):
            require_limits(max_loss, rounds)


@pytest.mark.parametrize("scenario", ["offline", "single-stream"])
def test_an_artifact_beside_itself_loses_nothing_for_sure(
    tiny_fp32: Artifact, scenario: str
) -> None:
    from thorax.devices.engine import compile as compile_artifact

    hint: Any = "throughput" if scenario == "offline" else "latency"
    engines = [compile_artifact(tiny_fp32, "CPU", hint=hint) for _ in range(2)]
    found = compare_in_turns(
        engines, scenario, name="itself", duration_s=0.3, rounds=6, max_loss=0.9
    )
    assert found.how == "in turns"
    assert found.differences == ()
    assert found.rounds == 6
    require_held(found)
    table = comparison_table(found)
    assert table.title.startswith("Against itself")
    # The median of ratios is not the ratio of medians: the columns and the note say so.
    assert table.columns[1:3] == ("Median now", "Of baseline")
    assert "not the ratio of the two medians" in table.note


def test_turns_tell_that_arithmetic_differs(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thorax.devices import timing
    from thorax.devices.engine import compile as compile_artifact

    engines = [compile_artifact(tiny_fp32, "CPU") for _ in range(2)]
    monkeypatch.setattr(timing, "images_per_s", lambda *_: 100.0)
    engines[1].compute = "bf16"
    found = compare_in_turns(engines, "offline", name="rival", duration_s=1.0)
    assert found.differences == (f"arithmetic: bf16 there, {engines[0].compute} here",)


def test_a_slower_artifact_is_found_in_turns(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thorax.devices import timing
    from thorax.devices.engine import Engine
    from thorax.devices.engine import compile as compile_artifact

    slow, fast = (compile_artifact(tiny_fp32, "CPU", hint="throughput") for _ in range(2))
    # A neighbour wakes up: the rate of both falls from turn to turn, their ratio does not.
    turns: list[int] = []

    def drifting(engine: Engine, _: float) -> float:
        turns.append(1)
        return (80.0 if engine is slow else 100.0) / (1 + (len(turns) - 1) // 2)

    monkeypatch.setattr(timing, "images_per_s", drifting)
    found = compare_in_turns([slow, fast], "offline", name="fast", duration_s=1.0)
    assert found.metrics[0].ratio == pytest.approx(0.8)
    assert found.metrics[0].high == pytest.approx(0.8)
    with pytest.raises(ModelError, match="speed-loss"):
        require_held(found)


def make_unattainable(document: dict[str, Any]) -> None:
    """Make a run a hundred times as fast, and steady: nothing holds it, however busy a machine."""
    document["images_per_s"] *= 100
    slices = document["slices"]
    slices["images_per_s"] = [document["images_per_s"]] * len(slices["images_per_s"])


def test_the_command_fails_for_a_sure_loss_and_keeps_its_document(
    thorax: Callable[..., "subprocess.CompletedProcess[str]"], tiny_fp32: Artifact, tmp_path: Path
) -> None:
    words = ("benchmark", tiny_fp32.path, "--duration", 3, "--json")
    first = thorax(*words)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    slices = document["slices"]
    assert len(slices["images_per_s"]) >= 6
    assert len(slices["images_per_s"]) == len(slices["latency_p99_ms"])
    make_unattainable(document)
    baseline = tmp_path / "before.json"
    baseline.write_text(json.dumps(digested(document)))
    lost = thorax(*words, "--baseline", baseline)
    assert lost.returncode == 4, lost.stderr
    assert "thorax: speed-loss: Images/s: -9" in lost.stderr
    told = json.loads(lost.stdout)["baseline"]
    assert (told["verdict"], told["baseline"]) == ("loss", "before.json")
    # What cannot be compared is refused before anything is measured: so is what has no spread.
    baseline.write_text(json.dumps(digested({**document, "slices": None})))
    refused = thorax(*words, "--baseline", baseline)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "baseline-no-slices" in refused.stderr
    baseline.write_text(json.dumps(digested(document | {"device": "GPU"})))
    refused = thorax(*words, "--baseline", baseline)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "baseline-other" in refused.stderr


def test_a_sure_loss_is_told_though_the_meter_died_too(
    tiny_fp32: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from thorax.cli.app import app
    from thorax.power import sampler as power

    baseline = tmp_path / "before.json"
    words = ["benchmark", str(tiny_fp32.path), "--duration", "1", "--json"]
    found = CliRunner().invoke(app, words)
    document = json.loads(found.stdout)
    make_unattainable(document)
    baseline.write_text(json.dumps(digested(document)))
    real = power.Sampler.energy

    def died(sampler: power.Sampler, begin_s: float, end_s: float) -> power.Energy:
        from dataclasses import replace

        return replace(real(sampler, begin_s, end_s), error="the meter died")

    monkeypatch.setattr(power.Sampler, "energy", died)
    lost = CliRunner().invoke(app, [*words, "--baseline", str(baseline)])
    assert isinstance(lost.exception, ModelError)
    assert lost.exception.code == "speed-loss"
    assert "energy-missing: the meter died" in lost.stderr


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (("--max-loss", "0.07"), "--max-loss needs --baseline"),
        (("--rounds", "9"), "--rounds needs --baseline"),
        (("--rounds", "9", "--baseline", __file__), "--rounds needs an artifact as --baseline"),
        (("--power-insecure",), "--power-insecure needs --power METER"),
        (("--power-password-file", "nope"), "--power-password-file needs --power METER"),
        (("--power-ca", "nope", "--power", "none"), "--power-ca needs --power METER"),
        (("--power-interval", "1"), "--power-interval needs --power METER"),
        (("--idle-s", "5"), "--idle-s needs --power METER"),
        (("--samples-per-query", "8"), "--samples-per-query needs --scenario multi-stream"),
        (("--on", "CPU"), "--on needs --tune"),
        (("--against", "x"), "--against needs --tune"),
        (("--tune", "--max-loss", "0.1"), "--max-loss needs --baseline"),
    ],
)
def test_an_option_without_its_switch_is_refused_and_not_ignored(
    options: tuple[str, ...], needed: str
) -> None:
    from typer.testing import CliRunner

    from thorax.cli.app import app

    found = CliRunner().invoke(app, ["benchmark", "nowhere", *options])
    assert isinstance(found.exception, UsageError)
    assert found.exception.code == "option-together"
    assert found.exception.message.startswith(needed)
