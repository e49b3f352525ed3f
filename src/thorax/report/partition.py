"""Who runs what of a network, and why: the tables of `thorax partition`."""

from collections.abc import Mapping
from typing import Final

from thorax.report.modelled import modelled_table
from thorax.report.table import Table, dense
from thorax.report.text import scaled_text
from thorax.results.partition import LINK_BYTES, PartitionResult

BYTES: Final = (
    "Bytes are those of tensors as the host has them; over the link of a card, which the modelled "
    f"time counts, go {LINK_BYTES} a value."
)
"""What a reader must know of bytes beside modelled times."""

TOP: Final = 20
"""Layers that a table shows unless all are asked for."""


def partition_tables(result: PartitionResult, *, top: int | None = TOP) -> list[Table | None]:
    """Return subgraphs, what cards would do, and layers with the reason for where they run.

    Args:
        result: of `thorax partition`.
        top: how many layers at most, those that are not on the device asked for first; None
            shows all.
    """
    return [_subgraph_table(result), modelled_table([result]), _layer_table(result, top)]


def _subgraph_table(result: PartitionResult) -> Table:
    rows = tuple(
        (
            str(subgraph.number),
            subgraph.device,
            f"{subgraph.layers:,}",
            types_text(subgraph.types),
            bytes_text(subgraph.input_bytes),
            bytes_text(subgraph.output_bytes),
            scaled_text(subgraph.modelled_s, 1e-3, ".3f"),
        )
        for subgraph in result.subgraphs
    )
    columns = ("Subgraph", "Device", "Layers", "Of them", "Takes", "Gives", "ms, modelled")
    modelled = tuple(subgraph.modelled_s is not None for subgraph in result.subgraphs)
    notes = [crossed_text(result), *map(_idle_text, result.idle)]
    note = " ".join([*notes, BYTES] if result.modelled else notes)
    return dense(Table("Subgraphs", columns, rows, modelled, note))


def _layer_table(result: PartitionResult, top: int | None) -> Table | None:
    first = result.devices[0]
    layers = [layer for layer in result.layers if top is None or layer.device != first]
    shown = layers[:top]
    rows = tuple(
        (
            layer.name,
            layer.type,
            layer.device,
            str(layer.subgraph),
            bytes_text(layer.input_bytes) if layer.input_bytes else "",
            scaled_text(layer.modelled_s, 1e-3, ".3f"),
            layer.reason,
        )
        for layer in shown
    )
    if not rows:
        return None
    count = len(result.layers)
    more = "" if len(shown) == count else f"{len(shown)} of {count:,} layers; --all."
    title = "Every layer" if top is None else f"Layers that are not on {first}"
    columns = ("Layer", "Type", "Device", "Subgraph", "Crosses", "ms, modelled", "Why there")
    return dense(Table(title, columns, rows, note=more))


def crossed_text(result: PartitionResult) -> str:
    """Return in words what crosses between subgraphs, and what would without merging."""
    crossings = result.crossings
    count = crossings.after
    text = "1 tensor crosses" if count == 1 else f"{count:,} tensors cross"
    text += " between subgraphs"
    if count:
        text += f", {bytes_text(crossings.bytes)} an image"
    if crossings.before != count:
        text += f"; {crossings.before:,} before small subgraphs were merged"
    return f"{text}."


def _idle_text(device: str) -> str:
    return f"{device} runs nothing: a layer goes to the first of the list that has it."


def types_text(types: Mapping[str, int], most: int = 3) -> str:
    """Return the commonest types with their counts."""
    ranked = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count} {name}" for name, count in ranked[:most]]
    return ", ".join(parts) + (", ..." if len(ranked) > most else "")


def bytes_text(size: float) -> str:
    """Return a number of bytes in three figures with its unit."""
    unit, name = next((pair for pair in ((1e6, "MB"), (1e3, "kB")) if size >= pair[0]), (1.0, "B"))
    value = size / unit
    places = 0 if unit == 1 or value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{places}f} {name}"
