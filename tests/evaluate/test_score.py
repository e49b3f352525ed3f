import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from thorax.data.samples import ReadOptions
from thorax.data.table import LARGEST_BYTES
from thorax.errors import DataError
from thorax.evaluate import predictions
from thorax.evaluate.score import score, tabulate
from thorax.labels import CHEXPERT, LabelSet
from thorax.metrics import auroc
from thorax.report.accuracy import scope_lines
from thorax.results.accuracy import LabelScore, ScoreResult

LABELS = """Image Index,Finding Labels,Patient ID,Patient Age
a.png,Mass|Effusion,1,58
b.png,No Finding,1,58
c.png,Mass,2,40
d.png,Effusion,3,41
e.png,No Finding,4,42
"""
PREDICTIONS = """Image Index,prob_Effusion,prob_Mass
e.png,0.1,0.3
a.png,0.8,0.9
b.png,0.2,0.4
c.png,0.3,0.3
d.png,0.3,0.2
"""


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def _score(folder: Path, predictions: str = PREDICTIONS, labels: str = LABELS) -> ScoreResult:
    return score(_write(folder, "p.csv", predictions), _write(folder, "l.csv", labels), samples=50)


def _values(result: ScoreResult) -> dict[str, float | None]:
    return {finding: area.value for finding, area in result.auroc.items()}


def _counts(areas: dict[str, LabelScore]) -> list[tuple[int, int]]:
    return [(area.positives, area.images) for area in areas.values()]


def test_images_are_matched_by_name_and_findings_ordered_as_the_label_set(tmp_path: Path) -> None:
    result = _score(tmp_path)
    assert list(_values(result)) == ["Effusion", "Mass"]
    truth = np.array([[0, 0], [1, 1], [0, 0], [0, 1], [1, 0]], np.int8)
    given = np.array([[0.1, 0.3], [0.8, 0.9], [0.2, 0.4], [0.3, 0.3], [0.3, 0.2]])
    assert list(_values(result).values()) == auroc(truth, given).tolist()
    assert (result.images, result.patients) == (5, 4)
    assert _counts(result.auroc) == [(2, 5), (2, 5)]


def test_plain_columns_and_synonyms_and_folders_name_the_same_things(tmp_path: Path) -> None:
    other = (
        PREDICTIONS.replace("Image Index,prob_Effusion,prob_Mass", "path,Pleural Effusion,mass")
        .replace("a.png", "/data/x/a.png")
        .replace("b.png", r"C:\x\b.png")
    )
    assert _values(_score(tmp_path, other)) == _values(_score(tmp_path))


def test_prefixed_columns_win_over_labels_written_beside_them(tmp_path: Path) -> None:
    lines = PREDICTIONS.splitlines()
    beside = "\n".join([lines[0] + ",Mass", *(line + ",1" for line in lines[1:])])
    assert _values(_score(tmp_path, beside)) == _values(_score(tmp_path))


def test_one_column_a_finding_may_hold_unknown_labels(tmp_path: Path) -> None:
    labels = "image,view,Tumour,Mass\na,PA,1,0\nb,AP,0.0,\nc,PA,-1,1\nd,PA,1,0\ne,PA,0,1.0\n"
    given = "image,Tumour,Mass,Other\na,.9,.1\nb,.2,.9\nc,.1,.8\nd,.7,.3\ne,.1,.7\n".replace(
        "\n", ",.5\n"
    ).replace("Other,.5", "Other")
    result = _score(tmp_path, given, labels)
    assert _values(result) == {"Tumour": 1.0, "Mass": 1.0}
    assert _counts(result.auroc) == [(2, 4), (2, 4)]
    assert result.ignored == ("Other",)


def test_columns_that_no_prediction_names_are_not_read(tmp_path: Path) -> None:
    labels = "Path,Frontal/Lateral,Mass\na,Frontal,1\nb,Frontal,0\n"
    assert _values(_score(tmp_path, "path,Mass\na,.9\nb,.1\n", labels)) == {"Mass": 1.0}


def test_without_patients_there_are_no_intervals(tmp_path: Path) -> None:
    labels = "\n".join(
        ",".join(cell for k, cell in enumerate(line.split(",")) if k != 2)
        for line in LABELS.splitlines()
    )
    result = _score(tmp_path, PREDICTIONS, labels)
    assert result.patients is None
    assert _values(result) == _values(_score(tmp_path))
    assert result.mean.low is None


def test_gzip_and_byte_order_mark_are_read(tmp_path: Path) -> None:
    zipped, marked = tmp_path / "p.csv.gz", tmp_path / "l.csv"
    zipped.write_bytes(gzip.compress(PREDICTIONS.encode()))
    marked.write_text(LABELS, encoding="utf-8-sig")
    assert _values(score(zipped, marked, samples=50)) == _values(_score(tmp_path))


def test_split_scores_exactly_its_images(tmp_path: Path) -> None:
    split = _write(
        tmp_path, "s.csv", "Image Index,split\na.png,test\nb.png,test\nc.png,train\ne.png,test\n"
    )
    predictions, labels = _write(tmp_path, "p.csv", PREDICTIONS), _write(tmp_path, "l.csv", LABELS)
    result = score(predictions, labels, split=split, samples=50)
    assert (result.images, result.unused) == (3, 2)
    assert _values(result) == {"Effusion": 1.0, "Mass": 1.0}
    with pytest.raises(DataError, match="split-unknown"):
        score(predictions, labels, split=split, subset="val")
    predictions.write_text(PREDICTIONS.replace("e.png,0.1,0.3\n", ""))
    with pytest.raises(DataError, match=r"lacks 1 of the 3 .*'e\.png'"):
        score(predictions, labels, split=split)


@pytest.mark.parametrize(
    ("code", "line", "predictions"),
    [
        ("image-unlabelled", 2, PREDICTIONS.replace("e.png", "z.png")),
        ("image-duplicate", 4, PREDICTIONS.replace("b.png", "a.png")),
        ("image-duplicate", 4, PREDICTIONS.replace("b.png", "x/a.png")),
        ("image-missing", 2, PREDICTIONS.replace("e.png", "")),
        ("probability-invalid", 5, PREDICTIONS.replace("c.png,0.3", "c.png,nan")),
        ("probability-invalid", 5, PREDICTIONS.replace("c.png,0.3", "c.png,1.01")),
        ("probability-invalid", 5, PREDICTIONS.replace("c.png,0.3", "c.png,")),
        ("probability-invalid", 5, PREDICTIONS.replace("c.png,0.3", "c.png,-inf")),
        ("table-row-width", 6, PREDICTIONS.replace("d.png,0.3,0.2", "d.png,0.3")),
    ],
)
def test_a_bad_row_is_named_by_its_line(
    tmp_path: Path, code: str, line: int, predictions: str
) -> None:
    with pytest.raises(DataError, match=rf"^{code}: .*p\.csv line {line}\b"):
        _score(tmp_path, predictions)


@pytest.mark.parametrize(
    ("code", "predictions"),
    [
        ("table-empty", ""),
        ("predictions-missing", "image,Mass\n"),
        ("predictions-no-findings", "image,score\na.png,1\n"),
        ("finding-duplicate", "image,Effusion,Pleural Effusion\na.png,0,1\n"),
        ("table-no-image-column", "Mass,Effusion\n0,1\n"),
        ("table-unreadable", 'image,Mass\na.png,"0.5\n'),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, code: str, predictions: str) -> None:
    with pytest.raises(DataError, match=f"^{code}: "):
        _score(tmp_path, predictions)


@pytest.mark.parametrize(
    ("code", "line", "labels"),
    [
        ("image-duplicate", 3, LABELS.replace("b.png", "a.png")),
        ("label-unknown", 4, LABELS.replace("c.png,Mass", "c.png,Broken rib")),
        ("patient-missing", 4, LABELS.replace("Mass,2", "Mass,")),
        ("label-invalid", 3, "image,Mass,Effusion\na.png,1,0\nb.png,2,0\n"),
    ],
)
def test_a_bad_label_is_named_by_its_line(
    tmp_path: Path, code: str, line: int, labels: str
) -> None:
    predictions = "image,Mass\na.png,.1\nb.png,.2\n" if code == "label-invalid" else PREDICTIONS
    with pytest.raises(DataError, match=rf"^{code}: .*l\.csv line {line}\b"):
        _score(tmp_path, predictions, labels)


def test_a_name_in_two_folders_is_not_guessed(tmp_path: Path) -> None:
    labels = "image,Mass\nx/a.png,1\ny/a.png,0\n"
    assert _values(_score(tmp_path, "image,Mass\nx/a.png,1\ny/a.png,0\n", labels))["Mass"] == 1
    with pytest.raises(DataError, match="image-unlabelled"):
        _score(tmp_path, "image,Mass\na.png,1\n", labels)


@pytest.mark.parametrize("content", [b"\x1f\x8bnot gzip", b"image,\xff\xfe\n", None])
def test_a_damaged_or_absent_file_is_a_data_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "p.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"table-unreadable: .*p\.csv"):
        score(path, _write(tmp_path, "l.csv", LABELS))


def test_other_label_sets_are_scored(tmp_path: Path) -> None:
    labels = "image,findings\na,Nail|Coin\nb,\n"
    given = _write(tmp_path, "p.csv", "image,Coin,Nail\na,1,0\nb,0,1\n")
    toys = ReadOptions(findings=LabelSet("toys", ("Nail", "Coin")))
    result = score(given, _write(tmp_path, "l.csv", labels), options=toys)
    assert _values(result) == {"Nail": 0.0, "Coin": 1.0}


def test_document_is_json_with_null_for_what_is_undefined() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 0]], np.int8)
    table = tabulate(("Mass", "Hernia"), truth, truth * 0.5 + 0.2, ["1", "2", "3"], samples=50)
    document = json.loads(table.model_dump_json())
    assert document["auroc"]["Hernia"] == {
        "value": None,
        "low": None,
        "high": None,
        "positives": 0,
        "images": 3,
    }
    assert document["mean_auroc"] == 1.0
    assert document["roc"] == {"Mass": [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]}
    assert sum(row["count"] for row in document["reliability"]) == 6


@pytest.mark.realdata
def test_published_predictions_give_the_published_table(realdata: Path) -> None:
    """Predictions are written with six decimals, which moves a rare finding by a few 1e-6."""
    nih = realdata / "nih"
    result = score(
        nih / "zech2022_densenet121_predictions.csv.gz",
        nih / "Data_Entry_2017_v2020.csv.gz",
        samples=20,
    )
    with (nih / "zech2022_densenet121_auroc.csv").open(newline="") as text:
        published = {row["label"]: float(row["auc"]) for row in csv.DictReader(text)}
    assert result.images == 22_433
    assert _values(result) == pytest.approx(published, abs=1e-5)


def test_names_that_were_made_harmless_for_spreadsheets_are_still_found(tmp_path: Path) -> None:
    from thorax.files.csv_cells import harmless

    names = ["=1+1.png", "-b.png", "@c.png", "x/+d.png", "\u202ee.png"]
    labels = "image,Mass\n" + "".join(f"{name},{k % 2}\n" for k, name in enumerate(names))
    told = [*map(harmless, names[:3]), "/scans/+d.png", harmless(names[4])]
    rows = "".join(f"{name},0.{k}\n" for k, name in enumerate(told))
    result = _score(tmp_path, f"image,Mass\n{rows}", labels)
    assert (result.images, result.unused) == (5, 0)
    formula = _score(tmp_path, f"image,'=1+1\n{rows}", labels.replace("Mass", "=1+1"))
    assert list(formula.auroc) == ["=1+1"]
    assert formula.ignored == ()


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "bomb"])
def test_a_table_that_never_ends_or_is_none_is_refused_without_waiting(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "table.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(gzip.compress(bytes(LARGEST_BYTES + 1), 1))
    with pytest.raises(DataError, match=r"^table-unreadable: "):
        list(predictions._read(path))


@pytest.mark.parametrize("cells", ["1,0,-1", "1.0000,0.0000,nan", " True ,False,NA", "TRUE,0.0,u"])
def test_label_cells_mean_what_they_mean_to_an_import(tmp_path: Path, cells: str) -> None:
    rows = zip("abc", cells.split(","), strict=True)
    labels = "image,Mass\n" + "".join(f"{name},{cell}\n" for name, cell in rows)
    result = _score(tmp_path, "image,Mass\na,.9\nb,.1\nc,.5\n", labels)
    assert (_values(result), _counts(result.auroc)) == ({"Mass": 1.0}, [(1, 2)])


def test_tables_of_spreadsheets_are_scored(tmp_path: Path) -> None:
    given = "sep=;\nimage;Mass\na;0,9\nb;0,1\n"
    assert _values(_score(tmp_path, given, "image\tMass\na\t1,0\nb\t0\n")) == {"Mass": 1.0}
    with pytest.raises(DataError, match=r"probability-invalid: .*p\.csv line 4"):
        _score(tmp_path, given.replace("0,1", "1,1"), "image,Mass\na,1\nb,0\n")


def test_images_are_matched_by_the_end_of_their_paths_and_without_ending(tmp_path: Path) -> None:
    names = [f"train/patient{p}/study{s}/view.jpg" for p in (1, 2) for s in (1, 2)]
    labels = "Path,Mass\n" + "".join(f"small/{name},{k % 2}\n" for k, name in enumerate(names))
    written = [f"C:\\data\\{name}".replace("/", "\\") for name in names]
    for forms in (names, written, [name.removesuffix(".jpg") for name in names]):
        given = "Path,Mass\n" + "".join(f"{name},0.{k % 2}\n" for k, name in enumerate(forms))
        assert _values(_score(tmp_path, given, labels)) == {"Mass": 1.0}
    with pytest.raises(DataError, match=r"image-unlabelled: .*line 2.*may be .*patient1.*study2"):
        _score(tmp_path, "Path,Mass\nview.jpg,0.5\n", labels)
    # Another patient's study of the same number is not taken for it.
    with pytest.raises(DataError, match=r"image-unlabelled: .*line 2"):
        _score(tmp_path, "Path,Mass\nsmall/train/patient3/study1/view.jpg,0.5\n", labels)


def test_rsna_names_images_by_their_patients_and_has_a_row_a_box(tmp_path: Path) -> None:
    labels = "patientId,x,y,width,height,Target\na,,,,,0\nb,1,2,3,4,1\nb,5,6,7,8,1\nc,,,,,0\n"
    result = _score(tmp_path, "patientId,Target\na,.1\nb,.8\nc,.4\n", labels)
    assert (_values(result), result.images, result.patients) == ({"Target": 1.0}, 3, 3)
    with pytest.raises(DataError, match="image-duplicate"):
        _score(tmp_path, "patientId,Target\na,.1\n", labels.replace("5,6,7,8,1", "5,6,7,8,0"))


def test_blank_labels_of_chexperts_labeller_are_negative_as_in_an_import(tmp_path: Path) -> None:
    names = ("No Finding", *CHEXPERT.findings)
    rows = [{"Edema": "1.0"}, {"No Finding": "1.0", "Support Devices": "1.0"}, {"Edema": "-1.0"}]
    cells = "\n".join(f"{k}," + ",".join(r.get(n, "") for n in names) for k, r in enumerate(rows))
    labels = f"Path,{','.join(names)}\n{cells}\n"
    given = "Path,Edema,Support Devices\n0,.9,.1\n1,.2,.8\n2,.5,.3\n"
    result = _score(tmp_path, given, labels)
    assert _counts(result.auroc) == [(1, 2), (1, 3)]
    assert "Pneumonia" in result.unpredicted
    assert result.unpredicted_images == 0


def test_two_predictions_are_compared_in_pairs(tmp_path: Path) -> None:
    labels = _write(tmp_path, "l.csv", LABELS)
    first = _write(tmp_path, "p.csv", PREDICTIONS)
    better = _write(tmp_path, "b.csv", PREDICTIONS.replace("d.png,0.3", "d.png,0.7"))
    result = score(first, labels, against=[better, first], samples=200)
    other, same = result.against
    alone = score(better, labels, samples=200)
    assert (other.predictions, other.auroc) == ("b.csv", alone.auroc)
    difference = {name: bounds.value for name, bounds in other.difference.items()}
    own, theirs = _values(result), _values(alone)
    assert difference == pytest.approx({k: (theirs[k] or 0) - (own[k] or 0) for k in own})
    assert (same.mean_difference.value, same.mean_difference.low) == (0.0, 0.0)
    assert ScoreResult.read(result.document()) == result


def test_only_what_both_have_is_compared_where_that_is_asked_and_the_rest_counted(
    tmp_path: Path,
) -> None:
    labels = _write(tmp_path, "l.csv", LABELS)
    first = _write(tmp_path, "p.csv", PREDICTIONS + "z.png,0.5,0.5\n")
    other = _write(
        tmp_path, "b.csv", PREDICTIONS.replace("prob_Effusion", "prob_Hernia").replace("e.png", "y")
    )
    with pytest.raises(DataError, match=r"image-unlabelled: .*'z\.png'.*--common"):
        score(first, labels, samples=50)
    result = score(first, labels, common=True, samples=50)
    assert (result.images, result.unlabelled_images, result.unpredicted_images) == (5, 1, 0)
    result = score(first, labels, against=[other], common=True, samples=50)
    assert (result.images, list(result.auroc), result.ignored) == (4, ["Mass"], ("prob_Effusion",))
    assert (result.unshared_images, result.unpredicted_images) == (1, 1)
    (compared,) = result.against
    assert (compared.images, compared.ignored, compared.unlabelled_images) == (
        *(4, ("prob_Hernia",), 1),
    )
    first.write_text(PREDICTIONS)
    other.write_text(PREDICTIONS.replace("e.png,0.1,0.3\n", ""))
    with pytest.raises(DataError, match=r"predictions-differ: .*1 are in one.*'e\.png'.*--common"):
        score(first, labels, against=[other], samples=50)


def test_a_misspelt_column_is_told_with_the_nearest_finding(tmp_path: Path) -> None:
    given = PREDICTIONS.replace("prob_Effusion", "prob_Effussion")
    result = _score(tmp_path, given)
    assert result.ignored == ("prob_Effussion",)
    with pytest.raises(
        DataError, match=r"predictions-no-findings.*'prob_Efusion' is close to Effusion"
    ):
        _score(tmp_path, "image,prob_Efusion\na.png,.1\n")
    labels = "image,Mass,Effusion\na,1,0\nb,0,1\n"
    result = _score(tmp_path, "image,Mass,Effusions\na,.9,.1\nb,.1,.9\n", labels)
    assert scope_lines(result)[-1].endswith("Effusions (close to Effusion)")


def test_joined_findings_of_any_names_are_scored(tmp_path: Path) -> None:
    labels = _write(tmp_path, "l.csv", "image,findings\na,\"['zebra', 'normal']\"\nb,['normal']\n")
    given = _write(tmp_path, "p.csv", "image,Zebra\na,.9\nb,.1\n")
    result = score(given, labels, options=ReadOptions(), samples=50)
    assert _values(result) == {"zebra": 1.0}


def test_rows_of_separators_alone_end_a_table_of_a_spreadsheet(tmp_path: Path) -> None:
    assert _values(_score(tmp_path, PREDICTIONS + ",,\n", LABELS + ",,,\n,,,\n")) == _values(
        _score(tmp_path)
    )


def test_two_columns_of_a_finding_are_never_chosen_from_silently(tmp_path: Path) -> None:
    labels = "image,Mass,Mass,Hernia\na.png,1,0,1\nb.png,0,1,0\n"
    with pytest.raises(DataError, match=r"table-column-twice.*Mass"):
        _score(tmp_path, "image,Mass\na.png,1\nb.png,0\n", labels)
    assert _values(_score(tmp_path, "image,Hernia\na.png,1\nb.png,0\n", labels)) == {"Hernia": 1}
    both = _score(tmp_path, PREDICTIONS.replace("Image Index,prob_Effusion", "image,Mass"))
    assert both.ignored == ("Mass",)


def test_labels_that_are_joined_are_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label-number: l\.csv, column 'label'"):
        _score(tmp_path, labels="image,label\na.png,1\n")
