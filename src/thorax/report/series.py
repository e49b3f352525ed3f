"""Results beside each other: the name and the order of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from thorax.results.accuracy import ScoreComparison, ScoreResult, ValidationResult
from thorax.results.analysis import AnalyzeResult
from thorax.results.benchmark import BenchmarkResult
from thorax.results.findings import ClassifyResult
from thorax.results.optimize import CompareResult, OptimizeResult
from thorax.results.shared import Engine

Digested: TypeAlias = Engine | AnalyzeResult | CompareResult | OptimizeResult
"""What is of one artifact, and says its name, precision and digest."""

Scored: TypeAlias = ScoreResult | ScoreComparison
"""What is of a file of predictions."""

Named: TypeAlias = Digested | Scored
"""What may stand beside others."""

NamedT = TypeVar("NamedT", bound=Named)

PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8", "fp11")
"""From the reference to the boldest shortcut; tables keep this order."""

COLOURS: Final = ("#0072b2", "#cc79a7", "#d55e00", "#009e73", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008), which colour-blind people tell apart."""

INK: Final = "#767676"
"""Of axes and whatever has no colour."""

EMULATED: Final = (
    "Emulated: wall time of this computer at the arithmetic of a simulated card; it says nothing "
    "of how fast the card is."
)
"""What a reader must know of the measured rows of a simulated device."""


@dataclass(frozen=True, slots=True)
class Series:
    """One result's share of a plot; precision gives the colour, `simulated` the hatching."""

    name: str
    precision: str
    simulated: bool


_TELLING: Final = ("device", "scenario", "model", "predictions", "store", "split", "streams")
"""What tells results of one precision apart, the most telling first."""


def _facts(result: Named) -> dict[str, str | int | None]:
    """Return the precision of a result, and what it has of `_TELLING`."""
    if isinstance(result, ScoreResult | ScoreComparison):
        return {"predictions": result.predictions or "score"}
    if isinstance(result, OptimizeResult):
        return {"precision": result.precision.upper(), "model": result.model}
    facts: dict[str, str | int | None] = {
        "precision": arithmetic_text(result.precision, result.compute, result.device),
        "device": result.device,
        "model": result.model,
    }
    if isinstance(result, BenchmarkResult):
        facts["scenario"] = result.scenario
    if isinstance(result, BenchmarkResult | ClassifyResult):
        facts["streams"] = result.streams
    if isinstance(result, ValidationResult):
        facts |= {"store": result.store, "split": result.split}
    return facts


def _precision(result: Named) -> str:
    return "" if isinstance(result, ScoreResult | ScoreComparison) else result.precision


def _simulated(result: Named) -> bool:
    return isinstance(result, Engine) and result.simulated


def name_series(results: Sequence[Named]) -> list[Series]:
    """Return the share of each result in a plot, under a name that tells it from the others."""
    return [
        Series(name, _precision(result), _simulated(result))
        for name, result in zip(series_names(results), results, strict=True)
    ]


def series_names(results: Sequence[Named]) -> list[str]:
    """Return a short name for each result: its precision, and whatever else tells them apart."""
    known = [_facts(result) for result in results]
    keys = ["precision"]
    for key in _TELLING:
        names = [_joined(facts, keys) for facts in known]
        values = {facts[key] for facts in known if key in facts}
        if "" in names or (len(set(names)) < len(names) and len(values) > 1):
            keys.append(key)
    return told_apart([_joined(facts, keys) for facts in known])


def told_apart(names: Sequence[str]) -> list[str]:
    """Return names, with a number behind those that several share."""
    return [
        name if names.count(name) == 1 else f"{name} #{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def _joined(facts: Mapping[str, str | int | None], keys: Sequence[str]) -> str:
    values = {key: facts[key] for key in keys if facts.get(key) is not None}
    return " ".join(
        str(value) if key == "precision" else str(value).rstrip("/").split("/")[-1]
        for key, value in values.items()
    )


def in_order(results: Iterable[NamedT]) -> list[NamedT]:
    """Return results by precision, measured before simulated, otherwise as given."""

    def rank(result: NamedT) -> tuple[bool, int]:
        precision = _precision(result).lower()
        index = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
        return _simulated(result), index

    return sorted(results, key=rank)


def images_text(
    images: int, patients: int | None = None, split: str = "", *, simulated: bool = False
) -> str:
    """Return how many images of which split a result judges."""
    of = f" of {patients:,} patients" if patients else ""
    parts = [f"{images:,} images{of}"]
    if split:
        parts.append(f"split {split}")
    if simulated:
        parts.append("on a simulated device, whose arithmetic is real")
    return ", ".join(parts)


def precision_text(result: Engine) -> str:
    """Return how weights are stored and, of a simulated card, what it computes in: FP32 as FP11.

    Of a pool in which a device without a card answers too, "FP32 as FP11 or FP32".
    """
    return arithmetic_text(result.precision, result.compute, result.device)


def arithmetic_text(precision: str, compute: str, device: str) -> str:
    """Return what `precision_text` says, of these fields of a result."""
    stored = precision.upper()
    parts = compute.split("+")
    card = "/".join(part for part in parts if part[:2] == "fp").upper()
    if card and _answers_without_card(device):
        others = (_FLOATS.get(part, part.upper()) for part in parts if part[:2] != "fp")
        return f"{stored} as {' or '.join([card, *others])}"
    return f"{stored} as {card}" if card and card != stored else stored


_FLOATS: Final = {"f32": "FP32", "f16": "FP16"}
"""Element types of OpenVINO by the names that precisions have."""


def _answers_without_card(device: str) -> bool:
    """Return whether a pool has a member that is no card; `HETERO:` takes what follows it."""
    kind, _, rest = device.partition(":")
    alone, *split = rest.split("HETERO:")
    members = [member for member in (*alone.split(","), *split) if member.strip(", ")]
    return kind == "MULTI" and any("FPGA" not in member for member in members)
