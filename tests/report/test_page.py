import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.report import results as made_up

from thorax.artifact import Artifact
from thorax.errors import DataError, UsageError
from thorax.files.documents import checked_line
from thorax.report.accuracy import auroc_table, pointing_table
from thorax.report.benchmark import speed_table
from thorax.report.modelled import modelled_table
from thorax.report.optimize import artifact_table, tried_table
from thorax.report.page import require_page, write_report
from thorax.report.series import arithmetic_text, in_order, precision_text, series_names
from thorax.report.table import rich_table
from thorax.report.text import interval_text
from thorax.results.accuracy import ValidationResult
from thorax.results.files import read_results
from thorax.results.findings import ClassifyResult
from thorax.results.optimize import OptimizeResult
from thorax.results.read import parse_result
from thorax.results.schema import Result
from thorax.results.shared import Interval


class _Page(HTMLParser):
    """What a browser would see: tags with attributes, the text, and whether tags nest."""

    VOID = frozenset({"meta", "img", "br", "wbr", "link", "path", "use", "rect", "input"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _results(documents: Sequence[Result | dict[str, Any]]) -> list[Result]:
    return [
        parse_result(document) if isinstance(document, dict) else document for document in documents
    ]


def _write(documents: Sequence[Result | dict[str, Any]], folder: Path) -> _Page:
    out = write_report(_results(documents), folder / "report.html", title="Thorax on phantoms")
    return _Page(out.read_text("utf-8"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    documents = made_up.everything(folder)
    return write_report(_results(documents), folder / "report.html", title="All of it").read_text(
        "utf-8"
    )


@pytest.fixture(scope="module")
def page(source: str) -> _Page:
    return _Page(source)


def test_page_fetches_nothing(page: _Page, source: str) -> None:
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {t for t, _ in page.tags}
    for tag, attributes in page.tags:
        for key in ("src", "href", "xlink:href", "data", "srcset", "action"):
            if key in attributes:
                # The one link is a table of the page itself, offered for download.
                kinds = ("data:image/", "#") if tag != "a" else ("data:text/csv;",)
                assert attributes[key].startswith(kinds)
        assert not any(key.startswith("on") for key in attributes)
    assert "@import" not in source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:")


def test_page_says_at_both_ends_that_it_is_no_medical_device(page: _Page) -> None:
    warning = "Research software, not a medical device."
    assert page.text.count(warning) == 2
    assert page.text.index(warning) < page.text.index("Accuracy") < page.text.rindex(warning)


def test_page_is_sound_and_speaks(page: _Page) -> None:
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {
        a[key] for t, a in page.tags if t != "a" for key in ("href", "xlink:href") if key in a
    }
    assert {target[1:] for target in targets} <= set(ids)
    labelled = {a["aria-labelledby"] for a in page.all("section")}
    assert labelled <= set(ids)
    assert all(a["alt"] for a in page.all("img"))
    assert all(a["role"] == "img" and a["aria-label"] for a in page.all("svg"))
    assert all(a["scope"] in ("col", "row") for a in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"


def test_every_part_is_there(page: _Page) -> None:
    headings = [
        "Side by side",
        "Accuracy",
        "Speed and size",
        "ROC",
        "Reliability",
        "Training",
        "Heat maps",
    ]
    headings += ["Where it looks", "Environment", "Provenance"]
    places = [page.text.index(f" {heading} ") for heading in headings]
    assert places == sorted(places)
    assert len(page.all("svg")) == 6
    assert len(page.all("img")) == 5
    assert "Intel(R) Xeon(R)" in page.text
    assert "digest of INT8 int8-9f86d081884c" in page.text
    assert "dicom-truncated" in page.text


def test_modelled_figures_are_told_apart(page: _Page) -> None:
    simulated = [a for a in page.all("tr") if a.get("class") == "simulated"]
    # What is modelled in two tables, what was emulated in one, and the sums in one of their own.
    assert len(simulated) == 4
    assert "612 (modelled)" in page.text
    assert "Images/s, modelled 612 phantoms-resnet18, FP11, HETERO:FPGA,CPU, offline" in page.text
    assert "Images/s 244 phantoms-resnet18, INT8" in page.text
    assert "What the cards would do: modelled, not measured" in page.text
    assert "sums of modelled and of measured time" in page.text
    assert "Cycles of 4x2x16x64_fp11 at 243 MHz (calibrated)" in page.text


def test_a_page_marks_tables_in_which_nothing_was_measured(source: str) -> None:
    marked = re.findall(r'<div class="scroll modelled"><table>\s*<caption>(.*?)</caption>', source)
    assert marked == ["What the cards would do: modelled, not measured"]


def test_what_a_card_computes_in_stands_beside_what_is_stored() -> None:
    result = made_up.benchmark("fp32", 300.0, simulated=True)
    for precision, compute, shown in (
        ("fp32", "fp11+f32", "FP32 as FP11"),
        ("fp32", "f32+fp16+fp11", "FP32 as FP16/FP11"),
        ("fp11", "fp11+f32", "FP11"),
        ("int8", "f32", "INT8"),
    ):
        update = {"precision": precision, "compute": compute}
        assert precision_text(result.model_copy(update=update)) == shown


def test_a_pool_with_a_cpu_answers_in_either_arithmetic() -> None:
    for device, told in (
        ("MULTI:FPGA.0,FPGA.1,CPU", "FP32 as FP11 or FP32"),
        ("MULTI:CPU,HETERO:FPGA.0,CPU", "FP32 as FP11 or FP32"),
        ("MULTI:HETERO:FPGA.0,CPU,HETERO:FPGA.1,CPU", "FP32 as FP11"),
        ("MULTI:FPGA.0,FPGA.1", "FP32 as FP11"),
        ("HETERO:FPGA,CPU", "FP32 as FP11"),
    ):
        assert arithmetic_text("fp32", "fp11+f32", device) == told


def test_an_emulation_is_compared_with_no_reference() -> None:
    documents = [made_up.benchmark("fp32"), made_up.benchmark("int8", 150.0)]
    emulated = [made_up.benchmark("fp32", 300.0, simulated=True)]
    assert "× FP32" not in speed_table(emulated).columns
    table = speed_table([*documents, *emulated])
    place = table.columns.index("× FP32")
    assert [row[place] for row in table.rows] == ["1.00", "2.02", ""]


def test_an_emulation_has_no_bar_and_no_tile(tmp_path: Path) -> None:
    emulated = made_up.benchmark("fp11", 612.0, simulated=True)
    page = _write([emulated.model_copy(update={"modelled": None})], tmp_path)
    assert page.all("svg") == []
    assert "Images/s, modelled" not in page.text
    assert "emulated" in page.text
    assert "What the cards would do" not in page.text


def test_plots_take_their_colours_from_the_page(source: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL)
    for drawing in drawings:
        bare = re.sub(r"var\(--s\d, #[0-9a-f]{6}\)", "", drawing)
        assert "currentColor" in bare
        assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", bare)


def test_axes_bear_their_units(page: _Page) -> None:
    for label in ("AUROC (0.5 = chance)", "False positive rate", "Images per second", "Epoch"):
        assert label in page.text


def test_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    documents = _results([made_up.validation(), made_up.classification(tmp_path, count=1)])
    first = write_report(documents, tmp_path / "a.html", title="T").read_bytes()
    assert write_report(documents, tmp_path / "b.html", title="T").read_bytes() == first


def test_what_no_document_holds_is_left_out(tmp_path: Path) -> None:
    page = _write([made_up.benchmark()], tmp_path)
    assert len(page.all("svg")) == 1
    for absent in ("AUROC", "ROC", "Reliability", "Heat maps", "Environment", "INT8", "p50 W"):
        assert absent not in page.text
    assert "No power meter was read." in page.text


def test_empty_report_is_still_a_page(tmp_path: Path) -> None:
    page = _write([], tmp_path)
    assert "Thorax on phantoms" in page.text
    assert page.all("svg") == []


def test_names_cannot_inject_markup(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script><img src=x onerror=y>$\\frac{'
    validation = made_up.validation()
    validation["precision"] = evil
    validation["auroc"][evil] = validation["auroc"].pop("Mass")
    validation["roc"][evil] = validation["roc"].pop("Mass")
    classified = made_up.classification(tmp_path, count=1)
    classified["results"][0]["image"] = evil
    page = _write([validation, classified, made_up.benchmark(evil, 5.0)], tmp_path)
    assert page.all("script") == []
    assert len(page.all("img")) == 1
    assert 'alert("1")' in page.text


def test_lost_heat_map_is_said_and_not_replaced(tmp_path: Path) -> None:
    classified = made_up.classification(tmp_path, count=2)
    (tmp_path / "000.png").unlink()
    (tmp_path / "001.png").write_bytes(b"not a picture")
    page = _write([classified], tmp_path)
    assert page.all("img") == []
    assert "Heat map 000.png cannot be read." in page.text
    assert "Heat map 001.png cannot be read." in page.text


def test_int8_drop_needs_both_on_the_same_images(tmp_path: Path) -> None:
    fp32, int8 = made_up.validation("fp32"), made_up.validation("int8", noise=0.5)
    for document in (fp32, int8):
        document["roc"], document["reliability"] = {}, []
    drop = fp32["mean_auroc"] - int8["mean_auroc"]
    assert f"INT8 drop in mean AUROC {drop:+.4f}" in _write([int8, fp32], tmp_path).text
    other = {**int8, "split": "val"}
    assert "INT8 drop" not in _write([fp32, other], tmp_path).text
    stated = made_up.optimization("int8", 100, 0.0012)
    assert "INT8 drop in mean AUROC +0.0012" in _write([fp32, stated], tmp_path).text


def test_other_documents_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"command": "devices"}')
    with pytest.raises(DataError, match="report-not-a-result"):
        read_results([file])
    damaged = made_up.validation()
    del damaged["auroc"]
    file.write_text(json.dumps(damaged))
    with pytest.raises(DataError, match=r"report-damaged: .*x\.json: .* auroc: Field required"):
        read_results([file])


def test_an_own_mistake_is_no_damaged_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise TypeError("mistaken")

    monkeypatch.setattr("thorax.report.page._subject", mistaken)
    with pytest.raises(TypeError, match="mistaken"):
        write_report([], tmp_path / "report.html", title="T")


def test_a_pointing_game_without_a_rate_is_a_dash() -> None:
    document = made_up.validation()
    document["pointing"] = {"Mass": {"hits": 1, "total": 2, "rate": None}}
    assert pointing_table([ValidationResult.read(document)]).rows == (("Mass", "2", "–"),)


def test_a_page_has_random_and_fixed_point_beside_the_hits_of_each_finding(
    tmp_path: Path,
) -> None:
    document = made_up.validation() | {"heatmap_kind": "cam"}
    bounds = {"value": 0.61, "low": 0.5, "high": 0.71}
    document["pointing"] = {
        "Mass": {
            "hits": 61, "total": 100, "rate": 0.61, "rate_interval": bounds,
            "random_rate": 0.12, "fixed_rate": 0.34,
        },
    }  # fmt: skip
    result = ValidationResult.read(document)
    page = write_report([result], tmp_path / "report.html", title="T").read_text("utf-8")
    section = page.partition("Where it looks</h2>")[2].partition("</section>")[0]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", section)
    assert cells == [
        "Finding", "Maps", "FP32, cam", "Random point", "Fixed point",
        "Mass", "100", "61: 61% [50%,\xa071%]", "12%", "34%",
    ]  # fmt: skip


def test_a_folder_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        write_report([], tmp_path, title="T")
    assert refused.value.code == "output-unwritable"
    assert not list(tmp_path.iterdir())


def test_results_are_loaded_from_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    classified = made_up.classification(tmp_path / "maps", count=1)
    (finding,) = classified["results"][0]["heatmaps"]
    classified["results"][0]["heatmaps"] = {finding: "maps/000.png"}
    (tmp_path / "b.json").write_text(json.dumps(classified))
    (tmp_path / "a.json").write_text(made_up.benchmark().to_json())
    (tmp_path / "card.json").write_text('{"name": "not a result"}')
    results = read_results([tmp_path])
    assert [result.command for result in results] == ["benchmark", "classify"]
    assert isinstance(results[1], ClassifyResult)
    assert results[1].results[0].heatmaps == {finding: str(tmp_path / "maps" / "000.png")}
    assert read_results([tmp_path / "a.json"]) == [made_up.benchmark()]


@pytest.mark.parametrize(
    ("code", "content"),
    [("report-unreadable", "{"), ("report-not-a-result", "[]"), ("report-not-a-result", "{}")],
)
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, code: str, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=f"{code}: .*x.json"):
        read_results([path])
    with pytest.raises(DataError, match="report-empty"):
        read_results([(tmp_path / "x.json").rename(tmp_path / "x.txt").parent])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "holds a JSON array and no object"),
        ('"benchmark"', "holds a JSON string and no object"),
        ("{}", "has no key 'command'"),
        ('{"command": "devices"}', "is of command 'devices'"),
        ('{"command": ["validate"]}', r"is of command \['validate'\]"),
    ],
)
def test_a_foreign_document_is_told_for_what_it_is(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=f"x.json {told}; a report is made from what train, .* pri"):
        read_results([path])


def test_a_result_with_garbled_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"command": "classify", "results": [1]}')
    with pytest.raises(DataError, match="report-damaged"):
        read_results([path])


def test_matplotlib_is_not_used_through_its_global_state() -> None:
    program = (
        "import sys, thorax.report.training as p;"
        "from thorax.results.training import EpochRecord;"
        "p.training_plot([EpochRecord(epoch=1, loss=0.5)]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_tables_fit_a_terminal_of_100_columns() -> None:
    validations = [
        ValidationResult.read(made_up.validation(name)) for name in ("fp32", "bf16", "int8")
    ]
    benchmarks = [made_up.benchmark("fp32"), made_up.benchmark("fp11", 612.0, simulated=True)]
    tables = [auroc_table(validations), speed_table(benchmarks), pointing_table(validations)]
    tables += [table for table in [modelled_table(benchmarks)] if table]
    optimized = OptimizeResult.read(made_up.optimization("int8", 11_290_000, 0.0013))
    tables.append(artifact_table([optimized]))
    for table in tables:
        console = Console(width=100, file=io.StringIO())
        console.print(rich_table(table))
        assert isinstance(console.file, io.StringIO)
        assert "…" not in console.file.getvalue()
        for row in table.rows:
            assert len(row) == len(table.columns)


def test_speed_is_compared_with_fp32_of_the_same_device_and_scenario() -> None:
    documents = [
        made_up.benchmark("int8", 300.0),
        made_up.benchmark("int8", 100.0, scenario="single-stream"),
        made_up.benchmark("fp32", 100.0),
    ]
    table = speed_table(documents)
    place = table.columns.index("× FP32")
    assert [row[place] for row in table.rows] == ["3.00", "", "1.00"]


def test_series_are_named_by_what_tells_them_apart() -> None:
    same = [made_up.benchmark("int8"), made_up.benchmark("fp32")]
    assert series_names(same) == ["INT8", "FP32"]
    offline = made_up.benchmark("int8")
    single = made_up.benchmark("int8", scenario="single-stream")
    assert series_names([offline, single]) == ["INT8 offline", "INT8 single-stream"]
    assert series_names([offline, offline]) == ["INT8 #1", "INT8 #2"]


def test_order_is_by_precision_and_measured_before_modelled() -> None:
    documents = [
        made_up.benchmark("fp11", simulated=True),
        made_up.benchmark("int8"),
        made_up.benchmark("fp32"),
    ]
    assert [result.precision for result in in_order(documents)] == ["fp32", "int8", "fp11"]


def test_what_was_tried_is_on_the_page_with_the_reason(tmp_path: Path) -> None:
    trial = {
        "precision": "int8", "kept": ["conv1"], "auroc_drop": 0.0007,
        "auroc_drop_interval": [-0.0002, 0.0016], "speed": 2.1, "size_bytes": 24_000_000,
        "chosen": True, "reason": "the fastest within the budget",
    }  # fmt: skip
    fp32 = trial | {
        "precision": "fp32", "kept": [], "auroc_drop": 0.0, "auroc_drop_interval": None,
        "speed": 1.0, "chosen": False, "reason": "1.00x",
    }  # fmt: skip
    document = made_up.optimization("int8", 24_000_000, 0.0007)
    assert tried_table([OptimizeResult.read(document)]) is None
    document |= {"tried": [fp32, trial], "why": "int8: 2.10x fp32"}
    table = tried_table([OptimizeResult.read(document)])
    assert table is not None
    assert table.rows == (
        ("FP32", "", "+0.0000", "1.00", "24.0", "1.00x"),
        (
            "INT8", "1", "+0.0007 [-0.0002, +0.0016]", "2.10", "24.0",
            "chosen: the fastest within the budget",
        ),
    )  # fmt: skip
    screen = Console(width=100, file=io.StringIO())
    screen.print(rich_table(table))
    assert isinstance(screen.file, io.StringIO)
    assert "+0.0007 [-0.0002, +0.0016]" in screen.file.getvalue()
    assert "int8: 2.10x fp32" in _write([document], tmp_path).text


def test_interval_without_bounds_is_a_number() -> None:
    assert interval_text(0.9) == "0.900"
    assert interval_text(Interval(value=0.9)) == "0.900"
    assert interval_text(None) == "–"


def test_the_heat_maps_that_classify_drew_are_on_the_page(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    from thorax.inference.classify import ClassifyOptions, classify

    images = sorted(phantoms.glob("*.png"))[:3]
    document = classify(
        tiny_fp32.path, images, ClassifyOptions(heatmaps=tmp_path / "maps")
    ).document()
    (tmp_path / "classify.json").write_text(json.dumps(document))
    for documents in ([document], read_results([tmp_path / "classify.json"])):
        _write(documents, tmp_path)
        page = (tmp_path / "report.html").read_text("utf-8")
        assert page.count("data:image/jpeg;base64,") == 3
        assert "cannot be read" not in page


def test_a_run_folder_shows_its_log_and_what_train_printed(tmp_path: Path) -> None:
    run = tmp_path / "nih-run"
    run.mkdir()
    schedule = {"kind": "cosine", "batch": 512, "epochs": 2, "steps_per_epoch": 2, "steps": 4}
    start = {"event": "start", "resumed_step": 0, "topology": "vgg16_bn", "ranks": 4, "steps": 4}
    lines: list[dict[str, Any]] = [{**start, "schedule": {**schedule, "peak": 3.2}}]
    for step in range(1, 5):
        rates = {"learning_rate": 0.1 * step, "images_per_s": 100.0}
        lines.append({"event": "step", "step": step, "loss": 1 / step, **rates})
        if step % 2 == 0:
            entry = {"loss": 1 / step, "val_mean_auroc": 0.2 * step, "train_s": 5.0, "images": 1000}
            lines.append({"event": "epoch", "epoch": step // 2, "step": step, **entry})
    (run / "train.jsonl").write_text("".join(map(checked_line, lines)))
    page = _write(read_results([run]), tmp_path)
    line = "nih-run, vgg16_bn, not finished, 4 of 4 steps, 4 ranks, 200 images/s"
    assert f"{line}, data wait 0.0%, mean AUROC 0.800, validation split, after epoch 2" in page.text
    assert "Global batch 512" in page.text
    assert "Highest learning rate 3.2" in page.text
    (svg,) = page.all("svg")
    panels = "Training loss, Validation mean AUROC, Learning rate, Images per second"
    assert svg["aria-label"] == f"Over epochs: {panels}."

    with (run / "train.jsonl").open("a") as file:
        file.write(checked_line({"event": "end"}))
    printed = {"command": "train", "mean_auroc": 0.81, "images_per_s": 250.0}
    (run / "train.json").write_text(json.dumps(printed))
    documents = read_results([run])
    assert len(documents) == 1
    page = _write(documents, tmp_path)
    assert "nih-run, vgg16_bn, 4 steps, 4 ranks, 250 images/s" in page.text
    assert "mean AUROC 0.810" in page.text


def test_a_tuned_benchmark_shows_all_that_was_tried(tmp_path: Path) -> None:
    tried = [
        {
            "model": "m", "precision": "int8", "device": "CPU", "streams": streams, "batch": 4,
            "images_per_s": rate, "p50_ms": 9.0, "p99_ms": 12.0, "simulated": False,
            "chosen": rate == 80.0, "reason": "most images per second",
        }
        for streams, rate in ((1, 61.5), (2, 80.0))
    ]  # fmt: skip
    failed = {**tried[0], "images_per_s": None, "p50_ms": None, "p99_ms": None, "simulated": None}
    document = {
        **made_up.benchmark("int8", 80.0).document(),
        "valid": None,
        "tuned": {
            **{key: tried[1][key] for key in ("device", "streams", "batch", "images_per_s")},
            **{"hardware": "A Processor", "processors": 2, "latency_limit_ms": None},
            **{"p99_ms": 12.0, "simulated": False, "measured": "2026-01-02"},
            **{"thorax": "0.1.0", "openvino": "2026.4.1"},
        },
        "tried": [*tried, failed],
    }
    page = write_report(_results([document]), tmp_path / "r.html", title="T").read_text("utf-8")
    assert "Settings tried in turns" in page
    assert "chosen: most images per second" in page
    # No rule of a scenario judged it.
    assert "measured, valid" not in page


def test_plans_of_clusters_stand_there_once_under_ids_of_their_own(tmp_path: Path) -> None:
    from tests.report import test_plan_cluster

    plan = test_plan_cluster.planned()
    another = plan.model_copy(update={"title": "another"})
    documents = [plan, another, made_up.server_plan(), made_up.server_plan()]
    page = write_report(documents, tmp_path / "r.html", title="T").read_text("utf-8")
    assert page.count(">Training clusters</h2>") == 1
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_page_goes_to_what_it_may_and_nothing_is_read_before(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "r.html"
    os.mkfifo(pipe)
    file.write_text("old")
    file.chmod(0o600)
    require_page(file)
    assert file.read_text() == "old"
    for place in (tmp_path, file / "r.html", Path("/proc/none/r.html")):
        with pytest.raises(UsageError) as refused:
            require_page(place)
        assert refused.value.code == "output-unwritable"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    require_page(pipe)
    documents = [made_up.benchmark()]
    write_report(documents, pipe, title="T")
    assert os.read(reader, 15) == b"<!doctype html>"
    os.close(reader)
    with pytest.raises(UsageError, match=r"output-unwritable.*no program reads"):
        write_report(documents, pipe, title="T")
    write_report(documents, file, title="T")
    assert file.stat().st_mode & 0o777 == 0o600
