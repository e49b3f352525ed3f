"""What cells of label columns become."""

from pathlib import Path

import numpy as np
import pytest

from thorax.data.label_columns import MOST_FINDINGS, LabelTable, joined_labels, read_labels
from thorax.data.samples import ReadOptions
from thorax.data.table import read_table
from thorax.errors import DataError
from thorax.labels import CHEXPERT, NIH14, UNKNOWN, LabelSet, label_value

CELLS = {
    1: ("1", "1.0", "1.0000", " 1 ", "+1", "True", "TRUE"),
    0: ("0", "0.0", "0.0000", "-0.0", "False"),
    -1: ("-1", "-1.0", "-1.0000", "U", "u?", "uncertain"),
    None: ("", " ", "nan", "NaN", "NA", "N/A", "<NA>", "None", "NULL"),
}


def read(folder: Path, text: str, **options: object) -> LabelTable:
    path = folder / "labels.csv"
    path.write_text(text)
    return read_labels(read_table(path), ReadOptions(**options))  # type: ignore[arg-type]


def codes(labels: LabelTable) -> list[str]:
    return [note.code for note in labels.warnings]


@pytest.mark.parametrize("value", CELLS)
def test_a_cell_is_read_as_spreadsheets_and_pandas_write_it(value: int | None) -> None:
    assert [label_value(cell) for cell in CELLS[value]] == [value] * len(CELLS[value])


@pytest.mark.parametrize("cell", ["2", "0.5", "yes", "inf", "1,0"])
def test_what_is_no_label_is_none(cell: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        label_value(cell)
    assert label_value("1,0", ";") == 1


def test_findings_are_the_tables_own_in_its_order(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        "image,patient,Age,COVID-19,Rows,Rib notch,Cardiomegaly,Notes\n"
        "a,1,0,1,3056,0,,fine\nb,2,1,0,2544,nan,,\n",
    )
    assert labels.label_set == LabelSet("custom", ("COVID-19", "Rib notch", "Cardiomegaly"))
    assert np.stack(labels.rows).tolist() == [[1, 0, -1], [0, -1, -1]]
    silent, note = labels.warnings
    assert (silent.code, "Cardiomegaly" in silent.message) == ("finding-all-unknown", True)
    assert (note.code, "'Notes'" in note.message) == ("column-not-taken", True)
    assert labels.conventions == ("a blank cell is unknown: 3 cells",)


def test_findings_have_names_in_any_language(tmp_path: Path) -> None:
    labels = read(tmp_path, "image,patient,肺炎,结核,Épanchement\na,1,1,0,1\nb,2,0,1,1\n")
    assert labels.label_set.findings == ("肺炎", "结核", "Épanchement")
    assert labels.warnings == ()


def test_columns_that_say_nothing_or_the_same_are_told(tmp_path: Path) -> None:
    labels = read(tmp_path, "image,patient,Mass,Edema\na,1,,1\nb,2,nan,0\n")
    (note,) = labels.warnings
    assert (note.code, "Mass" in note.message, "Edema" in note.message) == (
        *("finding-all-unknown", True, False),
    )
    assert codes(read(tmp_path, "image,patient,Mass\na,1,\n", blank="negative")) == []
    with pytest.raises(DataError, match=r"table-column-twice.*two columns for Rib_Notch"):
        read(tmp_path, "image,patient,Rib_Notch,rib notch\na,1,1,0\n")


def test_what_is_no_label_is_refused_with_what_is_one(tmp_path: Path) -> None:
    for cell, code in (("yes", "table-number"), ("2", "label-value"), ("0.5", "label-value")):
        with pytest.raises(
            DataError, match=rf"{code}.*row 1.*'{cell}'; allowed are 1, 0, -1.*True"
        ):
            read(tmp_path, f"image,patient,Mass\na,1,{cell}\n")


def test_a_misspelt_column_is_told_with_the_nearest_finding(tmp_path: Path) -> None:
    text = "image,patient,Cardiomegally,Effusions,Nodule\na,1,1,0,1\n"
    labels = read(tmp_path, text)
    assert codes(labels) == ["finding-misspelt"] * 2
    assert "'Cardiomegally' is close to the finding Cardiomegaly" in labels.warnings[0].message
    # Asked for the fourteen, two columns are left out: said, with what they are close to.
    labels = read(tmp_path, text, findings=NIH14)
    assert codes(labels) == ["finding-not-taken", "finding-unlabelled"]
    assert "'Effusions' (close to Effusion)" in labels.warnings[0].message
    assert "13 findings" in labels.warnings[1].message
    assert (np.delete(labels.rows[0], NIH14.index("Nodule")) == UNKNOWN).all()


def test_uncertain_and_blank_cells_become_what_is_asked(tmp_path: Path) -> None:
    text = "image,patient,Mass\na,1,-1\nb,2,\nc,3,1\n"
    for uncertain, value in (("ones", 1), ("zeros", 0), ("ignore", -1)):
        labels = read(tmp_path, text, uncertain=uncertain, blank="negative")
        assert [int(row[0]) for row in labels.rows] == [value, 0, 1]


def test_a_table_of_chexperts_labeller_is_read_as_its_authors_mean_it(tmp_path: Path) -> None:
    findings = ("No Finding", *CHEXPERT.findings)

    def row(**values: str) -> str:
        named = {name.replace("_", " "): value for name, value in values.items()}
        return ",".join(named.get(name, "") for name in findings) + "\n"

    text = ",".join(findings) + "\n"
    text += row(No_Finding="1.0", Support_Devices="1.0") + row(Edema="1.0", Cardiomegaly="-1.0")
    labels = read(tmp_path, text)
    assert labels.label_set == CHEXPERT
    edema, heart, device = map(CHEXPERT.index, ("Edema", "Cardiomegaly", "Support Devices"))
    assert np.flatnonzero(labels.rows[0]).tolist() == [device]
    assert {int(k): int(labels.rows[1][k]) for k in np.flatnonzero(labels.rows[1])} == {
        edema: 1,
        heart: -1,
    }
    assert any("not mentioned" in sentence for sentence in labels.conventions)
    # Who asks for unknown gets it; No Finding still says something of all.
    labels = read(tmp_path, text, blank="unknown")
    assert labels.rows[0].tolist().count(0) == 12
    assert labels.rows[1].tolist().count(-1) == 12
    # A report cannot say both.
    assert codes(
        read(tmp_path, text.replace("1.0", "1.0", 1) + row(No_Finding="1", Edema="1"))
    ) == ["no-finding-contradicted"]


def test_a_vocabulary_says_what_a_table_could_have_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image\n")
    table = read_table(tmp_path / "t.csv")
    pair = LabelSet("pair", ("Edema", "Fracture"))
    labels = joined_labels([["Mass"], ["Edema"]], ReadOptions(pair), table, vocabulary=NIH14)
    assert [row.tolist() for row in labels.rows] == [[0, -1], [1, -1]]
    assert codes(labels) == ["finding-not-taken", "finding-unlabelled"]
    own = joined_labels(
        [["zebra"], ["Mass", "Zebra"], ["normal"], ["unchanged"]], ReadOptions(), table
    )
    assert own.label_set.findings == ("Mass", "zebra")
    assert [row.tolist() for row in own.rows] == [[0, 1], [1, 1], [0, 0], [-1, -1]]
    one = LabelSet("one", ("Mass", "Edema"))
    with pytest.raises(DataError, match=r"label-unknown.*did you mean Mass"):
        joined_labels([["Masss"]], ReadOptions(one, strict=True), table)
    with pytest.raises(DataError, match="label-unknown"):
        joined_labels([["Zebra"]], ReadOptions(), table, vocabulary=one)
    mild = joined_labels([["Masss", "Edema"]], ReadOptions(one), table)
    assert codes(mild) == ["finding-not-taken", "finding-unnamed"]
    assert "'Masss' (close to Mass)" in mild.warnings[0].message
    assert mild.rows[0].tolist() == [-1, 1]


def test_joined_findings_are_names_and_not_numbers_or_text(tmp_path: Path) -> None:
    for cells, code in (
        (("1", "0"), "label-number"),
        (("word " * 40, "Mass"), "label-text"),
        ([f"sign {number}" for number in range(MOST_FINDINGS + 1)], "label-count"),
    ):
        rows = "".join(f"{number},{cell}\n" for number, cell in enumerate(cells))
        with pytest.raises(DataError, match=f"{code}: labels.csv, column 'label'"):
            read(tmp_path, f"image,label\n{rows}")


def test_what_is_not_read_beside_joined_findings_is_told(tmp_path: Path) -> None:
    labels = read(tmp_path, 'image,labels,Edema,Age\na,"Mass, of rib",1,40\nb,Hernia,0,41\n')
    assert labels.label_set.findings == ("Hernia", "Mass, of rib")
    assert codes(labels) == ["finding-joined", "column-not-taken"]
    assert "'Edema' were not read" in labels.warnings[1].message
    # A built-in set that has all the names may have others.
    labels = read(tmp_path, "image,labels\na,Mass\n")
    assert (labels.label_set, codes(labels)) == (NIH14, ["finding-unnamed"])


def test_columns_that_pandas_has_named_are_told_from_findings(tmp_path: Path) -> None:
    labels = read(tmp_path, "Unnamed: 0.1,Unnamed: 0,image,Edema,T.1\n0,0,a,1,1\n1,1,b,0,1\n")
    assert labels.label_set.findings == ("Edema", "T.1")
    with pytest.raises(DataError, match=r"table-column-twice.*'Edema\.1'"):
        read(tmp_path, "image,Edema,Edema.1\na,1,0\n")


def test_a_blank_cell_of_joined_findings_is_what_is_asked_for(tmp_path: Path) -> None:
    text = "image,labels\na,Foo\nb,nan\nc,No Finding\n"
    for blank, value in ((None, 0), ("negative", 0), ("unknown", -1)):
        labels = read(tmp_path, text, blank=blank)
        assert [row.tolist() for row in labels.rows] == [[1], [value], [0]]
        assert labels.conventions == (
            f"a blank cell of findings is {blank or 'negative'}: 1 cells",
        )


def test_a_misspelt_column_of_a_table_without_findings_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table-column-missing.*'Edema' is close to Edemma"):
        read(tmp_path, "image,Edema\na,1\n", findings=LabelSet("custom", ("Edemma",)))
