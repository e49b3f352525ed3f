"""`thorax classify`: what a person, a script and a spreadsheet get, and what never stops it."""

import csv
import json
import os
import shutil
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.conftest import Thorax
from tests.dicoms import dicom, ramp

from thorax.artifact import BIN, Artifact, seal
from thorax.data.store import Store
from thorax.errors import DataError, DeviceError, ModelError, ThoraxError, UsageError
from thorax.inference import predictor
from thorax.inference.classify import ClassifyOptions, classify
from thorax.inference.predictor import Prediction
from thorax.report.findings import findings_tables
from thorax.results.findings import ClassifyResult

Row = dict[str, Any]


@pytest.fixture(scope="module")
def scans(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sound files in two folders, one empty, one that is a web page, one hidden."""
    folder = tmp_path_factory.mktemp("scans")
    (folder / "sub").mkdir()
    names = ["a.png", "b.png", "sub/c.png", "sub/1.2.840.5", "sub/d", "z.PNG"]
    for number, name in enumerate(names):
        (folder / name).symlink_to(phantoms / f"phantom_11_{number:06d}.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "web.dcm").write_text("<html></html>")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def answered(tiny_fp32: Artifact, scans: Path) -> ClassifyResult:
    return classify(tiny_fp32.path, [scans])


def test_the_document_has_the_keys_of_the_contract(answered: ClassifyResult) -> None:
    document = json.loads(json.dumps(answered.document(), allow_nan=False))
    assert {"device", "precision", "simulated", "images_per_s", "results", "counters"} <= set(
        document
    )
    assert (document["device"], document["precision"], document["simulated"]) == (
        "CPU", "fp32", False,
    )  # fmt: skip
    assert document["images_per_s"] == (8 - 2) / document["window_s"]
    for row in document["results"]:
        assert {"image", "findings", "positive", "error"} <= set(row)


def test_every_file_is_answered_in_order_and_those_that_fail_say_why(
    answered: ClassifyResult, scans: Path
) -> None:
    names = [str(Path(row.image).relative_to(scans)) for row in answered.results]
    assert names == sorted(names)
    assert len(names) == answered.images == 8
    errors = {name: row.error for name, row in zip(names, answered.results, strict=True)}
    bad = {name: error.code for name, error in errors.items() if error}
    assert bad == {"empty.png": "image-empty", "web.dcm": "image-format"}
    assert answered.failed == 2
    assert all("\n" not in error.message for error in errors.values() if error)


def test_findings_have_every_label_in_order_and_lie_between_0_and_1(
    answered: ClassifyResult, tiny_fp32: Artifact
) -> None:
    for row in answered.results:
        if row.error:
            assert (row.findings, row.positive) == ({}, ())
        else:
            assert tuple(row.findings) == tiny_fp32.card.labels
            assert all(0 <= value <= 1 for value in row.findings.values())
            assert set(row.positive) <= set(row.findings)


def test_a_peak_is_a_pixel_of_the_image_for_every_positive_finding(
    answered: ClassifyResult,
) -> None:
    sound = [row for row in answered.results if not row.error]
    assert any(row.peaks for row in sound)
    for row in sound:
        assert set(row.peaks) == set(row.positive)
        assert all(0 <= value <= 63 for point in row.peaks.values() for value in point)


def table(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_csv_says_what_the_document_says(
    tiny_fp32: Artifact, scans: Path, answered: ClassifyResult, tmp_path: Path
) -> None:
    out = tmp_path / "findings.csv"
    classify(tiny_fp32.path, [scans], ClassifyOptions(csv=out))
    rows = table(out)
    heads = ["image", *tiny_fp32.card.labels, "positive", "error", "compute", "simulated"]
    assert list(rows[0])[: len(heads)] == heads
    added = ["warnings", "view", "study_uid", "series_uid", "sop_uid", "accession"]
    assert list(rows[0])[len(heads) :] == added
    assert {(row["compute"], row["simulated"]) for row in rows} == {("f32", "false")}
    for row, wanted in zip(rows, answered.results, strict=True):
        assert row["image"] == wanted.image
        assert row["error"] == (wanted.error.code if wanted.error else "")
        assert row["positive"].split("|") == list(wanted.positive or [""])
        for name in tiny_fp32.card.labels:
            value = wanted.findings.get(name)
            assert (float(row[name]) if row[name] else None) == value
    assert [path.name for path in tmp_path.iterdir()] == ["findings.csv"]


def test_the_csv_can_be_scored_as_it_is(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    from thorax.evaluate.score import score

    out = tmp_path / "findings.csv"
    classify(tiny_fp32.path, [phantoms], ClassifyOptions(csv=out))
    assert score(out, phantoms / "labels.csv").document()["mean_auroc"] is not None


def test_a_csv_appears_whole_or_the_old_one_stays(
    tiny_fp32: Artifact, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "findings.csv"
    out.write_text("old\n")
    done = 0

    def stop(_: int) -> None:
        nonlocal done
        done += 1
        assert out.read_text() == "old\n"
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify(tiny_fp32.path, [scans], ClassifyOptions(csv=out), on_progress=stop)
    assert out.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [out]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        classify(tiny_fp32.path, [scans], ClassifyOptions(csv=out))
    assert out.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("option", ["csv", "heatmaps"])
@pytest.mark.parametrize("place", ["file/x", "file/x/y", "/proc/nothing/x", "/dev/null/x"])
def test_a_destination_that_cannot_be_written_is_told_before_any_file_is_read(
    tiny_fp32: Artifact,
    scans: Path,
    tmp_path: Path,
    option: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    refused(tiny_fp32.path, [scans], monkeypatch, **{option: tmp_path / place})


def test_a_csv_takes_no_place_but_that_of_a_file_or_a_stream(
    tiny_fp32: Artifact, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "unread")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("folder", "circle", "unread", "socket", ".", ".."):
            refused(tiny_fp32.path, [scans], monkeypatch, csv=tmp_path / name)
    refused(tiny_fp32.path, [scans], monkeypatch, csv=Path("/"))
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "circle", Path("/dev/null"), Path("/proc/x")):
        refused(tiny_fp32.path, [scans], monkeypatch, heatmaps=place)


def test_a_csv_goes_down_a_pipe_that_is_read_and_through_a_link(
    tiny_fp32: Artifact, scans: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    # Opened for both, a pipe waits for nobody; then its reader is there.
    both = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        classify(tiny_fp32.path, [scans], ClassifyOptions(csv=tmp_path / "pipe"))
    finally:
        os.close(both)
    reader.join()
    (tmp_path / "link.csv").symlink_to("real.csv")
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "real.csv").chmod(0o640)
    classify(tiny_fp32.path, [scans], ClassifyOptions(csv=tmp_path / "link.csv"))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == read[0]
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o640


HOSTILE = (
    "Mass/Tumour", "..", ".", "=1+1", "@SUM(A1)", "a\x1b[31m\u202eb", "Mass_Tumour", "mass_tumour",
    "x" * 300, "x" * 301, "ü" * 200, "a:b", "a*b", "-2",
)  # fmt: skip
"""Fourteen labels of which none can be the name of a file as it is, or only one of several."""


@pytest.fixture(scope="module")
def hostile(tiny_fp32: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An artifact whose labels were chosen by somebody who means no good."""
    folder = tmp_path_factory.mktemp("hostile") / "model"
    shutil.copytree(tiny_fp32.path, folder)
    thresholds = dict.fromkeys(HOSTILE, 0.0)
    changed = {"labels": HOSTILE, "thresholds": thresholds, "calibration": None, "label_set": "it"}
    return Artifact(folder, seal(folder, tiny_fp32.card.model_copy(update=changed)))


def test_whatever_a_label_is_called_it_has_its_heat_map_in_the_folder(
    hostile: Artifact, scans: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "maps"
    (row,) = classify(hostile.path, [scans / "a.png"], ClassifyOptions(heatmaps=folder)).results
    assert tuple(row.heatmaps) == HOSTILE
    assert sorted(row.heatmaps.values()) == sorted(map(str, folder.iterdir()))
    names = [Path(path).name for path in row.heatmaps.values()]
    assert len({name.casefold() for name in names}) == len(HOSTILE)
    assert all(name.isprintable() and not set(name) & set('/\\:*?"<>|') for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps"]


def test_no_cell_of_a_csv_is_a_formula_and_numbers_stay_numbers(
    hostile: Artifact, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["=cmd|' '!A0.png", "+1.png", "-1.png", "@x.png", "\tx.png", "\rx.png", "a\rb\nc.png"]
    for name in names:
        (tmp_path / name).symlink_to(scans / "a.png")
    monkeypatch.chdir(tmp_path)
    classify(hostile.path, list(map(Path, names)), ClassifyOptions(csv=tmp_path / "all.csv"))
    text = (tmp_path / "all.csv").read_bytes().decode()
    assert text.count("\r") == text.count("\r\n") == text.count("\n") == 1 + len(names)
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    cells = [cell for row in (head, *rows) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert (head[4], rows[0][0]) == ("'=1+1", "'=cmd|' '!A0.png")
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row[1:15])


def test_a_terminal_obeys_no_name(
    hostile: Artifact, scans: Path, tmp_path: Path, thorax: Thorax
) -> None:
    name = "\x1b]0;owned\x07\x1b[2J\u202egnp.png"
    (tmp_path / name).symlink_to(scans / "a.png")
    (tmp_path / "\x1b[31m\nthorax: done.png").write_bytes(b"")
    done = thorax("classify", hostile.path, tmp_path, "-pc", "--debug")
    assert done.returncode == 3
    for text in (done.stdout, done.stderr):
        assert not [letter for letter in text if letter != "\n" and not letter.isprintable()]
    assert not [line for line in done.stdout.split("\n") if line.startswith("thorax: done")]
    assert r"\x1b]0;owned" in done.stdout
    gone = thorax("classify", tmp_path / "\x1b[31mmodel\u202e", scans, "--debug")
    assert gone.returncode == 4
    assert not [one for one in gone.stderr if one != "\n" and not one.isprintable()]


def refused(
    model: Path, inputs: Sequence[Path], monkeypatch: pytest.MonkeyPatch, **options: Path
) -> None:
    def read(path: Path) -> None:
        pytest.fail(f"{path} was read")

    monkeypatch.setattr(predictor, "read", read)
    with pytest.raises(UsageError) as caught:
        classify(model, inputs, ClassifyOptions(**options))  # type: ignore[arg-type]
    assert caught.value.code == "output-unwritable"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("colours", ["inferno", "viridis"])
def test_heat_maps_are_written_for_positive_findings_or_the_likeliest(
    tiny_fp32: Artifact, scans: Path, tmp_path: Path, colours: str
) -> None:
    folder = tmp_path / "deep" / "maps"
    result = classify(tiny_fp32.path, [scans], ClassifyOptions(heatmaps=folder, colours=colours))
    listed: list[str] = []
    for row in result.results:
        if row.error:
            assert not row.heatmaps
            continue
        findings = row.findings
        likeliest = max(findings, key=lambda name: float(findings[name]))
        assert tuple(row.heatmaps) == (row.positive or (likeliest,))
        listed += row.heatmaps.values()
    assert sorted(listed) == sorted(map(str, folder.iterdir()))
    assert {np.asarray(cv2.imread(path)).shape for path in listed} == {(574, 1110, 3)}


def test_images_of_one_name_do_not_overwrite_each_others_heat_maps(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    for number in range(3):
        folder = tmp_path / "scans" / str(number)
        folder.mkdir(parents=True)
        (folder / "same.png").symlink_to(phantoms / f"phantom_11_{number:06d}.png")
    result = classify(
        tiny_fp32.path, [tmp_path / "scans"], ClassifyOptions(heatmaps=tmp_path / "maps")
    )
    listed = [path for row in result.results for path in row.heatmaps.values()]
    assert len(set(listed)) == len(listed) == len(list((tmp_path / "maps").iterdir()))


def test_a_name_as_long_as_the_file_system_allows_has_its_heat_map(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    source = (phantoms / "phantom_11_000000.png").read_bytes()
    names = ["x" * 251 + ".png", "ü" * 125 + ".png"]
    for name in names:
        (tmp_path / name).write_bytes(source)
    result = classify(tiny_fp32.path, [tmp_path], ClassifyOptions(heatmaps=tmp_path / "maps"))
    assert result.failed == 0
    assert all(Path(path).is_file() for row in result.results for path in row.heatmaps.values())


def test_a_name_that_is_no_text_is_answered_everywhere(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"b\xff\n\x1bd.png")
    (tmp_path / name).write_bytes((phantoms / "phantom_11_000000.png").read_bytes())
    (tmp_path / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    out = tmp_path / "out.csv"
    result = classify(
        tiny_fp32.path, [tmp_path], ClassifyOptions(heatmaps=tmp_path / "maps", csv=out)
    )
    assert [Path(row.image).name for row in result.results] == [name, os.fsdecode(b"\xfe.png")]
    json.dumps(result.document()).encode("ascii")
    assert len(table(out)) == 2
    assert all(Path(path).is_file() for path in result.results[0].heatmaps.values())


def test_counters_name_layers_and_add_up(tiny_fp32: Artifact, scans: Path) -> None:
    result = classify(tiny_fp32.path, [scans], ClassifyOptions(counters=True))
    rows = result.document()["counters"]
    keys = {"layer", "type", "kernel", "status", "real_ms", "cpu_ms", "subgraph", "device"}
    assert all(set(row) == {*keys, "origin", "part_of", "member"} for row in rows)
    assert {row["origin"] for row in rows} == {"measured"}
    executed = [row for row in rows if row["status"] == "EXECUTED"]
    assert any("layer1.0.conv1" in row["layer"] for row in executed)
    assert sum(row["real_ms"] for row in executed) > 0
    assert classify(tiny_fp32.path, [scans]).document()["counters"] == []
    assert len(findings_tables(result, counters=False)) == 1
    costs = findings_tables(result)[1]
    place = costs.columns.index("ms")
    assert costs.rows[-1][0] == "Total measured"
    total = float(costs.rows[-1][place])
    assert total == pytest.approx(sum(float(row[place]) for row in costs.rows[:-1]), abs=0.05)


def test_int8_layers_are_computed_in_int8(tiny_int8: Artifact, scans: Path) -> None:
    result = classify(tiny_int8.path, [scans], ClassifyOptions(counters=True))
    kernels = {
        row.kernel for row in result.counters if row.type == "Convolution" and "layer1" in row.layer
    }
    assert kernels
    assert all(kernel.lower().endswith(("_i8", "_u8")) for kernel in kernels)


def test_one_file_and_many_say_the_same_of_it(tiny_fp32: Artifact, scans: Path) -> None:
    many = classify(tiny_fp32.path, [scans / "a.png", scans / "b.png"]).results
    for name, row in zip(("a.png", "b.png"), many, strict=True):
        (alone,) = classify(tiny_fp32.path, [scans / name]).results
        assert alone.positive == row.positive
        assert alone.findings == pytest.approx(row.findings, abs=1e-5)


def test_one_file_that_cannot_be_read_is_an_answer_too(tiny_fp32: Artifact, scans: Path) -> None:
    for name, code in (("empty.png", "image-empty"), ("none.png", "image-missing")):
        result = classify(tiny_fp32.path, [scans / name])
        assert (result.images, result.failed) == (1, 1)
        assert result.results[0].error is not None
        assert result.results[0].error.code == code
        assert code in findings_tables(result)[0].rows[0][1]


def test_answers_are_not_kept_when_nobody_asks_for_all(
    tiny_fp32: Artifact, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plenty(self: object, paths: Sequence[Path]) -> list[Prediction]:
        return [Prediction(str(number), {}, error=("image-empty", "")) for number in range(1000)]

    monkeypatch.setattr(predictor.Predictor, "stream", plenty)
    few = classify(tiny_fp32.path, [scans], ClassifyOptions(keep_all=False))
    assert (few.images, len(few.results)) == (1000, 100)
    assert "first 100 shown" in findings_tables(few)[0].note
    assert len(classify(tiny_fp32.path, [scans]).results) == 1000


@pytest.mark.parametrize("device", ["CPU", "MULTI:CPU,HETERO:CPU"])
def test_requests_in_flight_change_no_answer(
    tiny_fp32: Artifact, scans: Path, answered: ClassifyResult, device: str
) -> None:
    result = classify(
        tiny_fp32.path, [scans], ClassifyOptions(device=device, requests=3, counters=True)
    )
    assert (result.images, result.failed) == (answered.images, answered.failed)
    for got, wanted in zip(result.results, answered.results, strict=True):
        assert (got.image, got.error) == (wanted.image, wanted.error)
        assert got.findings == pytest.approx(wanted.findings, abs=1e-5)
    assert any(row.real_ms > 0 for row in result.counters)
    (alone,) = classify(
        tiny_fp32.path, [scans / "a.png"], ClassifyOptions(device=device, requests=3)
    ).results
    assert alone.findings == pytest.approx(answered.results[0].findings, abs=1e-5)


def failure(model: Path, inputs: Sequence[Path], **options: object) -> ThoraxError:
    with pytest.raises(ThoraxError) as caught:
        classify(model, inputs, ClassifyOptions(**options))  # type: ignore[arg-type]
    return caught.value


def test_a_folder_without_images_is_a_mistake(tiny_fp32: Artifact, tmp_path: Path) -> None:
    error = failure(tiny_fp32.path, [tmp_path])
    assert (type(error), error.code) == (DataError, "inputs-empty")


def test_what_is_asked_for_wrongly_is_told_before_anything_runs(
    tiny_fp32: Artifact, scans: Path, tmp_path: Path
) -> None:
    error = failure(tiny_fp32.path, [scans], colours="jet")
    assert (type(error), error.code) == (UsageError, "heatmap-colours")
    assert "viridis" in error.message
    error = failure(tiny_fp32.path, [scans], device="FPGAX", csv=tmp_path / "a.csv")
    assert (type(error), error.code) == (DeviceError, "device-unknown")
    assert "CPU" in error.message
    assert list(tmp_path.iterdir()) == []
    error = failure(tmp_path / "none", [scans])
    assert (type(error), error.code) == (ModelError, "artifact-missing")


def test_a_flipped_bit_of_the_weights_stops_everything(
    tiny_fp32: Artifact, scans: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(tiny_fp32.path, tmp_path / "model")
    weights = np.memmap(tmp_path / "model" / BIN, np.uint8, "r+")
    weights[len(weights) // 2] ^= 1
    weights.flush()
    error = failure(tmp_path / "model", [scans], csv=tmp_path / "a.csv")
    assert (type(error), error.code) == (ModelError, "artifact-tampered")
    assert not (tmp_path / "a.csv").exists()


def test_no_output_takes_the_place_of_what_it_is_made_of(
    tiny_fp32: Artifact, tiny_store: Store, phantoms: Path, tmp_path: Path
) -> None:
    image = tmp_path / "a.png"
    shutil.copy(next(iter(sorted(phantoms.glob("*.png")))), image)
    (tmp_path / "link.csv").symlink_to(image)
    model = tmp_path / "model"
    shutil.copytree(tiny_fp32.path, model)
    places = [image, tmp_path / "link.csv", model / "card.json", tiny_store.path / "index.csv"]
    before = [place.read_bytes() for place in places]
    for place in places:
        with pytest.raises(UsageError, match="output-is-input"):
            classify(model, [image, tiny_store.path], ClassifyOptions(csv=place))
    assert [place.read_bytes() for place in places] == before


@pytest.fixture
def doubtful(tmp_path: Path) -> Path:
    folder = tmp_path / "doubtful"
    folder.mkdir()
    attributes: dict[str, Any] = {"StudyInstanceUID": "1.2.5", "AccessionNumber": "=A1"}
    (folder / "hand.dcm").write_bytes(dicom(ramp(8), BodyPartExamined="HAND", **attributes))
    (folder / "plain.dcm").write_bytes(dicom(ramp(8), ViewPosition="PA"))
    (folder / "notes.txt").write_text("words")
    return folder


def test_what_is_doubtful_is_told_with_the_findings(
    tiny_fp32: Artifact, doubtful: Path, tmp_path: Path
) -> None:
    out = tmp_path / "findings.csv"
    result = classify(tiny_fp32.path, [doubtful], ClassifyOptions(csv=out))
    hand, plain = result.results
    assert [warning.code for warning in hand.warnings] == ["dicom-body-part"]
    assert not plain.warnings
    assert hand.findings
    assert result.warnings == {"dicom-body-part": 1}
    assert result.passed_over_reasons == {".txt": 1}
    assert result.operating_points == tiny_fp32.card.thresholds
    assert hand.dicom is not None
    assert (hand.dicom.study_uid, hand.dicom.sop_uid) == ("1.2.5", "1.2.3")
    assert plain.dicom is not None
    assert plain.dicom.view == "PA"
    rows = table(out)
    assert [row["warnings"] for row in rows] == ["dicom-body-part", ""]
    assert [row["study_uid"] for row in rows] == ["1.2.5", ""]
    assert rows[0]["accession"] == "'=A1"
    assert "DOE" not in out.read_text()
    assert "DOE" not in result.model_dump_json()


def test_patients_are_told_only_with_identities(
    tiny_fp32: Artifact, doubtful: Path, tmp_path: Path
) -> None:
    out = tmp_path / "findings.csv"
    options = ClassifyOptions(csv=out, identities=True)
    hand = classify(tiny_fp32.path, [doubtful], options).results[0]
    assert hand.dicom is not None
    assert hand.dicom.patient["patient_name"] == "DOE^SECRET"
    assert table(out)[0]["patient_id"] == "DOE^SECRET"
