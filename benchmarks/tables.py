"""Tables of the documents, each from the document of one result file, in Markdown."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Document = Mapping[str, Any]

NETWORKS: Final = {"resnet50": "ResNet-50", "densenet121": "DenseNet-121", "vgg16_bn": "VGG-16"}
_SHARPNESS: Final = ("keskar", "adaptive", "lambda_max")


def precisions(document: Document) -> str:
    """Return sizes, speeds and AUROC of every precision."""
    lines = [
        "| | MB | x fp32 | phantoms | drop | radiographs | drop |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        name = row["precision"]
        if name == "fp32":
            name = f"{NETWORKS[row['network']]} fp32"
        cells = [name, f"{row['size_bytes'] / 1e6:.1f}"]
        speed = row["speed_over_fp32"] if "speed_over_fp32" in row else row["speed_ratio"]
        cells.append("" if speed is None else f"{speed:.2f}")
        for data in ("phantoms", "radiographs"):
            judged = row[data]
            cells.append("" if judged is None else f"{judged['auroc']['value']:.4f}")
            cells.append("" if judged is None else _drop(judged["drop"], row["precision"]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _drop(drop: Mapping[str, float] | None, precision: str) -> str:
    if drop is None:
        return ""
    value = f"{drop['value']:z.4f}"
    if precision == "fp16":
        return value
    return f"{value} [{drop['low']:z.4f}, {drop['high']:z.4f}]"


def fpga_auroc(document: Document) -> str:
    """Return what FP11 of a card costs three networks on two kinds of images."""
    lines = [
        "| | phantoms FP32 | FP11 | drop | radiographs FP32 | FP11 | drop |",
        "|---|---|---|---|---|---|---|",
    ]
    for network, title in NETWORKS.items():
        cells = [title]
        for data in ("phantoms", "radiographs"):
            for row in document["rows"]:
                if (row["network"], row["trained_on"]) == (network, data):
                    cells += [f"{row[side]['value']:.4f}" for side in ("fp32", "fp11")]
                    cells.append(_drop(row["drop"], "fp11"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fpga_bit_exact(document: Document) -> str:
    """Return how many values differ between three implementations, a row a count."""
    lines = ["| format | values compared | differ, graph | differ, integers |", "|---|---|---|---|"]
    same: dict[tuple[int, int, int], list[str]] = {}
    for row in document["rows"]:
        counts = (row["values"], row["graph_differs"], row["integers_differ"])
        same.setdefault(counts, []).append(row["format"])
    for (values, graph, integers), formats in same.items():
        each = " each" if len(formats) > 1 else ""
        lines.append(f"| {', '.join(formats)} | {values:,}{each} | {graph:,} | {integers:,} |")
    return "\n".join(lines)


def explored(place: int, title: str) -> Callable[[Document], str]:
    """Return what makes the table of one network of `thorax fpga explore`, modelled."""

    def table(document: Document) -> str:
        found = document["documents"][place]
        lines = [
            f"| {title} | mean AUROC | minus FP32, 95% interval | vectors | DSP | M20K | kALM "
            "| images/s | W | images/s/W |",
            "|" + "---|" * 10,
            f"| FP32, on the CPU | {found['reference']['mean_auroc']['value']:.3f} |" + " |" * 8,
        ]
        for one in found["variants"]:
            name, modelled, change = _variant(one), one["modelled"], one["mean_difference"]
            area = modelled["area"]
            cells = [
                f"**{name}**" if one["pareto"] else name,
                f"{one['mean_auroc']['value']:.3f}",
                f"{_signed(change['value'])} [{_signed(change['low'])}, {_signed(change['high'])}]",
                "x".join(map(str, modelled["vectors"])),
                f"{area['dsp']:,}",
                f"{area['m20k']:,}",
                f"{area['alm'] / 1e3:.0f}",
                f"{modelled['images_per_s']:,.0f}",
                f"{modelled['power_w']:.1f}",
                f"{modelled['images_per_s_per_w']:.1f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    return table


def explored_small(document: Document) -> str:
    """Return both networks at the size that they were trained on, modelled."""
    side = document["documents"][0]["modelled_side"]
    lines = [
        f"| at {side} x {side} | ResNet-50, AUROC | images/s | images/s/W | DenseNet-121, AUROC "
        "| images/s | images/s/W |",
        "|" + "---|" * 7,
    ]
    for pair in zip(*(one["variants"] for one in document["documents"]), strict=True):
        cells = [_variant(pair[0])]
        for one in pair:
            modelled = one["modelled"]
            cells += [
                f"{one['mean_auroc']['value']:.3f}",
                f"{modelled['images_per_s']:,.0f}",
                f"{modelled['images_per_s_per_w']:.1f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _variant(one: Mapping[str, Any]) -> str:
    name = str(one["name"])
    return f"{name.lower()} filters" if name in ("Ternary", "Binary") else name


def _signed(value: float) -> str:
    text = f"{value:z.4f}"
    return f"+{text}" if float(text) > 0 else text


def aurocs(document: Document) -> str:
    """Return the AUROC of every finding and their mean."""
    lines = ["| finding | positives | AUROC | 95 % interval |", "|---|---|---|---|"]
    for name, one in document["auroc"].items():
        lines.append(
            f"| {name.replace('_', ' ')} | {one['positives']} | {one['value']:.3f} "
            f"| {one['low']:.3f} to {one['high']:.3f} |"
        )
    mean = document["mean_auroc_interval"]
    interval = f"{mean['low']:.3f} to {mean['high']:.3f}"
    return "\n".join([*lines, f"| **mean** | | **{mean['value']:.3f}** | {interval} |"])


def large_batch(study: str) -> Callable[[Document], str]:
    """Return what makes the table of a study of large batches."""
    return lambda document: ways_to_train(document["studies"][study]["summary"])


def ways_to_train(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return AUROC and sharpness of every way to train and batch."""
    lines = [
        "| Way to train | Batch | Updates | Peak rate | Mean AUROC (seeds) | Against SGD at 32 "
        "[95 % interval] | Training loss | Keskar | ASAM | Eigenvalue |",
        "|---|--:|--:|--:|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        test = row["test"]
        seeds = ", ".join(f"{value:.4f}" for value in test)
        cells = [
            row["title"],
            f"{row['batch']:,}",
            f"{row['updates'] or 0:,}",
            f"{row['peak']:.3g}",
            f"**{statistics.fmean(test):.4f}** ({seeds})" if test else "diverged",
            difference(row),
            *(
                f"{statistics.fmean(row[key]):.3g}" if row[key] else ""
                for key in ("train_loss", *_SHARPNESS)
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(row: Mapping[str, Any]) -> str:
    """Return a difference of AUROC with its interval, `-` for the row that others are held to."""
    if row["difference"] is None:
        return "-"
    low, high = row["difference_interval"]
    return f"{row['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"


def left_out(document: Document) -> str:
    """Return how models of clusters fare with each system left out, beside their own rows."""
    lines = [
        "| System | In-sample: within 10 %; median; worst | Losses taken from "
        "| Left out: within 10 %; median; worst |",
        "|---|---|---|---|",
    ]
    for one in document["left_out"]:
        own, other = (
            f"{part['within_goal']} of {part['rows']}; {part['median']:.1%}; {part['worst']:.1%}"
            for part in (one["in_sample"], one["left_out"])
        )
        lines.append(f"| {one['system']} | {own} | {one['losses_of']} | {other} |")
    return "\n".join(lines)
