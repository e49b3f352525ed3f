"""`thorax plan cluster`: its document, tables and picture."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import typed

from thorax.plan import system_files
from thorax.plan.cluster_plan import ClusterQuestion, plan_cluster
from thorax.plan.published import compare_rows, ready
from thorax.plan.system_files import find_system, list_systems
from thorax.report.plan_cluster import cluster_plan_tables, stops_text
from thorax.report.plan_cluster_plots import cluster_plot
from thorax.report.text import duration_text
from thorax.results.plan import ClusterPlan, ScalingStop

CONTRACT = {
    "workers", "global_batch", "images_per_s", "efficiency", "epochs", "time_to_train_s",
    "energy_kwh",
}  # fmt: skip


def planned(**fields: Any) -> ClusterPlan:  # noqa: ANN401 - of a question
    found = find_system("zenith")
    question = ClusterQuestion(**{"topology": "resnet50", "workers": (1, 512, 1024), **fields})
    return plan_cluster(ready(found), question, compare_rows(found, found.models[0]))


def test_the_document_has_what_was_promised_and_draws_three_networks(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = tmp_path / "cluster.svg"
    words = (
        "plan", "cluster", "--system", "zenith", "--topology", "resnet50", "--workers",
        "1,64,512,1024", "--images", 86524, "--figure", picture, "--json",
    )  # fmt: skip
    status, out, err = typed(capfd, monkeypatch, *words)
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["command"] == "plan cluster"
    assert document["modelled"] is True
    assert [row["workers"] for row in document["rows"]] == [1, 64, 512, 1024]
    assert all(row.keys() >= CONTRACT for row in document["rows"])
    drawn = picture.read_text("utf-8")
    ET.fromstring(drawn)
    for words_in in ("modelled", "ResNet-50", "DenseNet-121", "VGG-16", "prefers-color-scheme"):
        assert words_in in drawn


def test_the_tables_fit_a_terminal_and_say_modelled(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--batch", 8192, "--batch-per-worker", 16, "--price", 2, "--workers", "1..4096")
    status, out, _ = typed(capfd, monkeypatch, "plan", "cluster", *words)
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    for text in ("modelled, not", "Cost", "no longer pays", "calibrated", "chosen"):
        assert text in out
    told = " ".join(out.split())
    for text in (
        "Held against published rows: 2 fitted numbers, 3 choices, all rows known beforehand",
        "Chosen with all rows known: the fixed time is of an update of several ranks",
        "Workers a node: 4 (derived: 1,024 ranks on 256 nodes; assumed for other numbers",
    ):
        assert text in told


def test_choices_are_in_the_document_of_a_plan_beside_its_rows() -> None:
    plan = planned()
    choices = find_system("zenith").models[0].choices
    assert plan.document()["choices"] == list(choices)
    assert {row.choices for row in plan.compared} == {len(choices)} == {3}


@pytest.mark.parametrize("more", [("--epochs", 30), ("--set", "between.alpha_s=1e-6")])
def test_choices_are_told_where_the_model_is_held_against_no_rows(
    more: tuple[str, object], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = find_system("zenith").models[0].choices
    words = ("plan", "cluster", "--system", "zenith", "--workers", 64, *more)
    _, out, _ = typed(capfd, monkeypatch, *words, "--json")
    plan = json.loads(out)
    assert plan["compared"] == []
    assert plan["choices"] == list(choices)
    assert "choices" not in plan["inputs"]
    _, out, _ = typed(capfd, monkeypatch, *words)
    assert f"Chosen with all rows known: {'; '.join(choices)}." in " ".join(out.split())


def test_choices_go_into_a_file_and_come_back_from_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    words = ("plan", "cluster", "--workers", 64)
    _, out, _ = typed(capfd, monkeypatch, *words, "--write-file", path, "--json")
    written = json.loads(out)
    _, out, _ = typed(capfd, monkeypatch, *words, "--system", path, "--json")
    plan = json.loads(out)
    assert plan["title"] == written["title"]
    assert plan["sources"][0] == "file: mine.toml: as thorax plan cluster wrote it"
    assert plan["choices"] == written["choices"] == list(find_system("zenith").models[0].choices)
    _, out, _ = typed(capfd, monkeypatch, *words, "--system", path)
    assert "Chosen with all rows known, as the file says: the fixed time" in " ".join(out.split())


def test_nothing_of_a_plan_is_called_a_prediction(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for system in list_systems():
        for more in ((), ("--json",)):
            words = ("plan", "cluster", "--system", system, "--workers", 1, *more)
            status, out, _ = typed(capfd, monkeypatch, *words)
            assert status == 0
            assert "predict" not in out


def test_published_rows_say_what_the_model_took_from_them() -> None:
    table = cluster_plan_tables(planned())[-1]
    how = {row[-1] for row in table.rows}
    assert how == {"calibrated", "chosen", "identity"}
    for row in table.rows:
        assert (row[-3] == "") is (row[-1] == "calibrated")


def test_only_places_where_time_goes_have_a_column() -> None:
    places = cluster_plan_tables(planned())[1]
    assert places.columns == ("Workers", "Batch", "Compute", "Exchange")
    found = ready(find_system("zenith")).model_copy(
        update={"jitter": 0.1, "evaluation_images": 9000, "start_up_s": 60.0}
    )
    cluster_plan = plan_cluster(found, ClusterQuestion("resnet50", (64,)))
    assert cluster_plan_tables(cluster_plan)[1].columns[2:] == (
        "Compute", "Exchange", "Stragglers", "Evaluation", "Start-up",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "90 s"), (675, "11.2 min"), (8319, "2.31 h"), (7.2e6, "2,000 h")]
)
def test_durations_are_told_in_what_they_are_counted_in(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_where_scaling_stops_paying_is_told_with_what_it_costs() -> None:
    stop = ScalingStop(scaling="batch shared", workers=1024, worth=0.5)
    assert stops_text(stop) == (
        "With a shared batch doubling 1,024 workers no longer pays: it saves less than 29% of the "
        "time and costs over 41% more energy."
    )
    assert "pays throughout" in stops_text(stop.model_copy(update={"workers": None}))


def test_a_cluster_of_unknown_power_draws_time_alone() -> None:
    found = find_system("c4140-v100")
    cluster_plan = plan_cluster(ready(found), ClusterQuestion("densenet121", (1, 4, 16)))
    assert "Energy" not in cluster_plot([cluster_plan])
    assert "Energy, kWh" in cluster_plot([planned()])
    assert "Cost" in cluster_plot([planned(price_per_node_hour=1.0)])


def test_a_picture_is_the_same_each_time() -> None:
    assert cluster_plot([planned()]) == cluster_plot([planned()])


def test_a_system_and_a_measurement_together_are_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("--system", "zenith", "--calibrate", tmp_path / "a.json")
    status, _, err = typed(capfd, monkeypatch, "plan", "cluster", *words)
    assert status == 2
    assert "option-together" in err


def test_epochs_and_their_curve_together_are_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("plan", "cluster", "--epochs", 10, "--epochs-curve", "mlperf")
    status, _, err = typed(capfd, monkeypatch, *words)
    assert status == 2
    assert "option-together" in err


@pytest.mark.parametrize(
    "option",
    ["--price", "--batch", "--batch-per-worker", "--epochs", "--start-up", "--node-power"],
)
def test_an_infinite_number_is_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    status, _, err = typed(capfd, monkeypatch, "plan", "cluster", option, "inf", "--json")
    assert status == 2
    assert "thorax: bug" not in err


def test_the_curve_of_a_small_set_of_images_runs(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("plan", "cluster", "--epochs-curve", "mlperf-scaled", "--workers", "8..256", "--json")
    status, _, err = typed(capfd, monkeypatch, *words)
    assert status == 2
    assert "--epochs-batch" in err
    status, out, _ = typed(capfd, monkeypatch, *words, "--epochs-batch", 128)
    assert status == 0
    epochs = [row["epochs"] for row in json.loads(out)["rows"]]
    assert epochs[0] == 90 < epochs[-1]


def test_algorithms_are_compared_and_what_was_planned_is_written(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    times = {}
    words = ("plan", "cluster", "--topology", "vgg16", "--workers", 512, "--json")
    for name in ("ring", "halving-doubling", "hierarchical"):
        status, out, err = typed(
            capfd, monkeypatch, *words, "--all-reduce", name, "--write-file", path,
            "--set", "overlap=false",
        )  # fmt: skip
        assert (status, err) == (0, "")
        document = json.loads(out)
        assert document["inputs"]["algorithm"] == name
        assert "algorithm: given, in place of the above" in document["sources"]
        times[name] = document["rows"][0]["time_to_train_s"]
        assert document["compared"] == []
    assert times["ring"] > times["hierarchical"]
    status, out, _ = typed(capfd, monkeypatch, *words, "--system", path)
    assert status == 0
    assert json.loads(out)["rows"][0]["time_to_train_s"] == times["hierarchical"]
    status, _, err = typed(capfd, monkeypatch, *words, "--all-reduce", "star")
    assert status == 2
    assert "halving-doubling" in err


def test_a_plan_with_a_constant_that_was_set_says_so_wherever_it_has_a_title(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = tmp_path / "cluster.svg"
    words = ("plan", "cluster", "--workers", "1,64", "--set", "between.alpha_s=1")
    _, out, _ = typed(capfd, monkeypatch, *words, "--figure", picture)
    assert "changed by --set" in " ".join(out.split())
    assert "changed by --set" in picture.read_text("utf-8")
    _, out, _ = typed(capfd, monkeypatch, *words, "--json")
    assert json.loads(out)["title"].endswith("2018, changed by --set")


def test_a_file_without_published_figures_is_a_reason_that_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    words = ("plan", "cluster", "--workers", 64)
    typed(capfd, monkeypatch, *words, "--write-file", path)
    text = path.read_text("utf-8")
    path.write_text(text.replace("node_power_w = 450.0", "node_power_w = 45.0"), "utf-8")
    _, out, _ = typed(capfd, monkeypatch, *words, "--system", path, "--json")
    plan = json.loads(out)
    assert plan["inputs"]["node_power_w"] == 45.0
    assert "its file holds none" in plan["compared_left_out"]
    _, out, _ = typed(capfd, monkeypatch, *words, "--system", path)
    shown = " ".join(out.split())
    assert "its file holds none" in shown
    assert "given: ranks_per_node, " in shown
    assert "published: " not in shown.partition("Constants")[2]


def test_published_figures_of_a_file_are_as_the_file_says(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    own = Path(system_files.__file__).parent / "systems" / "intel-caffe.toml"
    path.write_text(own.read_text("utf-8"), "utf-8")
    words = ("plan", "cluster", "--workers", 64, "--system")
    _, out, _ = typed(capfd, monkeypatch, *words, path)
    assert "Held against published rows, as the file says: 1 fitted number" in out
    _, out, _ = typed(capfd, monkeypatch, *words, "intel-caffe")
    assert "Held against published rows: 1 fitted number" in out


def test_published_figures_of_another_plan_are_left_out_and_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = tmp_path / "cluster.svg"
    words = ("plan", "cluster", "--workers", "1..1024", "--figure", picture)
    status, out, _ = typed(capfd, monkeypatch, *words, "--epochs", 10)
    assert status == 0
    assert "ublished figures are left out" in out
    assert "chosen" not in out
    assert "published" not in picture.read_text("utf-8")
    status, out, _ = typed(capfd, monkeypatch, *words)
    assert "left out" not in out
    assert "published, the model chosen with it known" in picture.read_text("utf-8")


def test_every_published_figure_of_a_picture_has_its_sign_explained() -> None:
    found = find_system("c4140-v100")
    rows = compare_rows(found, found.models[0])
    plans = [
        plan_cluster(ready(found), ClusterQuestion(topology, (1, 4, 16)), rows)
        for topology in ("resnet50", "densenet121")
    ]
    drawn = cluster_plot(plans)
    assert "published as a rate, the model chosen with it known" in drawn
    assert "published as a rate, the model fitted to it" in drawn
    assert "follows from another" not in drawn
    assert "follows from another" in cluster_plot([planned()])


def test_a_loss_that_was_fitted_is_no_measured_wait_for_the_slowest() -> None:
    found = ready(find_system("c4140-v100"))
    cluster_plan = plan_cluster(found, ClusterQuestion("densenet121", (1, 16)))
    plan, places = cluster_plan_tables(cluster_plan)
    assert "vary by 31%" in places.note
    assert "any loss that grows" in places.note
    assert "give --node-power" in plan.note


def test_a_report_shows_plans_of_clusters(tmp_path: Path) -> None:
    from thorax.report.page import write_report

    page = write_report([planned(), planned(batch=8192)], tmp_path / "page.html", title="t")
    text = page.read_text("utf-8")
    assert "Training clusters" in text
    assert text.count("Where the time goes") == 2
