"""Comparisons of result files in the common form: read by the names of now, as cells and notes."""

import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from benchmarks.harness.side_by_side import less_is_better
from thorax.benchmark.confidence import median_of_turns
from thorax.metrics import Interval

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "classify_json over a bare OpenVINO script": "classify --json over a bare OpenVINO script",
        "fit a over bare loop": "thorax train over a bare loop on tensors in memory",
        "fit b over decoding loop": "thorax train over a loop that decodes PNGs",
        "ranks 2 over ranks 1": "two ranks over one rank on as many threads",
        "rapl_100_ms over alone": "RAPL read every 100 ms over not at all",
        "rapl_10_ms over alone": "RAPL read every 10 ms over not at all",
        "redfish_1_s over alone": "Redfish read every second over not at all",
    }
)
"""Names of comparisons that were renamed, and what they are called now."""

LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {"gops": "operations/s", "image_s": "time an image"}
)
"""What quantities are called in files that name them and give no label."""

Document = Mapping[str, Any]
One = Mapping[str, Any]


def compared(document: Document) -> list[One]:
    """Return the comparisons of a file in the common form, by the names of now; none of others."""
    rows = document.get("comparisons", ())
    return [
        {
            **row,
            "name": NAMES.get(row["name"], row["name"]),
            "label": row.get("label") or LABELS.get(row["quantity"], row["quantity"]),
            "wall": _widened(row, document),
        }
        for row in rows
        if isinstance(row, dict) and "wall" in row
    ]


def _widened(row: One, document: Document) -> One:
    """Return a ratio; of a quantity that was searched for on a grid with a step more each way."""
    wall: One = row["wall"]
    step = grid_step(row, document)
    if step is None or wall.get("low") is None:
        return wall
    return {**wall, "low": wall["low"] / (1 + step[1]), "high": wall["high"] * (1 + step[1])}


def title(row: One) -> str:
    """Return the name of a comparison with what its quantity is called, as a cell."""
    name, label = str(row["name"]), str(row["label"])
    whole = name if label in name else f"{name}, {label}"
    less = " (less is better)" if less_is_better(row["quantity"]) else ""
    return f"{whole}{less}".replace("|", "\\|")


def cell(row: One, document: Document) -> str:
    """Return a comparison as a cell: ratio, processor time, valid turns, grid and goal."""
    wall = row["wall"]
    low, high = wall.get("low", wall["ratio"]), wall.get("high", wall["ratio"])
    parts = [ratio(wall)]
    if row.get("cpu"):
        parts.append(f"CPU {ratio(row['cpu'], bold=False)}")
    valid = valid_turns(row, document)
    if valid is not None:
        parts.append(f"valid turns {valid[0]}/{valid[1]} of {valid[2]}")
    step = grid_step(row, document)
    if step is not None:
        parts.append(f"on a grid with steps of {step[0]:g}, of which the interval has one more")
    if (goal := row.get("goal")) is not None:
        at_most = less_is_better(row["quantity"])
        said = judged(row["wall"]["ratio"], low, high, goal, at_most=at_most)
        if valid is not None and min(valid[:2]) < valid[2]:
            said = "not told, as turns were not valid"
        parts.append(f"goal {goal:g}: {said}")
    return "; ".join(parts)


def ratio(value: Mapping[str, Any], *, bold: bool = True) -> str:
    """Return a ratio with its interval, where it has one."""
    text, mark = f"{value['ratio']:.2f}", "**" if bold else ""
    if value.get("low") is None:
        return f"{mark}{text}{mark}"
    return f"{mark}{text}{mark} [{value['low']:.2f}, {value['high']:.2f}]"


def judged(
    value: float, low: float | None, high: float | None, goal: float, *, at_most: bool
) -> str:
    """Return whether a goal is met, missed, or not told: where the interval holds both."""
    ends_of = (value if low is None else low, value if high is None else high)
    met = {end <= goal if at_most else end >= goal for end in ends_of}
    return "not told by the interval" if len(met) > 1 else "met" if met == {True} else "missed"


def grid_step(row: One, document: Document) -> tuple[float, float] | None:
    """Return the step of the grid that a quantity was searched on, and its largest share of one.

    None where a quantity is not of a grid.
    """
    if row["quantity"] != "highest_part":
        return None
    grids = [
        model["highest_grid"]
        for name, model in document.get("models", {}).items()
        if f"_{name}_" in row["first"] and "highest_grid" in model
    ]
    parts = [turn["highest_part"] for side in _sides(row, document) for turn in side["turns"]]
    if not grids or not parts:
        return None
    step = round(grids[0][1] - grids[0][0], 9)
    return step, step / min(parts)


def valid_turns(row: One, document: Document) -> tuple[int, int, int] | None:
    """Return how many turns of both sides LoadGen called valid, and of how many; None elsewhere."""
    turns = [side["turns"] for side in _sides(row, document)]
    if len(turns) < 2 or not all("valid" in turn for own in turns for turn in own):
        return None
    first, second = (sum(turn["valid"] == 1 for turn in own) for own in turns)
    return first, second, max(map(len, turns))


def _sides(row: One, document: Document) -> list[Mapping[str, Any]]:
    sides = document.get("sides")
    known = sides if isinstance(sides, dict) else {}
    names = (row.get("first"), row.get("second"))
    return [known[name] for name in names if name in known and "turns" in known[name]]


def rates(document: Document, side: str) -> list[float]:
    """Return images a second of every turn of a side.

    Raises:
        KeyError: the file has no such side.
    """
    return [turn["images"] / turn["wall_s"] for turn in document["sides"][side]["turns"]]


def of_turns(document: Document, first: str, second: str) -> Interval | None:
    """Return the ratio of images a second of two sides, compared in the file or not.

    Raises:
        KeyError: the file lacks one of them.
    """
    both = rates(document, first), rates(document, second)
    if len(both[0]) != len(both[1]):
        raise KeyError(f"as many turns of {second} as of {first}")
    return median_of_turns([a / b for a, b in zip(*both, strict=True)])


def fastest(document: Document, sides: Sequence[str]) -> str:
    """Return the side of several with the most images a second.

    Raises:
        KeyError: the file has none of them.
    """
    present = [side for side in sides if side in document["sides"]]
    if not present:
        raise KeyError(f"none of {', '.join(sides)}")
    return max(present, key=lambda side: statistics.median(rates(document, side)))


def side_title(document: Document, side: str) -> str:
    """Return what comparisons of a file call a side."""
    for row in compared(document):
        for place, key in enumerate(("first", "second")):
            if row[key] == side and " over " in row["name"]:
                return str(row["name"].split(" over ")[place])
    return side


def notes(document: Document) -> list[str]:
    """Return what a file says of its comparisons, each thing once, and of who took no part."""
    said: dict[str, list[str]] = {}
    rows = compared(document)
    for row in rows:
        for text in _said(row, document):
            said.setdefault(text, []).append(row["name"])
    lines = [
        f"{'all' if len(names) == len(rows) > 1 else '; '.join(names)}: {text}"
        for text, names in said.items()
    ]
    lines += _beside(document)
    models = document.get("models")
    if isinstance(models, dict):
        lines += [line for model in models.values() for line in _traffic(model)]
    quantized = document.get("onnxruntime_quantization", {}).get("calibrated_on")
    if quantized is not None:
        lines.append(f"ONNX Runtime's INT8 was calibrated on {quantized} images")
    absent = document.get("absent")
    if isinstance(absent, dict):
        lines += [f"`{name}` took no part: {why}" for name, why in absent.items()]
    return lines


def _said(row: One, document: Document) -> list[str]:
    """Return what a file says of one comparison."""
    less, lines = less_is_better(row["quantity"]), []
    if row.get("differs"):
        lines.append(f"the sides differ in {', '.join(row['differs'])}")
    ways = [in_parallel(side["settings"]) for side in _sides(row, document)]
    if len(set(ways)) > 1:
        lines.append(f"batch and instances differ: {ways[0]}, and {ways[1]}")
    if row.get("bound"):
        bound = row["bound"]
        where = "below" if less else "above"
        lines.append(f"cannot be {where} {bound['ratio']:.3g}: {bound['because']}")
    if row.get("above_bound"):
        lines.append(f"{'below' if less else 'above'} its bound: {row['above_bound']}")
    return lines


def _beside(document: Document) -> list[str]:
    """Return how much others used beside single turns, where it was more than is allowed of all."""
    beside = document.get("load")
    allowed = beside.get("allowed_share") if isinstance(beside, dict) else None
    sides = document.get("sides")
    if allowed is None or not isinstance(sides, dict):
        return []
    shares = [turn.get("others_share", 0.0) for side in sides.values() for turn in side["turns"]]
    above = [share for share in shares if share > allowed]
    if not above:
        return []
    return [
        f"{len(above)} of {len(shares)} measurements stood beside more load of others than is "
        f"allowed of all of them, up to {max(above):.0%}: wide intervals of wall clock are of these"
    ]


def in_parallel(settings: Mapping[str, Any]) -> str:
    """Return in words how many images a side computes at a time: "batch 8, 2 instances"."""
    more = settings.get("more", {})
    count = more.get("instances", more.get("streams"))
    own = "" if count is None else f", {count} instance{'' if count == 1 else 's'}"
    return f"batch {settings.get('batch', 1)}{own}"


_OMITTED: Final = {
    "server": "run of the server",
    "highest": "search for the highest rate, which takes many runs",
}


def _traffic(model: Mapping[str, Any]) -> list[str]:
    """Return the traffic of a model under LoadGen, and what of it was left out."""
    lines: list[str] = []
    if "part_of_offline" not in model:
        return lines
    what = f"{model['precision']} at {model['side']} px"
    omitted = model.get("left_out", {})
    if "server" not in omitted:
        lines.append(
            f"{what}: the server is asked {model['rate']:.0f} queries/s, "
            f"{model['part_of_offline']:g} of the lower offline rate of both, with a limit of "
            f"{model['latency_limit_ms']:.0f} ms"
        )
    for missing, why in omitted.items():
        lines.append(f"{what}: no {_OMITTED.get(missing, missing)}: {why}")
    return lines
