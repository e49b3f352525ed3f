"""Results beside each other: the name and the order of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from thorax.results.schema import Part
from thorax.results.shared import Engine

PartT = TypeVar("PartT", bound=Part)

PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8", "fp11")
"""From the reference to the boldest shortcut; tables keep this order."""

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


def _fact(result: Part, name: str) -> Any:  # noqa: ANN401 - whatever it has there
    """Return what a result says under a name; None where its command does not say it."""
    return getattr(result, name, None)


def name_series(results: Sequence[Part]) -> list[Series]:
    """Return the share of each result in a plot, under a name that tells it from the others."""
    return [
        Series(name, str(_fact(result, "precision") or ""), bool(_fact(result, "simulated")))
        for name, result in zip(series_names(results), results, strict=True)
    ]


def series_names(results: Sequence[Part]) -> list[str]:
    """Return a short name for each result: its precision, and whatever else tells them apart."""
    keys = ["precision"]
    for key in ("device", "scenario", "model", "predictions", "store", "split", "streams"):
        names = [_joined(result, keys) for result in results]
        if "" in names or len(set(names)) < len(names):
            values = {str(_fact(result, key)) for result in results}
            if len(values) > 1 or "" in names:
                keys.append(key)
    names = [_joined(result, keys) or str(_fact(result, "command")) for result in results]
    return told_apart(names)


def told_apart(names: Sequence[str]) -> list[str]:
    """Return names, with a number behind those that several share."""
    return [
        name if names.count(name) == 1 else f"{name} #{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


_ARITHMETIC: Final = ("precision", "compute", "device")


def _joined(result: Part, keys: Sequence[str]) -> str:
    values = {key: _fact(result, key) for key in keys}
    return " ".join(
        arithmetic_text(*(str(_fact(result, fact) or "") for fact in _ARITHMETIC))
        if key == "precision"
        else str(value).rstrip("/").split("/")[-1]
        for key, value in values.items()
        if value is not None
    )


def in_order(results: Iterable[PartT]) -> list[PartT]:
    """Return results by precision, measured before simulated, otherwise as given."""

    def rank(result: PartT) -> tuple[bool, int]:
        precision = str(_fact(result, "precision") or "").lower()
        index = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
        return bool(_fact(result, "simulated")), index

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
