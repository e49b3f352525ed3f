"""Results read from JSON: which model a document is of, by the command that printed it."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from thorax.errors import DataError
from thorax.results.benchmark import BenchmarkResult, TuningResult
from thorax.results.cluster import ClusterDiagnosis
from thorax.results.energy import LogEnergy, MeterList, WatchResult
from thorax.results.landscape import SharpnessResult
from thorax.results.schema import Result, first_problem
from thorax.results.training import TrainingRecord

RESULTS: Final[Mapping[str, type[Result]]] = {
    "benchmark": BenchmarkResult,
    "doctor cluster": ClusterDiagnosis,
    "power energy": LogEnergy,
    "power list": MeterList,
    "power watch": WatchResult,
    "tune": TuningResult,
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
    # Tuning has always called itself a benchmark.
    tuned = document["command"] == "benchmark" and "tried" in document
    model = RESULTS["tune" if tuned else document["command"]]
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise DataError(
            "report-damaged",
            f"a result of {document['command']} lacks or garbles what it prints: "
            f"{first_problem(error)}; run that command again",
        ) from error
