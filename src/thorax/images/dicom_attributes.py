"""What a DICOM data set says of its image beside pixels: the view, identifiers, which side is up.

Attributes of the patient are read only where they are asked for.
"""

import hashlib
import re
from typing import Any, Final

from pydicom import Dataset

from thorax.images.dicom_values import code, identifier, pair, values_of
from thorax.images.error_codes import ImageWarning

_VIEW_CODES: Final = {
    "AP": ("399348003", "R-10206"),
    "PA": ("272479007", "R-10214"),
    "LATERAL": ("399067008",),
    "LL": ("399173006", "R-10236"),
    "RL": ("399198007", "R-10232"),
}
"""View Code Sequence (PS3.16 CID 4010; SNOMED CT and the retired SRT codes) by View Position."""
_FRONTAL: Final = ("AP", "PA", "FRONTAL")
_OTHER_REGIONS: Final = {
    "ABDOMEN": ("818981001", "113345001", "T-D4000"),
    "ANKLE": ("70258002", "T-15750"),
    "CSPINE": ("122494005", "T-11501"),
    "FEMUR": ("71341001", "T-12710"),
    "FOOT": ("56459004", "T-D9700"),
    "FOREARM": ("14975008", "T-D8500"),
    "HAND": ("85562004", "T-D8700"),
    "HEAD": ("69536005", "T-D1100"),
    "HIP": ("29836001", "24136001", "T-D2500", "T-15710"),
    "HUMERUS": ("85050009", "T-12410"),
    "KNEE": ("72696002", "49076000", "T-D9200", "T-15720"),
    "LEG": ("30021000", "T-D9400"),
    "LSPINE": ("122496007", "T-11503"),
    "NECK": ("45048000", "T-D1600"),
    "PELVIS": ("816092008", "12921003", "T-D6000"),
    "SHOULDER": ("16982005", "T-D2220"),
    "SKULL": ("89546000", "T-11100"),
    "WRIST": ("74670003", "T-15460"),
}
"""Anatomic Region Sequence (PS3.16 CID 4031; SNOMED CT and the retired SRT codes) that is not of
the chest, by Body Part Examined."""
_CHEST: Final = (
    "CHEST",
    "THORAX",
    "TORAX",
    "TORACE",
    "LUNG",
    "RIB",
    "STERNUM",
    "HEART",
    "WHOLEBODY",
    "TRUNK",
)
_IDENTIFIERS: Final = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "sop_uid": "SOPInstanceUID",
}
_PATIENT: Final = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "age": "PatientAge",
}
_AGE: Final = re.compile(r"\d{1,3}[DWMY]?")
_SEXES: Final = ("F", "M", "O")
_DIGITS: Final = 16
"""Hexadecimal digits of a digest that stands for a patient."""


def attributes(dataset: Dataset, warnings: list[ImageWarning], *, patient: bool) -> dict[str, Any]:
    """Return harmless attributes as `thorax.images.radiograph` takes them, and what they doubt.

    `tallness` is how tall a pixel is for its width, `turn` what makes the image upright: whether to
    transpose it, then whether to mirror its columns, then its rows. With `patient`, those of the
    patient are in it, as text of at most 64 letters.
    """
    view = code(dataset, "ViewPosition")
    codes = dataset.get("ViewCodeSequence")
    if view is None and codes:
        value = str(codes[0].get("CodeValue"))
        view = next((name for name, own in _VIEW_CODES.items() if value in own), None)
    keywords = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    spacing = next(filter(None, (pair(dataset, keyword) for keyword in keywords)), None)
    ratio = spacing or pair(dataset, "PixelAspectRatio")
    body_part = code(dataset, "BodyPartExamined")
    turn = _turn(dataset)
    _doubt(view, body_part or _region(dataset), warnings)
    if any(turn):
        warnings.append(
            ImageWarning(
                "dicom-turned",
                f"{_turn_words(*turn)}: its rows run to {code(dataset, 'PatientOrientation')}, its "
                f"columns to {code(dataset, 'PatientOrientation', 1)} of the patient",
            )
        )
    return {
        "view": view,
        "modality": code(dataset, "Modality"),
        "body_part": body_part,
        "laterality": code(dataset, "ImageLaterality") or code(dataset, "Laterality"),
        "spacing_mm": spacing,
        "tallness": ratio[0] / ratio[1] if ratio else 1.0,
        "turn": turn,
        "identifiers": {key: identifier(dataset, name) for key, name in _IDENTIFIERS.items()}
        | {"accession": _text(dataset, "AccessionNumber")},
        "patient": {key: _text(dataset, name) for key, name in _PATIENT.items()} if patient else {},
    }


def subject(dataset: Dataset) -> dict[str, Any]:
    """Return what `thorax.images.radiograph.Subject` has: short codes, and a digest for a name."""
    told = attributes(dataset, [], patient=True)
    patient = told["patient"]
    digest = (
        hashlib.sha256(patient["patient_id"].encode()).hexdigest()
        if patient["patient_id"]
        else None
    )
    age, sex = (patient[key] or "" for key in ("age", "sex"))
    return {
        "patient": digest and digest[:_DIGITS],
        "age": age if _AGE.fullmatch(age) else None,
        "sex": sex if sex in _SEXES else None,
        "view": told["view"],
        "body_part": told["body_part"],
    }


def _doubt(view: str | None, body_part: str | None, warnings: list[ImageWarning]) -> None:
    if view is not None and not any(name in _FRONTAL for name in view.replace("_", " ").split()):
        warnings.append(
            ImageWarning("dicom-view", f"the view is {view}; networks here are made for PA and AP")
        )
    plain = (body_part or "").replace(" ", "").replace("_", "")
    if plain and not any(name in plain for name in _CHEST):
        warnings.append(
            ImageWarning("dicom-body-part", f"the body part is {body_part}, not the chest")
        )


def _region(dataset: Dataset) -> str | None:
    """Return the body part by the Anatomic Region Sequence; None where it is absent or unknown."""
    items = dataset.get("AnatomicRegionSequence")
    value = str(items[0].get("CodeValue")) if items else ""
    return next((name for name, own in _OTHER_REGIONS.items() if value in own), None)


def _turn(dataset: Dataset) -> tuple[bool, bool, bool]:
    """Return what makes the image upright; nothing where Patient Orientation does not say.

    PS3.3 C.7.6.1.1.1: the first value is where rows run to, the second where columns do; of each
    the first letter counts. Upright is columns to the feet and, of frontal views, rows to the
    patient's left.
    """
    directions = [(code(dataset, "PatientOrientation", number) or " ")[0] for number in (0, 1)]
    transposed = directions[0] in "HF" and directions[1] in "LRAP"
    rows, columns = reversed(directions) if transposed else directions
    if rows not in "LRAP" or columns not in "HF":
        return False, False, False
    return transposed, rows == "R", columns == "H"


def _turn_words(transposed: bool, mirrored: bool, flipped: bool) -> str:
    if transposed:
        words = {(True, False): "turned clockwise", (False, True): "turned anticlockwise"}
        return words.get((mirrored, flipped), "transposed")
    if mirrored and flipped:
        return "turned by 180 degrees"
    return "mirrored" if mirrored else "turned upside down"


def _text(dataset: Dataset, keyword: str) -> str | None:
    values = values_of(dataset, keyword)
    text = "\\".join(str(value) for value in values).strip(" \0")
    return "".join(letter for letter in text if letter.isprintable())[:64] or None
