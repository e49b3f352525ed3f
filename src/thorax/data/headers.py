"""Patient, view, age and sex of DICOM files, where the tables of a source do not say them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from thorax.data.columns import age_of, sex_of, view_of
from thorax.data.files import FRONTAL, not_frontal
from thorax.data.samples import Sample, Skipped, Source
from thorax.errors import DataError, ImageError
from thorax.images.radiograph import Subject, read_subject
from thorax.processors import processors

_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg"})
_MOST_WORKERS: Final = 8
_ELSEWHERE: Final = frozenset(
    (
        *("ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CSPINE", "ELBOW", "EXTREMITY"),
        *("FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KNEE"),
        *("LEG", "LSPINE", "MAXILLA", "NECK", "PELVIS", "SHOULDER", "SKULL", "SSPINE", "THUMB"),
        *("TIBIA", "TOE", "WRIST", "ZYGOMA"),
    )
)
"""Body Part Examined (0018,0015; PS3.16 Annex L) that is no chest."""


def complete(
    source: Source,
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Return a source with what the headers of its DICOM files say and its tables do not.

    Left out are views that are not frontal (`view-not-frontal`), unless the rows are of all views,
    and other parts of the body (`body-part`). What cannot be read is left to who decodes it. PNG
    and JPEG have no such header.

    Args:
        source: rows whose patient is "" take it from the header.
        workers: threads, None = one a processor, 8 at most.
        on_progress: called with (files looked at, files in all) from the calling thread.

    Raises:
        DataError: `patient-missing` where no header says it either; `source-empty`.
    """
    rows: list[Sample] = []
    skipped: list[Skipped] = []
    count = workers or min(processors(), _MOST_WORKERS)
    with ThreadPoolExecutor(count, thread_name_prefix="headers") as pool:
        subjects: Iterator[Subject | None] = pool.map(_subject, source.rows)
        for number, (row, subject) in enumerate(zip(source.rows, subjects, strict=True), 1):
            outcome = _completed(row, subject)
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            else:
                rows.append(outcome)
            if on_progress is not None:
                on_progress(number, len(source.rows))
    if not rows:
        raise DataError(
            "source-empty",
            f"none of {len(source.rows)} images is a frontal view of a chest; the first is "
            f"{skipped[0].image}: {skipped[0].message}",
        )
    return replace(source, rows=tuple(rows), skipped=(*source.skipped, *skipped))


def _subject(row: Sample) -> Subject | None:
    if row.path.suffix.lower() in _PICTURES:
        return None
    try:
        return read_subject(row.path)
    except ImageError:
        # Decoding it fails too, and that is listed with the reason.
        return Subject()


def _completed(row: Sample, subject: Subject | None) -> Sample | Skipped:
    if subject is None:
        subject = Subject()
    view = None if subject.view is None else view_of(subject.view)
    if row.frontal and view is not None and view not in FRONTAL:
        said = "" if row.view is None else f", and its table {row.view}"
        return not_frontal(row.image, f"its header says View Position {subject.view}{said}")
    part = subject.body_part
    if part in _ELSEWHERE:
        return Skipped(row.image, "body-part", f"its header says Body Part Examined {part}")
    patient = row.patient or subject.patient or ""
    if not patient:
        raise DataError(
            "patient-missing",
            f"{row.path.name} has no header that says Patient ID, and its table names no patient; "
            "every image needs one: say with --patient-from PATTERN where its name holds it "
            "('.*' where every image is another patient)",
        )
    return replace(
        row,
        patient=patient,
        view=row.view or view,
        age=_age(row, subject),
        sex=row.sex or sex_of(subject.sex or ""),
    )


def _age(row: Sample, subject: Subject) -> int | None:
    return age_of(subject.age or "") if row.age is None else row.age
