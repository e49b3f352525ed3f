"""Who runs what of a network, and why: the document of `thorax partition` and its tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from thorax.devices.card_model import LINK_BYTES, Forecast
from thorax.devices.partition import Partition
from thorax.report.modelled import modelled_table
from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import scaled_text

BYTES: Final = (
    "Bytes are those of tensors as the host has them; over the link of a card, which the modelled "
    f"time counts, go {LINK_BYTES} a value."
)
"""What a reader must know of bytes beside modelled times."""

TOP: Final = 20
"""Layers that a table shows unless all are asked for."""


def document(
    model: str,
    devices: Sequence[str],
    split: Partition,
    cards: Forecast | None,
    *,
    answers: Mapping[str, str],
) -> dict[str, Any]:
    """Return the JSON document of `thorax partition`.

    Args:
        model: what to call the network.
        devices: that were asked for, the first preferred.
        split: of it.
        cards: what simulated cards would do with their part; None where none takes part.
        answers: what the network calls each of its results, by the name of its node.
    """
    parts = {part.offload.number: part for part in cards.parts} if cards else {}
    own_s = {
        one.layer.name: one.cycles / part.estimate.architecture.clock_hz
        for part in parts.values()
        for one in part.estimate.layers
    }
    runs_with = {
        name: one.layer.name
        for part in parts.values()
        for one in part.estimate.layers
        for name in one.layer.fused
    }
    rows = [row for row in split.rows if row.type not in _PORTS]
    return {
        "command": "partition",
        "model": model,
        "device": split.device,
        "devices": list(devices),
        "idle": [one for one in devices if one not in {part.device for part in split.subgraphs}],
        "simulated": cards is not None,
        "subgraphs": [
            {
                "number": one.number,
                "device": one.device,
                "layers": len(one.layers),
                "types": dict(Counter(row.type for row in rows if row.subgraph == one.number)),
                "inputs": _named(split, one.number, "Parameter"),
                "outputs": [answers[name] for name in _named(split, one.number, "Result")],
                "input_bytes": one.input_bytes,
                "output_bytes": one.output_bytes,
                "modelled_s": parts[one.number].total_s if one.number in parts else None,
            }
            for one in split.subgraphs
        ],
        "layers": [
            {
                "name": row.name,
                "type": row.type,
                "device": row.device,
                "reason": row.reason,
                "subgraph": row.subgraph,
                "input_bytes": row.input_bytes,
                "runs_with": runs_with.get(row.name),
                "modelled_s": own_s.get(row.name),
            }
            for row in rows
        ],
        "crossings": {
            "before": split.crossings_before,
            "after": len(split.crossings),
            "bytes": sum(one.size_bytes for one in split.crossings),
            "tensors": [
                {
                    "layer": one.layer,
                    "source": one.source,
                    "target": one.target,
                    "size_bytes": one.size_bytes,
                }
                for one in split.crossings
            ],
        },
        "modelled": cards.result().model_dump(mode="json") if cards else None,
    }


_PORTS: Final = ("Parameter", "Result")


def _named(split: Partition, number: int, kind: str) -> list[str]:
    return [row.name for row in split.rows if row.type == kind and row.subgraph == number]


def partition_tables(document: Document, *, top: int | None = TOP) -> list[Table | None]:
    """Return subgraphs, what cards would do, and layers with the reason for where they run.

    Args:
        document: of `thorax partition`.
        top: how many layers at most, those that are not on the device asked for first; None
            shows all.
    """
    return [_subgraph_table(document), modelled_table([document]), _layer_table(document, top)]


def _subgraph_table(document: Document) -> Table:
    subgraphs = document["subgraphs"]
    rows = tuple(
        (
            str(one["number"]),
            str(one["device"]),
            f"{one['layers']:,}",
            types_text(one["types"]),
            bytes_text(one["input_bytes"]),
            bytes_text(one["output_bytes"]),
            scaled_text(one["modelled_s"], 1e-3, ".3f"),
        )
        for one in subgraphs
    )
    columns = ("Subgraph", "Device", "Layers", "Of them", "Takes", "Gives", "ms, modelled")
    modelled = tuple(one["modelled_s"] is not None for one in subgraphs)
    told = [crossed_text(document), *map(_idle_text, document["idle"])]
    note = " ".join([*told, BYTES] if document["modelled"] else told)
    return dense(Table("Subgraphs", columns, rows, modelled, note))


def _layer_table(document: Document, top: int | None) -> Table | None:
    layers: Sequence[Document] = document["layers"]
    wanted = document["devices"][0]
    kept = [one for one in layers if top is None or one["device"] != wanted]
    shown = kept if top is None else kept[:top]
    rows = tuple(
        (
            str(one["name"]),
            str(one["type"]),
            str(one["device"]),
            str(one["subgraph"]),
            bytes_text(one["input_bytes"]) if one["input_bytes"] else "",
            scaled_text(one["modelled_s"], 1e-3, ".3f"),
            str(one["reason"]),
        )
        for one in shown
    )
    if not rows:
        return None
    more = "" if len(shown) == len(layers) else f"{len(shown)} of {len(layers):,} layers; --all."
    title = "Every layer" if top is None else f"Layers that are not on {wanted}"
    columns = ("Layer", "Type", "Device", "Subgraph", "Crosses", "ms, modelled", "Why there")
    return dense(Table(title, columns, rows, note=more))


def crossed_text(document: Document) -> str:
    """Return in words what crosses between subgraphs, and what would without merging."""
    crossings = document["crossings"]
    count = crossings["after"]
    told = "1 tensor crosses" if count == 1 else f"{count:,} tensors cross"
    told += " between subgraphs"
    if count:
        told += f", {bytes_text(crossings['bytes'])} an image"
    if crossings["before"] != count:
        told += f"; {crossings['before']:,} before small subgraphs were merged"
    return f"{told}."


def _idle_text(device: str) -> str:
    return f"{device} runs nothing: a layer goes to the first of the list that has it."


def types_text(types: Mapping[str, int], most: int = 3) -> str:
    """Return the commonest types with their counts."""
    ranked = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count} {name}" for name, count in ranked[:most]]
    return ", ".join(told) + (", ..." if len(ranked) > most else "")


def bytes_text(size: float) -> str:
    """Return a number of bytes in three figures with its unit."""
    unit, name = next((pair for pair in ((1e6, "MB"), (1e3, "kB")) if size >= pair[0]), (1.0, "B"))
    value = size / unit
    places = 0 if unit == 1 or value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{places}f} {name}"
