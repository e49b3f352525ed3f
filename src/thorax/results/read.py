"""Results read from JSON: which model a document is of, by the command that printed it."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from thorax.errors import DataError
from thorax.results.analysis import AnalyzeResult
from thorax.results.cluster import ClusterDiagnosis
from thorax.results.landscape import SharpnessResult
from thorax.results.optimize import CompareResult, ConvertResult, OptimizeResult
from thorax.results.schema import Result, first_problem
from thorax.results.training import TrainingRecord

RESULTS: Final[Mapping[str, type[Result]]] = {
    "optimize": OptimizeResult,
    "mo": ConvertResult,
    "analyze": AnalyzeResult,
    "compare": CompareResult,
    "doctor cluster": ClusterDiagnosis,
    "sharpness": SharpnessResult,
    "train": TrainingRecord,
}
"""The model of what each command answers."""


def parse_result(document: Mapping[str, Any]) -> Result:
    """Return the result that a document is.

    Args:
        document: whose `command` is one of `RESULTS`.

    Raises:
        DataError: `report-damaged` when it lacks or garbles what its command prints.
    """
    model = RESULTS[document["command"]]
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise DataError(
            "report-damaged",
            f"a result of {document['command']} lacks or garbles what it prints: "
            f"{first_problem(error)}; run that command again",
        ) from error
