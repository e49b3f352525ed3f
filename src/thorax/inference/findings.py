"""Findings of one radiograph, and where they are written: a CSV table, JSON lines, memory."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from thorax.devices.engine import Engine
from thorax.files import atomic
from thorax.files.csv_cells import harmless
from thorax.files.outputs import writing
from thorax.images.radiograph import PATIENT, Meaning
from thorax.inference.heatmap_picture import peak, to_source
from thorax.inference.predictor import Prediction
from thorax.inference.sources import Source, StoredImage, ZippedImage
from thorax.results.findings import DicomFacts, Findings, ReadError
from thorax.results.shared import ReadWarning

Sink = Callable[[Findings], object]
"""Where the findings of one radiograph after the other go."""


_DICOM: Final = ("view", "study_uid", "series_uid", "sop_uid", "accession")
"""Columns of what a DICOM file says of its image."""


def findings_of(prediction: Prediction, engine: Engine) -> Findings:
    """Return the findings of one radiograph: probabilities rounded to 1e-6, peaks to 0.1.

    They say what computed them too, so that those of several runs can be told apart.
    """
    facts: dict[str, Any] = {
        "image": prediction.image,
        "findings": {name: round(value, 6) for name, value in prediction.findings.items()},
        "positive": prediction.positive,
        "error": None,
        "warnings": (),
        "dicom": None,
        "compute": engine.compute,
        "simulated": engine.simulated,
    }
    card = engine.artifact.card
    if prediction.meaning is not None:
        facts |= _read_facts(prediction.meaning)
    if prediction.error is not None:
        code, message = prediction.error
        facts["error"] = ReadError(code=code, message=message)
    elif prediction.heatmap is not None and card.heatmap is not None and prediction.size:
        facts["peaks"] = {
            name: tuple(
                round(value, 1)
                for value in to_source(
                    peak(prediction.heatmap[card.labels.index(name)], card.heatmap),
                    *prediction.size,
                    card.input.side,
                )
            )
            for name in prediction.positive
        }
    return Findings(**facts)


def _read_facts(meaning: Meaning) -> dict[str, Any]:
    """Return what is doubtful about how a radiograph was read, and what its DICOM file says."""
    facts: dict[str, Any] = {
        "warnings": tuple(
            ReadWarning(code=warning.code, message=warning.message) for warning in meaning.warnings
        )
    }
    if meaning.format == "dicom":
        facts["dicom"] = DicomFacts(
            study_uid=meaning.study_uid,
            series_uid=meaning.series_uid,
            sop_uid=meaning.sop_uid,
            accession=meaning.accession,
            view=meaning.view,
            patient=dict(meaning.patient),
        )
    return facts


def json_line(findings: Findings) -> str:
    """Return findings as a line of JSON, in ASCII."""
    return json.dumps(findings.model_dump(exclude_unset=True), allow_nan=False) + "\n"


def parse_line(line: bytes) -> Findings:
    """Return the findings of a line that `json_line` made."""
    return Findings.read(json.loads(line))


class Memory:
    """The first findings, `most` of them or with None all, in memory."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self.findings: list[Findings] = []

    def write(self, findings: Findings) -> None:
        """Keep findings, where there is room."""
        if self._most is None or len(self.findings) < self._most:
            self.findings.append(findings)


def read_of(model: Path, sources: Sequence[Source]) -> tuple[list[Path], set[Path]]:
    """Return the files that are read one by one, and the folders that are read whole."""
    stores = {source.store for source in sources if isinstance(source, StoredImage)}
    singles = [source for source in sources if isinstance(source, Path)]
    singles += {source.archive for source in sources if isinstance(source, ZippedImage)}
    return singles, {model.parent if model.suffix else model, *stores}


@contextmanager
def open_csv(
    path: Path | None, labels: Sequence[str], *, identities: bool = False
) -> Iterator[list[Sink]]:
    """Yield a table of findings; the file takes its name when the block succeeds.

    No path yields no table; labels are the findings of the network, in order. With `identities`
    it has attributes of the patients.

    Raises:
        UsageError: `output-unwritable`.
    """
    if path is None:
        yield []
        return
    with ExitStack() as stack:
        with writing(path):
            file = stack.enter_context(atomic.new_text(path, errors="backslashreplace"))
            table = csv.writer(file)
            head = ["image", *labels, "positive", "error", "compute", "simulated", "warnings"]
            patient = PATIENT if identities else ()
            table.writerow(map(harmless, (*head, *_DICOM, *patient)))

        def write(findings: Findings) -> None:
            cells = [f"{value:.6f}" for value in findings.findings.values()]
            with writing(path):
                table.writerow(
                    (
                        harmless(findings.image),
                        *(cells or [""] * len(labels)),
                        harmless("|".join(findings.positive)),
                        findings.error.code if findings.error else "",
                        findings.compute,
                        str(findings.simulated).lower(),
                        "|".join(warning.code for warning in findings.warnings),
                        *(harmless(cell) for cell in _dicom_cells(findings.dicom, patient)),
                    )
                )

        try:
            yield [write]
        except BaseException:
            # A full disk fails the closing too; what made it fail has been told.
            with suppress(OSError):
                stack.pop_all().__exit__(*sys.exc_info())
            raise
        with writing(path):
            stack.close()


def _dicom_cells(facts: DicomFacts | None, patient: Sequence[str]) -> list[str]:
    if facts is None:
        return [""] * (len(_DICOM) + len(patient))
    cells = [getattr(facts, name) or "" for name in _DICOM]
    return cells + [facts.patient.get(name) or "" for name in patient]
