"""Results read from JSON: which model a document is of, by the command that printed it."""

import difflib
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from thorax.errors import DataError, UsageError
from thorax.results.accuracy import ScoreResult, ValidationResult
from thorax.results.analysis import AnalyzeResult
from thorax.results.benchmark import BenchmarkResult, TuningResult
from thorax.results.cluster import ClusterDiagnosis
from thorax.results.data import CheckResult, ImportResult, PhantomResult
from thorax.results.demo import DemoResult, ReportResult, SchemaList
from thorax.results.energy import LogEnergy, MeterList, WatchResult
from thorax.results.findings import ClassifyResult
from thorax.results.fpga import (
    EraseResult,
    OverlayEstimate,
    OverlaySearch,
    PrecisionLadder,
    ProgramResult,
)
from thorax.results.landscape import SharpnessResult
from thorax.results.optimize import CompareResult, ConvertResult, OptimizeResult
from thorax.results.partition import PartitionResult
from thorax.results.plan import ClusterPlan, ServerPlan
from thorax.results.schema import Result, first_problem
from thorax.results.training import TrainingRecord, TrainResult
from thorax.results.verification import VerificationResult

RESULTS: Final[Mapping[str, type[Result]]] = {
    "data check": CheckResult,
    "data import": ImportResult,
    "phantom": PhantomResult,
    "analyze": AnalyzeResult,
    "classify": ClassifyResult,
    "compare": CompareResult,
    "demo": DemoResult,
    "doctor cluster": ClusterDiagnosis,
    "mo": ConvertResult,
    "optimize": OptimizeResult,
    "plan cluster": ClusterPlan,
    "plan server": ServerPlan,
    "report": ReportResult,
    "schema": SchemaList,
    "score": ScoreResult,
    "validate": ValidationResult,
    "benchmark": BenchmarkResult,
    "power energy": LogEnergy,
    "power list": MeterList,
    "power watch": WatchResult,
    "tune": TuningResult,
    "fpga analyze": OverlayEstimate,
    "fpga erase": EraseResult,
    "fpga explore": PrecisionLadder,
    "fpga program": ProgramResult,
    "fpga search": OverlaySearch,
    "partition": PartitionResult,
    "sharpness": SharpnessResult,
    "train": TrainResult,
    "verify": VerificationResult,
}
"""The model of what each command answers."""


class _Untitled(GenerateJsonSchema):
    """Keys without titles, which would only say the keys again."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - of pydantic_core
        return False


def json_schema(command: str) -> dict[str, Any]:
    """Return the JSON Schema of what a command prints with `--json`.

    Raises:
        UsageError: `schema-command` for a command that has none, with the nearest.
    """
    if command not in RESULTS:
        near = difflib.get_close_matches(command, RESULTS, n=1, cutoff=0.0)[0]
        raise UsageError(
            "schema-command",
            f"no result of {command!r} is described; the nearest is {near}; see `thorax schema`",
        )
    schema = RESULTS[command].model_json_schema(schema_generator=_Untitled)
    dialect = _Untitled.schema_dialect
    return {"$schema": dialect, **schema, "title": f"thorax {command}"}


def parse_result(document: Mapping[str, Any]) -> Result:
    """Return the result that a document is.

    Args:
        document: whose `command` is one of `RESULTS`.

    Raises:
        DataError: `report-damaged` when it lacks or garbles what its command prints.
    """
    model = RESULTS[document["command"]]
    if model is BenchmarkResult and "tried" in document:
        # Tuning has always called itself a benchmark.
        model = TuningResult
    elif model is TrainResult:
        # Of what older versions printed, and of runs that did not end, much is absent.
        model = TrainingRecord
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise DataError(
            "report-damaged",
            f"a result of {document['command']} lacks or garbles what it prints: "
            f"{first_problem(error)}; run that command again",
        ) from error
