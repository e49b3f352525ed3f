"""Results read from JSON: which model a document is of, by the command that printed it."""

import ast
import difflib
import inspect
import itertools
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from thorax.errors import DataError, UsageError
from thorax.results import (
    accuracy,
    analysis,
    benchmark,
    cluster,
    data,
    demo,
    energy,
    findings,
    fpga,
    landscape,
    optimize,
    partition,
    plan,
    training,
    verification,
)
from thorax.results.schema import Part, Result, first_problem

RESULTS: Final[Mapping[str, type[Result]]] = {
    "data baseline": accuracy.BaselineResult,
    "data check": data.CheckResult,
    "data import": data.ImportResult,
    "phantom": data.PhantomResult,
    "analyze": analysis.AnalyzeResult,
    "classify": findings.ClassifyResult,
    "compare": optimize.CompareResult,
    "demo": demo.DemoResult,
    "doctor cluster": cluster.ClusterDiagnosis,
    "mo": optimize.ConvertResult,
    "optimize": optimize.OptimizeResult,
    "plan cluster": plan.ClusterPlan,
    "plan server": plan.ServerPlan,
    "report": demo.ReportResult,
    "schema": demo.SchemaList,
    "score": accuracy.ScoreResult,
    "validate": accuracy.ValidationResult,
    "benchmark": benchmark.BenchmarkResult,
    "power energy": energy.LogEnergy,
    "power list": energy.MeterList,
    "power watch": energy.WatchResult,
    "tune": benchmark.TuningResult,
    "fpga analyze": fpga.OverlayEstimate,
    "fpga erase": fpga.EraseResult,
    "fpga explore": fpga.PrecisionLadder,
    "fpga program": fpga.ProgramResult,
    "fpga search": fpga.OverlaySearch,
    "partition": partition.PartitionResult,
    "sharpness": landscape.SharpnessResult,
    "train": training.TrainResult,
    "verify": verification.VerificationResult,
}
"""The model of what each command answers, but for `devices` and `fpga list`, which list parts."""


class _Described(GenerateJsonSchema):
    """Keys with what stands under their fields, and without titles, which would say them again."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - of pydantic_core
        return False

    def model_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - of pydantic_core
        described = super().model_schema(schema)
        for parent in reversed(schema["cls"].__mro__):
            if issubclass(parent, Part):
                for name, words in _words_under_fields(parent).items():
                    described["properties"][name]["description"] = words
        return described


def _words_under_fields(model: type[Part]) -> dict[str, str]:
    """Return the docstring of each field that a model adds.

    Pydantic would read the source of every model for them, in every command.
    """
    (tree,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(tree, ast.ClassDef)
    words = {}
    for field, below in itertools.pairwise(tree.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                words[name] = inspect.cleandoc(text)
    return words


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
    schema = RESULTS[command].model_json_schema(schema_generator=_Described)
    dialect = _Described.schema_dialect
    return {"$schema": dialect, **schema, "title": f"thorax {command}"}


def parse_result(document: Mapping[str, Any]) -> Result:
    """Return the result that a document is, whose `command` is one of `RESULTS`.

    Raises:
        DataError: `report-damaged` when it lacks or garbles what its command prints.
    """
    model = RESULTS[document["command"]]
    if model is benchmark.BenchmarkResult and "tried" in document:
        # Tuning calls itself a benchmark.
        model = benchmark.TuningResult
    elif model is training.TrainResult:
        # Of what older versions printed, and of runs that did not end, much is absent.
        model = training.TrainingRecord
    try:
        return model.read(document)
    except ValidationError as error:
        raise DataError(
            "report-damaged",
            f"a result of {document['command']} lacks or garbles what it prints: "
            f"{first_problem(error)}; run that command again",
        ) from error
