"""Who runs what of a network, and why: the tables of `thorax partition`."""

from collections.abc import Mapping
from typing import Final

from thorax.report.modelled import modelled_table
from thorax.report.table import Table, table_of
from thorax.report.text import bytes_text, scaled_text
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

    Shown are at most `top` layers that are not on the device asked for first, or all.
    """
    return [_subgraph_table(result), modelled_table([result]), _layer_table(result, top)]


def _subgraph_table(result: PartitionResult) -> Table:
    notes = [crossed_text(result)]
    notes += [
        f"{device} runs nothing: a layer goes to the first of the list that has it."
        for device in result.idle
    ]
    return table_of(
        "Subgraphs",
        result.subgraphs,
        {
            "Subgraph": lambda subgraph: str(subgraph.number),
            "Device": lambda subgraph: subgraph.device,
            "Layers": lambda subgraph: f"{subgraph.layers:,}",
            "Of them": lambda subgraph: types_text(subgraph.types),
            "Takes": lambda subgraph: bytes_text(subgraph.input_bytes),
            "Gives": lambda subgraph: bytes_text(subgraph.output_bytes),
            "ms, modelled": lambda subgraph: scaled_text(subgraph.modelled_s, 1e-3, ".3f"),
        },
        note=" ".join([*notes, BYTES] if result.modelled else notes),
        simulated=lambda subgraph: subgraph.modelled_s is not None,
    )


def _layer_table(result: PartitionResult, top: int | None) -> Table | None:
    first = result.devices[0]
    layers = [layer for layer in result.layers if top is None or layer.device != first]
    shown = layers[:top]
    if not shown:
        return None
    count = len(result.layers)
    return table_of(
        "Every layer" if top is None else f"Layers that are not on {first}",
        shown,
        {
            "Layer": lambda layer: layer.name,
            "Type": lambda layer: layer.type,
            "Device": lambda layer: layer.device,
            "Subgraph": lambda layer: str(layer.subgraph),
            "Crosses": lambda layer: bytes_text(layer.input_bytes) if layer.input_bytes else "",
            "ms, modelled": lambda layer: scaled_text(layer.modelled_s, 1e-3, ".3f"),
            "Why there": lambda layer: layer.reason,
        },
        note="" if len(shown) == count else f"{len(shown)} of {count:,} layers; --all.",
    )


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


def types_text(types: Mapping[str, int]) -> str:
    """Return the three commonest types with their counts."""
    ranked = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count} {name}" for name, count in ranked[:3]]
    return ", ".join(parts) + (", ..." if len(ranked) > 3 else "")
