"""Ordered label sets, the names other projects give the same findings, and 1 / 0 / unknown."""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.errors import DataError, UsageError

POSITIVE: Final = 1
NEGATIVE: Final = 0
UNKNOWN: Final = -1
NO_FINDING: Final = "No Finding"
INTENDED_USE: Final = "Research software, not a medical device."

_SYNONYMS: Final = {
    "pleural effusion": "effusion",
    "pleural effusions": "effusion",
    "enlarged heart": "cardiomegaly",
    "pt": "pleural thickening",
    "infiltrate": "infiltration",
    "infiltrates": "infiltration",
    "lung nodule": "nodule",
    "pulmonary nodule": "nodule",
    "lung mass": "mass",
    "pulmonary mass": "mass",
    "oedema": "edema",
    "pulmonary edema": "edema",
    "pulmonary oedema": "edema",
    "lung edema": "edema",
    "pulmonary fibrosis": "fibrosis",
    "lung fibrosis": "fibrosis",
    "hiatal hernia": "hernia",
    "hiatus hernia": "hernia",
    "airspace opacity": "lung opacity",
    "air space opacity": "lung opacity",
    "opacity": "lung opacity",
    "fractures": "fracture",
    "support device": "support devices",
    "no findings": "no finding",
}

_TRUE: Final = frozenset({"true", "t", "wahr", "vrai", "vero", "verdadero"})
_FALSE: Final = frozenset({"false", "f", "falsch", "faux", "falso"})
"""As spreadsheets of several languages write them."""
_UNCERTAIN: Final = frozenset({"u", "u?", "?", "uncertain", "unknown"})
_BLANK: Final = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "nat"})
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
_ALIKE: Final = 0.84
"""Ratio of `difflib` from which one name is taken for another, misspelt: Cardiomegally."""


def with_point(cell: str, separator: str) -> str:
    """Return a number of a table whose cells are not separated by commas with a decimal point."""
    return cell.replace(",", ".") if separator != "," and _DECIMAL_COMMA.fullmatch(cell) else cell


def label_value(cell: str, separator: str = ",") -> int | None:
    """Return what a cell of a label column says: 1, 0, -1 for uncertain, None for blank.

    Blank is what pandas writes for nothing, too: nan, NA, None, NaT. Where cells are not separated
    by commas a number may have a decimal comma.

    Raises:
        ValueError: for a number that is none of them (its text), or no number at all.

    Example:
        >>> [label_value(cell) for cell in ("1.0000", " 0 ", "True", "-1", "u", "nan", "")]
        [1, 0, 1, -1, -1, None, None]
    """
    text = cell.strip().lower()
    if text in ("1", "0", "1.0", "0.0"):
        return int(text[0])
    if text in _BLANK:
        return None
    if text in _TRUE or text in _FALSE:
        return POSITIVE if text in _TRUE else NEGATIVE
    if text in _UNCERTAIN:
        return UNKNOWN
    value = float(with_point(text, separator))
    if value not in (POSITIVE, NEGATIVE, UNKNOWN):
        raise ValueError(text)
    return int(value)


def _plain(name: str) -> str:
    """Return a name without case, `_`, `-`, and blanks that say nothing."""
    return " ".join(re.sub("[_-]", " ", unicodedata.normalize("NFC", name)).split()).casefold()


def canonical(name: str) -> str:
    """Return what all names of a finding have in common."""
    plain = _plain(name)
    return _SYNONYMS.get(plain, plain)


def is_no_finding(name: str) -> bool:
    """Return whether a name says that there is no finding."""
    return canonical(name) == canonical(NO_FINDING)


@functools.lru_cache(maxsize=256)
def _columns(findings: tuple[str, ...]) -> Mapping[str, int]:
    """Return the column of each finding by its name, by its name in plain and by its canonical one.

    A name of the set goes before a synonym of another: a set may hold two that others take for one.
    """
    columns: dict[str, int] = {}
    for spelling in (str, _plain, canonical):
        for column, name in enumerate(findings):
            columns.setdefault(spelling(name), column)
    return columns


@dataclass(frozen=True, slots=True)
class Overlap:
    """Findings that two label sets share.

    Attributes:
        columns: of the first set, in its order.
        others: the columns of the same findings in the second.
        alone: findings that only the first has.
        foreign: findings that only the second has.
    """

    columns: tuple[int, ...]
    others: tuple[int, ...]
    alone: tuple[str, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Finding names in output order: name k is column k of every label and score array.

    Example:
        >>> NIH14.index("Pleural Thickening")
        12
        >>> NIH14.row(["Cardiomegaly", "Hernia"]).tolist()
        [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    """

    name: str
    findings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.findings)

    def find(self, finding: str) -> int | None:
        """Return the column of a finding, by its name or a synonym of it; None without one."""
        columns = _columns(self.findings)
        for spelling in (str, _plain, canonical):
            if (column := columns.get(spelling(finding))) is not None:
                return column
        return None

    def index(self, finding: str) -> int:
        """Return the column of a finding, by its name or a synonym of it.

        Raises:
            DataError: `label-unknown` when the set has no such finding.
        """
        column = self.find(finding)
        if column is None:
            near = nearest(finding, self.findings)
            raise DataError(
                "label-unknown",
                f"finding {finding!r} is not in label set {self.name} "
                f"({', '.join(self.findings)})" + (f"; did you mean {near}?" if near else ""),
            )
        return column

    def overlap(self, other: "LabelSet") -> "Overlap":
        """Return which findings another set has too, under its own name or a synonym."""
        columns: dict[int, int] = {}
        for column, name in enumerate(self.findings):
            place = other.find(name)
            if place is not None and place not in columns.values():
                columns[column] = place
        return Overlap(
            tuple(columns),
            tuple(columns.values()),
            tuple(name for k, name in enumerate(self.findings) if k not in columns),
            tuple(name for k, name in enumerate(other.findings) if k not in columns.values()),
        )

    def row(self, present: Iterable[str]) -> npt.NDArray[np.int8]:
        """Return int8 [K] with 1 for every finding named and 0 for the rest.

        The empty string names no column, `No Finding` only where the set has it.

        Raises:
            DataError: `label-unknown` for a name that is not in the set.
        """
        values = np.zeros(len(self), np.int8)
        for finding in present:
            if not finding.strip():
                continue
            column = self.find(finding)
            if column is not None:
                values[column] = POSITIVE
            elif not is_no_finding(finding):
                self.index(finding)
        return values


NIH14: Final = LabelSet(
    "nih14",
    (
        "Atelectasis",
        "Cardiomegaly",
        "Effusion",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pneumonia",
        "Pneumothorax",
        "Consolidation",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Pleural_Thickening",
        "Hernia",
    ),
)
"""ChestX-ray14 in the order of Wang et al., CVPR 2017, Table 1 plus the six added in release 2."""


_CHEXPERT_FINDINGS: Final = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)

CHEXPERT: Final = LabelSet("chexpert", _CHEXPERT_FINDINGS)
"""CheXpert's observations in the order of its tables, but for `No Finding`, which is none of them
(Irvin et al., AAAI 2019, Table 1)."""

MIMIC: Final = LabelSet("mimic", tuple(sorted(_CHEXPERT_FINDINGS)))
"""The same in the order of MIMIC-CXR-JPG, which is that of the alphabet (Johnson et al., 2019)."""

PADCHEST: Final = LabelSet(
    "padchest",
    (
        "Atelectasis",
        "Consolidation",
        "Infiltrates",
        "Pneumothorax",
        "Pulmonary Edema",
        "Emphysema",
        "Pulmonary Fibrosis",
        "Pleural Effusion",
        "Pneumonia",
        "Pleural Thickening",
        "Cardiomegaly",
        "Nodule",
        "Pulmonary Mass",
        "Hiatal Hernia",
        "Fracture",
        "Granuloma",
        "Flattened Diaphragm",
        "Bronchiectasis",
        "Aortic Elongation",
        "Scoliosis",
        "Hilar Enlargement",
        "Tuberculosis",
        "Air Trapping",
        "Costophrenic Angle Blunting",
        "Aortic Atheromatosis",
        "Hemidiaphragm Elevation",
        "COPD Signs",
        "Interstitial Pattern",
        "Alveolar Pattern",
        "Pacemaker",
    ),
)
"""The usual ones of PadChest's 174 radiographic findings, under the authors' names (Bustos et al.,
Medical Image Analysis 66, 2020)."""

XRV18: Final = LabelSet(
    "xrv18",
    (
        "Atelectasis",
        "Consolidation",
        "Infiltration",
        "Pneumothorax",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Effusion",
        "Pneumonia",
        "Pleural_Thickening",
        "Cardiomegaly",
        "Nodule",
        "Mass",
        "Hernia",
        "Lung Lesion",
        "Fracture",
        "Lung Opacity",
        "Enlarged Cardiomediastinum",
    ),
)
"""What the networks of TorchXRayVision answer, in their order (Cohen et al., MIDL 2022)."""

LABEL_SETS: Final[Mapping[str, LabelSet]] = {
    labels.name: labels for labels in (NIH14, CHEXPERT, MIMIC, PADCHEST, XRV18)
}
"""Built-in sets by name; any other names are as good."""


def nearest(name: str, findings: Iterable[str]) -> str | None:
    """Return the finding that a name is probably a misspelling of; None where none is so alike."""
    plain = {canonical(finding): finding for finding in findings}
    plain |= {_plain(finding): finding for finding in plain.values()}
    match = difflib.get_close_matches(canonical(name), plain, 1, cutoff=_ALIKE)
    return plain[match[0]] if match else None


def known_finding(name: str) -> str | None:
    """Return a finding of the built-in sets by its name or a synonym, as the first writes it."""
    for labels in LABEL_SETS.values():
        if (column := labels.find(name)) is not None:
            return labels.findings[column]
    return None


def misspelt(name: str) -> str | None:
    """Return the built-in finding that a name, no finding itself, is close to; None without one."""
    if known_finding(name) is not None or is_no_finding(name):
        return None
    return nearest(name, (f for labels in LABEL_SETS.values() for f in labels.findings))


def named_set(text: str) -> LabelSet:
    """Return the built-in label set of a name, or a set of the findings that commas separate.

    Raises:
        UsageError: `label-set` for a finding that is empty or named twice.
    """
    if text.strip().lower() in LABEL_SETS:
        return LABEL_SETS[text.strip().lower()]
    return set_of(tuple(part.strip() for part in text.split(",")))


def set_of(findings: tuple[str, ...]) -> LabelSet:
    """Return the built-in set of just these findings in this order, else one named `custom`.

    Raises:
        UsageError: `label-set` for a finding that is empty or named twice.
    """
    if not all(findings) or len(set(map(_plain, findings))) != len(findings):
        raise UsageError(
            "label-set",
            f"the findings are {', '.join(map(repr, findings))}; give each once, joined by commas, "
            f"or a built-in set: {', '.join(LABEL_SETS)}",
        )
    for labels in LABEL_SETS.values():
        if labels.findings == findings:
            return labels
    return LabelSet("custom", findings)


def plain_name(finding: str) -> str:
    """Return a finding as people write it."""
    return finding.replace("_", " ")
