"""Tables of the documents, each from the document of one result file, in Markdown."""

import statistics
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.harness.processors import Machine
from benchmarks.large_batch.cells import SHARPNESS
from benchmarks.record.catalogue import BASELINES

Document = Mapping[str, Any]

NETWORKS: Final = {"resnet50": "ResNet-50", "densenet121": "DenseNet-121", "vgg16_bn": "VGG-16"}


def precisions(document: Document) -> str:
    """Return sizes and speeds of every precision, on which machine."""
    lines = [
        f"| {Machine.of(document['hardware']).title} | MB | images/s over fp32 [95 %] |",
        "|---|---|---|",
    ]
    ratios = {(row["first"], row["second"]): row["wall"] for row in document["comparisons"]}
    for row in document["rows"]:
        name, network = row["precision"], row["network"]
        ratio = ratios.get((f"{network}_{name}", f"{network}_fp32"))
        speed = "1" if name == "fp32" else ""
        if ratio is not None:
            speed = f"{ratio['ratio']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        if name == "fp32":
            name = f"{NETWORKS[network]} fp32"
        lines.append(f"| {name} | {row['size_bytes'] / 1e6:.1f} | {speed} |")
    return "\n".join(lines)


_APART: Final = 3
"""Findings of a task up to which each is told: a mean of few hides those that are nearly solved."""


def precision_cost(*precisions: str) -> Callable[[Document], str]:
    """Return what makes the table of some precisions, and what needs no network, on one task."""

    def table(document: Document) -> str:
        findings = document["baselines"]["models"][0]["auroc"]
        apart = list(findings) if len(findings) <= _APART else []
        lines = [
            "| | mean AUROC | drop [95 %] | images that flip | matched points | own points "
            "| largest change |",
            "|---|---|---|---|---|---|---|",
            f"| *{document['images']['test']:,} images of the test split* | | | | | | |",
        ]
        for model in document["baselines"]["models"]:
            if model["name"] in BASELINES:
                lines.append(f"| {model['what']} | {_interval(model['mean_auroc'])} | | | | | |")
                lines += [
                    f"| - {finding} | {_interval(model['auroc'][finding])} | | | | | |"
                    for finding in apart
                ]
        for row in document["rows"]:
            if row["precision"] not in ("fp32", *precisions):
                continue
            lines.append(_cost(row))
            for finding in apart:
                drop = row.get("drop_by_finding", {}).get(finding)
                cells = [f"- {finding}", _interval(row["auroc"][finding])]
                cells += ["" if drop is None else _interval(drop, "z.4f"), "", "", "", ""]
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    return table


_TASKS: Final = {"drawings": "phantoms", "radiographs": "ChestX-ray14", "children": "children"}
"""Tasks of `benchmarks.shallow_baselines`, as tables call them."""


def shallow(document: Document) -> str:
    """Return the AUROC of regressions on simple features, and what is suspected of a collection."""
    tasks = document["tasks"]
    findings = list(tasks["children"]["best"])
    heads = ["features; AUROC, test split", "phantoms, mean", "ChestX-ray14, mean"]
    heads += [f"children, {name}" for name in findings]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    known = {
        task: {model["name"]: model for model in tasks[task]["models"]}
        for task in _TASKS
        if task in tasks
    }
    titles = {name: model["what"] for models in known.values() for name, model in models.items()}
    for name, what in titles.items():
        cells = [
            _interval(known[task][name]["mean_auroc"]) if name in known.get(task, {}) else ""
            for task in ("drawings", "radiographs")
        ]
        children = known["children"].get(name)
        cells += [
            "" if children is None else _interval(children["auroc"][finding])
            for finding in findings
        ]
        lines.append(f"| {' | '.join((what, *cells))} |")
    suspected = [
        f"- {_TASKS[task]}: {one['finding'].replace('_', ' ')} by {titles[one['features']]}, "
        f"{_interval(one['auroc'])}"
        for task in _TASKS
        for one in tasks.get(task, {}).get("verdict", {}).get("suspicions", ())
    ]
    if suspected:
        lines += [
            "",
            "Suspected to tell of the collection and not of the patients:",
            "",
            *suspected,
        ]
    return "\n".join(lines)


def phantoms(document: Document) -> str:
    """Return AUROC of every finding by the network and by features, and by subtlety."""
    models = [model for model in document["models"] if model["name"] in BASELINES]
    columns = [document["network"]["auroc"], *(model["auroc"] for model in models)]
    means = [document["network"]["mean_auroc"], *(one["mean_auroc"]["value"] for one in models)]
    lines = [
        "| AUROC, test split | network | " + " | ".join(one["what"] for one in models) + " |",
        "|---|---|" + "---|" * len(models),
        "| **mean** | " + " | ".join(f"**{mean:.3f}**" for mean in means) + " |",
    ]
    for name in columns[0]:
        cells = [f"{column[name]['value']:.3f}" for column in columns]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    levels = document["levels"]
    lines += [
        "",
        "| subtlety | " + " | ".join(f"{level['subtlety']:.1f}" for level in levels) + " |",
        "|---|" + "---|" * len(levels),
        "| mean | " + " | ".join(f"{level['mean_auroc']:.3f}" for level in levels) + " |",
        "",
        "![AUROC against subtlety](figures/phantom_subtlety.svg)",
    ]
    return "\n".join(lines)


def heatmaps(document: Document) -> str:
    """Return AUROC and hits of each kind of map, beside points that need no network.

    Below it the hits of each finding of the drawings, of the finer network.
    """
    lines: list[str] = []
    for task, title in (
        ("drawings", "drawings, mean of 14 findings"),
        ("radiographs", "ChestX-ray14, Pneumonia"),
    ):
        rows = [row for row in document["rows"] if row["task"] == task]
        first = {row["output_stride"]: row for row in reversed(rows)}
        strides = list(dict.fromkeys(row["output_stride"] for row in rows))
        if not lines:
            heads = (f"output stride {one}: hits | 10⁶ MACs" for one in strides)
            lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|---|" * len(strides)]
        hits = [row["pointing_mean" if task == "drawings" else "pointing"] for row in rows]
        if task == "radiographs":
            hits = [found["Pneumonia"] for found in hits]
            title += f", {hits[0]['total']} maps"
        lines.append(f"| **{title}** |" + " | |" * len(strides))
        areas = (f" {_interval(first[stride]['mean_auroc'])} | |" for stride in strides)
        lines.append(f"| mean AUROC of the network, test split |{''.join(areas)}")
        for name, key in (("random point", "random_rate"), ("best fixed point", "fixed_rate")):
            if hits[0][key] is not None:
                lines.append(f"| {name} |" + f" {hits[0][key]:.3f} | |" * len(strides))
        for kind in dict.fromkeys(row["maps"] for row in rows):
            cells = [f"`{kind}`"]
            for row, found in zip(rows, hits, strict=True):
                if row["maps"] == kind:
                    cells += [_rate(found), f"{row['macs'] / 1e6:,.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_pointed(document, stride=16), "", _passed(document, stride=16)])


def _pointed(document: Document, *, stride: int) -> list[str]:
    """Return how often each finding of the drawings is pointed at, by an output stride."""
    games = {
        row["maps"]: row["pointing"]
        for row in document["rows"]
        if (row["task"], row["output_stride"]) == ("drawings", stride)
    }
    lines = [
        f"| drawings, output stride {stride} | maps | `cam` | `relative` | random point "
        "| best fixed point |",
        "|---|---|---|---|---|---|",
    ]
    for name, cam in games["cam"].items():
        cells = [name.replace("_", " "), f"{cam['total']:,}"]
        cells += [_rate(games[kind][name]) for kind in ("cam", "relative")]
        for key in ("random_rate", "fixed_rate"):
            cells.append("" if cam.get(key) is None else f"{cam[key]:.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _passed(document: Document, *, stride: int) -> str:
    """Return on how many findings of the drawings a fixed point hits more often than maps."""
    counts = {
        row["maps"]: sum(
            one["fixed_rate"] > one["rate"]
            for one in row["pointing"].values()
            if one["fixed_rate"] is not None
        )
        for row in document["rows"]
        if (row["task"], row["output_stride"]) == ("drawings", stride)
    }
    total = document["rows"][0]["pointing_mean"]["findings"]
    return (
        f"The best fixed point hits more often than `cam` on {counts['cam']} of these {total} "
        f"findings, and than `relative` on {counts['relative']}."
    )


def _rate(game: Mapping[str, Any]) -> str:
    """Return the share of hits, with its interval where the file has it."""
    bounds = game.get("rate_interval")
    return f"{game['rate']:.3f}" if bounds is None else _interval(bounds)


def _cost(row: Mapping[str, Any]) -> str:
    name, drop, flips = row["precision"], row.get("drop"), row.get("flips")
    if name == "fp32":
        name = f"{NETWORKS[row['network']]} fp32"
    cells = [name, _interval(row["mean_auroc"]), "" if drop is None else _interval(drop, "z.4f")]
    if flips is None:
        cells += ["", "", "", ""]
    else:
        for points in ("same_points", "matched_points", "own_points"):
            share = flips[points]
            cells.append("" if share is None else f"{share['images']:.1%}")
        cells.append(f"{flips['largest_change']:.2f}")
    return f"| {' | '.join(cells)} |"


def _interval(found: Mapping[str, float | None], form: str = ".3f") -> str:
    """Return a figure with its interval, without one where too few patients tell it."""
    texts = [
        format(found[key], form) for key in ("value", "low", "high") if found.get(key) is not None
    ]
    return texts[0] if len(texts) < 3 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


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
            f"| {title} | mean AUROC | drop, 95% interval | vectors | DSP | M20K | kALM "
            "| images/s | W | images/s/W |",
            "|" + "---|" * 10,
            f"| FP32, on the CPU | {found['reference']['mean_auroc']['value']:.3f} |" + " |" * 8,
        ]
        for one in found["variants"]:
            name, modelled, change = _variant(one), one["modelled"], one["mean_difference"]
            drop = (0.0 - change[key] for key in ("value", "high", "low"))
            area = modelled["area"]
            cells = [
                f"**{name}**" if one["pareto"] else name,
                f"{one['mean_auroc']['value']:.3f}",
                "{:z.4f} [{:z.4f}, {:z.4f}]".format(*drop),
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


def aurocs(document: Document) -> str:
    """Return the AUROC of every finding and their mean."""
    lines = ["| finding | positives | AUROC, test split [95 %] |", "|---|---|---|"]
    for name, one in document["auroc"].items():
        lines.append(f"| {name.replace('_', ' ')} | {one['positives']} | {_interval(one)} |")
    mean = document["mean_auroc_interval"]["value"]
    return "\n".join([*lines, f"| mean | | {mean:.3f} |"])


def large_batch(document: Document) -> str:
    """Return AUROC and sharpness of every way to train and batch; of the harder finding, too."""
    rows, harder = document["summary"], document["harder"]
    against = "Against SGD at 32: least to most of the seeds; 95 % over patients and seeds"
    heads = ["Way to train", "Batch", "Updates", "Peak rate", "Mean AUROC, test split (seeds)"]
    heads += [against]
    heads += [] if harder is None else [f"{harder}: AUROC", f"{harder}: against SGD at 32"]
    heads += ["Training loss", "Keskar", "ASAM", "Eigenvalue"]
    words = ("Way to train", "Mean AUROC, test split (seeds)", against)
    sides = ("---" if head in words or ":" in head else "--:" for head in heads)
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join(sides)}|"]
    for row in rows:
        test = row["test"]
        seeds = ", ".join(f"{value:.4f}" for value in test)
        mean = f"**{statistics.fmean(test):.4f}** ({seeds})" if test else ""
        cells = [
            row["title"],
            f"{row['batch']:,}",
            f"{row['updates'] or 0:,}",
            f"{row['peak']:.3g}",
            "; ".join(filter(None, (mean, _diverged(row, document)))),
            difference(row),
        ]
        if harder is not None:
            own = [auroc[harder] for auroc in row["test_auroc"]]
            cells += [f"{statistics.fmean(own):.4f}" if own else "", difference(row, "harder_")]
        cells += [
            f"{statistics.fmean(row[key]):.3g}" if row[key] else ""
            for key in ("train_loss", *SHARPNESS)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _diverged(row: Mapping[str, Any], document: Document) -> str:
    count = row["diverged"]
    return f"{count} of {len(document['seeds'])} diverged" if count else ""


def difference(row: Mapping[str, Any], of: str = "", *, bold: bool = True) -> str:
    """Return a difference of AUROC with those of its seeds and its interval over both.

    `-` for the row that others are held to, and nothing where a seed diverged.
    """
    interval, seeds = row[f"{of}interval"], row[f"{of}seed_differences"]
    if interval is None:
        return "" if row["diverged"] else "-"
    apart = f"{min(seeds):+.4f} to {max(seeds):+.4f}"
    mark = "**" if bold else ""
    mean = f"{mark}{row[f'{of}difference']:+.4f}{mark}"
    return f"{mean}; {apart}; [{interval[0]:+.4f}, {interval[1]:+.4f}]"


def left_out(document: Document) -> str:
    """Return how models of clusters fare with each system left out, beside their own rows."""
    lines = [
        "| System | In-sample: within 10 %; median; worst | Losses taken from "
        "| Left out: within 10 %; median; worst | Not moved by losses |",
        "|---|---|---|---|---|",
    ]
    for one in document["left_out"]:
        own, other = (
            f"{part['within_goal']} of {part['rows']}; {part['median']:.1%}; {part['worst']:.1%}"
            if part["rows"]
            else "no row"
            for part in (one["in_sample"], one["left_out"])
        )
        unmoved = ", ".join(f"{row} {error:+.1%}" for row, error in one["unmoved"].items())
        lines.append(f"| {one['system']} | {own} | {one['losses_of']} | {other} | {unmoved} |")
    return "\n".join(lines)
