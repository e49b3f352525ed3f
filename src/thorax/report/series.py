"""Results beside each other: the name, the order and the arithmetic of each.

A document is what a command prints with `--json`: a mapping with a `command` key. Keys that are
absent or null are left out of a table, never filled in.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from thorax.results.schema import Result

Document = Mapping[str, Any] | Result
DocumentT = TypeVar("DocumentT", bound=Document)

PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8", "fp11")
"""From the reference to the boldest shortcut; tables keep this order."""

EMULATED: Final = (
    "Emulated: wall time of this computer at the arithmetic of a simulated card; it says nothing "
    "of how fast the card is."
)
"""What a reader must know of the measured rows of a simulated device."""


@dataclass(frozen=True, slots=True)
class Series:
    """One document's share of a plot; precision gives the colour, `simulated` the hatching."""

    name: str
    precision: str
    simulated: bool
    document: Document


def name_series(documents: Sequence[Document]) -> list[Series]:
    """Return the share of each document in a plot, under a name that tells it from the others."""
    return [
        Series(name, str(d.get("precision", "")), bool(d.get("simulated")), d)
        for name, d in zip(series_names(documents), documents, strict=True)
    ]


def series_names(documents: Sequence[Document]) -> list[str]:
    """Return a short name for each document: its precision, and whatever else tells them apart."""
    keys = ["precision"]
    for key in ("device", "scenario", "model", "predictions", "store", "split", "streams"):
        names = [_joined(document, keys) for document in documents]
        if "" in names or len(set(names)) < len(names):
            values = {str(document.get(key)) for document in documents}
            if len(values) > 1 or "" in names:
                keys.append(key)
    names = [_joined(document, keys) or str(document["command"]) for document in documents]
    return [
        name if names.count(name) == 1 else f"{name} #{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _joined(document: Document, keys: Sequence[str]) -> str:
    parts = []
    for key in keys:
        value = document.get(key)
        if value is not None:
            text = str(value)
            told = (
                precision_text(document) if key == "precision" else text.rstrip("/").split("/")[-1]
            )
            parts.append(told)
    return " ".join(parts)


def in_order(documents: Iterable[DocumentT]) -> list[DocumentT]:
    """Return documents by precision, measured before simulated, otherwise as given."""

    def rank(document: DocumentT) -> tuple[bool, int]:
        precision = str(document.get("precision", "")).lower()
        place = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
        return bool(document.get("simulated")), place

    return sorted(documents, key=rank)


def images_text(document: Document) -> str:
    """Return how many images of which split a document judges."""
    parts = [f"{document['images']:,} images"]
    if document.get("patients"):
        parts[0] += f" of {document['patients']:,} patients"
    if document.get("split"):
        parts.append(f"split {document['split']}")
    if document.get("simulated"):
        parts.append("on a simulated device, whose arithmetic is real")
    return ", ".join(parts)


def mean_interval(document: Document) -> Any:  # noqa: ANN401 - a mapping or a number
    """Return the mean AUROC of a document, with its bounds where it has them."""
    return document.get("mean_auroc_interval") or document.get("mean_auroc")


def precision_text(document: Document) -> str:
    """Return how weights are stored and, of a simulated card, what it computes in: FP32 as FP11.

    Of a pool in which a device without a card answers too, "FP32 as FP11 or FP32".
    """
    keys = ("precision", "compute", "device")
    return arithmetic_text(*(str(document.get(key, "")) for key in keys))


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
    members = [one for one in (*alone.split(","), *split) if one.strip(", ")]
    return kind == "MULTI" and any("FPGA" not in one for one in members)
