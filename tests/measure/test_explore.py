"""Falling precision: what is computed is the network's own, and what is modelled says so."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from thorax import cli, metrics
from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import DataError, DeviceError, UsageError
from thorax.fpga.area import area
from thorax.fpga.boards import find_board
from thorax.fpga.overlay import estimate
from thorax.fpga.search import budget_of
from thorax.fpga.workload import describe
from thorax.measure import explore as module
from thorax.measure.explore import VARIANTS, Exploration, Trial, Variant, document, explore
from thorax.measure.fpga_plots import write_explore_plot
from thorax.measure.fpga_tables import explore_table
from thorax.measure.tables import rich_table

PAC = find_board("pac-a10")


@contextmanager
def silent(what: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def tried(artifact: Artifact, store: Store, *names: str, **more: Any) -> Exploration:  # noqa: ANN401
    chosen = [one for one in VARIANTS if one.name in names] or VARIANTS
    return explore(
        artifact, store, more.pop("board", PAC), variants=chosen, samples=100, bar=silent, **more
    )


@pytest.fixture(scope="module")
def answers() -> dict[str, npt.NDArray[np.float32]]:
    """What the network of `explored` answered in each variant."""
    return {}


@pytest.fixture(scope="module")
def explored(
    tiny_fp32: Artifact, tiny_store: Store, answers: dict[str, npt.NDArray[np.float32]]
) -> Exploration:
    names = iter(["FP32", *(one.name for one in VARIANTS)])
    ask = module._answers

    def kept(*words: Any) -> npt.NDArray[np.float32]:  # noqa: ANN401
        found = ask(*words)
        answers[next(names)] = found
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_answers", kept)
        return tried(tiny_fp32, tiny_store, split="train")


def test_every_variant_is_tried_from_the_most_bits_to_the_fewest(explored: Exploration) -> None:
    assert [trial.variant for trial in explored.trials] == list(VARIANTS)
    assert [one.name for one in VARIANTS if not one.exploratory] == [
        "FP16", "FP13AGX", "FP12AGX", "FP11",
    ]  # fmt: skip


def test_the_reference_is_the_network_as_it_is(
    explored: Exploration, tiny_fp32: Artifact, tiny_store: Store
) -> None:
    indices = tiny_store.select("train")
    scores = compile_artifact(tiny_fp32).infer_many(tiny_store.images, indices).probability
    truth = tiny_store.labels[indices]
    alone = np.nanmean(metrics.auroc(truth, scores))
    assert explored.reference.mean.value == pytest.approx(alone, abs=1e-6)


def test_more_bits_come_nearer_to_the_network(
    explored: Exploration, answers: dict[str, npt.NDArray[np.float32]]
) -> None:
    exact = answers["FP32"]
    errors = [float(np.abs(answers[one.name] - exact).max()) for one in VARIANTS]
    fp16, fp13, fp12, fp11, fp9, fp8, ternary, binary = errors
    assert 0 < fp16 < fp13 < fp11 < fp9 < fp8
    assert fp12 < fp9
    assert min(ternary, binary) > fp11


def test_filters_of_few_values_are_not_rounded_again(
    tiny_fp32: Artifact, tiny_store: Store
) -> None:
    layers = describe(module._read(tiny_fp32))
    model = module._imitate(tiny_fp32, layers, Variant("Binary", "fp11", "binary"), 16)
    for node in model.get_ops():
        if node.get_type_name() == "Convolution":
            for one in node.input_value(1).get_node().get_data():
                assert len(np.unique(np.abs(one))) == 1


def test_what_is_modelled_is_of_the_architecture_that_is_told(
    explored: Exploration, tiny_fp32: Artifact
) -> None:
    layers = describe(module._read(tiny_fp32))
    macs = sum(layer.macs for layer in layers)
    for trial in explored.trials:
        one = trial.architecture
        assert (one.precision, one.weights, one.family) == (
            trial.variant.precision, trial.variant.weights, "arria10",
        )  # fmt: skip
        assert trial.area == area(one)
        assert trial.area.fits(budget_of("arria10"))
        assert trial.estimate.images_per_s == estimate(layers, one).images_per_s
        assert trial.power_w is not None
        assert trial.images_per_s_per_w == trial.estimate.images_per_s / trial.power_w
    assert macs > 0


def test_fewer_bits_never_cost_speed(explored: Exploration) -> None:
    speeds = [trial.estimate.images_per_s for trial in explored.trials]
    assert speeds == sorted(speeds)


def test_the_front_holds_all_that_none_beats(explored: Exploration) -> None:
    def beats(one: Trial, other: Trial) -> bool:
        more = one.worth >= other.worth and one.auroc.mean.value >= other.auroc.mean.value
        same = one.worth == other.worth and one.auroc.mean.value == other.auroc.mean.value
        return more and not same

    front = explored.pareto()
    for trial in explored.trials:
        beaten = any(beats(other, trial) for other in explored.trials)
        assert (trial in front) != beaten
    assert [trial.worth for trial in front] == sorted(trial.worth for trial in front)


def test_a_part_of_the_split_is_evenly_spaced(tiny_fp32: Artifact, tiny_store: Store) -> None:
    whole = tiny_store.select("train")
    part = module._spread(whole, 4)
    assert len(part) == 4
    assert part[0] == whole[0]
    assert len(set(np.diff(np.searchsorted(whole, part)))) <= 2
    assert np.array_equal(module._spread(whole, 10**6), whole)
    found = tried(tiny_fp32, tiny_store, "FP11", split="train", images=5)
    assert document(found)["images"] == 5


def test_a_document_keeps_what_is_modelled_apart(explored: Exploration) -> None:
    found = document(explored)
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert found["simulated"] is True
    for one in found["variants"]:
        assert "images_per_s" not in one
        figures = one["modelled"]
        assert {"images_per_s", "latency_s", "power_w", "images_per_s_per_w"} <= set(figures)
        assert "calibrated" in figures["source"]
        assert "assumed" in figures["source"]
    assert any(one["pareto"] for one in found["variants"])


def test_where_no_power_is_published_none_is_told(
    tiny_fp32: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    board = find_board("de10-agilex")
    found = document(tried(tiny_fp32, tiny_store, "FP11", "FP8", board=board, split="train"))
    for one in found["variants"]:
        assert one["modelled"]["power_w"] is None
        assert one["modelled"]["images_per_s_per_w"] is None
        assert one["modelled"]["images_per_s"] > 0
    table = explore_table(found)
    assert "Img/s/W" not in table.columns
    assert all(len(row) == len(table.columns) for row in table.rows)
    write_explore_plot(found, tmp_path)
    assert "per watt" not in (tmp_path / "explore.svg").read_text()


def shown(found: dict[str, Any]) -> str:
    from rich.console import Console

    screen = Console(width=200, no_color=True)
    with screen.capture() as capture:
        screen.print(rich_table(explore_table(found)))
    return capture.get()


def test_the_table_fits_100_columns_and_says_what_is_destroyed(explored: Exploration) -> None:
    found = document(explored)
    found["board_full_name"] = PAC.full_name
    for one in found["variants"]:
        one["modelled"]["images_per_s"] = 123456.7
        one["modelled"]["images_per_s_per_w"] = 1234.56
        one["mean_auroc"] = {"value": 0.9, "low": 0.88, "high": 0.92}
        one["mean_difference"] = {"value": -0.001, "low": -0.002, "high": 0.001}
    found["variants"][-1]["mean_auroc"] = {"value": 0.52, "low": 0.49, "high": 0.55}
    found["variants"][-2]["mean_difference"] = {"value": -0.1, "low": -0.2, "high": -0.05}
    lines = shown(found).splitlines()
    assert max(map(len, lines)) <= 100
    told = " ".join(" ".join(lines).split())
    assert "Binary: destroyed, no better than chance." in told
    assert "Ternary: worse than FP32 beyond chance." in told
    assert "modelled" in told
    assert "nothing trained after rounding" in told


def test_the_plot_says_that_it_is_modelled_and_names_every_variant(
    explored: Exploration, tmp_path: Path
) -> None:
    svg, png = write_explore_plot(document(explored), tmp_path)
    text = svg.read_text()
    assert "Images per second per watt of the board, modelled" in text
    assert all(one.name in text for one in VARIANTS)
    assert png.read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again"
    again.mkdir()
    assert write_explore_plot(document(explored), again)[0].read_text() == text


def test_an_artifact_of_another_precision_is_refused(
    tiny_int8: Artifact, tiny_store: Store
) -> None:
    with pytest.raises(DeviceError, match=r"^precision-unsupported: .*int8"):
        tried(tiny_int8, tiny_store, "FP11")


def test_a_split_without_images_is_refused(
    tiny_fp32: Artifact, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"^split-name: "):
        tried(tiny_fp32, tiny_store, "FP11", split="all")
    monkeypatch.setattr(Store, "select", lambda self, split: np.array([], np.int64))
    with pytest.raises(DataError, match=r"^split-empty: "):
        tried(tiny_fp32, tiny_store, "FP11")


def test_the_command_writes_document_and_plots(
    tiny_fp32: Artifact,
    tiny_store: Store,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.explore, "__kwdefaults__", {
        **(module.explore.__kwdefaults__ or {}), "variants": [VARIANTS[3]],
    })  # fmt: skip
    out = tmp_path / "deep" / "explored"
    words = ["fpga", "explore", tiny_fp32.path, "--data", tiny_store.path, "--split", "train"]
    words += ["--images", "6", "--samples", "100", "--out", out]
    monkeypatch.setattr(sys, "argv", ["thorax", *map(str, words), "--json"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed == json.loads((out / "explore.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == [
        "explore.json", "explore.png", "explore.svg",
    ]  # fmt: skip
    assert printed["command"] == "fpga explore"
