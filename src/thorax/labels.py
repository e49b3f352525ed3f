"""Ordered label sets, the names other projects give the same findings, and 1 / 0 / unknown."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.errors import DataError

POSITIVE: Final = 1
NEGATIVE: Final = 0
UNKNOWN: Final = -1
NO_FINDING: Final = "No Finding"
INTENDED_USE: Final = "Research software, not a medical device."

_SYNONYMS: Final = {
    "pleural effusion": "effusion",
    "enlarged heart": "cardiomegaly",
    "pleural thickening": "pleural thickening",
    "pt": "pleural thickening",
    "infiltrate": "infiltration",
    "lung nodule": "nodule",
    "lung mass": "mass",
    "oedema": "edema",
    "pulmonary edema": "edema",
    "pulmonary fibrosis": "fibrosis",
    "hiatal hernia": "hernia",
}


def _canonical(name: str) -> str:
    plain = " ".join(name.replace("_", " ").split()).lower()
    return _SYNONYMS.get(plain, plain)


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

    def index(self, finding: str) -> int:
        """Return the column of a finding, by its name or a synonym of it.

        Raises:
            DataError: `label-unknown` when the set has no such finding.
        """
        canonical = _canonical(finding)
        for column, name in enumerate(self.findings):
            if _canonical(name) == canonical:
                return column
        raise DataError(
            "label-unknown",
            f"finding {finding!r} is not in label set {self.name} ({', '.join(self.findings)})",
        )

    def row(self, present: Iterable[str]) -> npt.NDArray[np.int8]:
        """Return int8 [K] with 1 for every finding named and 0 for the rest.

        `No Finding` and the empty string name no column.

        Raises:
            DataError: `label-unknown` for a name that is not in the set.
        """
        values = np.zeros(len(self), np.int8)
        for finding in present:
            if finding.strip() and _canonical(finding) != _canonical(NO_FINDING):
                values[self.index(finding)] = POSITIVE
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


def plain_name(finding: str) -> str:
    """Return a finding as people write it."""
    return finding.replace("_", " ")
