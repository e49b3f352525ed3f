"""Names of the columns that say something of an image, and what their cells say."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from thorax.data.table import Table, column_key
from thorax.errors import DataError
from thorax.labels import is_no_finding, known_finding

IMAGE: Final = (
    *("Image Index", "image", "image id", "image name", "image path", "file path", "file name"),
    *("file", "path", "path to image", "img", "img name", "img path", "dicom id"),
    *("sop instance uid", "image uid", "uid", "id"),
)
"""Of the image itself, the first that a table has counts."""
PATIENT: Final = ("patient", "patient id", "subject", "subject id", "deid patient id")
JOINED: Final = ("Finding Labels", "findings", "labels", "finding", "label")
"""Of all findings of an image in one cell."""
SPLIT: Final = ("split", "fold", "subset", "partition")
VIEW: Final = ("view", "View Position", "AP/PA", "projection")
PROJECTION: Final = ("Frontal/Lateral",)
AGE: Final = ("age", "Patient Age", "age years")
SEX: Final = ("sex", "Patient Sex", "gender", "Patient Gender")
BOX: Final = ("x", "y", "width", "height")

ABOUT: Final = frozenset(
    map(
        column_key,
        (
            *(*IMAGE, *PATIENT, *JOINED, *SPLIT, *VIEW, *PROJECTION, *AGE, *SEX, *BOX),
            *("", "index", "Follow-up #", "rows", "columns", "study", "study id"),
            *("study date", "study time", "series", "series id", "report", "report id", "reader"),
            *(
                "path to dcm",
                "patient report date order",
                "rad id",
                "folder",
                "dataset",
                "source",
                "weight",
                "height cm",
                "modality",
            ),
            *("Image Dir", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Pediatric"),
            *("ViewPosition_DICOM", "MethodProjection", "MethodLabel", "Localizations"),
            *(
                "error",
                "compute",
                "simulated",
                "warnings",
                "sha256",
                "pixels_sha256",
                "laterality",
                "body part",
                "Bbox [x",
                "Bbox [x,y,w,h]",
                "class id",
                "class name",
            ),
        ),
    )
)
"""Keys of columns that are no finding."""
_UNNAMED: Final = re.compile(r"unnamed\d+")
"""Key of a column that pandas has named, such as the index of a table that was saved twice."""

_VIEWS: Final = {
    **{view: view for view in ("PA", "AP", "RLD", "LLD", "RLO", "LLO", "RAO", "LAO", "RPO", "LPO")},
    **dict.fromkeys(
        ("L", "LL", "RL", "LAT", "LLAT", "RLAT", "LATERAL", "XTABLE LATERAL"), "LATERAL"
    ),
    **dict.fromkeys(
        ("AP HORIZONTAL", "AP SUPINE", "AP ERECT", "AP SEMI ERECT", "AP PORTABLE"), "AP"
    ),
    **dict.fromkeys(("PA ERECT", "POSTEROANTERIOR", "POSTERO ANTERIOR"), "PA"),
    **dict.fromkeys(("ANTEROPOSTERIOR", "ANTERO POSTERIOR"), "AP"),
    **{plane: plane for plane in ("AXIAL", "CORONAL", "SAGITTAL")},
    **{view: view for view in ("AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD", "SWIMMERS")},
    **{view: view for view in ("OBLIQUE", "LORDOTIC", "AP LORDOTIC", "COSTAL", "EXCLUDE")},
}
"""What View Position (0018,5101) and tables of data sets call views; all but PA and AP are of
another direction."""

_QUOTED: Final = re.compile(r"""\"([^\"]*)\"|'([^']*)'""")
_COMMAS: Final = re.compile("[,;]")

_NO_VIEW: Final = frozenset(
    ("", "nan", "na", "none", "null", "unknown", "unk", "frontal", "frontal view")
)

_SPLIT_NAMES: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "": None,
}


_SEXES: Final = {
    **dict.fromkeys(("f", "female", "woman", "w", "weiblich", "frau", "femme", "mujer"), "F"),
    **dict.fromkeys(("femenino", "femminile", "féminin", "girl"), "F"),
    **dict.fromkeys(("m", "male", "man", "männlich", "mann", "homme", "hombre"), "M"),
    **dict.fromkeys(("masculino", "maschile", "masculin", "boy"), "M"),
    **dict.fromkeys(("o", "other", "divers"), "O"),
}


def image_column(table: Table) -> int:
    """Return the column that names the image; RSNA's `patientId`, where no other does.

    Raises:
        DataError: `table-column-missing`.
    """
    column = table.find(IMAGE)
    if column is None and "patientId" in table.columns:
        return table.columns.index("patientId")
    return table.need(IMAGE) if column is None else column


def split_of(cell: str, where: str) -> str | None:
    """Return train, val or test, by whatever name a data set gives it; None of an empty cell.

    Raises:
        DataError: `split-unknown`, which says where the cell is.
    """
    name = cell.strip().lower()
    if name in _SPLIT_NAMES:
        return _SPLIT_NAMES[name]
    near = difflib.get_close_matches(name, _SPLIT_NAMES, 1)
    advice = f"; did you mean {near[0]}?" if near else ""
    if name.isdigit():
        advice = "; a number names a fold of a cross-validation: write which of them are train"
    raise DataError(
        "split-unknown",
        f"{where}: split is {cell!r}; allowed are train, val, test and nothing (chosen by "
        f"patient){advice}",
    )


def view_of(cell: str) -> str | None:
    """Return a view as View Position has it; None where a cell says none that is known.

    Example:
        >>> view_of("ap_horizontal"), view_of("Lateral"), view_of("L"), view_of("nan")
        ('AP', 'LATERAL', 'LATERAL', None)
    """
    text = " ".join(re.sub("[_-]", " ", cell).upper().split())
    return "LATERAL" if "LATERAL" in text else _VIEWS.get(text)


def views(table: Table) -> list[str | None]:
    """Return the view of each row; LATERAL where its projection is."""
    view_column, projection_column = table.find(VIEW), table.find(PROJECTION)
    found = []
    for cells in table.rows:
        view = None if view_column is None else view_of(cells[view_column])
        if projection_column is not None and view_of(cells[projection_column]) == "LATERAL":
            view = "LATERAL"
        found.append(view)
    return found


def strange_views(table: Table) -> list[str]:
    """Return what cells of the view column say that is no known view, each once."""
    column = table.find(VIEW)
    if column is None:
        return []
    cells = dict.fromkeys(cells[column] for cells in table.rows)
    return [cell for cell in cells if cell.lower() not in _NO_VIEW and view_of(cell) is None]


def names_in(cell: str) -> Sequence[str]:
    """Return the findings of a cell: joined by `|`, or a list as Python writes it.

    Commas and semicolons join them too where all that stands between is known for a finding.

    Example:
        >>> names_in("Mass|Edema"), names_in("['nodule ', 'nodule', 'COPD signs']"), names_in("nan")
        (['Mass', 'Edema'], ['nodule', 'COPD signs'], [])
    """
    text = cell.strip()
    parts = text.split("|")
    if text.startswith("[") and text.endswith("]"):
        quoted = [double or single for double, single in _QUOTED.findall(text)]
        parts = quoted or text[1:-1].split(",")
    elif text.lower() in ("nan", "none", "na", "null"):
        parts = []
    elif len(parts) == 1 and _COMMAS.search(text):
        pieces = [piece for piece in _COMMAS.split(text) if piece.strip()]
        if all(known_finding(piece) is not None or is_no_finding(piece) for piece in pieces):
            parts = pieces
    names = (part.strip(" '\"") for part in parts)
    return list(dict.fromkeys(filter(None, names)))


def age_of(cell: str) -> int | None:
    """Return an age in whole years, of a number or of an Age String (PS3.5 section 6.2).

    Example:
        >>> age_of("058Y"), age_of("57.0"), age_of("011M"), age_of("")
        (58, 57, 0, None)
    """
    text = cell.strip().upper()
    divisor = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}.get(text[-1:], 1.0)
    try:
        years = float(text.rstrip("YMWD").replace(",", ".")) / divisor
    except ValueError:
        return None
    return int(years) if 0 <= years < 150 else None


def sex_of(cell: str) -> str | None:
    """Return F, M or O as Patient's Sex (0010,0040) has them; None of anything else.

    Only words that are known: the first letter of `mujer` is that of `male`.
    """
    return _SEXES.get(unicodedata.normalize("NFC", cell.strip()).casefold())


def finding_columns(table: Table) -> Iterator[int]:
    """Yield the columns that say nothing of an image but what is found in it."""
    for column, name in enumerate(table.columns):
        key = column_key(name)
        if key not in ABOUT and not _UNNAMED.fullmatch(key):
            yield column
