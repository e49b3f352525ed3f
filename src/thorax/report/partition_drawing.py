"""A drawing of how a network is split between devices, as SVG without any library."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from thorax.files.atomic import write_text
from thorax.report.modelled import MODELLED
from thorax.report.partition import BYTES, crossed_text, types_text
from thorax.report.picture import DARK, PAPER, SOFT, picture, require_svg
from thorax.report.series import COLOURS, INK
from thorax.report.text import bytes_text
from thorax.results.partition import PartitionResult, SubgraphSummary

_COLOURS: Final = {
    "CPU": COLOURS[2],
    "FPGA": COLOURS[0],
    "FPGA.1": COLOURS[3],
    "FPGA.2": COLOURS[1],
    "FPGA.3": COLOURS[4],
    "GPU": COLOURS[5],
}


_PAGE: Final = 700
"""Pixels that a drawing is wide at least."""

_WIDTH, _HEIGHT, _GAP = 400, 84, 52
"""Of a box, at least, and of what lies between two, pixels."""

_LEFT, _TOP = 28, 118
_LANE: Final = 104
"""Pixels between two arrows that pass boxes by."""

_WRAP: Final = 92
"""Characters of a line of the small print."""

_STYLE: Final = """
svg { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; }
text { font-variant-numeric: tabular-nums; }
.title { font-size: 17px; font-weight: 600; }
.name { font-size: 15px; font-weight: 600; }
.soft { font-size: 12px; }
.halo { stroke-width: 4px; paint-order: stroke; }
"""

_INK: Final = f'fill="{DARK}"'
_SMALL: Final = f'class="soft" fill="{SOFT}"'
_OVER: Final = f'class="soft halo" fill="{SOFT}" stroke="{PAPER}"'
_EDGE: Final = f'class="edge" fill="none" stroke="{SOFT}" stroke-width="1.5"'


def write_drawing(result: PartitionResult, path: Path) -> None:
    """Write the subgraphs of a split as a picture.

    Raises:
        UsageError: `plot-format` for a name that does not end in .svg, `output-unwritable` when
            it is a folder.
    """
    require_svg(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, draw(result))


def draw(result: PartitionResult) -> str:
    """Return subgraphs from top to bottom as an SVG that follows the reader's light or dark.

    A box is a subgraph, in the colour of its device, with layers and modelled time; an arrow is
    what crosses, with its bytes. Arrows that pass other subgraphs by run on the right.
    """
    edges = _edges(result)
    beside = [edge for edge in edges if edge[1] != edge[0] + 1]
    lanes = _lanes(beside)
    room = 40 + _LANE * (max(lanes) + 1) if lanes else 0
    width = max(_PAGE, 2 * _LEFT + _WIDTH + room)
    wide = width - 2 * _LEFT - room
    below = _TOP + len(result.subgraphs) * (_HEIGHT + _GAP)
    small_print = _small_print(result)
    height = below + 18 * len(small_print) + 8
    parts = [_heading(result)]
    parts += [_box(subgraph, index, wide) for index, subgraph in enumerate(result.subgraphs)]
    parts += [_down(edge, wide) for edge in edges if edge not in beside]
    parts += [_past(edge, lane, wide) for edge, lane in zip(beside, lanes, strict=True)]
    parts += [
        f'<text {_SMALL} x="{_LEFT}" y="{below + 18 * index}">{html.escape(line)}</text>'
        for index, line in enumerate(small_print)
    ]
    spoken = html.escape(f"{_title(result)}. {crossed_text(result)}", quote=True)
    return picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{spoken}">\n<style>{_STYLE}</style>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto">'
        f'<path fill="{SOFT}" d="M0 0L8 4L0 8z"/></marker></defs>\n' + "\n".join(parts) + "\n</svg>"
    )


_Edge = tuple[int, int, int, int]
"""Source, target, tensors, bytes."""


def _edges(result: PartitionResult) -> list[_Edge]:
    loads: dict[tuple[int, int], tuple[int, int]] = {}
    for tensor in result.crossings.tensors:
        ends = tensor.source, tensor.target
        count, size = loads.get(ends, (0, 0))
        loads[ends] = (count + 1, size + tensor.size_bytes)
    return [(*ends, *load) for ends, load in sorted(loads.items())]


def _lanes(edges: Sequence[_Edge]) -> list[int]:
    """Return for each edge the nearest lane that is free along it, the shortest edges first."""
    taken: list[list[_Edge]] = []
    lanes: dict[_Edge, int] = {}
    for edge in sorted(edges, key=lambda edge: (abs(edge[1] - edge[0]), edge)):
        low, high = sorted(edge[:2])
        lane = 0
        while lane < len(taken) and any(
            low < max(other[:2]) and min(other[:2]) < high for other in taken[lane]
        ):
            lane += 1
        if lane == len(taken):
            taken.append([])
        taken[lane].append(edge)
        lanes[edge] = lane
    return [lanes[edge] for edge in edges]


def _title(result: PartitionResult) -> str:
    count = len(result.subgraphs)
    return f"{result.model} on {result.device}: {count} subgraph{'s' * (count != 1)}"


def _heading(result: PartitionResult) -> str:
    parts = [
        f'<text class="title" {_INK} x="{_LEFT}" y="34">{html.escape(_title(result))}</text>',
        f'<text {_SMALL} x="{_LEFT}" y="56">{html.escape(crossed_text(result))}</text>',
    ]
    x = _LEFT
    for device in dict.fromkeys(subgraph.device for subgraph in result.subgraphs):
        subgraphs = [subgraph for subgraph in result.subgraphs if subgraph.device == device]
        text = f"{device}: {_layers(sum(subgraph.layers for subgraph in subgraphs))}"
        times_s = [subgraph.modelled_s for subgraph in subgraphs if subgraph.modelled_s is not None]
        if times_s:
            text += f", {sum(times_s) * 1e3:.2f} ms modelled"
        parts.append(
            f'<rect x="{x}" y="74" width="13" height="13" rx="3" fill="{_colour(device)}"/>'
            f'<text {_INK} x="{x + 20}" y="85">{html.escape(text)}</text>'
        )
        x += 48 + 7 * len(text)
    return "\n".join(parts)


def _colour(device: str) -> str:
    return _COLOURS.get(device, _COLOURS.get(device.partition(".")[0], INK))


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count:,} layers"


def _y(index: int) -> int:
    return _TOP + index * (_HEIGHT + _GAP)


def _box(subgraph: SubgraphSummary, index: int, wide: int) -> str:
    y, colour = _y(index), _colour(subgraph.device)
    time_s = subgraph.modelled_s
    time = "" if time_s is None else f"{time_s * 1e3:.3g} ms modelled"
    ends = [f"takes {name}" for name in subgraph.inputs]
    ends += [f"gives {', '.join(subgraph.outputs)}"] if subgraph.outputs else []
    lines = (f"{_layers(subgraph.layers)}: {types_text(subgraph.types)}", "; ".join(ends))
    return (
        f'<g><rect x="{_LEFT}" y="{y}" width="{wide}" height="{_HEIGHT}" rx="8" fill="{colour}" '
        f'fill-opacity=".13" stroke="{colour}" stroke-width="1.5"/>'
        f'<rect x="{_LEFT + 7}" y="{y + 11}" width="5" height="{_HEIGHT - 22}" rx="2.5" '
        f'fill="{colour}"/>'
        f'<text class="name" {_INK} x="{_LEFT + 22}" y="{y + 25}">{subgraph.number}: '
        f"{html.escape(subgraph.device)}</text>"
        f'<text {_INK} x="{_LEFT + wide - 14}" y="{y + 25}" text-anchor="end">{time}</text>'
        f'<text {_INK} x="{_LEFT + 22}" y="{y + 48}">{html.escape(lines[0])}</text>'
        f'<text {_SMALL} x="{_LEFT + 22}" y="{y + 69}">{html.escape(lines[1])}</text></g>'
    )


def _load(edge: _Edge) -> str:
    return bytes_text(edge[3]) + (f" in {edge[2]}" if edge[2] > 1 else "")


def _down(edge: _Edge, wide: int) -> str:
    x, y = _LEFT + wide // 2, _y(edge[0]) + _HEIGHT
    return (
        f'<path {_EDGE} d="M{x} {y}V{y + _GAP - 2}" marker-end="url(#tip)"/>'
        f'<text {_SMALL} x="{x + 10}" y="{y + _GAP // 2 + 4}">{_load(edge)}</text>'
    )


def _past(edge: _Edge, lane: int, wide: int) -> str:
    """Return the arrow from a subgraph to one that is not the next."""
    right = _LEFT + wide
    # Arrows of several lanes meet a box side by side.
    inset = 14 + 9 * min(lane, 5)
    begin, end = _y(edge[0]) + _HEIGHT - inset, _y(edge[1]) + inset
    x = right + 40 + _LANE * lane
    middle = (begin + end) // 2
    step = 14 if end > begin else -14
    return (
        f'<path {_EDGE} d="M{right} {begin}H{x - 14}Q{x} {begin} {x} {begin + step}'
        f'V{end - step}Q{x} {end} {x - 14} {end}H{right + 2}" marker-end="url(#tip)"/>'
        f'<text {_OVER} x="{x + 8}" y="{middle}">{_load(edge)}</text>'
    )


def _small_print(result: PartitionResult) -> list[str]:
    if result.modelled is None:
        return []
    words = f"Times are {MODELLED}. {result.modelled.source} {BYTES}".split()
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > _WRAP:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
